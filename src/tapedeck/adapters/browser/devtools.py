"""The wire to a browser: the Chrome DevTools Protocol over a pair of pipes, calls and events in JSON.

Owns numbering calls, sorting answers and events by session, and telling when the browser is gone. Chromium ends itself
when this end of the pipes is closed, so a browser never outlives its recorder. Refuses to know what is said (`tab.py`)
and how a browser is started (`chromium.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable
from typing import Any

__all__ = ["BrowserGoneError", "DevTools", "ProtocolError"]

_MESSAGE_LIMIT = 8 << 20
"""Above the longest address that a browser goes to (2 MiB), and what is said through the recorder's socket."""
_ANSWER_S = 20.0

OnEvent = Callable[[str, dict[str, Any], str], None]
"""Method, parameters, session."""


class BrowserGoneError(Exception):
    """The browser has ended, or its pipe is broken."""


class ProtocolError(Exception):
    """The browser refuses a call, or does not answer it in time."""


class DevTools:
    """One connection. `open` it; `call`; `aclose`."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._calls: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._count = 0
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self.gone = asyncio.Event()

    async def open(self, end: socket.socket) -> None:
        """Talk over our end of a socket pair; it is closed with the connection."""
        reader, self._writer = await asyncio.open_unix_connection(sock=end, limit=_MESSAGE_LIMIT)
        self._reading = asyncio.create_task(self._read(reader), name="devtools")

    async def call(
        self, method: str, session: str = "", *, answer_s: float = _ANSWER_S, **parameters: Any
    ) -> dict[str, Any]:
        """What the browser answers. BrowserGoneError, ProtocolError."""
        if self.gone.is_set() or self._writer is None or self._writer.is_closing():
            raise BrowserGoneError("the browser has ended")
        self._count += 1
        number = self._count
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        answer = self._calls[number] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(json.dumps(message).encode() + b"\0")
            async with asyncio.timeout(answer_s):
                await self._writer.drain()
                result: dict[str, Any] = await answer
                return result
        except TimeoutError as exc:
            raise ProtocolError(f"{method} was not answered in {answer_s:g} s") from exc
        except OSError as exc:
            raise BrowserGoneError("the browser has ended") from exc
        finally:
            self._calls.pop(number, None)

    async def aclose(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self._end()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                if (said := await _next_message(reader)) is not None:
                    self._take(json.loads(said))
        except (asyncio.IncompleteReadError, OSError, ValueError, RecursionError):
            pass  # it is gone, or says what no browser says
        finally:
            self._end()

    def _take(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        if number is None:
            self._on_event(message["method"], message.get("params", {}), message.get("sessionId", ""))
            return
        answer = self._calls.get(number)
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(ProtocolError(str(message["error"].get("message", "refused"))[:200]))
        else:
            answer.set_result(message.get("result", {}))

    def _end(self) -> None:
        self.gone.set()
        for answer in self._calls.values():
            if not answer.done():
                answer.set_exception(BrowserGoneError("the browser has ended"))
                with contextlib.suppress(BaseException):
                    answer.exception()  # whoever waits hears it; who waits no longer need not


async def _next_message(reader: asyncio.StreamReader) -> bytes | None:
    """The next message; None for one that is too long, as a page can make them: it writes to the console, or asks."""
    is_whole = True
    while True:
        try:
            said = (await reader.readuntil(b"\0"))[:-1]
            return said if is_whole else None
        except asyncio.LimitOverrunError as exc:
            is_whole = False
            await reader.readexactly(exc.consumed)
