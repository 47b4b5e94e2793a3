"""The way of one recording's files to one destination: from the first part to the store's word, or to giving up.

Owns the order of attempts and what is said of them. How one file goes is `transfer.py`; when to try again and when to
give up is `core/delivery.py`. Whatever a store does here, other lanes do not notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from mmap import mmap
from pathlib import Path
from typing import TypeVar

import structlog

from tapedeck.core.assembly import Assembly
from tapedeck.core.delivery import Patience, covers
from tapedeck.core.destination import Destination, DestinationKind, Upload, file_key
from tapedeck.core.egress import UnreachableError
from tapedeck.core.errors import DestinationError, InvalidError, NotFoundError, TapedeckError, UnavailableError
from tapedeck.core.naming import object_key
from tapedeck.core.output import content_type, outputs_of
from tapedeck.core.recording import FilmFile, Recording
from tapedeck.ports.clock import Clock
from tapedeck.service.uploads import UploadService
from tapedeck.workers.transfer import Film, FilmGoneError, PartStore, Transfer

__all__ = ["Bucket", "Delivery", "Lane", "Means"]

log = structlog.get_logger(__name__)

_T = TypeVar("_T")
_LOOK_S = 0.5
"""How often a film that is made is looked at."""
_SLOWEST_BPS = 64 << 10


@dataclass(frozen=True, slots=True)
class Bucket:
    """A store that is open."""

    store: PartStore
    links: bool = False
    "It takes a file of this machine without copying it: nothing is gained by sending parts."
    close: Callable[[], Awaitable[None]] | None = None
    "Lets go of its connections; None: it stays open for others."

    async def aclose(self) -> None:
        """It is not needed any more here."""
        if self.close is not None:
            await self.close()


@dataclass(slots=True)
class Delivery:
    """One recording's files on their way."""

    recording: Recording
    directory: Path
    most_film_bytes: int
    files: tuple[FilmFile, ...] | None = None
    "Of the finished film; of tracks perhaps none at all. None while there is no film, and when there will be none."
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    "The film is finished, or will never be."
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    "Set when somebody asks for another attempt; those that wait later wait for the next of it."
    heads: Mapping[str, bytes | mmap] = field(default_factory=dict)
    "The first bytes of files by name, until an attempt fails: what is to wait in memory for hours is small."
    lost: str | None = None
    "Why there will be none any more, though there was one."

    def path(self, file: FilmFile) -> Path:
        """Where a file lies on this machine."""
        return Path(file.local_path) if file.local_path else self.directory / file.name


@dataclass(frozen=True, slots=True)
class Means:
    """What lanes work with."""

    service: UploadService
    open_bucket: Callable[[Destination], Awaitable[Bucket]]
    clock: Clock
    patience: Patience
    pause: Callable[[float], Awaitable[None]]
    chance: Callable[[], float]
    answer_s: float
    "How long a store may be silent."
    on_trouble: Callable[[Delivery], Awaitable[None]]
    "Hears of every attempt at a finished film that failed."
    on_gone: Callable[[Delivery, str], bool]
    "Hears that the film is not on this machine; whether it is made again."
    tell: Callable[[str, Callable[[], Awaitable[object]]], Awaitable[None]]
    "Tells the records, until they have heard."
    has_fallback: bool = False
    "Whether there is another place for what a customer's store refuses for good."


class Lane:
    """One destination of one delivery. `run` once, then `tidy`."""

    def __init__(self, means: Means, delivery: Delivery, destination: Destination) -> None:
        self._means = means
        self._delivery = delivery
        self.destination = destination
        self.fallback: Destination | None = None
        "Where the files go instead, when it was given up."
        self._bucket: Bucket | None = None
        self._transfers: dict[str, Transfer] = {}
        self._uploads: dict[str, Upload] = {}
        "Files that the store confirmed."
        self._is_known = False
        "Whether the records were asked what an earlier process had brought there."
        self._sent_before = 0

    async def run(self) -> None:
        """Return when the destination has everything, is given up, or there is nothing for it."""
        early = 0
        while True:
            refused = False
            try:
                if not self._delivery.ready.is_set():
                    await self._follow(await self._open())
                if self._delivery.files is not None:
                    files = self._files()  # another lane may notice meanwhile that they are gone from here
                    await self._finish(await self._open(), files)
                    break
                if self._delivery.lost is not None:
                    await self._give_up(self._delivery.lost)
                    return
                await self._clear()
                await self._means.tell(self._delivery.recording.id, self._dropped)
                return
            except FilmGoneError as exc:
                if self._means.on_gone(self._delivery, str(exc)):
                    continue
                await self._give_up(str(exc))
                return
            except (DestinationError, InvalidError) as exc:
                error, refused = str(exc), not isinstance(exc, UnreachableError)
            except TapedeckError as exc:
                error = str(exc)
            except Exception:
                error = "The upload failed for a reason of our own and is tried again."
                log.exception("upload.failed", recording_id=self._delivery.recording.id)
            if self._delivery.ready.is_set():
                if await self._failed(error, refused=refused):
                    return
            else:
                early += 1
                await self._note(error, 0, early)
        await self._means.tell(self._delivery.recording.id, partial(self._confirm, files))

    async def tidy(self) -> None:
        """Abort what a process that died had begun for these files. Best effort: not every account may list."""
        if self._bucket is None:
            return
        with suppress(Exception):
            names = {*self._transfers, *(file.name for file in self._files())}
            for key in () if self._bucket.links else sorted(map(self._key, names)):
                for left in await self._answered(self._bucket.store.unfinished(key)):
                    if left.key == key:
                        await self._answered(self._bucket.store.abort(key, left.token))
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of the store."""
        bucket, self._bucket = self._bucket, None
        if bucket is not None:
            with suppress(Exception):
                await bucket.aclose()

    # Steps

    async def _open(self) -> Bucket:
        if self._bucket is None:
            self._bucket = await self._answered(self._means.open_bucket(self.destination))
        return self._bucket

    async def _follow(self, bucket: Bucket) -> None:
        """Send what grows until the film is finished."""
        ready = self._delivery.ready
        while not ready.is_set():
            more = False
            if not bucket.links and self.destination.layer is None:
                for path in await asyncio.to_thread(_growing, self._delivery.directory):
                    if await self._transfer(bucket, path.name[1 : -len(".part")]).follow(path):
                        more = True
            if more and self.destination.error is not None:
                await self._means.tell(self._delivery.recording.id, self._well)
            if not more:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await ready.wait()

    async def _finish(self, bucket: Bucket, files: Sequence[FilmFile]) -> None:
        if not self._is_known:
            await self._means.tell(self._delivery.recording.id, self._look)
        for place, file in enumerate(files, 1):
            known = self._uploads.get(file.name)
            if known is not None and (known.size_bytes, known.crc32c) == (file.size_bytes, file.crc32c):
                continue
            key, path = self._key(file.name), self._delivery.path(file)
            assembly: Assembly | None = None
            if bucket.links or not path.is_file():
                size = await self._place(bucket, file, key, path)
            else:
                film = Film(path, file.size_bytes, int(file.crc32c, 16), self._delivery.heads.get(file.name, b""))
                transfer = self._transfer(bucket, file.name)
                size, assembly = (await transfer.finish(film)).size_bytes, transfer.assembly
            if size != file.size_bytes:
                raise UnavailableError(f"The store holds {size} of {file.size_bytes} bytes of {file.name}.")
            upload = self._uploads[file.name] = Upload(
                self.destination.id,
                file.name,
                file.kind,
                key,
                content_type(file.name),
                file.size_bytes,
                file.crc32c,
                done_at=self._means.clock.now(),
                assembly=None if assembly is None else str(assembly),
            )
            if place < len(files) and not bucket.links:
                await self._means.tell(self._delivery.recording.id, partial(self._means.service.arrived, upload))

    async def _place(self, bucket: Bucket, file: FilmFile, key: str, path: Path) -> int:
        """Link the file into a bucket of this machine; or it is there since before a crash, and was not noted."""
        if path.is_file():
            given = bucket.store.put_file(key, path, content_type(file.name), file.name)
            return (await self._answered(given, file.size_bytes)).size_bytes
        try:
            return (await self._answered(bucket.store.head(key))).size_bytes
        except NotFoundError:
            raise FilmGoneError(f"{file.name} is not on this machine any more, and no storage has it.") from None

    async def _failed(self, error: str, *, refused: bool) -> bool:
        """An attempt at the finished film failed; whether it was the last."""
        self._delivery.heads = {}
        sent = sum(transfer.sent for transfer in self._transfers.values()) + len(self._uploads)
        attempts = 1 if sent > self._sent_before else self.destination.attempts + 1
        self._sent_before = sent
        if self._means.patience.is_over(attempts, refused=refused):
            await self._give_up(error)
            return True
        await self._note(error, attempts, attempts)
        return False

    async def _note(self, error: str, attempts: int, failures: int) -> None:
        """Say what is wrong, and wait; a film that is finished meanwhile is tried at once."""
        means, recording_id = self._means, self._delivery.recording.id
        pause_s = means.patience.pause_s(failures, means.chance())
        log.warning(
            "upload.trouble",
            recording_id=recording_id,
            destination=self.destination.kind,
            reason=error,
            again_s=pause_s,
        )

        async def note() -> None:
            next_at = means.clock.now() + timedelta(seconds=pause_s)
            self.destination = await means.service.trouble(self.destination, error, attempts, next_at)

        await means.tell(recording_id, note)
        if self._delivery.ready.is_set():
            await means.on_trouble(self._delivery)
            ends = self._delivery.hurry
        else:
            ends = self._delivery.ready
        waits = {asyncio.ensure_future(means.pause(pause_s)), asyncio.ensure_future(ends.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _give_up(self, error: str) -> None:
        log.error(
            "upload.given_up",
            recording_id=self._delivery.recording.id,
            destination=self.destination.kind,
            reason=error,
        )
        is_external = self.destination.kind is DestinationKind.EXTERNAL
        falls_back = self._means.has_fallback and is_external and bool(self._delivery.files)

        async def note() -> None:
            given_up = await self._means.service.given_up(self.destination, error, falls_back=falls_back)
            self.destination, self.fallback = given_up

        await self._means.tell(self._delivery.recording.id, note)
        await self._drop()

    async def _drop(self) -> None:
        with suppress(Exception):
            await self._clear()

    async def _clear(self) -> None:
        """Abort what this process, or one that died, had sent and not completed. Raises what the store last said."""
        recording, is_new = self._delivery.recording, not await asyncio.to_thread(self._delivery.directory.is_dir)
        names = [output.file_name for output in outputs_of(recording.options, recording.file_name)]
        names += [file.name for file in self._files()]
        fault: Exception | None = None
        for name in sorted(self._transfers if is_new else {*self._transfers, *names}):
            try:
                await self._transfer(await self._open(), name).abort()
            except Exception as exc:
                fault = exc
        if fault is not None:
            raise fault

    async def _dropped(self) -> None:
        self.destination = await self._means.service.dropped(self.destination)

    async def _look(self) -> None:
        """What an earlier process brought there."""
        self._uploads |= {upload.name: upload for upload in await self._means.service.uploads(self.destination)}
        self._is_known, self._sent_before = True, len(self._uploads)

    async def _confirm(self, files: Sequence[FilmFile]) -> None:
        uploads = [self._uploads[file.name] for file in files]
        self.destination = await self._means.service.confirmed(self.destination, uploads)
        for transfer in self._transfers.values():
            transfer.forget()

    async def _well(self) -> None:
        self.destination = await self._means.service.well(self.destination)

    def _files(self) -> Sequence[FilmFile]:
        return [file for file in self._delivery.files or () if covers(self.destination, file)]

    def _transfer(self, bucket: Bucket, name: str) -> Transfer:
        if name not in self._transfers:
            self._transfers[name] = Transfer(
                bucket.store,
                self._key(name),
                content_type(name),
                name,
                self._delivery.directory / f".{name}.{self.destination.id}.journal",
                most_film_bytes=self._delivery.most_film_bytes,
                answer_s=self._means.answer_s,
            )
        return self._transfers[name]

    def _key(self, name: str) -> str:
        if self.destination.kind is DestinationKind.EXTERNAL:
            return file_key(str(self.destination.storage.get("path") or ""), name)
        recording = self._delivery.recording
        return object_key(recording.id, recording.invoked_at, name)

    async def _answered(self, answer: Awaitable[_T], size: int = 0) -> _T:
        try:
            async with asyncio.timeout(self._means.answer_s + size / _SLOWEST_BPS):
                return await answer
        except TimeoutError:
            raise UnavailableError("The store does not answer.") from None


def _growing(directory: Path) -> list[Path]:
    """Films that are made in a directory."""
    return sorted(directory.glob(".*.part")) if directory.is_dir() else []
