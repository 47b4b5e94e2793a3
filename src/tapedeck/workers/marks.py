"""Watermarks: the image of each recording that wants one is fetched while nobody waits for it, and kept with its log.

The fetch begins when the recording is accepted and is over, one way or the other, `LIMIT_S` later: nothing that starts
or captures waits for it, a film waits at most so long before it is begun. Without an image the film is made without a
watermark, and the recording says why (`core/caution.py`). Owns no pixel (`media/mark.py`) and no connection
(`ports/fetcher.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import structlog

from tapedeck.core.caution import WATERMARK, Caution
from tapedeck.core.egress import UnreachableError
from tapedeck.core.errors import TapedeckError, UnavailableError
from tapedeck.core.recording import FINAL, LIVE, Recording, RecordingChanged
from tapedeck.core.wanted import Watermark
from tapedeck.medialog.mark import find_mark, save_mark
from tapedeck.ports.fetcher import Fetcher
from tapedeck.service.ledger import Ledger
from tapedeck.service.lifecycle import LifecycleService

__all__ = ["LIMIT_S", "MarkKeeper"]

log = structlog.get_logger(__name__)

LIMIT_S = 5.0
"""For everything about one image, attempts and pauses together."""
_MOST_BYTES = 5 << 20
_PAUSE_S = 0.5
_LOOK_S = 0.05
_ACCEPT = "image/png, image/jpeg, image/webp"
_OUR_FAULT = "it could not be fetched and kept for a reason of our own"
_AT_ONCE = 2
"""Images unpacked at the same time: each may take 80 MB and half a second of a core."""


class MarkKeeper:
    """Fetches and keeps the watermarks of one node's recordings."""

    def __init__(
        self,
        *,
        lifecycle: LifecycleService,
        ledger: Ledger,
        fetcher: Fetcher,
        captures_dir: Path,
        limit_s: float = LIMIT_S,
    ) -> None:
        self._lifecycle = lifecycle
        self._fetcher = fetcher
        self._captures_dir = captures_dir
        self._limit_s = limit_s
        self._unpacking = asyncio.Semaphore(_AT_ONCE)
        self._images: dict[str, asyncio.Task[bytes | None]] = {}
        "On their way here, or fetched and not kept yet."
        self._kept: dict[str, asyncio.Task[None]] = {}
        "Of recordings that have a log: the image on its way there."
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsubscribe: Callable[[], None] | None = ledger.subscribe(self._on_change)

    @property
    def holding(self) -> int:
        """Images in memory, or on their way."""
        return len(self._images)

    async def ready(self, recording: Recording) -> None:
        """Return when the watermark of a recording lies beside its log, or will not. Never raises but when cancelled.

        Waits for the fetch, begun now if it was not before, and for the log: at most `limit_s` each, and the time to
        unpack the image.
        """
        mark = _mark_of(recording)
        if mark is None or not self._is_missing(recording):
            return
        if recording.id not in self._kept:
            work = self._keep(recording, mark)
            self._kept[recording.id] = asyncio.create_task(work, name=f"watermark of {recording.id}")
        await asyncio.wait({self._kept[recording.id]})

    async def _keep(self, recording: Recording, mark: Watermark) -> None:
        fetched = self._fetch(recording.id, mark)
        await asyncio.wait({fetched})
        image = None if fetched.cancelled() else fetched.result()
        self._images.pop(recording.id, None)  # megabytes, and a recording may run for a day
        if image is None:
            return
        await self._log_dir(recording)
        try:
            await asyncio.to_thread(self._save, recording, mark, image)
        except UnavailableError as exc:
            await self._warn(recording.id, str(exc))
        except Exception:  # whose words may name a path of this machine
            log.exception("watermark.failed", recording_id=recording.id)
            await self._warn(recording.id, _OUR_FAULT)

    async def _log_dir(self, recording: Recording) -> None:
        """Wait for the log: the first media is known a moment before it is on the disk."""
        log_dir = self._captures_dir / str(recording.session_id)
        for _ in range(round(self._limit_s / _LOOK_S)):
            if log_dir.is_dir():
                return
            await asyncio.sleep(_LOOK_S)

    async def aclose(self) -> None:
        """Give up what is under way; a next process fetches it again."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        tasks = [*self._images.values(), *self._kept.values(), *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_missing(self, recording: Recording) -> bool:
        """Whether it is neither kept nor known not to be had."""
        if recording.session_id is None or any(caution.code == WATERMARK for caution in recording.cautions):
            return False
        return find_mark(self._captures_dir / recording.session_id, recording.id) is None

    def _on_change(self, recording: Recording, change: RecordingChanged) -> None:
        mark = _mark_of(recording)
        if mark is None:
            return
        if change.previous is None:
            self._fetch(recording.id, mark)
        elif change.state in FINAL:
            self._kept.pop(recording.id, None)
            task = self._images.pop(recording.id, None)
            if task is not None:
                task.cancel()
        elif change.state in LIVE and change.previous not in LIVE:
            self._begin(self.ready(recording))  # kept from the beginning, also where films are made afterwards

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="watermark")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _fetch(self, recording_id: str, mark: Watermark) -> asyncio.Task[bytes | None]:
        if recording_id not in self._images:
            work = self._image(recording_id, mark)
            self._images[recording_id] = asyncio.create_task(work, name=f"watermark {recording_id}")
        return self._images[recording_id]

    async def _image(self, recording_id: str, mark: Watermark) -> bytes | None:
        """The image as PNG; None, with a caution noted, when there is none to be had."""
        try:
            data = await self._get(mark.url)
            async with self._unpacking:
                return await asyncio.to_thread(_checked, data)
        except TapedeckError as exc:
            await self._warn(recording_id, str(exc))
        except Exception:
            log.exception("watermark.failed", recording_id=recording_id)
            await self._warn(recording_id, _OUR_FAULT)
        return None

    async def _get(self, url: str) -> bytes:
        now = asyncio.get_running_loop().time
        deadline = now() + self._limit_s
        while True:
            try:
                return await self._fetcher.fetch(url, _MOST_BYTES, deadline - now(), _ACCEPT)
            except UnreachableError:
                if deadline - now() < 2 * _PAUSE_S:
                    raise
            await asyncio.sleep(_PAUSE_S)

    async def _warn(self, recording_id: str, reason: str) -> None:
        log.warning("watermark.left_out", recording_id=recording_id, reason=reason)
        caution = Caution(WATERMARK, f"The film has no watermark: {reason}")
        try:
            await self._lifecycle.caution(recording_id, caution)
        except Exception:
            log.exception("watermark.not_noted", recording_id=recording_id)

    def _save(self, recording: Recording, mark: Watermark, image: bytes) -> None:
        log_dir = self._captures_dir / str(recording.session_id)
        save_mark(log_dir, recording.id, image, mark.position, mark.width, mark.height)


def _mark_of(recording: Recording) -> Watermark | None:
    """The watermark of a recording that has a picture of ours: a web page is told of it, and draws its own."""
    options = recording.options
    return options.watermark if options.video_export and options.page is None else None


def _checked(data: bytes) -> bytes:
    """As `media.mark.checked_png`, in a thread. What it draws with is 13 MB that most servers never need."""
    from tapedeck.media.mark import checked_png

    return checked_png(data)
