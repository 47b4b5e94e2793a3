"""Queries about deliveries. Rows in, core objects out; what follows from an attempt is decided above.

Sending is the hot path: its statements are built once, and whatever can be is asked and stored for many at a time.
Whoever writes holds the database's only writing transaction, so what was read in it is still true when it is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    Integer,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.paging import Listing, Page
from tapedeck.core.times import format_time, parse_time
from tapedeck.core.webhooks import Attempt, Delivery, DeliveryState, Webhook
from tapedeck.db.access import count
from tapedeck.db.models import DeliveryRow, WebhookRow
from tapedeck.db.webhooks import COLUMNS as WEBHOOK_COLUMNS
from tapedeck.db.webhooks import to_webhook

__all__ = [
    "DeliveryFilter",
    "Queued",
    "add_deliveries",
    "again",
    "cancel",
    "due",
    "due_webhooks",
    "find_delivery",
    "finish",
    "forget_before",
    "list_deliveries",
    "next_due",
    "pick",
    "promote",
    "unfinished",
]

_OPEN = (DeliveryState.WAITING, DeliveryState.READY)
_OPEN_WORDS = [str(state) for state in _OPEN]
_READY = str(DeliveryState.READY)
_KEPT_ATTEMPTS = 12
_LANES_AT_ONCE = 500

_TABLE = cast(Table, DeliveryRow.__table__)
_D, _W = _TABLE.c, WebhookRow.__table__.c
_COLUMNS = (
    _D.seq,
    _D.id,
    _D.webhook_id,
    _D.event,
    _D.key,
    _D.url,
    _D.body,
    _D.state,
    _D.created_at,
    _D.next_at,
    _D.finished_at,
    _D.tries,
    _D.attempts,
)
"""In the order of the fields of `Delivery`."""


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries of a webhook; None means any. Times are inclusive, on the creation."""

    states: Collection[DeliveryState] | None = None
    event: str | None = None
    key: str | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Queued:
    """A message that is to be sent to a webhook."""

    id: str
    webhook: Webhook
    event: str
    key: str
    body: str


# What is to be sent


_LANES = (
    select(_D.webhook_id, _D.key, _D.state, func.min(_D.seq))
    .where(
        _D.webhook_id.in_(bindparam("webhook_ids", expanding=True)),
        _D.key.in_(bindparam("keys", expanding=True)),
        _D.state.in_(_OPEN_WORDS),
    )
    .group_by(_D.webhook_id, _D.key, _D.state)
)
_INSERT = insert(_TABLE)


async def _open_of(session: AsyncSession, lanes: Iterable[tuple[str, str]]) -> dict[tuple[str, str], dict[str, int]]:
    """Of webhooks and keys, the first unfinished delivery in each state."""
    wanted = set(lanes)
    found: dict[tuple[str, str], dict[str, int]] = {lane: {} for lane in wanted}
    if wanted:
        values = {"webhook_ids": sorted({w for w, _ in wanted}), "keys": sorted({k for _, k in wanted})}
        for webhook_id, key, state, seq in await session.execute(_LANES, values):
            if (webhook_id, key) in found:
                found[webhook_id, key][state] = seq
    return found


async def add_deliveries(session: AsyncSession, messages: Sequence[Queued], now: datetime) -> None:
    """Queue messages in their order, each behind what is not finished of the same key."""
    if not messages:
        return
    taken = {lane for lane, states in (await _open_of(session, map(_lane, messages))).items() if states}
    rows = []
    for message in messages:
        lane = _lane(message)
        state, next_at = (DeliveryState.WAITING, None) if lane in taken else (DeliveryState.READY, now)
        taken.add(lane)
        webhook = message.webhook
        rows.append(
            {
                "id": message.id,
                "app_id": webhook.app_id,
                "webhook_id": webhook.id,
                "event": message.event,
                "key": message.key,
                "url": webhook.url,
                "body": message.body,
                "state": str(state),
                "tries": 0,
                "attempts": [],
                "created_at": now,
                "next_at": next_at,
                "finished_at": None,
            }
        )
    await (await session.connection()).execute(_INSERT, rows)


def _lane(message: Queued) -> tuple[str, str]:
    return message.webhook.id, message.key


async def again(session: AsyncSession, delivery: Delivery, url: str, now: datetime) -> None:
    """Queue a finished delivery once more, under its old id and number."""
    lane = (delivery.webhook_id, delivery.key)
    is_behind = bool((await _open_of(session, [lane]))[lane])
    state, next_at = (DeliveryState.WAITING, None) if is_behind else (DeliveryState.READY, now)
    values = {"state": state, "next_at": next_at, "tries": 0, "url": url, "finished_at": None}
    await session.execute(update(DeliveryRow).where(DeliveryRow.seq == delivery.seq).values(**values))


_USABLE = _W.enabled.is_(True) & or_(_W.paused_until.is_(None), _W.paused_until <= bindparam("now"))
_DUE_WEBHOOKS = select(_W.id, _W.failures).where(
    _USABLE,
    select(_D.seq)
    .where(_D.webhook_id == _W.id, _D.state == _READY, _D.next_at <= bindparam("now"))
    .correlate(WebhookRow.__table__)
    .exists(),
)


async def due_webhooks(session: AsyncSession, now: datetime) -> Sequence[tuple[str, int]]:
    """Webhooks that have something to be sent now and are not paused: id, and deliveries given up in a row."""
    return [(id_, failures) for id_, failures in await session.execute(_DUE_WEBHOOKS, {"now": now})]


_DUE = (
    select(*_COLUMNS, *WEBHOOK_COLUMNS)
    .join_from(_TABLE, WebhookRow.__table__, _W.id == _D.webhook_id)
    .where(_D.webhook_id == bindparam("webhook_id"), _D.state == _READY, _D.next_at <= bindparam("now"), _USABLE)
    .order_by(_D.next_at, _D.seq)
    .limit(bindparam("most", type_=Integer))
)


async def due(
    session: AsyncSession, webhook_id: str, now: datetime, limit: int, busy: Collection[int]
) -> tuple[Webhook | None, Sequence[Delivery]]:
    """What of a webhook is to be sent now, but for what is being sent: the longest due first; and the webhook."""
    wanted = {"webhook_id": webhook_id, "now": now, "most": limit + len(busy)}
    rows = [row for row in await session.execute(_DUE, wanted) if row[0] not in busy][:limit]
    if not rows:
        return None, []
    width = len(_COLUMNS)
    return to_webhook(rows[0][width:]), [_delivery(row[:width]) for row in rows]


_FIRST = (
    select(func.min(_D.next_at))
    .where(_D.webhook_id == _W.id, _D.state == _READY)
    .correlate(WebhookRow.__table__)
    .scalar_subquery()
)
_NEXT_DUE = select(_FIRST, _W.paused_until).where(_W.enabled.is_(True), _FIRST.is_not(None))


async def next_due(session: AsyncSession, now: datetime) -> datetime | None:
    """When the next attempt or probe after `now` is due; None when nothing is queued."""
    found = [tuple(row) for row in await session.execute(_NEXT_DUE)]
    times = [max(at, paused or at) for at, paused in found if at is not None]
    return min((at for at in times if at > now), default=None)


_UNFINISHED = select(_D.seq).where(_D.seq.in_(bindparam("seqs", expanding=True)), _D.state == _READY)


async def unfinished(session: AsyncSession, seqs: Collection[int]) -> set[int]:
    """Those of some deliveries that are still to be sent: a cancelled one is not."""
    return set((await session.execute(_UNFINISHED, {"seqs": list(seqs)})).scalars()) if seqs else set()


_FINISH = (
    update(_TABLE)
    .where(_D.seq == bindparam("at_seq"))
    .values(
        {name: bindparam(f"new_{name}") for name in ("state", "tries", "attempts", "next_at", "finished_at", "url")}
    )
)


async def finish(session: AsyncSession, deliveries: Sequence[Delivery]) -> None:
    """Store what became of attempts."""
    rows = [
        {
            "at_seq": delivery.seq,
            "new_state": str(delivery.state),
            "new_tries": delivery.tries,
            "new_attempts": [_from_attempt(attempt) for attempt in delivery.attempts[-_KEPT_ATTEMPTS:]],
            "new_next_at": delivery.next_at,
            "new_finished_at": delivery.finished_at,
            "new_url": delivery.url,
        }
        for delivery in deliveries
    ]
    if rows:
        await (await session.connection()).execute(_FINISH, rows)


_PROMOTE = update(_TABLE).where(_D.seq == bindparam("at_seq")).values(state=_READY, next_at=bindparam("new_next_at"))


async def promote(session: AsyncSession, lanes: Iterable[tuple[str, str]], now: datetime) -> set[str]:
    """Let the next message of webhooks and keys be sent, where none is on its way; the webhooks that have more now."""
    rows, webhooks = [], set()
    for (webhook_id, _), states in (await _open_of(session, lanes)).items():
        if DeliveryState.WAITING in states and DeliveryState.READY not in states:
            rows.append({"at_seq": states[DeliveryState.WAITING], "new_next_at": now})
            webhooks.add(webhook_id)
    if rows:
        await (await session.connection()).execute(_PROMOTE, rows)
    return webhooks


async def cancel(session: AsyncSession, webhook_id: str, now: datetime) -> None:
    """Send nothing more of what is queued for a webhook."""
    rows = update(DeliveryRow).where(DeliveryRow.webhook_id == webhook_id, DeliveryRow.state.in_(_OPEN))
    await session.execute(rows.values(state=str(DeliveryState.CANCELLED), next_at=None, finished_at=now))


async def forget_before(session: AsyncSession, at: datetime, now: datetime) -> None:
    """Remove deliveries older than `at`; what waited for one of them that was never finished is to be sent `now`."""
    stuck = select(_D.webhook_id, _D.key).where(_D.created_at < at, _D.state == _READY)
    lanes = [(webhook_id, key) for webhook_id, key in await session.execute(stuck)]
    await session.execute(delete(DeliveryRow).where(DeliveryRow.created_at < at))
    for start in range(0, len(lanes), _LANES_AT_ONCE):
        await promote(session, lanes[start : start + _LANES_AT_ONCE], now)


# What was sent


async def find_delivery(session: AsyncSession, webhook_id: str, delivery_id: str) -> Delivery | None:
    """A delivery of a webhook by id."""
    rows = select(*_COLUMNS).where(_D.id == delivery_id, _D.webhook_id == webhook_id)
    row = (await session.execute(rows)).first()
    return _delivery(row) if row is not None else None


async def list_deliveries(
    session: AsyncSession, webhook_id: str, wanted: DeliveryFilter, page: Page
) -> Listing[Delivery]:
    """Deliveries of a webhook, newest first."""
    rows = _wanted(webhook_id, wanted)
    total = await count(session, rows)
    found = await session.execute(rows.order_by(_D.seq.desc()).limit(page.size).offset(page.offset))
    return Listing([_delivery(row) for row in found], total, page)


async def pick(session: AsyncSession, webhook_id: str, wanted: DeliveryFilter, limit: int) -> Sequence[Delivery]:
    """The first `limit` deliveries of a webhook, oldest first."""
    rows = _wanted(webhook_id, wanted).order_by(_D.seq).limit(limit)
    return [_delivery(row) for row in await session.execute(rows)]


def _wanted(webhook_id: str, wanted: DeliveryFilter) -> Select[Any]:
    rows = select(*_COLUMNS).where(_D.webhook_id == webhook_id)
    if wanted.states is not None:
        rows = rows.where(_D.state.in_([str(state) for state in wanted.states]))
    if wanted.event is not None:
        rows = rows.where(_D.event == wanted.event)
    if wanted.key is not None:
        rows = rows.where(_D.key == wanted.key)
    if wanted.start is not None:
        rows = rows.where(_D.created_at >= wanted.start)
    if wanted.end is not None:
        rows = rows.where(_D.created_at <= wanted.end)
    return rows


def _delivery(values: Sequence[Any]) -> Delivery:
    seq, id_, webhook_id, event, key, url, body, state, created_at, next_at, finished_at, tries, attempts = values
    tried = tuple(_to_attempt(attempt) for attempt in attempts)
    state = DeliveryState(state)
    return Delivery(seq, id_, webhook_id, event, key, url, body, state, created_at, next_at, finished_at, tries, tried)


def _from_attempt(attempt: Attempt) -> dict[str, Any]:
    return asdict(attempt) | {"at": format_time(attempt.at)}


def _to_attempt(values: dict[str, Any]) -> Attempt:
    return Attempt(**{**values, "at": parse_time(values["at"])})
