"""Webhooks of the RealtimeKit face, and the key that their signatures are verified with."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Gate
from tapedeck.api.chapters import WEBHOOKS
from tapedeck.api.describe import Who, describe
from tapedeck.api.http import Reply, read_json
from tapedeck.api.realtimekit.meetings import PREFIX
from tapedeck.core.ids import parse_uuid
from tapedeck.ports.signer import Signer
from tapedeck.service.webhooks import WebhookService, WebhookValues
from tapedeck.shapes import answers, bodies
from tapedeck.shapes.realtimekit import single
from tapedeck.shapes.webhooks import EVENTS, EventName, webhook_body

__all__ = ["add_key_route", "add_routes"]


def add_routes(routes: APIRouter, prefix: str, gate: Gate, webhooks: WebhookService) -> None:
    """Routes below an app, for backends."""

    @routes.post(f"{prefix}/webhooks")
    @describe(WEBHOOKS, "Make a webhook", data=answers.Webhook, body=bodies.WebhookBody, status=201)
    async def create(account_id: str, app_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        body = bodies.parse(bodies.WebhookBody, await read_json(request), PREFIX)
        made = await webhooks.create(entry.app, body.name, body.url, tuple(body.events), body.enabled is not False)
        return Reply(single(webhook_body(made)), 201)

    @routes.get(f"{prefix}/webhooks")
    @describe(WEBHOOKS, "List webhooks", data=list[answers.Webhook])
    async def list_webhooks(account_id: str, app_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        return Reply(single([webhook_body(webhook) for webhook in await webhooks.list(entry.app)]))

    @routes.get(f"{prefix}/webhooks/all")
    @describe(WEBHOOKS, "List the events a webhook may ask for", data=list[EventName])
    async def list_events(account_id: str, app_id: str, request: Request) -> Response:
        await gate.enter(request, account_id, app_id)
        return Reply(single(list(EVENTS)))

    @routes.get(f"{prefix}/webhooks/{{webhook_id}}")
    @describe(WEBHOOKS, "Get a webhook", data=answers.Webhook)
    async def get(account_id: str, app_id: str, webhook_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        return Reply(single(webhook_body(await webhooks.get(entry.app, parse_uuid(webhook_id, "webhook_id")))))

    @routes.patch(f"{prefix}/webhooks/{{webhook_id}}")
    @describe(WEBHOOKS, "Change what is given of a webhook", data=answers.Webhook, body=bodies.EditWebhookBody)
    async def edit(account_id: str, app_id: str, webhook_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        webhook_id = parse_uuid(webhook_id, "webhook_id")
        body = bodies.parse(bodies.EditWebhookBody, await read_json(request), PREFIX)
        return Reply(single(webhook_body(await webhooks.update(entry.app, webhook_id, _values(body)))))

    @routes.put(f"{prefix}/webhooks/{{webhook_id}}")
    @describe(WEBHOOKS, "Replace a webhook", data=answers.Webhook, body=bodies.WebhookBody)
    async def replace(account_id: str, app_id: str, webhook_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        webhook_id = parse_uuid(webhook_id, "webhook_id")
        body = bodies.parse(bodies.WebhookBody, await read_json(request), PREFIX)
        values = _values(body) | {"enabled": body.enabled is not False}
        return Reply(single(webhook_body(await webhooks.update(entry.app, webhook_id, values))))

    @routes.delete(f"{prefix}/webhooks/{{webhook_id}}")
    @describe(WEBHOOKS, "Delete a webhook; what is queued is not sent", data=answers.Webhook)
    async def delete(account_id: str, app_id: str, webhook_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        return Reply(single(webhook_body(await webhooks.delete(entry.app, parse_uuid(webhook_id, "webhook_id")))))


def add_key_route(routes: APIRouter, signer: Signer) -> None:
    """The public key, for anybody."""

    @routes.get("/.well-known/webhooks.json")
    @describe(WEBHOOKS, "Get the public key that signatures are verified with", Who.NOBODY, plain=answers.WebhookKey)
    async def key() -> Response:
        return Reply({"success": True, "data": {"publicKey": signer.public_pem}, "message": ""})


def _values(body: bodies.WebhookBody | bodies.EditWebhookBody) -> WebhookValues:
    values: WebhookValues = {}
    if body.name is not None:
        values["name"] = body.name
    if body.url is not None:
        values["url"] = body.url
    if body.events is not None:
        values["events"] = tuple(body.events)
    if body.enabled is not None:
        values["enabled"] = body.enabled
    return values
