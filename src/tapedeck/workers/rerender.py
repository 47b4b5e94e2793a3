"""Makes films again, one at a time, below everything else: a child process each, their files into the built-in bucket.

What was asked for is in the records until it is done or given up, so a restart takes it up again, and a child that dies
is started anew. Never touches a recording, its files or its log.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog

from tapedeck.core.errors import TapedeckError
from tapedeck.core.naming import object_key
from tapedeck.core.output import content_type
from tapedeck.core.recording import FilmFile, Recording
from tapedeck.core.rerender import Rerender, outputs_of_wish
from tapedeck.ports.clock import Clock
from tapedeck.ports.storage import ObjectStore
from tapedeck.service.renders import RenderService
from tapedeck.workers import render as host

__all__ = ["RerenderWorker"]

log = structlog.get_logger(__name__)

T = TypeVar("T")

_AT_ONCE = 1
_NICER = 5
"""Below the films of recordings, which people wait for."""
_RETRY_DELAYS_S = (1.0, 30.0, 300.0)
_SWEEP_EVERY_S = 60.0
_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 300.0


class RerenderWorker:
    """Makes the films of one node that were asked for."""

    def __init__(
        self,
        *,
        service: RenderService,
        store: ObjectStore,
        clock: Clock,
        captures_dir: Path,
        renders_dir: Path,
        retry_delays_s: tuple[float, ...] = _RETRY_DELAYS_S,
        renders: Callable[..., host.RenderHost] = host.RenderHost,
        first_delay_s: float = _FIRST_DELAY_S,
    ) -> None:
        """`renders_dir` is this worker's alone. `renders` makes the host of the processes."""
        self._service = service
        self._store = store
        self._clock = clock
        self._captures_dir = captures_dir
        self._renders_dir = renders_dir
        self._first_delay_s = first_delay_s
        self._wanted: dict[str, tuple[Rerender, Recording]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._host = renders(_AT_ONCE, self._on_made, self._on_failed, self._on_progress, retry_delays_s=retry_delays_s)
        service.on_asked = self._on_asked

    async def run(self) -> None:
        """Take up what an earlier process left, then delete what has expired, for ever."""
        waiting = await self._again("waiting", self._service.waiting)
        await asyncio.to_thread(_sweep, self._renders_dir, {render.id for render in waiting})
        for render in waiting:
            await self._begin(render)
        while True:
            try:
                await self._service.delete_expired(self._clock.now())
            except Exception:
                log.exception("rerender.not_swept")
            await asyncio.sleep(_SWEEP_EVERY_S)

    async def aclose(self) -> None:
        """Stop. What is not done is begun anew by the next process."""
        self._service.on_asked = lambda _: None
        await self._host.drain(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def pids(self) -> dict[str, int]:
        """Process id by render, for diagnosis and tests."""
        return self._host.pids()

    def _on_asked(self, render: Rerender) -> None:
        self._chore(self._begin(render))

    def _chore(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="rerender")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _begin(self, render: Rerender) -> None:
        recording = await self._again(render.id, lambda: self._service.recording_of(render))
        if render.id in self._wanted or recording is None or recording.session_id is None:
            return
        log_dir = self._captures_dir / recording.session_id
        if not log_dir.is_dir():
            await self._fail(render, "The media log of the recording is gone.")
            return
        self._wanted[render.id] = (render, recording)
        wish = render.wish
        body = {
            "log_dir": str(log_dir),
            "recording_id": recording.id,
            "out_dir": str(self._renders_dir / render.id),
            "outputs": [asdict(output) for output in outputs_of_wish(wish, recording, render.id)],
            "layout": wish.layout,
            "focus": wish.focus,
            "only": None if wish.only is None else list(wish.only),
            "from_ns": wish.from_ns,
            "to_ns": wish.to_ns,
            "watermark": wish.watermark,
            "stills": True,
            "nicer": _NICER,
            "seat": render.id,
            "page": recording.options.page is not None,
        }
        self._host.submit(host.RenderJob(render.id, body, live=False))

    def _on_progress(self, render_id: str, film_ns: int, behind_ns: int) -> None:
        self._service.on_progress(render_id, film_ns)

    async def _on_made(self, render_id: str, made: list[host.FilmFile]) -> None:
        render, recording = self._wanted[render_id]
        files = [await self._again(render_id, partial(self._store_file, recording, file)) for file in made]
        await self._again(render_id, lambda: self._service.on_done(render, files))
        await self._forget(render_id)
        log.info("rerender.done", render_id=render_id, recording_id=recording.id)

    async def _store_file(self, recording: Recording, made: host.FilmFile) -> FilmFile:
        name = made.path.name
        key = object_key(recording.id, recording.invoked_at, name)
        info = await self._store.put_file(key, made.path, content_type(name), name)
        if info.size_bytes != made.size_bytes:
            raise TapedeckError(f"The bucket holds {info.size_bytes} of {made.size_bytes} bytes of {name}")
        duration_ms = round(made.duration_ns / 1_000_000)
        return FilmFile(made.kind, name, made.size_bytes, duration_ms, made.checksum, key=key, passed=made.passed)

    async def _on_failed(self, render_id: str, reason: str) -> None:
        render, _ = self._wanted[render_id]
        await self._fail(render, reason)
        await self._forget(render_id)

    async def _fail(self, render: Rerender, reason: str) -> None:
        log.warning("rerender.failed", render_id=render.id, reason=reason)
        await self._again(render.id, lambda: self._service.on_failed(render, reason))

    async def _forget(self, render_id: str) -> None:
        self._wanted.pop(render_id, None)
        await asyncio.to_thread(shutil.rmtree, self._renders_dir / render_id, ignore_errors=True)

    async def _again(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """Until it succeeds: the database or the bucket may be away for a while."""
        delay_s = self._first_delay_s
        while True:
            try:
                return await call()
            except Exception as exc:
                log.warning("rerender.waits", render_id=what, reason=str(exc), retry_in_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _LONGEST_DELAY_S)


def _sweep(root: Path, needed: set[str]) -> None:
    """Free what a process left behind that died in the middle of a film; what is needed is made anew as well."""
    if root.is_dir():
        for path in root.iterdir():
            if path.name not in needed:
                shutil.rmtree(path, ignore_errors=True)
