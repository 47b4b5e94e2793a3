"""Turns recordings into films: starts renders, hands what they make to the uploads, cleans up after itself.

Follows the ledger: a recording that captures media gets a live render, one whose log is closed gets its film made, one
whose film is finished is delivered. Owns the queue between those steps; decides nothing about states.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from tapedeck.core.output import outputs_of
from tapedeck.core.recording import LIVE, FilmFile, Recording, RecordingChanged, RecordingState
from tapedeck.service.ledger import Ledger
from tapedeck.service.lifecycle import LifecycleService, Recovery
from tapedeck.service.uploads import Unfinished
from tapedeck.workers import render
from tapedeck.workers.insist import FIRST_DELAY_S, insist
from tapedeck.workers.upload import UploadWorker

__all__ = ["FilmWorker"]

log = structlog.get_logger(__name__)

_BEGUN = (" live", " later")


class FilmWorker:
    """Makes the films of one node."""

    def __init__(
        self,
        *,
        lifecycle: LifecycleService,
        ledger: Ledger,
        uploads: UploadWorker,
        captures_dir: Path,
        films_dir: Path,
        streams_dir: Path | None = None,
        hls_dir: Path | None = None,
        concurrency: int,
        live: bool,
        prepare: Callable[[Recording], Awaitable[None]] | None = None,
        renders: Callable[..., render.RenderHost] = render.RenderHost,
        first_delay_s: float = FIRST_DELAY_S,
    ) -> None:
        """`streams_dir`: where live films go as streams while somebody wants them (`workers/streams.py`); `hls_dir`:
        where they go as fragments for players (`workers/playback.py`).

        `prepare` is awaited before a film with a watermark is begun (`workers/marks.py`); short, and never raises.

        `renders` makes the host of the processes; `first_delay_s` is the pause before something is tried again.
        """
        self._lifecycle = lifecycle
        self._uploads = uploads
        uploads.on_gone = self._make_again
        self._captures_dir = captures_dir
        self._films_dir = films_dir
        self._streams_dir = streams_dir
        self._hls_dir = hls_dir
        self._live = live
        self._prepare = prepare
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._capturing: set[str] = set()
        self._made_again: set[str] = set()
        self.elsewhere: Callable[[Recording], None] | None = None
        "Fetches a film once more that another recorder made, and that vanished from this machine."
        self._heard: set[str] | None = set()
        "Recordings that changed before `recover`, whose list is older."
        self._first_delay_s = first_delay_s
        self._renders = renders(concurrency, self._on_rendered, self._on_render_failed)
        self._unsubscribe: Callable[[], None] | None = ledger.subscribe(self._on_change)

    @property
    def renders(self) -> render.RenderHost:
        """The processes that make films."""
        return self._renders

    def recover(self, recovery: Recovery, unfinished: Sequence[Unfinished] = ()) -> None:
        """Take up what an earlier process left: films to make, films to deliver, and what is of no use any more."""
        needed = {recording.id for found in recovery.recordings.values() for recording in found}
        self._sweep(needed.union(left.recording.id for left in unfinished))
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
            self._uploads.deliver(recording, recording.files)
        for left in unfinished:
            if left.recording.state is RecordingState.DONE:
                self._uploads.deliver(left.recording, left.recording.files)
            elif left.recording.state is RecordingState.FAILED:
                self._uploads.cancel(left.recording)

    def again(self, recording: Recording) -> None:
        """Go on with a film that somebody misses: render it, or deliver what is rendered.

        What is being done goes on; what waits for its next attempt waits no longer.
        """
        self._made_again.discard(recording.id)  # what was lost once may be made once more
        if recording.state is RecordingState.RENDERING:
            self._render(recording, live=False)
            self._renders.hurry(recording.id)
        elif recording.state is RecordingState.UPLOADING and self._uploads.is_needed(recording.id):
            self._uploads.hurry(recording.id)
        elif recording.state is RecordingState.UPLOADING:
            self._uploads.deliver(recording, recording.files)

    async def aclose(self, timeout_s: float) -> None:
        """Let what is being made and delivered finish for `timeout_s`; the rest is done after the next start."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        for waits in (self._wait_for_begun, self._renders.drain, self._wait, self._uploads.drain):
            await waits(max(deadline - asyncio.get_running_loop().time(), 0))
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._uploads.aclose()

    async def _wait_for_begun(self, timeout_s: float) -> None:
        """What is about to be handed to the processes is no film of theirs yet."""
        begun = [task for key, task in self._tasks.items() if key.endswith(_BEGUN)]
        if begun:
            await asyncio.wait(begun, timeout=timeout_s)

    async def _wait(self, timeout_s: float) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=timeout_s)

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
            self._uploads.deliver(recording, recording.files)
        elif change.state is RecordingState.FAILED:
            self._uploads.cancel(recording)

    def _render(self, recording: Recording, *, live: bool) -> None:
        if recording.session_id is None:
            return
        if not live and self._is_log_gone(recording.session_id):
            self._begin(recording.id, self._give_up(recording.id, "The media log of the recording is gone."))
            return
        body: dict[str, Any] = {
            "log_dir": str(self._captures_dir / recording.session_id),
            "recording_id": recording.id,
            "out_dir": str(self._films_dir / recording.id),
            "outputs": [asdict(output) for output in outputs_of(recording.options, recording.file_name)],
            "stills": True,
            "page": recording.options.page is not None,
        }
        if live and self._streams_dir is not None:
            body["live_dir"] = str(self._streams_dir / recording.id)
        if self._hls_dir is not None:  # a film whose log is closed only takes what is there
            body["hls_dir" if live else "past_dir"] = str(self._hls_dir / recording.id)
        self._uploads.follow(recording)
        self._begin(f"{recording.id}{_BEGUN[not live]}", self._submit(recording, body, live))

    async def _submit(self, recording: Recording, body: dict[str, Any], live: bool) -> None:
        if recording.options.tracks is not None:
            tracks = asdict(recording.options.tracks)
            self._renders.submit(render.RenderJob(recording.id, body | {"tracks": tracks}, live, is_light=True))
            return
        align, tells_room = await self._uploads.head_rule(recording)
        if self._prepare is not None and recording.options.watermark is not None:
            await self._prepare(recording)
            if live and recording.id not in self._capturing:
                return  # it was ended meanwhile, and is submitted as that
        self._renders.submit(
            render.RenderJob(recording.id, body | {"head_align": align, "tells_room": tells_room}, live)
        )

    async def _on_rendered(self, recording_id: str, files: list[render.FilmFile]) -> None:
        stored = [
            FilmFile(
                kind=file.kind,
                name=file.path.name,
                size_bytes=file.size_bytes,
                duration_ms=round(file.duration_ns / 1_000_000),
                crc32c=file.checksum,
                local_path=str(file.path),
                layer=file.layer,
                passed=file.passed,
            )
            for file in files
        ]
        self._uploads.keep(recording_id, {file.path.name: file.head for file in files if file.head})
        rendered = await self._report(recording_id, lambda: self._lifecycle.on_rendered(recording_id, stored))
        # The ledger does not tell of a film made again, which a slow destination may want long after the others.
        if rendered is not None and (
            rendered.state is RecordingState.UPLOADING
            or (rendered.state is RecordingState.DONE and self._uploads.is_needed(recording_id))
        ):
            self._uploads.deliver(rendered, stored)

    async def _on_render_failed(self, recording_id: str, reason: str) -> None:
        if recording_id in self._capturing:
            return  # the log goes on, and its film is tried again when it is closed
        await self._give_up(recording_id, reason)

    async def _give_up(self, recording_id: str, reason: str) -> None:
        log.error("film.given_up", recording_id=recording_id, reason=reason)
        if await self._report(recording_id, lambda: self._lifecycle.on_failed(recording_id, reason)) is None:
            self._uploads.lose(recording_id, reason)  # delivered elsewhere: a slow destination waits in vain

    def _is_log_gone(self, session_id: str) -> bool:
        return self._captures_dir.is_dir() and not (self._captures_dir / session_id).is_dir()

    def _begin(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"film {key}")
        self._tasks[key] = task

        def forget(done: asyncio.Task[None]) -> None:
            if self._tasks.get(key) is done:
                del self._tasks[key]

        task.add_done_callback(forget)

    def _make_again(self, recording: Recording, reason: str) -> bool:
        """A finished film is gone from this machine before a store had it: its log is still there, once."""
        again = self._again_of(recording)
        if again is None or recording.id in self._made_again:
            return False
        log.error("deliver.lost", recording_id=recording.id, reason=reason)
        self._made_again.add(recording.id)
        again(recording)
        return True

    def _again_of(self, recording: Recording) -> Callable[[Recording], None] | None:
        """How its film can be had once more; None when nothing is left to make it of."""
        if recording.options.provider != "local":
            return self.elsewhere
        if recording.session_id is None or self._is_log_gone(recording.session_id):
            return None
        return partial(self._render, live=False)

    async def _report(self, recording_id: str, call: Callable[[], Coroutine[Any, Any, Recording]]) -> Recording | None:
        """Tell the service, again and again while the database cannot be written; None when it comes too late."""
        return await insist(call, "film", first_delay_s=self._first_delay_s, recording_id=recording_id)

    def _sweep(self, needed: set[str]) -> None:
        """Free what a process left behind that died between a delivery and its clean-up, or in the middle of a film."""
        if self._films_dir.is_dir():
            for path in [path for path in self._films_dir.iterdir() if path.name not in needed]:
                self._begin(f"sweep {path.name}", asyncio.to_thread(shutil.rmtree, path, ignore_errors=True))
