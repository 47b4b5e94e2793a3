"""Queries about webhooks and deliveries. Rows in, core objects out; what follows from an attempt is decided above."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, Select, bindparam, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.paging import Listing, Page
from tapedeck.core.times import format_time, parse_time
from tapedeck.core.webhooks import Attempt, Breaker, Delivery, DeliveryState, Webhook
from tapedeck.db.access import count
from tapedeck.db.models import DeliveryRow, WebhookRow

__all__ = [
    "DeliveryFilter",
    "add_delivery",
    "add_webhook",
    "again",
    "cancel",
    "delete_webhook",
    "due",
    "due_webhooks",
    "find_delivery",
    "find_webhook",
    "finish",
    "forget_before",
    "list_deliveries",
    "list_webhooks",
    "next_due",
    "pick",
    "promote",
    "save_breaker",
    "save_webhook",
    "subscribed",
]

_OPEN = (DeliveryState.WAITING, DeliveryState.READY)
_KEPT_ATTEMPTS = 12


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries of a webhook; None means any. Times are inclusive, on the creation."""

    states: Collection[DeliveryState] | None = None
    event: str | None = None
    key: str | None = None
    start: datetime | None = None
    end: datetime | None = None


# Webhooks


async def add_webhook(session: AsyncSession, webhook: Webhook) -> None:
    """Store a new webhook."""
    session.add(WebhookRow(id=webhook.id, app_id=webhook.app_id, **_webhook_values(webhook)))
    await session.flush()


async def save_webhook(session: AsyncSession, webhook: Webhook) -> None:
    """Store what changed of a webhook."""
    await session.execute(update(WebhookRow).where(WebhookRow.id == webhook.id).values(**_webhook_values(webhook)))


async def delete_webhook(session: AsyncSession, webhook_id: str) -> None:
    """Forget a webhook; its deliveries stay."""
    await session.execute(delete(WebhookRow).where(WebhookRow.id == webhook_id))


async def find_webhook(session: AsyncSession, webhook_id: str, app_id: str | None = None) -> Webhook | None:
    """A webhook by id, of one app or of any."""
    row = await session.get(WebhookRow, webhook_id)
    return _webhook(row) if row is not None and app_id in (None, row.app_id) else None


async def list_webhooks(session: AsyncSession, app_id: str) -> Sequence[Webhook]:
    """Webhooks of an app, oldest first."""
    rows = select(WebhookRow).where(WebhookRow.app_id == app_id).order_by(WebhookRow.created_at, WebhookRow.id)
    return [_webhook(row) for row in (await session.execute(rows)).scalars()]


async def subscribed(session: AsyncSession, app_ids: Collection[str]) -> Sequence[Webhook]:
    """Enabled webhooks of some apps."""
    rows = select(WebhookRow).where(WebhookRow.app_id.in_(app_ids), WebhookRow.enabled.is_(True))
    return [_webhook(row) for row in (await session.execute(rows)).scalars()]


async def save_breaker(session: AsyncSession, webhook_id: str, breaker: Breaker) -> None:
    """Note how an endpoint does."""
    values = {"failures": breaker.failures, "paused_until": breaker.paused_until}
    await session.execute(update(WebhookRow).where(WebhookRow.id == webhook_id).values(**values))


def _webhook_values(webhook: Webhook) -> dict[str, Any]:
    return {
        "name": webhook.name,
        "url": webhook.url,
        "events": list(webhook.events),
        "enabled": webhook.enabled,
        "failures": webhook.breaker.failures,
        "paused_until": webhook.breaker.paused_until,
        "created_at": webhook.created_at,
        "updated_at": webhook.updated_at,
    }


def _webhook(row: WebhookRow) -> Webhook:
    return Webhook(
        row.id,
        row.app_id,
        row.name,
        row.url,
        tuple(row.events),
        row.enabled,
        row.created_at,
        row.updated_at,
        Breaker(row.failures, row.paused_until),
    )


# Deliveries: what is to be sent


async def add_delivery(
    session: AsyncSession, delivery_id: str, webhook: Webhook, event: str, key: str, body: str, now: datetime
) -> None:
    """Queue a message, behind what is not finished of the same key."""
    row = DeliveryRow(id=delivery_id, app_id=webhook.app_id, webhook_id=webhook.id, event=event, key=key)
    row.url, row.body, row.tries, row.attempts, row.created_at = webhook.url, body, 0, [], now
    is_behind = await _is_open(session, webhook.id, key)
    row.state, row.next_at = (DeliveryState.WAITING, None) if is_behind else (DeliveryState.READY, now)
    session.add(row)
    await session.flush()


async def again(session: AsyncSession, delivery: Delivery, url: str, now: datetime) -> None:
    """Queue a finished delivery once more, under its old id and number."""
    is_behind = await _is_open(session, delivery.webhook_id, delivery.key)
    state, next_at = (DeliveryState.WAITING, None) if is_behind else (DeliveryState.READY, now)
    values = {"state": state, "next_at": next_at, "tries": 0, "url": url, "finished_at": None}
    await session.execute(update(DeliveryRow).where(DeliveryRow.seq == delivery.seq).values(**values))


async def _is_open(session: AsyncSession, webhook_id: str, key: str) -> bool:
    rows = select(DeliveryRow.seq).where(DeliveryRow.webhook_id == webhook_id, DeliveryRow.key == key)
    return (await session.execute(rows.where(DeliveryRow.state.in_(_OPEN)).limit(1))).first() is not None


def _usable(now: datetime) -> Any:
    return WebhookRow.enabled.is_(True) & or_(WebhookRow.paused_until.is_(None), WebhookRow.paused_until <= now)


async def due_webhooks(session: AsyncSession, now: datetime) -> Sequence[Webhook]:
    """Webhooks that have something to be sent now and are not paused."""
    ready = select(DeliveryRow.seq).where(
        DeliveryRow.webhook_id == WebhookRow.id, DeliveryRow.state == DeliveryState.READY, DeliveryRow.next_at <= now
    )
    rows = select(WebhookRow).where(_usable(now), ready.exists())
    return [_webhook(row) for row in (await session.execute(rows)).scalars()]


_DUE = (
    select(DeliveryRow)
    .where(
        DeliveryRow.webhook_id == bindparam("webhook_id"),
        DeliveryRow.state == DeliveryState.READY,
        DeliveryRow.next_at <= bindparam("now"),
    )
    .order_by(DeliveryRow.next_at, DeliveryRow.seq)
    .limit(bindparam("most"))
)


async def due(
    session: AsyncSession, webhook: Webhook, now: datetime, limit: int, busy: Collection[int]
) -> Sequence[Delivery]:
    """What of a webhook is to be sent now, but for what is being sent: the longest due first."""
    paused_until = webhook.breaker.paused_until
    if not webhook.enabled or (paused_until is not None and paused_until > now):
        return []
    wanted = {"webhook_id": webhook.id, "now": now, "most": limit + len(busy)}
    found = [_delivery(row) for row in (await session.execute(_DUE, wanted)).scalars() if row.seq not in busy]
    return found[:limit]


async def next_due(session: AsyncSession, now: datetime) -> datetime | None:
    """When the next attempt or probe after `now` is due; None when nothing is queued."""
    first = (
        select(func.min(DeliveryRow.next_at))
        .where(DeliveryRow.webhook_id == WebhookRow.id, DeliveryRow.state == DeliveryState.READY)
        .correlate(WebhookRow)
        .scalar_subquery()
    )
    rows = select(first, WebhookRow.paused_until).where(WebhookRow.enabled.is_(True), first.is_not(None))
    found = [tuple(row) for row in await session.execute(rows)]
    times = [max(at, paused or at) for at, paused in found if at is not None]
    return min((at for at in times if at > now), default=None)


async def finish(session: AsyncSession, delivery: Delivery) -> bool:
    """Store what became of an attempt; False when the delivery was cancelled meanwhile."""
    rows = update(DeliveryRow).where(DeliveryRow.seq == delivery.seq, DeliveryRow.state == DeliveryState.READY)
    values = {
        "state": str(delivery.state),
        "tries": delivery.tries,
        "attempts": [_from_attempt(attempt) for attempt in delivery.attempts[-_KEPT_ATTEMPTS:]],
        "next_at": delivery.next_at,
        "finished_at": delivery.finished_at,
        "url": delivery.url,
    }
    done = cast("CursorResult[Any]", await session.execute(rows.values(**values)))
    return done.rowcount == 1


async def promote(session: AsyncSession, webhook_id: str, key: str, now: datetime) -> None:
    """Let the next message of a key be sent, if none is on its way."""
    rows = select(DeliveryRow.seq, DeliveryRow.state).where(
        DeliveryRow.webhook_id == webhook_id, DeliveryRow.key == key, DeliveryRow.state.in_(_OPEN)
    )
    first = (await session.execute(rows.order_by(DeliveryRow.state, DeliveryRow.seq).limit(1))).first()
    if first is not None and first.state == DeliveryState.WAITING:  # `ready` comes first in the alphabet
        values = {"state": str(DeliveryState.READY), "next_at": now}
        await session.execute(update(DeliveryRow).where(DeliveryRow.seq == first.seq).values(**values))


async def cancel(session: AsyncSession, webhook_id: str, now: datetime) -> None:
    """Send nothing more of what is queued for a webhook."""
    rows = update(DeliveryRow).where(DeliveryRow.webhook_id == webhook_id, DeliveryRow.state.in_(_OPEN))
    await session.execute(rows.values(state=str(DeliveryState.CANCELLED), next_at=None, finished_at=now))


async def forget_before(session: AsyncSession, at: datetime) -> None:
    """Remove deliveries older than `at`."""
    await session.execute(delete(DeliveryRow).where(DeliveryRow.created_at < at))


# Deliveries: what was sent


async def find_delivery(session: AsyncSession, webhook_id: str, delivery_id: str) -> Delivery | None:
    """A delivery of a webhook by id."""
    rows = select(DeliveryRow).where(DeliveryRow.id == delivery_id, DeliveryRow.webhook_id == webhook_id)
    row = (await session.execute(rows)).scalar()
    return _delivery(row) if row is not None else None


async def list_deliveries(
    session: AsyncSession, webhook_id: str, wanted: DeliveryFilter, page: Page
) -> Listing[Delivery]:
    """Deliveries of a webhook, newest first."""
    rows = _wanted(webhook_id, wanted)
    total = await count(session, rows)
    found = await session.execute(rows.order_by(DeliveryRow.seq.desc()).limit(page.size).offset(page.offset))
    return Listing([_delivery(row) for row in found.scalars()], total, page)


async def pick(session: AsyncSession, webhook_id: str, wanted: DeliveryFilter, limit: int) -> Sequence[Delivery]:
    """The first `limit` deliveries of a webhook, oldest first."""
    rows = _wanted(webhook_id, wanted).order_by(DeliveryRow.seq).limit(limit)
    return [_delivery(row) for row in (await session.execute(rows)).scalars()]


def _wanted(webhook_id: str, wanted: DeliveryFilter) -> Select[DeliveryRow]:
    rows = select(DeliveryRow).where(DeliveryRow.webhook_id == webhook_id)
    if wanted.states is not None:
        rows = rows.where(DeliveryRow.state.in_([str(state) for state in wanted.states]))
    if wanted.event is not None:
        rows = rows.where(DeliveryRow.event == wanted.event)
    if wanted.key is not None:
        rows = rows.where(DeliveryRow.key == wanted.key)
    if wanted.start is not None:
        rows = rows.where(DeliveryRow.created_at >= wanted.start)
    if wanted.end is not None:
        rows = rows.where(DeliveryRow.created_at <= wanted.end)
    return rows


def _delivery(row: DeliveryRow) -> Delivery:
    return Delivery(
        row.seq,
        row.id,
        row.webhook_id,
        row.event,
        row.key,
        row.url,
        row.body,
        DeliveryState(row.state),
        row.created_at,
        row.next_at,
        row.finished_at,
        row.tries,
        tuple(_to_attempt(values) for values in row.attempts),
    )


def _from_attempt(attempt: Attempt) -> dict[str, Any]:
    return asdict(attempt) | {"at": format_time(attempt.at)}


def _to_attempt(values: dict[str, Any]) -> Attempt:
    return Attempt(**{**values, "at": parse_time(values["at"])})
