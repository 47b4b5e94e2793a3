"""A node while it runs: the order in which its parts start, drain and end. `wiring` builds it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from fastapi import FastAPI

from tapedeck.adapters.poster import HttpPoster
from tapedeck.db.engine import Database
from tapedeck.playing import Playing
from tapedeck.ports.clock import Clock
from tapedeck.service.access import Bootstrap
from tapedeck.service.events import EventFeed
from tapedeck.service.lifecycle import LifecycleService
from tapedeck.service.sessions import SessionService
from tapedeck.sources.whip import WhipServer
from tapedeck.workers.capture import CaptureHost
from tapedeck.workers.deliver import DeliveryWorker
from tapedeck.workers.expire import FileKeeper
from tapedeck.workers.films import FilmWorker
from tapedeck.workers.pages import PageWorker
from tapedeck.workers.streams import StreamWorker
from tapedeck.workers.sweep import LogKeeper, run_deadlines
from tapedeck.workers.upload import UploadWorker

__all__ = ["Node"]

log = structlog.get_logger(__name__)

_LAST_WEBHOOKS_S = 3.0
"""How long the last webhooks may take to be sent when a node ends."""


@dataclass(slots=True)
class Node:
    """One process with everything in it. `start`, serve `app`, `drain`, `aclose`."""

    app: FastAPI
    public_url: str
    bootstrap: Bootstrap
    db: Database
    lifecycle: LifecycleService
    sessions: SessionService
    host: CaptureHost
    whip: WhipServer
    films: FilmWorker
    streams: StreamWorker
    playing: Playing
    pages: PageWorker
    uploads: UploadWorker
    keeper: LogKeeper
    expiry: FileKeeper
    clock: Clock
    webhooks: DeliveryWorker
    poster: HttpPoster
    feed: EventFeed
    runners: tuple[Callable[[], Coroutine[Any, Any, None]], ...] = ()
    "What else runs while the node does."
    closers: tuple[Callable[[], Awaitable[None]], ...] = ()
    "What else is closed at the end, in this order."
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _abandoned: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """Take up what an earlier process left, then run the clocks."""
        recovery = await self.lifecycle.recover(await self.host.log_ends(await self.lifecycle.live_sessions()))
        await self.host.recover(recovery)
        self.films.recover(recovery, await self.uploads.unfinished())
        await self.streams.recover(recovery)
        await self.playing.keeper.recover(recovery)
        await self.pages.recover(recovery)
        self._tasks += [
            asyncio.create_task(self.host.run(), name="capture"),
            asyncio.create_task(run_deadlines(self.lifecycle, self.clock), name="deadlines"),
            asyncio.create_task(self.keeper.run(), name="logs"),
            asyncio.create_task(self.expiry.run(), name="expiry"),
            *(asyncio.create_task(run()) for run in self.runners),
            asyncio.create_task(self.webhooks.run(), name="webhooks"),
            asyncio.create_task(self.uploads.sweep(), name="orphans"),
        ]

    async def drain(self, timeout_s: float) -> None:
        """Take nobody new, stop what records, finish the films; returns early when abandoned."""
        self.whip.drain()
        drain = asyncio.create_task(self._drain(timeout_s), name="drain")
        give_up = asyncio.create_task(self._abandoned.wait(), name="abandon")
        await asyncio.wait({drain, give_up}, return_when=asyncio.FIRST_COMPLETED)
        for task in (drain, give_up):
            task.cancel()
        (failed, _) = await asyncio.gather(drain, give_up, return_exceptions=True)
        if isinstance(failed, Exception):
            log.error("drain.failed", exc_info=failed)
        self.feed.close()

    async def _drain(self, timeout_s: float) -> None:
        try:
            await self.lifecycle.shutdown()
        except Exception:
            log.exception("drain.not_stopped")  # the next start ends what still runs
        await self.whip.aclose()
        await self.films.aclose(timeout_s)

    def abandon(self) -> None:
        """Stop waiting for stops and films: both are done after the next start."""
        self._abandoned.set()

    async def aclose(self) -> None:
        """End everything that still runs. Nothing on disk is lost by it."""
        if self._tasks and not self._abandoned.is_set():
            await self.webhooks.drain(_LAST_WEBHOOKS_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        parts: tuple[Callable[[], Awaitable[object]], ...] = (
            self.pages.aclose,
            self.whip.aclose,
            partial(self.films.aclose, 0),
            self.streams.aclose,
            self.playing.keeper.aclose,
            *self.closers,
            self.host.aclose,
            self.sessions.settle,
            self.webhooks.aclose,
            self.poster.aclose,
            self.db.aclose,
        )
        for close in parts:
            try:
                await close()
            except Exception:  # the logs behind it are still to be closed
                log.exception("node.not_closed")
