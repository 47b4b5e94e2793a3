"""Our own routes about webhooks: what was delivered and how, send it again, send a test."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Gate
from tapedeck.api.chapters import DELIVERIES
from tapedeck.api.describe import PAGE, SPAN, Param, Who, describe
from tapedeck.api.http import Reply, read_json
from tapedeck.api.realtimekit.meetings import PREFIX
from tapedeck.api.realtimekit.queries import Query
from tapedeck.core.errors import FieldProblem, InvalidError
from tapedeck.core.ids import parse_uuid
from tapedeck.core.times import parse_time
from tapedeck.core.webhooks import DeliveryState
from tapedeck.service.deliveries import DeliveryFilter, DeliveryService
from tapedeck.shapes import answers, bodies
from tapedeck.shapes.realtimekit import listing, single
from tapedeck.shapes.webhooks import EVENTS, delivery_body

__all__ = ["add_routes"]

_STATUSES = tuple(state.upper() for state in DeliveryState)
_LIST = (
    *PAGE,
    *SPAN,
    Param(
        "status",
        "Only those in one of these states.",
        {"type": "array", "items": {"type": "string", "enum": list(_STATUSES)}},
    ),
    Param("event", "Only those of this event.", {"type": "string", "enum": list(EVENTS)}),
    Param("key", "Only those of this recording or session.", {"type": "string"}),
)
_DISABLED = {409: "The webhook is disabled."}
_QUEUED = {409: "The webhook is disabled, or the delivery is still queued."}
_UNSENT = (DeliveryState.FAILED, DeliveryState.CANCELLED)


def add_routes(routes: APIRouter, prefix: str, gate: Gate, deliveries: DeliveryService) -> None:
    """Routes below `/v1/accounts/{account_id}`."""
    hook = f"{prefix}/apps/{{app_id}}/webhooks/{{webhook_id}}"

    @routes.get(f"{hook}/deliveries")
    @describe(DELIVERIES, "List what was sent to a webhook", items=answers.Delivery, query=_LIST)
    async def list_deliveries(account_id: str, app_id: str, webhook_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        query = Query(request.query_params, PREFIX)
        statuses = query.choices("status", _STATUSES)
        wanted = DeliveryFilter(
            states=None if statuses is None else [DeliveryState(status.lower()) for status in statuses],
            event=query.choice("event", EVENTS),
            key=query.text("key"),
            start=query.time("start_time", round_up=True),
            end=query.time("end_time"),
        )
        page = query.page()
        query.done()
        found = await deliveries.list(entry.app, parse_uuid(webhook_id, "webhook_id"), wanted, page)
        return Reply(listing([delivery_body(delivery) for delivery in found.items], found))

    @routes.get(f"{hook}/deliveries/{{delivery_id}}")
    @describe(DELIVERIES, "Get a delivery", data=answers.Delivery)
    async def get(account_id: str, app_id: str, webhook_id: str, delivery_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        ids = parse_uuid(webhook_id, "webhook_id"), parse_uuid(delivery_id, "delivery_id")
        return Reply(single(delivery_body(await deliveries.get(entry.app, *ids))))

    @routes.post(f"{hook}/deliveries/{{delivery_id}}/redeliver")
    @describe(DELIVERIES, "Send a delivery again, under its old id", Who.ADMIN, data=answers.Delivery, fails=_QUEUED)
    async def redeliver(account_id: str, app_id: str, webhook_id: str, delivery_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        ids = parse_uuid(webhook_id, "webhook_id"), parse_uuid(delivery_id, "delivery_id")
        return Reply(single(delivery_body(await deliveries.redeliver(entry.app, *ids))))

    @routes.post(f"{hook}/redeliver")
    @describe(
        DELIVERIES,
        "Send a range again",
        Who.ADMIN,
        data=answers.Redelivered,
        body=bodies.RedeliverBody,
        fails=_DISABLED,
    )
    async def redeliver_range(account_id: str, app_id: str, webhook_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        webhook_id = parse_uuid(webhook_id, "webhook_id")
        body = bodies.parse(bodies.RedeliverBody, await read_json(request), PREFIX)
        wanted = DeliveryFilter(
            states=_UNSENT if body.status is None else [DeliveryState(status.lower()) for status in body.status],
            event=body.event,
            key=body.key,
            start=_time("start_time", body.start_time),
            end=_time("end_time", body.end_time),
        )
        count = await deliveries.redeliver_range(entry.app, webhook_id, wanted)
        return Reply(single({"redelivered_count": count}))

    @routes.post(f"{hook}/test")
    @describe(
        DELIVERIES,
        "Send a test event",
        Who.ADMIN,
        data=answers.Delivery,
        body=bodies.SampleBody,
        status=201,
        fails=_DISABLED,
    )
    async def test(account_id: str, app_id: str, webhook_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        webhook_id = parse_uuid(webhook_id, "webhook_id")
        body = bodies.parse(bodies.SampleBody, await read_json(request), PREFIX)
        return Reply(single(delivery_body(await deliveries.send_test(entry.app, webhook_id, body.event))), 201)


def _time(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_time(text).astimezone(UTC)
    except (ValueError, OverflowError):
        problem = f'{PREFIX}"{name}" must be an ISO 8601 date-time'
        raise InvalidError(problem, (FieldProblem(f"/{name}", problem),)) from None
