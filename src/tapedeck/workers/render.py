"""Runs child processes that make films and reports how it goes.

The child (`tapedeck.render.child`) takes one JSON job on standard input and answers with JSON lines; its standard input
stays open, and its end tells the child to go. This module owns which films share a process (those that follow one log
while it grows), how many processes run at once, restart after a crash with back-off, kill on shutdown. It knows nothing
of recordings beyond their id, and decides nothing about them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from mmap import mmap
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import structlog

from tapedeck.core.errors import MediaError
from tapedeck.workers.studio import Seat, Studio

__all__ = ["FilmFile", "NothingToRenderError", "RenderHost", "RenderJob"]

log = structlog.get_logger(__name__)

RETRY_DELAYS_S = (0.5, 2.0, 10.0, 60.0, 300.0, *(600.0,) * 36, *(21_600.0,) * 27)
"""Pauses between attempts of one film: for six hours often, then four times a day up to a week. As long as its log is
whole it is not lost: a new version may know how to make it, and who is asked to recover it tries at once."""
_FURTHER_NS = 60_000_000_000
"""An attempt that came so much further than all before it did not fail at what they did: it is counted as the first."""
_LIGHT = 8
"""So many light jobs weigh as much as a film."""
_SILENCE_S = 1800.0
"""A child that says nothing for so long is dead in some way. Finishing a film of a day is the longest silence."""
MOST_TOGETHER = 4
"""Films of one log that are made in one process while it grows: they share decoding, and one thread that paints."""
_STALL_S = 30.0
"""A child that follows a log which is closed, and gets no further for so long, waits for what will never come."""


@dataclass(frozen=True, slots=True)
class RenderJob:
    """One film to make. `body` is handed to the child as it is; `live` while its log may still grow."""

    recording_id: str
    body: dict[str, Any]
    live: bool
    is_light: bool = False
    "It costs next to nothing, and waits for no film."


@dataclass(frozen=True, slots=True)
class FilmFile:
    """A finished file as the child reported it."""

    kind: str
    path: Path
    size_bytes: int
    duration_ns: int
    checksum: str
    layer: str | None = None
    head: bytes | mmap = field(default=b"", repr=False, compare=False)
    "Its first bytes, if the process handed them over."
    passed: bool = False
    "Its pictures are those that were sent."


class NothingToRenderError(MediaError):
    """The log holds nothing of this recording that could be seen or heard; another attempt would find no more."""


@dataclass(slots=True)
class _Running:
    job: RenderJob
    task: asyncio.Task[None]
    log_closed: asyncio.Event = field(default_factory=asyncio.Event)
    process: asyncio.subprocess.Process | None = None
    is_waiting: bool = False
    "Between two attempts."
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    "Somebody asks for another attempt, and as many after it as at first."
    film_ns: int = 0
    behind_ns: int = 0

    def is_to_begin_anew(self, followed: bool) -> bool:
        """Whether the next attempt is the first again, made at once: an attempt that `followed` a log which is closed
        by now says nothing about the others."""
        return self.hurry.is_set() or (followed and self.log_closed.is_set())


class RenderHost:
    """Makes films in child processes. One of `on_done` and `on_failed` is awaited once per submitted job."""

    def __init__(
        self,
        concurrency: int,
        on_done: Callable[[str, list[FilmFile]], Awaitable[None]],
        on_failed: Callable[[str, str], Awaitable[None]],
        on_progress: Callable[[str, int, int], None] = lambda *_: None,
        retry_delays_s: tuple[float, ...] = RETRY_DELAYS_S,
        command: tuple[str, ...] = (sys.executable, "-m", "tapedeck.render.child"),
        stall_s: float = _STALL_S,
        silence_s: float = _SILENCE_S,
    ) -> None:
        self._slots = asyncio.Semaphore(concurrency)
        self._light_slots = asyncio.Semaphore(concurrency * _LIGHT)
        self._on_done = on_done
        self._on_failed = on_failed
        self._on_progress = on_progress
        self._delays = retry_delays_s
        self._command = command
        self._stall_s = stall_s
        self._silence_s = silence_s
        self._running: dict[str, _Running] = {}
        self._studios: dict[str, list[Studio]] = {}
        "Processes that follow a log, by its directory."
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._draining = False
        self._closing = False

    def submit(self, job: RenderJob) -> None:
        """Start making a film. While one of the same recording is being made, a second call only tells whether its log
        is closed by now (not `live`): attempts from then on do not follow it."""
        run = self._running.get(job.recording_id)
        if run is not None and not run.task.done():
            if not job.live:
                run.log_closed.set()
            return
        if self._closing:
            return
        task = asyncio.create_task(self._run(job), name=f"render {job.recording_id}")
        run = self._running[job.recording_id] = _Running(job, task)
        if not job.live:
            run.log_closed.set()
        task.add_done_callback(partial(self._forget, job.recording_id))

    def _forget(self, recording_id: str, task: asyncio.Task[None]) -> None:
        if self._running[recording_id].task is task:  # no other has begun just when it was over
            del self._running[recording_id]

    def hurry(self, recording_id: str) -> None:
        """Do not wait for the next attempt at a film, and begin to count anew; nothing if none is being made."""
        if (run := self._running.get(recording_id)) is not None:
            run.hurry.set()

    def progress(self, recording_id: str) -> tuple[int, int] | None:
        """(film made, distance behind the log), both in ns; None when nothing is being made."""
        running = self._running.get(recording_id)
        return (running.film_ns, running.behind_ns) if running else None

    def pids(self) -> dict[str, int]:
        """Process id by recording, for diagnosis and tests."""
        return {key: run.process.pid for key, run in self._running.items() if run.process is not None}

    async def drain(self, timeout_s: float) -> None:
        """Let films that are being finished finish, then end what is left; logs stay and films are made again."""
        self._draining = True
        tasks = [run.task for run in self._running.values() if not run.is_waiting]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        self._closing = True
        for run in list(self._running.values()):
            run.task.cancel()
        await asyncio.gather(*(run.task for run in list(self._running.values())), return_exceptions=True)

    async def _run(self, job: RenderJob) -> None:
        run = self._running[job.recording_id]
        reason, failures, furthest_ns = "", 0, 0
        while True:
            followed = not run.log_closed.is_set()
            try:
                files = await self._attempt(run, replace(job, live=followed))
            except NothingToRenderError as exc:
                reason = str(exc)
                break
            except (MediaError, OSError) as exc:
                reason = str(exc)
                log.warning("render.failed", recording_id=job.recording_id, attempt=failures + 1, reason=reason)
            except Exception:
                reason = "the film could not be made for a reason of our own"
                log.exception("render.failed", recording_id=job.recording_id, attempt=failures + 1)
            else:
                await self._on_done(job.recording_id, files)
                return
            if run.film_ns > furthest_ns + _FURTHER_NS:
                failures = 0
            furthest_ns = max(furthest_ns, run.film_ns)
            if failures >= len(self._delays) and not run.is_to_begin_anew(followed):
                break
            if self._draining:
                return  # the next start tries again
            if not run.is_to_begin_anew(followed):
                await self._pause(run, self._delays[failures])
            failures = 0 if run.is_to_begin_anew(followed) else failures + 1
            run.hurry.clear()
        await self._on_failed(job.recording_id, reason)

    async def _pause(self, run: _Running, delay_s: float) -> None:
        """Wait before another attempt; the first one on a closed log is made as soon as it is closed."""
        run.is_waiting = True
        ends = [run.hurry] if run.log_closed.is_set() else [run.hurry, run.log_closed]
        waits = [asyncio.create_task(end.wait()) for end in ends]
        try:
            await asyncio.wait(waits, timeout=delay_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            run.is_waiting = False
            for wait in waits:
                wait.cancel()

    async def _attempt(self, run: _Running, job: RenderJob) -> list[FilmFile]:
        """Make the film in a process that follows the same log, or in one of its own."""
        log_dir = str(job.body.get("log_dir", ""))
        if not job.live or job.is_light or not log_dir:
            studio = await self._open(log_dir, self._light_slots if job.is_light else self._slots)
            return await self._make_in(studio, studio.enter(job.recording_id), run, job)
        while True:
            # One at a time: of several films that begin at once the others join the first.
            lock = self._locks.setdefault(log_dir, asyncio.Lock())
            async with lock:
                there = (studio for studio in self._studios.get(log_dir, ()) if 0 < studio.films < MOST_TOGETHER)
                joined = next(there, None)
                studio = joined or await self._open(log_dir, self._slots)
                if joined is None:
                    self._studios.setdefault(log_dir, []).append(studio)
                seat = studio.enter(job.recording_id)
            try:
                return await self._make_in(studio, seat, run, job, joins=joined is not None)
            except _NotTakenUp:
                log.info("render.not_taken_up", recording_id=job.recording_id)

    async def _open(self, log_dir: str, slots: asyncio.Semaphore) -> Studio:
        await slots.acquire()
        try:
            return await Studio.open(self._command, lambda: self._on_end(log_dir, slots))
        except BaseException:
            slots.release()
            raise

    def _on_end(self, log_dir: str, slots: asyncio.Semaphore) -> None:
        slots.release()
        left = [studio for studio in self._studios.pop(log_dir, []) if studio.films]
        if left:
            self._studios[log_dir] = left

    async def _make_in(
        self, studio: Studio, seat: Seat, run: _Running, job: RenderJob, *, joins: bool = False
    ) -> list[FilmFile]:
        run.process = process = studio.process
        live = job.live and not run.log_closed.is_set()
        log.info("render.started", recording_id=job.recording_id, live=live, pid=process.pid, joins=joins)
        answer: dict[str, Any] | None = None
        try:
            await studio.send({**job.body, "live": live, "haste": not live})
            answer = await self._read_answer(run, replace(job, live=live), seat)
            files = [_film_file(item, studio) for item in (answer or {}).get("files", ())]
        finally:
            run.process = None
            await studio.leave(seat, in_order=answer is not None)
        if answer is None:
            if joins and not seat.was_heard_of:
                raise _NotTakenUp
            raise MediaError(f"the render process ended with code {process.returncode}: {seat.last_words}")
        if answer["event"] == "failed":
            reason = str(answer.get("error", "the render failed without a reason"))
            raise NothingToRenderError(reason) if answer.get("final") else MediaError(reason)
        return files

    async def _read_answer(self, run: _Running, job: RenderJob, seat: Seat) -> dict[str, Any] | None:
        now = asyncio.get_running_loop().time
        moved = now()
        while message := await seat.next(self._silence_s):
            event = message["event"]
            if event == "progress":
                film_ns = int(message["film_ns"])
                if film_ns != run.film_ns or not (job.live and run.log_closed.is_set()):
                    moved = now()
                elif now() - moved > self._stall_s:
                    raise MediaError("the log is closed, and the render process goes on waiting for more of it")
                run.film_ns, run.behind_ns = film_ns, int(message.get("behind_ns", 0))
                self._on_progress(run.job.recording_id, run.film_ns, run.behind_ns)
            elif event in ("done", "failed"):
                return message
        return None


class _NotTakenUp(Exception):
    """The process that a film was to join had come to its end."""


def _film_file(item: dict[str, Any], studio: Studio) -> FilmFile:
    return FilmFile(
        kind=str(item["kind"]),
        path=Path(item["path"]),
        size_bytes=int(item["size_bytes"]),
        duration_ns=int(item["duration_ns"]),
        checksum=str(item.get("checksum", "")),
        layer=None if item.get("layer") is None else str(item["layer"]),
        head=studio.head(item),
        passed=bool(item.get("passed", False)),
    )
