"""A wire that can be cut: a TCP proxy before a real server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.ports import free_port

__all__ = ["Wire", "open_wire"]

_CHUNK = 1 << 16


class Wire:
    """Connections to one server, for better or worse. What is set counts from the next bytes on."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.port = free_port()
        "The same after each `up`."
        self.cuts: list[int] = []
        "Each new connection takes the first: it is cut after so many bytes to the server."
        self.flowing = asyncio.Event()
        "While it is not set, bytes stay where they are and nobody is told."
        self.flowing.set()
        self.pause_s = 0.0
        "Before each 64 KiB to the server."
        self.connections = 0
        self.carried = 0
        "Bytes to the server."
        self.flip_at: int | None = None
        "When so many bytes were carried, one arrives as another."

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_down(self) -> bool:
        return self._server is None

    async def up(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def down(self) -> None:
        """Cut all connections and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        cut = self.cuts.pop(0) if self.cuts else None
        ways: list[asyncio.Task[None]] = []
        far: asyncio.StreamWriter | None = None
        try:
            far_reader, far = await asyncio.open_connection(*self._to)
            ways.append(asyncio.create_task(self._copy(reader, far, cut, self.pause_s, counts=True)))
            ways.append(asyncio.create_task(self._copy(far_reader, writer)))
            await asyncio.gather(*ways)  # a reset of either end is one of both: whoever waits for an answer is told
        except (ConnectionError, asyncio.CancelledError, EOFError):
            pass
        finally:
            self._open.discard(task)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, far):
                if end is not None:
                    end.transport.abort()

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        cut: int | None = None,
        pause_s: float = 0.0,
        *,
        counts: bool = False,
    ) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(_CHUNK):
            await self.flowing.wait()
            if pause_s:
                due = loop.create_future()
                loop.call_later(pause_s, due.set_result, None)
                await due
            if cut is not None:
                cut -= len(data)
                if cut <= 0:
                    raise ConnectionResetError
            if counts:
                self.carried += len(data)
                if self.flip_at is not None and self.carried >= self.flip_at:
                    self.flip_at, data = None, data[:-1] + bytes([data[-1] ^ 1])
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()


@asynccontextmanager
async def open_wire(host: str, port: int) -> AsyncIterator[Wire]:
    """A wire to a server, until the end of the block."""
    wire = Wire(host, port)
    await wire.up()
    try:
        yield wire
    finally:
        wire.flowing.set()
        await wire.down()
