"""One render process and the films that are made in it.

Owns the process: its start, the lines to and from it, its end with the last film that leaves. What it says goes to the
film that it speaks of. Refuses to know why films are made, and what happens when one is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from mmap import mmap
from typing import Any

import structlog

from tapedeck.core.errors import MediaError
from tapedeck.media.shelf import Shelf

__all__ = ["Seat", "Studio"]

log = structlog.get_logger(__name__)

_LINE_LIMIT = 1 << 20
_TAIL = 20
_EXIT_S = 10.0
"""A process that has made all its films and is still there after so long is killed."""


class Seat:
    """One film in the process."""

    def __init__(self, recording_id: str, tail: deque[str]) -> None:
        self.recording_id = recording_id
        self.was_heard_of = False
        "Whether the process ever spoke of it."
        self._tail = tail
        self._messages: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def put(self, message: dict[str, Any] | None) -> None:
        """What the process said of it; None: it is over."""
        self.was_heard_of = self.was_heard_of or message is not None
        self._messages.put_nowait(message)

    async def next(self, silence_s: float) -> dict[str, Any] | None:
        """The next message; None when the process is over. MediaError after so long a silence."""
        try:
            async with asyncio.timeout(silence_s):
                return await self._messages.get()
        except TimeoutError:
            raise MediaError(f"the render process said nothing for {silence_s:.0f} s") from None

    @property
    def last_words(self) -> str:
        """The last line that was no message."""
        return self._tail[-1] if self._tail else "no message"


class Studio:
    """A running process. `open` starts one; OSError if it cannot be started."""

    def __init__(self, process: asyncio.subprocess.Process, on_end: Callable[[], None], shelf: Shelf) -> None:
        self.process = process
        self._shelf = shelf
        self._on_end = on_end
        self._seats: dict[str, Seat] = {}
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._is_over = False
        self._reading = asyncio.create_task(self._read(), name=f"render process {process.pid}")
        self._errors = asyncio.create_task(self._read_errors(), name=f"errors of render process {process.pid}")

    @classmethod
    async def open(cls, command: tuple[str, ...], on_end: Callable[[], None]) -> Studio:
        """Start a process; `on_end` is called when it is over."""
        shelf = Shelf()
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=_LINE_LIMIT,
                pass_fds=() if shelf.fd is None else (shelf.fd,),
            )
        except BaseException:
            shelf.close()
            raise
        return cls(process, on_end, shelf)

    @property
    def films(self) -> int:
        """How many are made in it; 0 when it takes no more."""
        return 0 if self._is_over else len(self._seats)

    def enter(self, recording_id: str) -> Seat:
        """Take a place; whoever takes one leaves it too."""
        seat = self._seats[recording_id] = Seat(recording_id, self._tail)
        if self._reading.done():
            seat.put(None)
        return seat

    async def send(self, body: dict[str, Any]) -> None:
        """Have a film made."""
        assert self.process.stdin is not None
        with contextlib.suppress(ConnectionError, RuntimeError):
            self.process.stdin.write(json.dumps(body | {"shelf": self._shelf.fd}).encode() + b"\n")
            await self.process.stdin.drain()

    def head(self, file: dict[str, Any]) -> bytes | mmap:
        """The first bytes of a file of which the process told, if it handed them over; to be taken before leaving."""
        return self._shelf.take(int(file.get("head_at", -1)), int(file.get("head_bytes", 0)))

    async def leave(self, seat: Seat, *, in_order: bool) -> None:
        """The film is made, or given up. With the last one the process ends; at once if not `in_order`, with all others
        that are made in it, because what it does then is not known."""
        self._seats.pop(seat.recording_id, None)
        if in_order and self._seats:
            return
        self._is_over = True
        try:
            if in_order:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_EXIT_S):
                        await asyncio.shield(self._reading)
        finally:  # also when the node ends meanwhile
            await self._end()

    async def _end(self) -> None:
        self._shelf.close()
        if self.process.stdin is not None:
            self.process.stdin.close()
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        await asyncio.gather(self._reading, self._errors, return_exceptions=True)

    async def _read(self) -> None:
        assert self.process.stdout is not None
        try:
            async for line in _lines(self.process.stdout):
                try:
                    message: dict[str, Any] = json.loads(line)
                    if "event" not in message:
                        raise ValueError
                except (ValueError, TypeError):
                    self._tail.append(line.decode(errors="replace").strip()[:500])
                    continue
                self._tell(message)
            await self.process.wait()
        finally:
            self._is_over = True
            for seat in self._seats.values():
                seat.put(None)
            self._on_end()

    def _tell(self, message: dict[str, Any]) -> None:
        if message["event"] == "note":
            log.warning("render.note", recordings=list(self._seats), text=str(message.get("text", ""))[:500])
            return
        about = message.get("recording_id")
        for seat in [seat for key, seat in self._seats.items() if about in (None, key)]:
            seat.put(message)

    async def _read_errors(self) -> None:
        assert self.process.stderr is not None
        async for line in _lines(self.process.stderr):
            text = line.decode(errors="replace").strip()[:500]
            if text:
                self._tail.append(text)
                log.debug("render.says", recordings=list(self._seats), text=text)


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a stream. Of one that is longer than the limit only the end is told: a reader that gave up would
    leave the process waiting for ever to be rid of what it says."""
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            continue
        if not line:
            return
        yield line
