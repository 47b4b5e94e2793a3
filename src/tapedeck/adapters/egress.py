"""The guard of everything that connects on somebody else's behalf: it looks at each address when it is dialled.

One guard serves aiohttp (`connector`), blocking libraries (`connect`, of `dial`) and whoever takes a connected socket
(`dial`). Names are resolved in threads of their own: a slow name server must not hold the threads that captures write
with.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import Future, ThreadPoolExecutor

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from tapedeck.adapters.dial import REFUSED, Dialler, LookUp, RefusedAddressError

__all__ = ["REFUSED", "Guard", "LookUp", "RefusedAddressError", "is_refusal"]

_RESOLVERS = 16


def is_refusal(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is a refusal of ours. Several addresses' refusals are told as one text."""
    while error is not None:
        if isinstance(error, RefusedAddressError) or str(error) == REFUSED:
            return True
        inner = getattr(error, "os_error", None)
        if isinstance(inner, BaseException) and inner is not error and is_refusal(inner):
            return True
        error = error.__cause__ or error.__context__
    return False


class Guard(Dialler):
    """`allow_private`: private and loopback addresses too. `look_up`: what resolves names; default the system."""

    def __init__(self, allow_private: bool = False, look_up: LookUp | None = None, names_kept_s: int = 10) -> None:
        """`names_kept_s`: how long aiohttp believes a name."""
        super().__init__(allow_private, look_up)
        self._names_kept_s = names_kept_s

    def connector(self) -> aiohttp.TCPConnector:
        """A connector that dials only what is allowed; whoever uses it bounds how much is open."""
        return aiohttp.TCPConnector(
            limit=0,
            resolver=_Resolver(self._look_up),
            ttl_dns_cache=self._names_kept_s,
            use_dns_cache=self._names_kept_s > 0,
            socket_factory=self._socket,
        )

    async def dial(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """A connected socket that does not block. Errors as `connect`."""
        threads = ThreadPoolExecutor(1, thread_name_prefix="dial")
        dialling = threads.submit(self.connect, host, port, timeout_s)
        threads.shutdown(wait=False)
        try:
            made = await asyncio.wrap_future(dialling)
        except asyncio.CancelledError:
            dialling.add_done_callback(_hang_up)
            raise
        made.setblocking(False)
        return made

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        self.check(str(address[0]))
        return socket.socket(family, kind, protocol)


def _hang_up(dialling: Future[socket.socket]) -> None:
    """Nobody takes the connection any more that a thread has made, or will have."""
    if not dialling.cancelled() and dialling.exception() is None:
        dialling.result().close()


class _Resolver(AbstractResolver):
    """Names to addresses, in threads of its own."""

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up
        self._threads = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, self._look_up, host, port, family)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=protocol, flags=_NUMERIC)
            for kind, protocol, address in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
