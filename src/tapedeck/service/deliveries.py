"""Deliveries: what happened, put in the queue of each webhook that wants it; what was sent, and what follows from it.

The queue is the database: a process that dies loses nothing, and may send what it was sending once more under the same
id. Sends nothing itself, and knows no word of a face: a composer puts a happening into words.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import uuid4

from tapedeck.core.errors import ConflictError, InvalidError, NotFoundError
from tapedeck.core.happenings import Happening, Message
from tapedeck.core.meeting import App
from tapedeck.core.paging import Listing, Page
from tapedeck.core.times import whole_ms
from tapedeck.core.webhooks import KEPT, Attempt, Delivery, DeliveryState, Webhook, judge, next_breaker
from tapedeck.db import deliveries as table
from tapedeck.db import outbox, webhooks
from tapedeck.db.deliveries import DeliveryFilter, Queued
from tapedeck.db.engine import Database, DbSession
from tapedeck.ports.clock import Clock
from tapedeck.service.ledger import Ledger
from tapedeck.service.webhooks import owned_webhook

__all__ = ["Claim", "Composer", "DeliveryFilter", "DeliveryService", "Sampler"]

_log = logging.getLogger(__name__)

Composer = Callable[[Happening], Awaitable[Message | None]]
"""Puts a happening into the words of a face; None when the face does not speak of it."""
Sampler = Callable[[str, App, datetime], Message]
"""A message of an event that never happened."""
CURSOR = "webhooks"
RANGE_LIMIT = 1000
"""Deliveries that one request may ask for again."""
SAY_LIMIT = timedelta(minutes=1)
"""So long a happening may have no words before those behind it go on without it."""
_OPEN = (DeliveryState.WAITING, DeliveryState.READY)


@dataclass(frozen=True, slots=True)
class Claim:
    """What is to be sent to a webhook now."""

    webhook: Webhook
    deliveries: Sequence[Delivery]


class DeliveryService:
    """The queues of all webhooks."""

    def __init__(self, db: Database, clock: Clock, ledger: Ledger, compose: Composer, sample: Sampler) -> None:
        self._db = db
        self._clock = clock
        self._ledger = ledger
        self._compose = compose
        self._sample = sample
        self._unsaid: tuple[int, datetime] | None = None
        "The happening that had no words when last looked at, and since when."

    # For the worker

    async def fan_out(self, limit: int = 100) -> bool:
        """Queue what happened since the last time for each webhook that wants it; whether there may be more.

        The queue and the place in the outbox are one transaction: each happening is queued exactly once.
        """
        async with self._db.snapshot() as session:
            position = await outbox.find_cursor(session, CURSOR)
            found = await outbox.happenings(session, position, limit)
            hooks = await webhooks.subscribed(session, {happening.app.id for happening in found}) if found else []
        if not found:
            return False
        watched = {webhook.app_id for webhook in hooks}
        messages: list[tuple[Happening, Message | None]] = []
        for place, happening in enumerate(found):
            try:
                messages.append((happening, await self._say(happening) if happening.app.id in watched else None))
            except _UnsaidError:
                found, limit = found[:place], 0  # the rest waits for it: a recording is told of in order
                break
        if not found:
            return False
        now = whole_ms(self._clock.now())
        async with self._db.write() as session:
            if await outbox.find_cursor(session, CURSOR) != position:
                return True  # somebody else was quicker
            hooks = await webhooks.subscribed(session, watched) if watched else []
            queued = [
                Queued(str(uuid4()), webhook, message.event, happening.key, message.body)
                for happening, message in messages
                for webhook in hooks
                if message is not None and webhook.app_id == happening.app.id and message.event in webhook.events
            ]
            await table.add_deliveries(session, queued, now)
            await outbox.save_cursor(session, CURSOR, found[-1].id)
        return len(found) == limit

    async def due_webhooks(self) -> Sequence[tuple[str, int]]:
        """Webhooks that have something to be sent now and are not left alone: id, and failures in a row."""
        async with self._db.read() as session:
            return await table.due_webhooks(session, self._clock.now())

    async def claim(self, webhook_id: str, limit: int, busy: Collection[int]) -> Claim | None:
        """What is to be sent to a webhook now, but for what is being sent (`busy`, by number); None for nothing.

        At most one of each recording or session: the next one waits for it.
        """
        async with self._db.read() as session:
            webhook, found = await table.due(session, webhook_id, self._clock.now(), limit, busy)
        if webhook is None:
            return None
        return Claim(webhook, [replace(delivery, url=webhook.url) for delivery in found])

    async def next_due(self) -> datetime | None:
        """When something that is not due yet will be."""
        async with self._db.read() as session:
            return await table.next_due(session, self._clock.now())

    async def settle(self, sent: Sequence[tuple[Delivery, Attempt]]) -> Collection[str]:
        """Store how attempts went, and let those go on that waited for them: the webhooks where some did."""
        now = whole_ms(self._clock.now())
        async with self._db.write() as session:
            still = await table.unfinished(session, [delivery.seq for delivery, _ in sent])
            hooks = await webhooks.find_webhooks(session, {delivery.webhook_id for delivery, _ in sent})
            before = {webhook.id: webhook.breaker for webhook in hooks.values()}
            breakers = dict(before)
            done: list[Delivery] = []
            for delivery, attempt in sent:
                if delivery.seq not in still:
                    continue
                verdict = judge(attempt, delivery.tries + 1, now)
                after = replace(
                    delivery,
                    state=verdict.state,
                    next_at=verdict.next_at,
                    finished_at=None if verdict.state is DeliveryState.READY else now,
                    tries=delivery.tries + 1,
                    attempts=(*delivery.attempts, attempt),
                )
                done.append(after)
                webhook = hooks.get(delivery.webhook_id)
                if webhook is not None and webhook.url == delivery.url:
                    breakers[webhook.id] = next_breaker(breakers[webhook.id], verdict, now)
            await table.finish(session, done)
            over = [(after.webhook_id, after.key) for after in done if after.state is not DeliveryState.READY]
            more = await table.promote(session, over, now)
            for webhook_id, breaker in breakers.items():
                if breaker != before[webhook_id]:
                    await webhooks.save_breaker(session, webhook_id, breaker)
        return more

    async def forget(self) -> None:
        """Remove what is older than it is kept."""
        now = whole_ms(self._clock.now())
        before = now - KEPT
        async with self._db.write() as session:
            await table.forget_before(session, before, now)
            await outbox.forget_before(session, before, await outbox.find_cursor(session, CURSOR))

    # For callers

    async def list(self, app: App, webhook_id: str, wanted: DeliveryFilter, page: Page) -> Listing[Delivery]:
        """Deliveries of a webhook, newest first; NotFoundError."""
        async with self._db.snapshot() as session:
            await owned_webhook(session, app, webhook_id)
            return await table.list_deliveries(session, webhook_id, wanted, page)

    async def get(self, app: App, webhook_id: str, delivery_id: str) -> Delivery:
        """One delivery; NotFoundError."""
        async with self._db.snapshot() as session:
            await owned_webhook(session, app, webhook_id)
            return await _delivery(session, webhook_id, delivery_id)

    async def redeliver(self, app: App, webhook_id: str, delivery_id: str) -> Delivery:
        """Send one again, under its old id. NotFoundError; ConflictError while it is queued, or disabled."""
        async with self._db.write() as session:
            webhook = await _enabled(session, app, webhook_id)
            delivery = await _delivery(session, webhook_id, delivery_id)
            if delivery.state in _OPEN:
                raise ConflictError(f"Delivery {delivery_id} is still queued")
            await table.again(session, delivery, webhook.url, whole_ms(self._clock.now()))
            delivery = await _delivery(session, webhook_id, delivery_id)
        self._ledger.announce()
        return delivery

    async def redeliver_range(self, app: App, webhook_id: str, wanted: DeliveryFilter) -> int:
        """Send all of a range again, oldest first, but for what is queued; returns how many.

        NotFoundError; ConflictError when the webhook is disabled; InvalidError for too many at once.
        """
        now = whole_ms(self._clock.now())
        states = set(DeliveryState if wanted.states is None else wanted.states) - set(_OPEN)
        async with self._db.write() as session:
            webhook = await _enabled(session, app, webhook_id)
            found = await table.pick(session, webhook_id, replace(wanted, states=states), RANGE_LIMIT + 1)
            if len(found) > RANGE_LIMIT:
                raise InvalidError(f"BAD_REQUEST: more than {RANGE_LIMIT} deliveries match: ask for a shorter range")
            for delivery in found:
                await table.again(session, delivery, webhook.url, now)
        self._ledger.announce()
        return len(found)

    async def send_test(self, app: App, webhook_id: str, event: str) -> Delivery:
        """Queue a message that nothing happened for. NotFoundError; ConflictError when the webhook is disabled."""
        delivery_id = str(uuid4())
        message = self._sample(event, app, whole_ms(self._clock.now()))
        async with self._db.write() as session:
            webhook = await _enabled(session, app, webhook_id)
            now = whole_ms(self._clock.now())
            queued = Queued(delivery_id, webhook, message.event, delivery_id, message.body)
            await table.add_deliveries(session, [queued], now)
            delivery = await _delivery(session, webhook_id, delivery_id)
        self._ledger.announce()
        return delivery

    async def _say(self, happening: Happening) -> Message | None:
        """The message; None when the face does not speak of it, or could not for so long. _UnsaidError: not now."""
        try:
            return await self._compose(happening)
        except Exception as exc:
            now, is_new = self._clock.now(), self._unsaid is None or self._unsaid[0] != happening.id
            if is_new or self._unsaid is None:
                self._unsaid = (happening.id, now)
            is_over = now - self._unsaid[1] >= SAY_LIMIT
            if is_new or is_over:
                said = {"action": "compose_failed", "id": happening.id, "is_dropped": is_over}
                _log.exception("a happening has no words", extra=said)
            if is_over:
                return None  # one that cannot be said must not silence all that follow for ever
            raise _UnsaidError from exc


class _UnsaidError(Exception):
    """It may have words the next time."""


async def _delivery(session: DbSession, webhook_id: str, delivery_id: str) -> Delivery:
    delivery = await table.find_delivery(session, webhook_id, delivery_id)
    if delivery is None:
        raise NotFoundError(f"Delivery not found: {delivery_id}")
    return delivery


async def _enabled(session: DbSession, app: App, webhook_id: str) -> Webhook:
    webhook = await owned_webhook(session, app, webhook_id)
    if not webhook.enabled:
        raise ConflictError(f"Webhook {webhook_id} is disabled")
    return webhook
