"""The way out of a browser: a forward proxy on loopback that dials only what the guard allows.

The browser resolves no name itself: it names a host to this proxy, which looks at the very address that is dialled
(`adapters/egress.py`), so redirects, frames, scripts and sockets of a page are held to the same rule as its first
address, whatever its name server answers the second time. Owns no cache and no TLS: an https connection is a tunnel.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from tapedeck.adapters.egress import Guard, is_refusal

__all__ = ["Gateway"]

_HEAD_LIMIT = 64 << 10
_HEAD_S = 30.0
_CONNECT_S = 15.0
_PARTING_S = 30.0
"""A server may go on for so long after the browser has closed a tunnel."""
_CONNECTIONS = 512
_CHUNK = 64 << 10
_NOWHERE = ".invalid"
"""Names that stand for nobody, ever (RFC 6761 6.4): not even a name server is asked."""
_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer"})
"""Headers that are of one connection only (RFC 9110 7.6.1)."""


class _Refused(Exception):
    def __init__(self, status: str) -> None:
        self.status = status


class Gateway:
    """One proxy. `open` it, `aclose` it."""

    def __init__(self, guard: Guard, on_refused: Callable[[str], None] | None = None) -> None:
        """`on_refused` is told the host of each connection that the guard refuses."""
        self._guard = guard
        self._on_refused = on_refused
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def open(self) -> int:
        """Listen on loopback; the port."""
        # Known before it serves: who is cancelled then is given no server, and nobody could end it.
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_HEAD_LIMIT, start_serving=False)
        await self._server.start_serving()
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def aclose(self) -> None:
        """End all connections."""
        if self._server is not None:
            self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            if len(self._serving) <= _CONNECTIONS:
                await self._serve(reader, writer)
        except _Refused as exc:
            with contextlib.suppress(OSError):
                await _pass(f"HTTP/1.1 {exc.status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode(), writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # one of both has gone, or says what no HTTP client says
        except asyncio.CancelledError:
            writer.transport.abort()  # the browser is ended
        finally:
            self._serving.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_HEAD_S):
            head = await reader.readuntil(b"\r\n\r\n")
        method, target, *_ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if method == "CONNECT":
            parts = urlsplit(f"//{target}")
            far_reader, far_writer = await self._dial(parts.hostname or "", parts.port or 443)
            with _ending(far_writer):
                await _pass(b"HTTP/1.1 200 Connection established\r\n\r\n", writer)
                await _both_ways((reader, writer), (far_reader, far_writer))
            return
        parts = urlsplit(target)
        if parts.scheme != "http" or not parts.hostname:
            raise _Refused("400 Bad Request")
        far_reader, far_writer = await self._dial(parts.hostname, parts.port or 80)
        with _ending(far_writer):
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            await _pass(_rewritten(head, f"{method} {path} HTTP/1.1"), far_writer)
            await self._exchange(head, (reader, writer), (far_reader, far_writer))

    async def _exchange(
        self,
        head: bytes,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """One request and its answer: a second one on the same connection might be for somebody else."""
        listening = asyncio.create_task(_listen(near[0], far[1], head))
        answering = asyncio.create_task(_answer(far[0], near[1]))
        try:
            await asyncio.wait((listening, answering), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise ConnectionResetError("the browser has gone")
            answering.result()
        finally:
            for task in (listening, answering):
                task.cancel()
            await asyncio.gather(listening, answering, return_exceptions=True)

    async def _dial(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if host.endswith(_NOWHERE):
            raise _Refused("502 Bad Gateway")
        try:
            async with asyncio.timeout(_CONNECT_S):
                made = await self._guard.dial(host, port, _CONNECT_S)
                return await asyncio.open_connection(sock=made, limit=_HEAD_LIMIT)
        except TimeoutError as exc:
            raise _Refused("504 Gateway Timeout") from exc
        except OSError as exc:
            if is_refusal(exc):
                if self._on_refused is not None:
                    self._on_refused(host)
                raise _Refused("403 Forbidden") from exc
            raise _Refused("502 Bad Gateway") from exc


@contextlib.contextmanager
def _ending(writer: asyncio.StreamWriter) -> Iterator[None]:
    """Hang up in the end. Where it breaks off nothing waits for what the other side was still to take: a server that
    stands still would hold its connection for ever."""
    try:
        yield
    except BaseException:
        writer.transport.abort()
        raise
    finally:
        writer.close()


def _rewritten(head: bytes, first: str) -> bytes:
    """A head with another first line, for one connection of its own."""
    lines = [line for line in head.split(b"\r\n")[1:] if line]
    kept = [line for line in lines if line.split(b":", 1)[0].strip().lower().decode("latin-1") not in _HOP]
    return b"\r\n".join([first.encode("latin-1"), *kept, b"Connection: close", b"", b""])


async def _listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
    """Pass on what belongs to the request, and return when the browser waits for no answer any more."""
    with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        await _send_body(reader, writer, head)  # the server may answer before it has all, and hang up
    while await reader.read(_CHUNK):
        pass


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        status = head.split(b"\r\n", 1)[0].decode("latin-1")
        _, code, *_ = status.split(" ", 2)
        if not code.startswith("1"):
            break
        await _pass(head, writer)
    await _pass(_rewritten(head, status), writer)
    await _copy(reader, writer)


async def _send_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
    """What belongs to the request: as many bytes as it says, or chunks up to the last one (RFC 9112 6)."""
    headers = {}
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    if b"chunked" in headers.get(b"transfer-encoding", b"").lower():
        size = 1
        while size:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            await _pass(line + await reader.readexactly(size + 2), writer)
        return
    left = int(headers.get(b"content-length", b"0"))
    while left and (data := await reader.read(min(left, _CHUNK))):
        left -= len(data)
        await _pass(data, writer)


async def _both_ways(
    near: tuple[asyncio.StreamReader, asyncio.StreamWriter], far: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    out, back = ways = asyncio.create_task(_copy(near[0], far[1])), asyncio.create_task(_copy(far[0], near[1]))
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        async with asyncio.timeout(_PARTING_S if out.done() and not back.done() else None):
            await asyncio.gather(*ways)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        await _pass(data, writer)
    with contextlib.suppress(OSError):
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()


async def _pass(data: bytes, writer: asyncio.StreamWriter) -> None:
    """Hand data on. OSError when nobody takes it any more, which uvloop's transport says as a RuntimeError."""
    if writer.is_closing():
        raise ConnectionResetError("the other end has gone")
    writer.write(data)
    await writer.drain()
