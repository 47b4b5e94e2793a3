"""The way out: an HTTP client session whose sockets are made only for addresses that were looked at.

A name is resolved once per connection and the socket is made for the very address that was checked, so a name server
that answers differently the second time gains nothing; TLS still verifies the name. Follows no redirect by itself, uses
no proxy of the environment, keeps no cookie. Names are resolved in threads of its own: a slow name server must not hold
the threads that captures write with. Refuses to know what is sent or fetched (`adapters/poster.py`,
`adapters/fetcher.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from tapedeck.core.egress import RefusedTargetError, UnreachableError, is_public_text

__all__ = ["LookUp", "Outbound", "mapped"]

_RESOLVERS = 16
LookUp = Callable[[str, int, int], list[tuple[int, int, str]]]
"""Name, port and address family to (family, protocol, address)."""
_REFUSED = "the address is private, and this server is not allowed to connect there"


class _Refused(OSError):
    """Raised where the socket would be made."""


class Outbound:
    """One session, made on first use since it belongs to a running loop. Whoever uses it bounds how much is open."""

    def __init__(
        self, allow_private: bool = False, timeout_s: float = 3.0, look_up: LookUp | None = None, names_kept_s: int = 10
    ) -> None:
        """`allow_private`: private and loopback addresses too. `timeout_s`: for everything about one request.

        `look_up`: what resolves names, in a thread; default the system. `names_kept_s`: how long it is believed.
        """
        self.timeout_s = timeout_s
        self._allow_private = allow_private
        self._look_up = look_up or _look_up
        self._names_kept_s = names_kept_s
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> aiohttp.ClientSession:
        """The session."""
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0,
                resolver=_Resolver(self._look_up),
                ttl_dns_cache=self._names_kept_s,
                use_dns_cache=self._names_kept_s > 0,
                socket_factory=self._socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=self.timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"user-agent": "Tapedeck"},
                auto_decompress=False,
            )
        return self._session

    async def aclose(self) -> None:
        """End what is under way and close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if not self._allow_private and not is_public_text(str(address[0])):
            raise _Refused(_REFUSED)
        return socket.socket(family, kind, protocol)


@contextlib.contextmanager
def mapped(timeout_s: float) -> Iterator[None]:
    """What the library raises, in our words: RefusedTargetError and UnreachableError."""
    try:
        yield
    except TimeoutError as exc:
        raise UnreachableError(f"no answer within {timeout_s:g} s") from exc
    except aiohttp.ClientConnectorError as exc:
        if _is_refusal(exc.os_error):
            raise RefusedTargetError(_REFUSED) from exc
        raise UnreachableError(f"no connection: {exc.os_error.strerror or type(exc).__name__}") from exc
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as exc:
        raise RefusedTargetError("the url cannot be used") from exc
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        raise UnreachableError(f"the connection broke: {type(exc).__name__}") from exc


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
    found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    return [(kind, protocol, str(address[0])) for kind, _, protocol, _, address in found]


def _is_refusal(error: OSError) -> bool:
    """Whether every address of a name was refused by us: several different refusals are told as one text."""
    return isinstance(error, _Refused) or str(error) == _REFUSED
