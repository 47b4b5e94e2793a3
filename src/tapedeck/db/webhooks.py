"""Queries about webhooks. Rows in, core objects out; no rule lives here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.webhooks import Breaker, Webhook
from tapedeck.db.models import WebhookRow

__all__ = [
    "COLUMNS",
    "add_webhook",
    "delete_webhook",
    "find_webhook",
    "find_webhooks",
    "list_webhooks",
    "save_breaker",
    "save_webhook",
    "subscribed",
    "to_webhook",
]

_W = WebhookRow.__table__.c
COLUMNS = (
    _W.id,
    _W.app_id,
    _W.name,
    _W.url,
    _W.events,
    _W.enabled,
    _W.created_at,
    _W.updated_at,
    _W.failures,
    _W.paused_until,
)
"""What `to_webhook` takes."""
_SUBSCRIBED = select(*COLUMNS).where(_W.app_id.in_(bindparam("app_ids", expanding=True)), _W.enabled.is_(True))
_BY_ID = select(*COLUMNS).where(_W.id.in_(bindparam("ids", expanding=True)))


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
    webhook = (await find_webhooks(session, [webhook_id])).get(webhook_id)
    return webhook if webhook is not None and app_id in (None, webhook.app_id) else None


async def find_webhooks(session: AsyncSession, ids: Collection[str]) -> dict[str, Webhook]:
    """Those webhooks of some ids that are there."""
    found = [to_webhook(row) for row in await session.execute(_BY_ID, {"ids": list(ids)})]
    return {webhook.id: webhook for webhook in found}


async def list_webhooks(session: AsyncSession, app_id: str) -> Sequence[Webhook]:
    """Webhooks of an app, oldest first."""
    rows = select(*COLUMNS).where(_W.app_id == app_id).order_by(_W.created_at, _W.id)
    return [to_webhook(row) for row in await session.execute(rows)]


async def subscribed(session: AsyncSession, app_ids: Collection[str]) -> Sequence[Webhook]:
    """Enabled webhooks of some apps."""
    return [to_webhook(row) for row in await session.execute(_SUBSCRIBED, {"app_ids": list(app_ids)})]


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


def to_webhook(values: Sequence[Any]) -> Webhook:
    """The webhook of a row of `COLUMNS`."""
    id_, app_id, name, url, events, enabled, created_at, updated_at, failures, paused_until = values
    breaker = Breaker(failures, paused_until)
    return Webhook(id_, app_id, name, url, tuple(events), enabled, created_at, updated_at, breaker)
