"""The live feed: what happens in an account, app, meeting or recording, while somebody listens or from where they left.

Reads the same outbox as the webhooks, so both say the same in the same order. Keeps nothing per listener but a number.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress

from tapedeck.core.errors import LimitError, UnavailableError
from tapedeck.core.happenings import Message
from tapedeck.db import outbox
from tapedeck.db.engine import Database
from tapedeck.db.outbox import Scope
from tapedeck.service.deliveries import Composer
from tapedeck.service.ledger import Ledger

__all__ = ["EventFeed", "Scope"]

LISTENERS = 256
"""Feeds that may be followed at once. An account gets one more while it follows fewer than are left: alone it has half
of them, and whoever comes later finds some."""
_BATCH = 100


class EventFeed:
    """What happens, as it happens. `alive_s`: the longest silence, in seconds."""

    def __init__(self, db: Database, ledger: Ledger, compose: Composer, alive_s: float = 15.0) -> None:
        self._db = db
        self._compose = compose
        self._alive_s = alive_s
        self._waiting: dict[asyncio.Event, str | None] = {}
        "Who follows, by account."
        self._is_closed = False
        ledger.on_news(self._wake)

    async def position(self) -> int:
        """Where what happens from now on begins."""
        async with self._db.read() as session:
            return await outbox.latest(session)

    def check(self, account_id: str | None) -> None:
        """Pass when an account may follow one more. LimitError, UnavailableError when the server is about to end."""
        if self._is_closed:
            raise UnavailableError("The server is shutting down", retry_after_s=5)
        own = sum(account == account_id for account in self._waiting.values())
        if own >= LISTENERS - len(self._waiting):
            raise LimitError(
                f"The account follows {own} feeds, and the server has no more for it: end one, or come back later",
                retry_after_s=30,
            )

    async def follow(self, scope: Scope, after: int) -> AsyncGenerator[tuple[int, Message] | None]:
        """Everything beyond the number `after`, in order, with its number; None every `alive_s`. Ends with `close`.

        A number that is still to come is taken for the newest. None comes whether or not anything happens, here or
        elsewhere: it is when the caller asks again whether the listener still may. Errors as `check`.
        """
        now = asyncio.get_running_loop().time
        with self._listener(scope.account_id) as news:
            due, is_first = now() + self._alive_s, True
            while not self._is_closed:
                news.clear()
                async with self._db.snapshot() as session:
                    newest = await outbox.latest(session)
                    after, is_first = min(after, newest) if is_first else after, False
                    found = await outbox.happenings(session, after, _BATCH, scope)
                for happening in found:
                    after = happening.id
                    message = await self._compose(happening)
                    if message is None:
                        continue
                    if now() >= due:  # before what happened is told, not after: the listener may be slow
                        yield None
                        due = now() + self._alive_s
                    yield happening.id, message
                if len(found) < _BATCH:
                    after = max(after, newest)  # the rest up to there is not of this scope
                    with suppress(TimeoutError):
                        async with asyncio.timeout(max(due - now(), 0)):
                            await news.wait()
                if now() >= due:
                    yield None
                    due = now() + self._alive_s

    def close(self) -> None:
        """End all that is followed: the server is about to end."""
        self._is_closed = True
        self._wake()

    @contextmanager
    def _listener(self, account_id: str | None) -> Iterator[asyncio.Event]:
        self.check(account_id)
        news = asyncio.Event()
        self._waiting[news] = account_id
        try:
            yield news
        finally:
            del self._waiting[news]

    def _wake(self) -> None:
        for news in self._waiting:
            news.set()
