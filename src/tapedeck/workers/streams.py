"""Sends recordings to their targets while they are made: one process per target, started again when it fails.

Follows the ledger: a recording that captures media is streamed, a paused one keeps its connections and is sent nothing
(film time stands still), one that is delivered ends its streams. The film never waits for any of it: the render writes
a spool (`media/spool.py`), and each process (`tapedeck.push`) reads it as far as its server keeps up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from tapedeck.core.errors import UnavailableError
from tapedeck.core.recording import LIVE, Recording, RecordingChanged, RecordingState
from tapedeck.core.target import STREAMED, Target, TargetState, retry_delay_s
from tapedeck.service.ledger import Ledger
from tapedeck.service.lifecycle import Recovery
from tapedeck.service.targets import TargetService
from tapedeck.workers.insist import FIRST_DELAY_S, insist

__all__ = ["StreamWorker"]

log = structlog.get_logger(__name__)

_STALL_S = 30.0
_SILENCE_S = 25.0
"""A process that says nothing for so long is killed; it speaks every 2 s, but while it connects (10 s, TLS as long)."""
_PROVEN_S = 60.0
"""A stream that was live for so long is not one of a server that closes every one."""
_FAREWELL_S = 4.0
_LAST_S = 5.0
"""What was made last is on its way for so long."""
_LONGEST_DELAY_S = 30.0
"""Between attempts to write how a target does."""
_OVER = frozenset({RecordingState.UPLOADING, RecordingState.DONE, RecordingState.FAILED})


@dataclass(slots=True)
class _Stream:
    """The streams of one recording."""

    running: asyncio.Event = field(default_factory=asyncio.Event)
    "Set unless it is paused."
    targets: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)


class StreamWorker:
    """The targets of one node's recordings."""

    def __init__(
        self,
        *,
        targets: TargetService,
        ledger: Ledger,
        streams_dir: Path,
        allow_private: bool,
        stall_s: float = _STALL_S,
        silence_s: float = _SILENCE_S,
        delay_s: Callable[[int], float] = lambda failures: retry_delay_s(failures, random.random()),
        first_delay_s: float = FIRST_DELAY_S,
        command: tuple[str, ...] = (sys.executable, "-m", "tapedeck.push"),
    ) -> None:
        """`stall_s`: how long a server may take nothing; `delay_s`: the pause after so many failures in a row;
        `first_delay_s`: before something is written again that the database did not take."""
        self._targets = targets
        self._streams_dir = streams_dir
        self._allow_private = allow_private
        self._stall_s = stall_s
        self._silence_s = silence_s
        self._delay_s = delay_s
        self._first_delay_s = first_delay_s
        self._command = command
        self._streams: dict[str, _Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pids: dict[str, int] = {}
        self._closed = False
        targets.on_asked = self._look_soon
        self._unsubscribe = ledger.subscribe(self._on_change)

    def pids(self) -> dict[str, int]:
        """Process id by target, for diagnosis and tests."""
        return dict(self._pids)

    async def recover(self, recovery: Recovery) -> None:
        """Take up the streams of recordings that run, and end what an earlier process could not."""
        running = {r.id: r for state in LIVE for r in recovery.recordings[state]}
        early = {r.id for state, found in recovery.recordings.items() if state not in _OVER for r in found}
        if self._streams_dir.is_dir():
            for path in self._streams_dir.iterdir():
                if path.name not in early:
                    await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        for target in await self._targets.all_open():
            if target.recording_id not in early:
                await self._targets.note(target.id, TargetState.ENDED, target.reason)
        await self._targets.hand_over()
        for recording in running.values():
            self._begin_stream(recording)

    async def aclose(self) -> None:
        """End all streams; those of recordings that go on are taken up by the next start."""
        self._closed = True
        self._unsubscribe()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What happens

    def _on_change(self, recording: Recording, change: RecordingChanged) -> None:
        if change.state in LIVE:
            self._begin_stream(recording)
        elif change.state in _OVER and (recording.id in self._streams or change.state is not RecordingState.DONE):
            stream = self._streams.pop(recording.id, None) or _Stream()
            stream.over.set()
            stream.running.set()
            self._spawn(lambda: self._end_stream(recording.id, stream))

    def _begin_stream(self, recording: Recording) -> None:
        stream = self._streams.setdefault(recording.id, _Stream())
        if recording.state is RecordingState.PAUSED:
            stream.running.clear()
        else:
            stream.running.set()
        self._look_soon(recording.id)

    def _look_soon(self, recording_id: str) -> None:
        stream = self._streams.get(recording_id)
        if stream is not None and not self._closed:
            self._spawn(lambda: self._look(recording_id, stream))

    def _spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if not self._closed:
            self._task(work)

    def _task(self, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """One that `aclose` waits for, whoever forgets it before."""
        task = asyncio.create_task(self._safely(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _safely(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except Exception:
            log.exception("stream.failed")

    async def _look(self, recording_id: str, stream: _Stream) -> None:
        """Make what is sent what is wanted."""
        async with stream.looking:  # what was asked for first must not be looked at last
            await self._insist(lambda: self._change(recording_id, stream), stream.over, recording_id=recording_id)

    async def _change(self, recording_id: str, stream: _Stream) -> None:
        wanted = {target.id: target for target in await self._targets.open_of(recording_id) if target.state in STREAMED}
        if stream.over.is_set():
            return
        directory = self._streams_dir / recording_id
        if wanted:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            (directory / "wanted").touch()
        else:
            (directory / "wanted").unlink(missing_ok=True)
        for target_id in [one for one in stream.targets if one not in wanted]:
            stream.targets.pop(target_id).cancel()
        for target in wanted.values():
            if target.id not in stream.targets:
                stream.targets[target.id] = self._task(partial(self._serve, target, stream, directory))

    async def _end_stream(self, recording_id: str, stream: _Stream) -> None:
        """The film is finished: let go what was made of it last, then end everything."""
        if stream.targets:
            await asyncio.wait(stream.targets.values(), timeout=_LAST_S)
        for task in stream.targets.values():
            task.cancel()
        await asyncio.gather(*stream.targets.values(), return_exceptions=True)
        await asyncio.to_thread(shutil.rmtree, self._streams_dir / recording_id, ignore_errors=True)
        await self._insist(lambda: self._note_ends(recording_id), recording_id=recording_id)
        await self._insist(self._targets.hand_over)

    async def _note_ends(self, recording_id: str) -> None:
        for target in await self._targets.open_of(recording_id):
            reason = target.reason if target.state in (TargetState.RETRYING, TargetState.WAITING) else None
            await self._targets.note(target.id, TargetState.ENDED, reason)

    async def _insist(
        self, call: Callable[[], Coroutine[Any, Any, None]], over: asyncio.Event | None = None, **about: str
    ) -> None:
        first_s, longest_s = self._first_delay_s, _LONGEST_DELAY_S
        await insist(call, "stream", first_delay_s=first_s, longest_delay_s=longest_s, over=over, **about)

    # One target

    async def _serve(self, target: Target, stream: _Stream, directory: Path) -> None:
        """Send until the film ends, the target can never be reached, or the task is cancelled."""
        news = _News(target, self._targets.note, self._insist)
        try:
            await self._send(target, stream, directory, news)
        finally:
            await news.aclose()

    async def _send(self, target: Target, stream: _Stream, directory: Path, news: _News) -> None:
        try:
            body = {
                "url": self._targets.address(target),
                "live_dir": str(directory),
                "allow_private": self._allow_private,
                "stall_s": self._stall_s,
            }
        except UnavailableError as exc:
            await news.end(str(exc))
            return
        failures = 0
        while True:
            # A server may drop who sends nothing: it is asked again when there is something.
            await stream.running.wait()
            if stream.over.is_set():
                return
            attempt = _Attempt(self, target, news)
            await attempt.run(body)
            if attempt.is_over:
                await news.end(attempt.reason)
                return
            failures = 1 if attempt.was_proven else failures + 1
            log.warning("target.failed", target_id=target.id, reason=attempt.reason, failures=failures)
            await news.tell(TargetState.RETRYING, attempt.reason)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._delay_s(failures)):
                    await stream.over.wait()

    async def start(self, target: Target) -> asyncio.subprocess.Process:
        """A process for one attempt."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        self._pids[target.id] = process.pid
        return process

    async def end(self, target: Target, process: asyncio.subprocess.Process, *, politely: bool) -> None:
        """End it: a process that is asked says goodbye to its server."""
        if process.stdin is not None:
            process.stdin.close()
        try:
            if politely and process.returncode is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_FAREWELL_S):
                        await process.wait()
        finally:  # also when this is cancelled while it says goodbye
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            # Read to the end, too: an asyncio process whose output nobody takes is never seen to be over.
            ending = asyncio.ensure_future(process.communicate())
            try:
                await asyncio.shield(ending)
            finally:  # also when the node ends just then
                await ending
                self._pids.pop(target.id, None)

    @property
    def silence_s(self) -> float:
        """How long a process may say nothing."""
        return self._silence_s


class _News:
    """How one target does, as its row shall say: the latest is written again until the database takes it.

    A stream waits for none of it, except for its end.
    """

    def __init__(
        self,
        target: Target,
        note: Callable[[str, TargetState, str | None], Coroutine[Any, Any, None]],
        insist: Callable[..., Coroutine[Any, Any, None]],
    ) -> None:
        self._target = target
        self._note = note
        self._insist = insist
        self._later: asyncio.Task[None] | None = None

    async def tell(self, state: TargetState, reason: str | None = None) -> None:
        """Write it now or as soon as can be; what was not written before no longer matters."""
        await self.aclose()
        try:
            await self._note(self._target.id, state, reason)
        except Exception as exc:
            log.warning("target.not_noted", target_id=self._target.id, state=state.value, reason=str(exc))
            self._later = asyncio.create_task(self._write(state, reason), name=f"news {self._target.id}")

    async def end(self, reason: str | None) -> None:
        """There is no other attempt: write that, however long it takes."""
        await self.aclose()
        await self._write(TargetState.ENDED, reason)

    async def aclose(self) -> None:
        """Write no more."""
        if self._later is not None:
            self._later.cancel()
            await asyncio.gather(self._later, return_exceptions=True)
            self._later = None

    async def _write(self, state: TargetState, reason: str | None) -> None:
        await self._insist(lambda: self._note(self._target.id, state, reason), target_id=self._target.id)


class _Attempt:
    """One process, from its start to its end."""

    def __init__(self, worker: StreamWorker, target: Target, news: _News) -> None:
        self.is_over = False
        "Whether there is to be no other."
        self.was_proven = False
        self.reason: str | None = "the process that sends the stream ended"
        self._worker = worker
        self._target = target
        self._news = news

    async def run(self, body: dict[str, Any]) -> None:
        """Never raises but for cancellation."""
        try:
            process = await self._worker.start(self._target)
        except OSError as exc:
            self.reason = f"the process that sends the stream cannot be started: {exc.strerror}"
            return
        politely = True
        try:
            assert process.stdin is not None and process.stdout is not None
            with contextlib.suppress(ConnectionError):
                process.stdin.write(json.dumps(body).encode() + b"\n")
                await process.stdin.drain()
            await self._listen(process.stdout)
        except TimeoutError:
            politely = False
            self.reason = "the process that sends the stream was stuck"
        except Exception:  # every failure is tried again
            politely = False
            self.reason = "an internal error"
            log.exception("target.broken", target_id=self._target.id)
        finally:
            await self._worker.end(self._target, process, politely=politely)

    async def _listen(self, stdout: asyncio.StreamReader) -> None:
        loop = asyncio.get_running_loop()
        live_at: float | None = None
        while True:
            async with asyncio.timeout(self._worker.silence_s):
                line = await stdout.readline()
            if not line:
                break
            try:
                message: dict[str, Any] = json.loads(line)
            except ValueError:
                continue
            match message.get("event"):
                case "live":
                    live_at = loop.time()
                    log.info("target.live", target_id=self._target.id, address=self._target.address)
                    await self._news.tell(TargetState.LIVE)
                case "ended":
                    self.is_over, self.reason = True, None
                case "failed":
                    self.reason = str(message.get("reason"))
                    self.is_over = bool(message.get("final"))
        self.was_proven = live_at is not None and loop.time() - live_at >= _PROVEN_S
