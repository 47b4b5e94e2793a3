"""Outbound POST with aiohttp, through the guarded session of `adapters/outbound.py`.

Refuses redirects, and to read an answer without end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

import aiohttp

from tapedeck.adapters.egress import LookUp
from tapedeck.adapters.outbound import Outbound, mapped
from tapedeck.core.egress import RefusedTargetError, url_problem
from tapedeck.ports.poster import Response

__all__ = ["HttpPoster"]

KEPT_BYTES = 2048
"""How much of an answer is kept."""
_READ_BYTES = 65_536
"""How much of an answer is read at most, so that the connection can be used again."""


class HttpPoster:
    """`ports.poster.Poster`. `allow_private`: private and loopback addresses too. `timeout_s`: for everything."""

    def __init__(
        self, allow_private: bool = False, timeout_s: float = 3.0, look_up: LookUp | None = None, names_kept_s: int = 10
    ) -> None:
        """As `Outbound`."""
        self._timeout_s = timeout_s
        self._outbound = Outbound(allow_private, timeout_s, look_up, names_kept_s)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Response:
        if problem := url_problem(url):
            raise RefusedTargetError(f"the url {problem}")
        with mapped(self._timeout_s):
            async with asyncio.timeout(self._timeout_s):
                sending = self._outbound.open().post(url, data=body, headers=headers, allow_redirects=False)
                async with sending as answer:
                    return Response(answer.status, await _beginning(answer))

    async def aclose(self) -> None:
        await self._outbound.aclose()


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
