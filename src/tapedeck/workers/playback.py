"""Films as fragments on this machine: read for players, and freed when the film is finished.

Owns the directory that renders write fragments to (`media/hls.py`). Decides nothing about who may play what.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog

from tapedeck.core.errors import NotFoundError, UnavailableError
from tapedeck.core.liveindex import Fragment, parse_lines
from tapedeck.core.recording import FINAL, Recording, RecordingChanged, RecordingState
from tapedeck.service.ledger import Ledger
from tapedeck.service.lifecycle import Recovery
from tapedeck.service.playback import PlaybackService
from tapedeck.workers.insist import FIRST_DELAY_S, insist

__all__ = ["LocalFilms", "PlaybackKeeper"]

log = structlog.get_logger(__name__)

_FLUSH_EVERY_S = 10.0
_MOST_KNOWN = 256
"""Recordings whose index is kept at hand."""


class LocalFilms:
    """`service.playback.LiveFilms` in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: OrderedDict[str, tuple[int, list[Fragment]]] = OrderedDict()
        "By recording: how many bytes of its index were read, and what they say."

    async def fragments(self, recording_id: str) -> Sequence[Fragment]:
        """What was written since is read, no more: a playlist is asked for every second or two."""
        read, known = self._known.get(recording_id, (0, []))
        found = await asyncio.to_thread(self._read_index, recording_id, read)
        if found is None:
            self._known.pop(recording_id, None)
            return []
        fresh, used = found
        known = [*known, *fresh] if fresh else known
        self._known[recording_id] = (read + used, known)
        self._known.move_to_end(recording_id)
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return known

    async def head(self, recording_id: str, run: int) -> bytes:
        """NotFoundError."""
        path = self._directory / recording_id / f"init-{run:d}.mp4"
        return await asyncio.to_thread(_read, path, 0, None)

    async def media(self, recording_id: str, fragment: Fragment) -> bytes:
        """NotFoundError."""
        path = self._directory / recording_id / "media"
        return await asyncio.to_thread(_read, path, fragment.offset, fragment.offset + fragment.size)

    async def film(self, path: str, start: int, end: int) -> bytes:
        """NotFoundError."""
        return await asyncio.to_thread(_read, Path(path), start, end)

    async def drop(self, recording_id: str) -> None:
        """Whatever there is."""
        self._known.pop(recording_id, None)
        await asyncio.to_thread(shutil.rmtree, self._directory / recording_id, ignore_errors=True)

    async def sweep(self, needed: frozenset[str]) -> None:
        """Free what belongs to nobody."""
        if await asyncio.to_thread(self._directory.is_dir):
            for path in await asyncio.to_thread(lambda: list(self._directory.iterdir())):
                if path.name not in needed:
                    await self.drop(path.name)

    def _read_index(self, recording_id: str, start: int) -> tuple[list[Fragment], int] | None:
        directory = self._directory / recording_id
        try:
            with (directory / "index").open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < start:
                    return None  # a torn line was cut off: the next question reads it all again
                file.seek(start)
                data = file.read()
            return parse_lines(data, (directory / "media").stat().st_size)
        except OSError:
            return None


class PlaybackKeeper:
    """Tells the service that films are finished, and frees what nobody will finish."""

    def __init__(
        self,
        service: PlaybackService,
        films: LocalFilms,
        ledger: Ledger,
        flush: Callable[[], Awaitable[None]] | None = None,
        first_delay_s: float = FIRST_DELAY_S,
    ) -> None:
        """`flush` notes what was watched since; it is called now and then.

        `first_delay_s`: the pause before a film that was finished is told again, when the database did not take it.
        """
        self._first_delay_s = first_delay_s
        self._closing = asyncio.Event()
        self._flush = flush
        self._service = service
        self._films = films
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsubscribe = ledger.subscribe(self._on_change)

    async def recover(self, recovery: Recovery) -> None:
        """Take up what an earlier process left."""
        found = recovery.recordings.items()
        for recording in recovery.recordings[RecordingState.UPLOADING]:
            self._begin(recording)
        await self._films.sweep(frozenset(r.id for state, some in found if state not in FINAL for r in some))

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(_FLUSH_EVERY_S)
            await self._note()

    async def _note(self) -> None:
        try:
            if self._flush is not None:
                await self._flush()
        except Exception:
            log.exception("playback.not_noted")

    async def aclose(self) -> None:
        """Let what was begun end; what cannot be told now is told by the next start."""
        self._closing.set()
        await self._note()
        self._unsubscribe()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_change(self, recording: Recording, change: RecordingChanged) -> None:
        if change.state is RecordingState.UPLOADING or change.state is RecordingState.FAILED:
            self._begin(recording)

    def _begin(self, recording: Recording) -> None:
        task = asyncio.create_task(self._finish(recording), name=f"playback {recording.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, recording: Recording) -> None:
        """Until it is told, its fragments stay: the time of day in its playlist comes from them."""
        await insist(
            lambda: self._service.finished(recording),
            "playback",
            first_delay_s=self._first_delay_s,
            over=self._closing,
            recording_id=recording.id,
        )


def _read(path: Path, start: int, end: int | None) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read() if end is None else file.read(end - start)
    except FileNotFoundError as exc:
        raise NotFoundError("There is no such segment") from exc
    except OSError as exc:
        raise UnavailableError(f"The film cannot be read now: {exc.strerror}", retry_after_s=2) from exc
    if end is not None and len(data) < end - start:
        raise NotFoundError("There is no such segment")
    return data
