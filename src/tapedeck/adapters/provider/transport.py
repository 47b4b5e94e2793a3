"""The way out of the official SDK: its requests over the guarded session of `adapters/outbound.py`."""

from __future__ import annotations

import asyncio

import aiohttp
import httpx

from tapedeck.adapters.outbound import Outbound, mapped
from tapedeck.core.egress import UnreachableError

__all__ = ["ANSWER_S", "GuardedTransport"]

ANSWER_S = 15.0
"""How long one answer may take."""
_MOST_BYTES = 16 << 20
_HOP = frozenset({"host", "content-length", "connection", "transfer-encoding", "accept-encoding"})


class GuardedTransport(httpx.AsyncBaseTransport):
    """Looks at every address that is dialled, and reads answers of a bounded size."""

    def __init__(self, outbound: Outbound, answer_s: float = ANSWER_S) -> None:
        self._outbound = outbound
        self._answer_s = answer_s

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP]
        headers.append(("accept-encoding", "identity"))
        body = await request.aread()
        with mapped(self._answer_s):
            async with asyncio.timeout(self._answer_s):
                sending = self._outbound.open().request(
                    request.method,
                    str(request.url),
                    data=body or None,
                    headers=headers,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=self._answer_s),
                )
                async with sending as answer:
                    content = await _bounded(answer)
                    return httpx.Response(answer.status, headers=_kept(answer), content=content, request=request)


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > _MOST_BYTES:
            answer.close()
            raise UnreachableError(f"the answer has more than {_MOST_BYTES} bytes")
    return bytes(body)


def _kept(answer: aiohttp.ClientResponse) -> list[tuple[str, str]]:
    return [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP]
