"""Outbound POST with aiohttp. Owns the guard that looks at each address when it is dialled.

A name is resolved once per connection and the socket is made for the very address that was checked, so a name server
that answers differently the second time gains nothing; TLS still verifies the name. Refuses redirects, proxies of the
environment, and to read an answer without end. Names are resolved in threads of its own: a slow name server must not
hold the threads that captures write with.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from tapedeck.core.egress import RefusedTargetError, UnreachableError, is_public_text, url_problem
from tapedeck.ports.poster import Response

__all__ = ["HttpPoster"]

KEPT_BYTES = 2048
"""How much of an answer is kept."""
_READ_BYTES = 65_536
"""How much of an answer is read at most, so that the connection can be used again."""
_RESOLVERS = 16
LookUp = Callable[[str, int, int], list[tuple[int, int, str]]]
"""Name, port and address family to (family, protocol, address)."""
_REFUSED = "the address is private, and this server is not allowed to connect there"


class _Refused(OSError):
    """Raised where the socket would be made."""


class HttpPoster:
    """`ports.poster.Poster`. `allow_private`: private and loopback addresses too. `timeout_s`: for everything."""

    def __init__(
        self, allow_private: bool = False, timeout_s: float = 3.0, look_up: LookUp | None = None, names_kept_s: int = 10
    ) -> None:
        """`look_up`: what resolves names, in a thread; default the system. `names_kept_s`: how long it is believed."""
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._look_up = look_up or _look_up
        self._names_kept_s = names_kept_s
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Response:
        if problem := url_problem(url):
            raise RefusedTargetError(f"the url {problem}")
        try:
            async with asyncio.timeout(self._timeout_s):
                sending = self._open().post(url, data=body, headers=headers, allow_redirects=False)
                async with sending as answer:
                    return Response(answer.status, await _beginning(answer))
        except TimeoutError as exc:
            raise UnreachableError(f"no answer within {self._timeout_s:g} s") from exc
        except aiohttp.ClientConnectorError as exc:
            if _is_refusal(exc.os_error):
                raise RefusedTargetError(_REFUSED) from exc
            raise UnreachableError(f"no connection: {exc.os_error.strerror or type(exc).__name__}") from exc
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as exc:
            raise RefusedTargetError("the url cannot be used") from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise UnreachableError(f"the connection broke: {type(exc).__name__}") from exc

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        """The session, made on first use since it belongs to a running loop. Whoever posts bounds how much is open."""
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
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"user-agent": "Tapedeck"},
                auto_decompress=False,
            )
        return self._session

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if not self._allow_private and not is_public_text(str(address[0])):
            raise _Refused(_REFUSED)
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
    found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    return [(kind, protocol, str(address[0])) for kind, _, protocol, _, address in found]


async def _beginning(answer: aiohttp.ClientResponse) -> str:
    """The first bytes of a body. A small rest is read too; with a large one the connection is given up."""
    kept = b""
    read = 0
    with contextlib.suppress(aiohttp.ClientPayloadError):
        async for chunk in answer.content.iter_any():
            kept += chunk[: KEPT_BYTES - len(kept)]
            read += len(chunk)
            if read > _READ_BYTES:
                answer.close()
                break
    return kept.decode("utf-8", "replace")


def _is_refusal(error: OSError) -> bool:
    """Whether every address of a name was refused by us: several different refusals are told as one text."""
    return isinstance(error, _Refused) or str(error) == _REFUSED
