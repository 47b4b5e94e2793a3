"""The guard of everything that connects on somebody else's behalf: it looks at each address when it is dialled.

A name is resolved once per connection and the socket is made for the very address that was checked, so a name server
that answers differently the second time gains nothing. One guard serves aiohttp (`connector`), blocking libraries
(`connect`) and whoever takes a connected socket (`dial`). Names are resolved in threads of their own: a slow name
server must not hold the threads that captures write with.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from tapedeck.core.egress import is_public_text

__all__ = ["REFUSED", "Guard", "LookUp", "RefusedAddressError", "is_refusal"]

_RESOLVERS = 16
LookUp = Callable[[str, int, int], list[tuple[int, int, str]]]
"""Name, port and address family to (family, protocol, address)."""
REFUSED = "the address is private, and this server is not allowed to connect there"


class RefusedAddressError(OSError):
    """Raised where the socket would be made."""


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


class Guard:
    """`allow_private`: private and loopback addresses too. `look_up`: what resolves names; default the system."""

    def __init__(self, allow_private: bool = False, look_up: LookUp | None = None, names_kept_s: int = 10) -> None:
        """`names_kept_s`: how long aiohttp believes a name."""
        self._allow_private = allow_private
        self._look_up = look_up or _look_up
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

    def connect(self, host: str, port: int, timeout_s: float | None) -> socket.socket:
        """A connected socket, from the thread that asks. RefusedAddressError; OSError as of `socket`."""
        failure: OSError | None = None
        for family, protocol, address in self._look_up(host.strip("[]"), port, 0):
            try:
                made = self._socket((socket.AddressFamily(family), socket.SOCK_STREAM, protocol, "", (address, port)))
            except OSError as exc:
                failure = exc
                continue
            try:
                made.settimeout(timeout_s)
                made.connect((address, port))
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as exc:
                made.close()
                failure = exc
                continue
            return made
        raise failure or OSError(f"the name {host} has no address")

    async def dial(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """A connected socket that does not block. Errors as `connect`."""
        loop = asyncio.get_running_loop()
        threads = ThreadPoolExecutor(1, thread_name_prefix="dial")
        try:
            made = await loop.run_in_executor(threads, self.connect, host, port, timeout_s)
        finally:
            threads.shutdown(wait=False)
        made.setblocking(False)
        return made

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if not self._allow_private and not is_public_text(str(address[0])):
            raise RefusedAddressError(REFUSED)
        return socket.socket(family, kind, protocol)


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


def _look_up(host: str, port: int, family: int) -> list[tuple[int, int, str]]:
    try:
        found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    except UnicodeError as exc:  # a part of the name is empty or longer than 63 characters (RFC 1035 2.3.4)
        raise socket.gaierror(socket.EAI_NONAME, "the name cannot be one of a host") from exc
    return [(kind, protocol, str(address[0])) for kind, _, protocol, _, address in found]
