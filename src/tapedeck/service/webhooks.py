"""Webhooks: make, read, change, delete. What is sent to them is `service.deliveries`'s."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict
from uuid import uuid4

from tapedeck.core.egress import named_privately, url_problem
from tapedeck.core.errors import FieldProblem, InvalidError, NotFoundError
from tapedeck.core.meeting import App
from tapedeck.core.times import whole_ms
from tapedeck.core.webhooks import Breaker, Webhook
from tapedeck.db import deliveries
from tapedeck.db import webhooks as table
from tapedeck.db.engine import Database, DbSession
from tapedeck.ports.clock import Clock

__all__ = ["WebhookService", "WebhookValues", "owned_webhook"]


class WebhookValues(TypedDict, total=False):
    """What a caller may set of a webhook; an absent key stays as it is."""

    name: str
    url: str
    events: tuple[str, ...]
    enabled: bool


class WebhookService:
    """Webhooks of all apps. `allow_private`: endpoints may have private addresses."""

    def __init__(self, db: Database, clock: Clock, allow_private: bool = False) -> None:
        self._db = db
        self._clock = clock
        self._allow_private = allow_private

    async def create(self, app: App, name: str, url: str, events: tuple[str, ...], enabled: bool) -> Webhook:
        """A new webhook; it is told what happens from now on. InvalidError when nobody could connect to the URL."""
        self._check(url)
        now = whole_ms(self._clock.now())
        webhook = Webhook(str(uuid4()), app.id, name, url, events, enabled, now, now)
        async with self._db.write() as session:
            await table.add_webhook(session, webhook)
        return webhook

    async def list(self, app: App) -> Sequence[Webhook]:
        """All webhooks of an app, oldest first."""
        async with self._db.read() as session:
            return await table.list_webhooks(session, app.id)

    async def get(self, app: App, webhook_id: str) -> Webhook:
        """One webhook; NotFoundError."""
        async with self._db.read() as session:
            return await owned_webhook(session, app, webhook_id)

    async def update(self, app: App, webhook_id: str, values: WebhookValues) -> Webhook:
        """Change what is given, keep the rest; an endpoint that was left alone is used again.

        What is queued goes to the new URL; disabling cancels it. NotFoundError, InvalidError.
        """
        if "url" in values:
            self._check(values["url"])
        now = whole_ms(self._clock.now())
        async with self._db.write() as session:
            webhook = await owned_webhook(session, app, webhook_id)
            changed = replace(webhook, updated_at=now, breaker=Breaker(), **values)
            await table.save_webhook(session, changed)
            if not changed.enabled:
                await deliveries.cancel(session, webhook_id, now)
        return changed

    async def delete(self, app: App, webhook_id: str) -> Webhook:
        """Forget a webhook and cancel what is queued for it; returns it as it was. NotFoundError."""
        async with self._db.write() as session:
            webhook = await owned_webhook(session, app, webhook_id)
            await deliveries.cancel(session, webhook_id, whole_ms(self._clock.now()))
            await table.delete_webhook(session, webhook_id)
        return webhook

    def _check(self, url: str) -> None:
        problem = url_problem(url)
        if problem is None and not self._allow_private and named_privately(url):
            problem = "must not be a private address; this server is not allowed to connect there"
        if problem is not None:
            raise InvalidError(f'BAD_REQUEST: "url" {problem}', (FieldProblem("/url", problem),))


async def owned_webhook(session: DbSession, app: App, webhook_id: str) -> Webhook:
    """A webhook of an app; NotFoundError."""
    webhook = await table.find_webhook(session, webhook_id, app.id)
    if webhook is None:
        raise NotFoundError(f"Webhook not found: {webhook_id}")
    return webhook
