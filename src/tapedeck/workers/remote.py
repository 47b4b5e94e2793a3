"""Brings what other recorders have finished to this machine, and asks them how far they are.

A file is written as it comes; what breaks off goes on where it ended, after a restart too, if the file there is still
the same. A finished film is handed to the uploads by its state alone (`workers/films.py`). Time is an argument of
`tick`; `run` is the loop around it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import structlog

from tapedeck.core.egress import UnreachableError
from tapedeck.core.errors import DestinationError, TapedeckError, UnavailableError
from tapedeck.core.recording import FilmFile, Recording, RecordingState, WrongStateError
from tapedeck.core.remote import RemoteFile, RemoteRecording
from tapedeck.db.remote import Origin
from tapedeck.ports.clock import Clock
from tapedeck.ports.provider import RecordingProvider
from tapedeck.service.remote import RemoteService
from tapedeck.workers.upload import UploadWorker

__all__ = ["RemoteWorker"]

log = structlog.get_logger(__name__)

_POLL = timedelta(seconds=30)
_AT_ONCE = 4
_FIRST = timedelta(seconds=2)
_LONGEST = timedelta(minutes=10)
_BLOCK = 1 << 20
_TICK_S = 1.0
_NOTHING = "The recorder of the room has no file of it that could be fetched."
_ENDED = "The files ended with their links at the recorder before they were copied."


@dataclass(slots=True)
class _Turn:
    """When a recording is looked at again."""

    at: datetime
    failures: int = 0


class RemoteWorker:
    """Follows the recordings of all tenants with a recorder of their own."""

    def __init__(
        self,
        service: RemoteService,
        films_dir: Path,
        clock: Clock,
        poll: timedelta = _POLL,
        at_once: int = _AT_ONCE,
        uploads: UploadWorker | None = None,
    ) -> None:
        """`poll`: how long nobody has to tell us anything before we ask. `at_once`: recordings that are copied.

        `uploads` gets what is fetched once more (`again`).
        """
        self._service = service
        self._films_dir = films_dir
        self._clock = clock
        self._poll = poll
        self._places = asyncio.Semaphore(at_once)
        self._turns: dict[str, _Turn] = {}
        self._is_new = True
        "Nothing was looked at by this process: whatever runs may have ended since it was asked for."
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._hints: set[str] = set()
        "Recordings that something was heard of, until they are looked at."
        self._uploads = uploads
        self._news = asyncio.Event()
        service.on_news = self._news.set

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self._news.clear()  # what is told while this looks is looked at next
                was_looked = False
                try:
                    await self.tick(self._clock.now())
                    was_looked = True
                except TapedeckError as exc:
                    log.warning("remote.not_looked", reason=str(exc))
                except Exception:
                    log.exception("remote.failed")
                try:
                    async with asyncio.timeout(None if was_looked and not self._turns else _TICK_S):
                        await self._news.wait()
                except TimeoutError:
                    continue
        finally:
            await self.aclose()

    async def tick(self, now: datetime) -> None:
        """Begin whatever is due."""
        self._hints |= self._service.hints()
        waiting = {origin.recording_id: origin for origin in await self._service.unfinished()}
        hints, self._hints = self._hints, set()
        for gone in self._turns.keys() - waiting.keys():
            del self._turns[gone]
        for recording_id, origin in waiting.items():
            turn = self._turns.setdefault(recording_id, _Turn(self._first(origin, now)))
            if recording_id in hints:
                turn.at, turn.failures = now, 0
            if turn.at <= now and recording_id not in self._tasks:
                turn.at = now + self._poll
                self._begin(recording_id, turn, now)
        self._is_new = False

    def again(self, recording: Recording) -> None:
        """Fetch files once more that vanished from this machine before a store had them."""
        if recording.id not in self._tasks:
            self._hold(recording.id, self._fetch_again(recording))

    async def settle(self) -> None:
        """Return when all that was begun is over."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks.values()))

    async def aclose(self) -> None:
        """Stop copying; it goes on after the next start."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _first(self, origin: Origin, now: datetime) -> datetime:
        """What is finished there is fetched at once; what runs was asked for just now, by this process."""
        return now if self._is_new or origin.state is RecordingState.RENDERING else now + self._poll

    def _begin(self, recording_id: str, turn: _Turn, now: datetime) -> None:
        self._hold(recording_id, self._look(recording_id, turn, now))

    def _hold(self, recording_id: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"remote {recording_id}")
        self._tasks[recording_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(recording_id, None))

    async def _look(self, recording_id: str, turn: _Turn, now: datetime) -> None:
        try:
            async with self._places:
                recording, remote = await self._service.ask(recording_id)
                if remote is not None and recording.state is RecordingState.RENDERING:
                    files = await self._copy(recording, remote)
                    if isinstance(files, str):
                        await self._service.fail(recording_id, files)
                    else:
                        await self._service.copied(recording_id, files)
            turn.failures = 0
            if remote is not None and recording.state is not RecordingState.RENDERING:
                return
        except WrongStateError as exc:
            log.info("remote.late", recording_id=recording_id, reason=str(exc))
        except (TapedeckError, OSError) as exc:
            turn.failures += 1
            turn.at = now + min(_FIRST * 2 ** min(turn.failures, 16), _LONGEST)
            log.warning("remote.retried", recording_id=recording_id, failures=turn.failures, reason=str(exc))
        except Exception:
            turn.failures += 1
            turn.at = now + _LONGEST
            log.exception("remote.fault", recording_id=recording_id)

    async def _fetch_again(self, recording: Recording) -> None:
        """Until it is here, or is known to be nowhere."""
        wait = _FIRST
        while True:
            try:
                async with self._places:
                    _, remote = await self._service.ask(recording.id)
                    files = _NOTHING if remote is None else await self._copy(recording, remote)
                break
            except WrongStateError:  # it is gone there, and was delivered to somebody else
                files = _NOTHING
                break
            except (TapedeckError, OSError) as exc:
                log.warning("remote.retried", recording_id=recording.id, reason=str(exc))
            await asyncio.sleep(wait.total_seconds())
            wait = min(wait * 2, _LONGEST)
        if not isinstance(files, str):
            if self._uploads is not None:
                self._uploads.deliver(recording, files)
            return
        try:
            await self._service.fail(recording.id, files)
        except WrongStateError:
            log.info("remote.late", recording_id=recording.id, reason=files)
        if self._uploads is not None:
            self._uploads.lose(recording.id, files)  # who still waits waits in vain

    async def _copy(self, recording: Recording, remote: RemoteRecording) -> list[FilmFile] | str:
        """Fetch every file; why not when there is none, or none any more. TapedeckError, OSError: try again."""
        if not remote.files:
            return _NOTHING
        provider = await self._service.provider_of(recording.id)
        directory = self._films_dir / recording.id
        await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
        try:
            files = [await self._fetch(provider, directory, file, remote) for file in remote.files]
        except UnreachableError:
            raise
        except DestinationError:
            if remote.links_end is not None and remote.links_end <= self._clock.now():
                return _ENDED
            raise
        if len(files) == 1 and remote.size_bytes not in (None, files[0].size_bytes):
            await asyncio.to_thread(_drop, files)
            text = f"The file has {files[0].size_bytes} bytes, the recorder says {remote.size_bytes}"
            raise UnavailableError(text, retry_after_s=2)
        return files

    async def _fetch(
        self, provider: RecordingProvider, directory: Path, file: RemoteFile, remote: RemoteRecording
    ) -> FilmFile:
        whole, part = directory / file.name, directory / f"{file.name}.part"
        if not whole.exists():
            have, tag = await asyncio.to_thread(_begun, part)
            answer = await provider.fetch(file.url, have, tag)
            try:
                with await asyncio.to_thread(_open_at, part, answer.start) as out:
                    if not answer.start:
                        await asyncio.to_thread(_tag_of(part).write_text, answer.tag or "", "utf-8")
                    size = answer.start
                    async for chunk in answer.chunks():
                        size += len(chunk)
                        if size > answer.total:
                            break  # nobody knows when it would end
                        await asyncio.to_thread(out.write, chunk)
                    out.flush()
                    await asyncio.to_thread(os.fsync, out.fileno())
            finally:
                await answer.aclose()
            if size > answer.total:
                await asyncio.to_thread(part.unlink)
            if size != answer.total:
                raise UnavailableError(f"{file.name} broke off at {size} of {answer.total} bytes", retry_after_s=2)
            await asyncio.to_thread(part.rename, whole)
            await asyncio.to_thread(_tag_of(part).unlink, missing_ok=True)
        size, checksum = await asyncio.to_thread(_measure, whole)
        return FilmFile(
            kind=file.kind,
            name=file.name,
            size_bytes=size,
            duration_ms=(remote.seconds or 0) * 1000,
            crc32c=checksum,
            local_path=str(whole),
            layer=file.layer,
        )

    def turns(self) -> Mapping[str, datetime]:
        """When each recording is looked at again."""
        return {recording_id: turn.at for recording_id, turn in self._turns.items()}


def _begun(part: Path) -> tuple[int, str | None]:
    """How much came before, and what the file was called then."""
    tag = _tag_of(part)
    return part.stat().st_size if part.exists() else 0, (tag.read_text("utf-8") if tag.exists() else "") or None


def _tag_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _open_at(path: Path, start: int) -> BinaryIO:
    """The file, cut at `start` and written from there."""
    file = path.open("r+b" if path.exists() else "w+b")
    file.truncate(start)
    file.seek(start)
    return file


def _measure(path: Path) -> tuple[int, str]:
    checksum, size = 0, 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            checksum = google_crc32c.extend(checksum, block)
            size += len(block)
    return size, f"{checksum:08x}"


def _drop(files: list[FilmFile]) -> None:
    for file in files:
        if file.local_path is not None:
            Path(file.local_path).unlink(missing_ok=True)
