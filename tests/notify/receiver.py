"""An endpoint as a customer would run one: notes what arrives, and answers as a test wants. A real HTTP server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

__all__ = ["Arrival", "Receiver", "receiver"]


@dataclass(frozen=True)
class Arrival:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes
    port: int = 0

    @property
    def uuid(self) -> str:
        return self.headers["rtk-uuid"]


@dataclass
class Receiver:
    """What arrived, in order. `answer` decides on the status of each; a status of 0 never answers."""

    port: int = 0
    arrivals: list[Arrival] = field(default_factory=list)
    answer: Callable[[Arrival], web.StreamResponse | int | Awaitable[int]] = lambda _: 200
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _end: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def until(self, count: int, timeout_s: float = 60) -> list[Arrival]:
        """Wait until so many requests have arrived."""
        async with asyncio.timeout(timeout_s), self._news:
            await self._news.wait_for(lambda: len(self.arrivals) >= count)
        return self.arrivals

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        arrival = Arrival(request.path, headers, await request.read(), self.port)
        async with self._news:
            self.arrivals.append(arrival)
            self._news.notify_all()
        status: Any = self.answer(arrival)
        if isinstance(status, Awaitable):
            status = await status
        if status == 0:
            await self._end.wait()
            return web.Response(status=503)
        return web.Response(status=status, text=f"said {status}") if isinstance(status, int) else status


@asynccontextmanager
async def receiver(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver on a free port of loopback."""
    made = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        made._end.set()
        await runner.cleanup()
