"""Outbound GET with aiohttp, through the guarded session of `adapters/outbound.py`.

Redirects are followed here, one by one, each target looked at as the first one was. A body is read until it is too
large, never unpacked (a packed one may be a bomb), and never kept beyond its answer.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urljoin, urlsplit

import aiohttp

from tapedeck.adapters.egress import LookUp
from tapedeck.adapters.outbound import Outbound, mapped
from tapedeck.core.egress import RefusedTargetError, url_problem
from tapedeck.core.errors import DestinationError

__all__ = ["HttpFetcher", "next_address"]

_REDIRECTS = 3
_MOVED = frozenset({301, 302, 303, 307, 308})
_LONGEST_S = 60.0


class HttpFetcher:
    """`ports.fetcher.Fetcher`. `allow_private`: private and loopback addresses too."""

    def __init__(self, allow_private: bool = False, look_up: LookUp | None = None, names_kept_s: int = 10) -> None:
        """As `Outbound`."""
        self._outbound = Outbound(allow_private, _LONGEST_S, look_up, names_kept_s)

    async def fetch(self, url: str, most_bytes: int, timeout_s: float, accept: str = "*/*") -> bytes:
        with mapped(timeout_s):
            async with asyncio.timeout(timeout_s):
                for _ in range(_REDIRECTS + 1):
                    if problem := url_problem(url):
                        raise RefusedTargetError(f"the url {problem}")
                    answer = await self._get(url, most_bytes, accept)
                    if isinstance(answer, bytes):
                        return answer
                    url = next_address(url, answer)
        raise DestinationError(f"it redirects more than {_REDIRECTS} times")

    async def aclose(self) -> None:
        await self._outbound.aclose()

    async def _get(self, url: str, most_bytes: int, accept: str) -> bytes | str:
        """The body, or where it is."""
        headers = {"accept": accept, "accept-encoding": "identity"}
        async with self._outbound.open().get(url, headers=headers, allow_redirects=False) as answer:
            if answer.status in _MOVED and "location" in answer.headers:
                answer.close()
                return answer.headers["location"]
            if answer.status != 200:
                answer.close()
                raise DestinationError(f"the answer was status {answer.status}")
            return await _body(answer, most_bytes)


async def _body(answer: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    body = bytearray()
    if (answer.content_length or 0) <= most_bytes:
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > most_bytes:
                break
        else:
            return bytes(body)
    answer.close()
    raise DestinationError(f"it has more than {most_bytes} bytes")


def next_address(url: str, location: str) -> str:
    """Where a redirect leads. RefusedTargetError: from TLS to plain text."""
    try:
        there = urljoin(url, location)
        downgraded = urlsplit(url).scheme == "https" and urlsplit(there).scheme != "https"
    except ValueError as exc:
        raise RefusedTargetError("it redirects to something that is no url") from exc
    if downgraded:
        raise RefusedTargetError("it redirects from https to something else")
    return there
