"""Live events as a stream (`text/event-stream`), for backends: an account, an app, a meeting or a recording."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tapedeck.api.auth import Gate
from tapedeck.api.chapters import EVENTS
from tapedeck.api.describe import Param, Raw, describe
from tapedeck.core.access import AppPrincipal
from tapedeck.core.errors import TapedeckError
from tapedeck.core.happenings import Message
from tapedeck.core.ids import parse_uuid
from tapedeck.service.events import EventFeed, Scope
from tapedeck.shapes.sse import ALIVE, event_lines, last_event_id

__all__ = ["add_routes"]

_STREAM = {
    200: Raw(
        "text/event-stream",
        "`id`, `event` and `data` as a webhook would be sent; comments while nothing happens.",
        example='id: 7\nevent: meeting.started\ndata: {"event":"meeting.started"}\n\n',
    )
}
_UUID = {"type": "string", "format": "uuid"}
_WANTED = (
    Param("meeting_id", "Only what happens in this meeting.", _UUID),
    Param("recording_id", "Only what happens to this recording.", _UUID),
    Param("last-event-id", "Go on after this one.", {"type": "string", "pattern": "^[0-9]{1,18}$"}, "header"),
)


def add_routes(routes: APIRouter, prefix: str, gate: Gate, feed: EventFeed) -> None:
    """Routes below `/v1/accounts/{account_id}`."""

    @routes.get(f"{prefix}/events")
    @describe(EVENTS, "Follow what happens in an account", raw=_STREAM, query=_WANTED)
    async def of_account(account_id: str, request: Request) -> Response:
        async def enter() -> Scope:
            principal = await gate.enter_account(request, account_id)
            only = principal.token.app_id if isinstance(principal, AppPrincipal) else None
            return Scope(account_id=account_id, app_id=only)

        return await _stream(request, feed, enter)

    @routes.get(f"{prefix}/apps/{{app_id}}/events")
    @describe(EVENTS, "Follow what happens in an app", raw=_STREAM, query=_WANTED)
    async def of_app(account_id: str, app_id: str, request: Request) -> Response:
        async def enter() -> Scope:
            await gate.enter(request, account_id, app_id)
            return Scope(account_id=account_id, app_id=app_id)

        return await _stream(request, feed, enter)


async def _stream(request: Request, feed: EventFeed, enter: Callable[[], Awaitable[Scope]]) -> Response:
    scope = await enter()
    wanted = {name: request.query_params.get(name) for name in ("meeting_id", "recording_id")}
    scope = replace(scope, **{name: parse_uuid(value, name) for name, value in wanted.items() if value is not None})
    after = last_event_id(request.headers.get("last-event-id"))
    feed.check(scope.account_id)
    following = feed.follow(scope, await feed.position() if after is None else after)
    return StreamingResponse(_lines(following, enter), media_type="text/event-stream")


async def _lines(
    following: AsyncGenerator[tuple[int, Message] | None], enter: Callable[[], Awaitable[Scope]]
) -> AsyncIterator[str]:
    """The stream as text. It ends soon after its token is no longer good, and when the feed cannot go on."""
    yield ALIVE
    try:
        async with aclosing(following):
            async for item in following:
                if item is not None:
                    yield event_lines(item[0], item[1].event, item[1].body)
                    continue
                await enter()
                yield ALIVE
    except TapedeckError:  # the reader comes back, and is told then
        return
