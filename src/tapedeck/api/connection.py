"""One HTTP connection, with the bounds that uvicorn leaves to a proxy: how large a request's head may be, how long it
may take to come.

Everything of a request that is not its body counts as head: request line, fields, trailers and the framing of chunks.
Bodies are bounded where they are read (`api/http.py`).
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HEAD_LIMIT", "HEAD_S", "PIPELINE_LIMIT", "Connection"]

HEAD_LIMIT = 1 << 16
"""Bytes. What arrives in one piece with the byte that is too many is read, and then refused with it."""
HEAD_S = 20.0
PIPELINE_LIMIT = 128
"""Requests of one connection that wait for the answers to those before them: each costs kilobytes, for a line sent."""
_REFUSED = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 34\r\nconnection: close\r\n\r\nThe head of the request is too big"
)


class Connection(HttpToolsProtocol):
    """`uvicorn.Config(http=Connection)`."""

    head_s = HEAD_S

    _head_bytes = 0
    _head_done = False
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As `asyncio.Protocol`."""
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """As `asyncio.Protocol`."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As `asyncio.Protocol`."""
        self._head_bytes += len(data)
        super().data_received(data)
        self._head_bytes = max(self._head_bytes, 0)
        if self.transport.is_closing():
            return
        if self._head_bytes > HEAD_LIMIT:
            self.transport.write(_REFUSED)
            self.transport.close()
        elif self._head_done or not self._head_bytes:
            self._disarm()
        elif self._deadline is None:
            self._arm()

    def on_message_begin(self) -> None:
        """As the parser's callback."""
        self._head_done = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """As the parser's callback."""
        self._head_done = True
        if len(self.pipeline) >= PIPELINE_LIMIT:
            raise ValueError("too many requests at once")  # the parser makes it a 400
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """As the parser's callback."""
        self._head_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """As the parser's callback."""
        self._head_bytes = 0
        super().on_message_complete()

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self.head_s, self._too_slow)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()
