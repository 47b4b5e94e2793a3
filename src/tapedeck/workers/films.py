"""Turns recordings into delivered films: starts renders, hands finished files to the bucket, cleans up after itself.

Follows the ledger: a recording that captures media gets a live render, one whose log is closed gets its film made, one
whose film is finished gets it stored. Owns the queue between those steps and its retries; decides nothing about states.
Nothing local is freed before the bucket has confirmed it.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import structlog

from tapedeck.core.errors import NotFoundError, TapedeckError
from tapedeck.core.naming import object_key
from tapedeck.core.output import content_type, outputs_of
from tapedeck.core.recording import LIVE, FilmFile, Recording, RecordingChanged, RecordingState, WrongStateError
from tapedeck.ports.storage import ObjectStore
from tapedeck.service.ledger import Ledger
from tapedeck.service.lifecycle import LifecycleService, Recovery
from tapedeck.workers import render

__all__ = ["FilmWorker"]

log = structlog.get_logger(__name__)

_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 300.0


class FilmWorker:
    """Makes and delivers the films of one node."""

    def __init__(
        self,
        *,
        lifecycle: LifecycleService,
        ledger: Ledger,
        store: ObjectStore,
        captures_dir: Path,
        films_dir: Path,
        concurrency: int,
        live: bool,
        renders: Callable[..., render.RenderHost] = render.RenderHost,
        first_delay_s: float = _FIRST_DELAY_S,
    ) -> None:
        """`renders` makes the host of the processes; `first_delay_s` is the pause before something is tried again."""
        self._lifecycle = lifecycle
        self._store = store
        self._captures_dir = captures_dir
        self._films_dir = films_dir
        self._live = live
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._capturing: set[str] = set()
        self._made_again: set[str] = set()
        self._heard: set[str] | None = set()
        "Recordings that changed before `recover`, whose list is older."
        self._first_delay_s = first_delay_s
        self._renders = renders(concurrency, self._on_rendered, self._on_render_failed, lifecycle.on_film_progress)
        self._unsubscribe: Callable[[], None] | None = ledger.subscribe(self._on_change)

    @property
    def renders(self) -> render.RenderHost:
        """The processes that make films."""
        return self._renders

    def recover(self, recovery: Recovery) -> None:
        """Take up what an earlier process left: films to make, films to deliver, and what is of no use any more."""
        self._sweep({recording.id for found in recovery.recordings.values() for recording in found})
        heard, self._heard = self._heard or set(), None
        for state in LIVE:
            for recording in recovery.recordings[state]:
                if recording.id in heard:
                    continue  # it was ended meanwhile
                self._capturing.add(recording.id)
                if self._live:
                    self._render(recording, live=True)
        for recording in recovery.recordings[RecordingState.RENDERING]:
            self._render(recording, live=False)
        for recording in recovery.recordings[RecordingState.UPLOADING]:
            self._deliver(recording)

    async def aclose(self, timeout_s: float) -> None:
        """Let what is being made and delivered finish for `timeout_s`; the rest is done after the next start."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        await self._renders.drain(timeout_s)
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=max(deadline - asyncio.get_running_loop().time(), 0))
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    # Steps

    def _on_change(self, recording: Recording, change: RecordingChanged) -> None:
        if self._heard is not None:
            self._heard.add(recording.id)
        if change.state in LIVE:
            self._capturing.add(recording.id)
        else:
            self._capturing.discard(recording.id)
        if change.state is RecordingState.CAPTURING and change.previous not in LIVE and self._live:
            self._render(recording, live=True)
        elif change.state is RecordingState.RENDERING:
            self._render(recording, live=False)  # a live render that goes on only learns that its log is closed
        elif change.state is RecordingState.UPLOADING:
            self._deliver(recording)

    def _render(self, recording: Recording, *, live: bool) -> None:
        if recording.session_id is None:
            return
        if not live and self._captures_dir.is_dir() and not (self._captures_dir / recording.session_id).is_dir():
            self._begin(recording.id, self._give_up(recording.id, "The media log of the recording is gone."))
            return
        body = {
            "log_dir": str(self._captures_dir / recording.session_id),
            "recording_id": recording.id,
            "out_dir": str(self._films_dir / recording.id),
            "outputs": [asdict(output) for output in outputs_of(recording.options, recording.file_name)],
        }
        self._renders.submit(render.RenderJob(recording.id, body, live))

    async def _on_rendered(self, recording_id: str, files: list[render.FilmFile]) -> None:
        stored = [
            FilmFile(
                kind=file.kind,
                name=file.path.name,
                size_bytes=file.size_bytes,
                duration_ms=round(file.duration_ns / 1_000_000),
                crc32c=file.checksum,
                local_path=str(file.path),
            )
            for file in files
        ]
        rendered = await self._report(recording_id, lambda: self._lifecycle.on_rendered(recording_id, stored))
        if rendered is not None and rendered.state is RecordingState.UPLOADING:
            self._deliver(replace(rendered, files=tuple(stored)))  # the ledger does not tell of a film made again

    async def _on_render_failed(self, recording_id: str, reason: str) -> None:
        if recording_id in self._capturing:
            return  # the log goes on, and its film is tried again when it is closed
        await self._give_up(recording_id, reason)

    async def _give_up(self, recording_id: str, reason: str) -> None:
        log.error("film.given_up", recording_id=recording_id, reason=reason)
        await self._report(recording_id, lambda: self._lifecycle.on_failed(recording_id, reason))

    def _deliver(self, recording: Recording) -> None:
        if recording.id not in self._tasks:
            self._begin(recording.id, self._store_files(recording))

    def _begin(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"film {key}")
        self._tasks[key] = task

        def forget(done: asyncio.Task[None]) -> None:
            if self._tasks.get(key) is done:
                del self._tasks[key]

        task.add_done_callback(forget)

    async def _store_files(self, recording: Recording) -> None:
        delay_s = self._first_delay_s
        while True:
            try:
                files = [await self._store_file(recording, file) for file in recording.files]
                break
            except NotFoundError as exc:
                await self._make_again(recording, str(exc))
                return
            except Exception as exc:
                log.warning("deliver.failed", recording_id=recording.id, reason=str(exc), retry_in_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _LONGEST_DELAY_S)
        done = await self._report(recording.id, lambda: self._lifecycle.on_uploaded(recording.id, files))
        if done is not None:
            await asyncio.to_thread(shutil.rmtree, self._films_dir / recording.id, ignore_errors=True)

    async def _make_again(self, recording: Recording, reason: str) -> None:
        """A finished film is gone from this machine before the bucket had it: its log is still there."""
        if recording.id in self._made_again:
            await self._give_up(recording.id, reason)
            return
        log.error("deliver.lost", recording_id=recording.id, reason=reason)
        self._made_again.add(recording.id)
        del self._tasks[recording.id]  # this one, which is over: the next film has its own
        self._render(recording, live=False)

    async def _store_file(self, recording: Recording, file: FilmFile) -> FilmFile:
        key = object_key(recording.id, recording.invoked_at, file.name)
        path = Path(file.local_path or "")
        if path.is_file():
            info = await self._store.put_file(key, path, content_type(file.name), file.name)
        else:
            info = await self._store.head(key)  # stored before a crash, and not noted
        if info.size_bytes != file.size_bytes:
            raise TapedeckError(f"The bucket holds {info.size_bytes} of {file.size_bytes} bytes of {file.name}")
        return replace(file, key=key, local_path=None)

    async def _report(self, recording_id: str, call: Callable[[], Coroutine[Any, Any, Recording]]) -> Recording | None:
        """Tell the service, again and again while the database cannot be written; None when it comes too late."""
        delay_s = self._first_delay_s
        while True:
            try:
                return await call()
            except (WrongStateError, NotFoundError) as exc:
                log.info("film.late", recording_id=recording_id, reason=str(exc))
                return None
            except Exception:
                log.exception("film.not_noted", recording_id=recording_id, retry_in_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _LONGEST_DELAY_S)

    def _sweep(self, needed: set[str]) -> None:
        """Free what a process left behind that died between a delivery and its clean-up, or in the middle of a film."""
        if self._films_dir.is_dir():
            for path in [path for path in self._films_dir.iterdir() if path.name not in needed]:
                self._begin(f"sweep {path.name}", asyncio.to_thread(shutil.rmtree, path, ignore_errors=True))
