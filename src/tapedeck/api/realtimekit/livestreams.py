"""Livestreams and analytics of the RealtimeKit face.

This server sends no live streams: starting and stopping is refused in words, and reading finds none. Analytics are
counted from what is stored.
"""

from __future__ import annotations

from datetime import date

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Gate
from tapedeck.api.chapters import ANALYTICS, LIVESTREAMS
from tapedeck.api.describe import PAGE, SPAN, Param, describe
from tapedeck.api.http import Reply, read_json
from tapedeck.api.realtimekit.meetings import PREFIX
from tapedeck.api.realtimekit.queries import Query
from tapedeck.core.errors import FieldProblem, InvalidError, NotFoundError
from tapedeck.core.ids import parse_uuid
from tapedeck.service.analytics import AnalyticsService
from tapedeck.service.meetings import MeetingService
from tapedeck.shapes import analytics, bodies
from tapedeck.shapes.realtimekit import single

__all__ = ["add_analytics_routes", "add_livestream_routes"]

_NONE = "Livestreams are not available"
_NO_STREAM = {400: f"Always: `{_NONE}`."}
_STATUSES = ("LIVE", "IDLE", "ERRORED", "INVOKED")
_ORDER = Param("sort_order", "By age.", {"type": "string", "enum": ["ASC", "DSC"]})
_LIST = (
    *PAGE,
    *SPAN,
    _ORDER,
    Param("status", "Only those in this state.", {"type": "string", "enum": list(_STATUSES)}),
    Param("exclude_meetings", "Without their meetings.", {"type": "string", "enum": ["true", "false"]}),
)
_SECONDS = tuple(
    Param(name, "Seconds since 1970.", {"type": "integer", "minimum": 0}) for name in ("start_time", "end_time")
)
_DAYS = (
    Param("start_date", "The first day (UTC); default 29 days before the last.", {"type": "string", "format": "date"}),
    Param("end_date", "The last day (UTC); default today.", {"type": "string", "format": "date"}),
)


def add_livestream_routes(routes: APIRouter, prefix: str, gate: Gate, meetings: MeetingService) -> None:
    """Routes below an app, for backends."""

    @routes.post(f"{prefix}/meetings/{{meeting_id}}/livestreams")
    @describe(LIVESTREAMS, "Start a livestream: always refused", raw={400: None}, body=bodies.LivestreamBody)
    async def start(account_id: str, app_id: str, meeting_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        bodies.parse(bodies.LivestreamBody, await read_json(request), PREFIX)
        await meetings.get(entry.app, parse_uuid(meeting_id, "meeting_id"))
        raise InvalidError(_NONE)

    @routes.post(f"{prefix}/meetings/{{meeting_id}}/active-livestream/stop")
    @describe(LIVESTREAMS, "Stop the livestream of a meeting: always refused", raw={400: None})
    async def stop(account_id: str, app_id: str, meeting_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        await meetings.get(entry.app, parse_uuid(meeting_id, "meeting_id"))
        raise InvalidError(_NONE)

    @routes.get(f"{prefix}/meetings/{{meeting_id}}/active-livestream")
    @describe(LIVESTREAMS, "Get the livestream of a meeting: there is none", raw={404: None})
    async def active(account_id: str, app_id: str, meeting_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        await meetings.get(entry.app, parse_uuid(meeting_id, "meeting_id"))
        raise NotFoundError(f"No active livestream found for meeting_id {meeting_id}")

    @routes.get(f"{prefix}/livestreams")
    @describe(LIVESTREAMS, "List livestreams: there are none", data=analytics.NoLivestreams, query=_LIST)
    async def list_livestreams(account_id: str, app_id: str, request: Request) -> Response:
        await gate.enter(request, account_id, app_id)
        query = Query(request.query_params, PREFIX)
        query.page(), query.time("start_time"), query.time("end_time"), query.flag("exclude_meetings")
        query.choice("sort_order", ("ASC", "DSC")), query.choice("status", _STATUSES)
        query.done()
        return Reply(single({"paging": {"total_count": 0, "start_offset": 0, "end_offset": 0}}))

    @routes.get(f"{prefix}/livestreams/sessions/{{livestream_session_id}}")
    @describe(LIVESTREAMS, "Get a session of a livestream: there is none", raw={404: None})
    async def session(account_id: str, app_id: str, livestream_session_id: str, request: Request) -> Response:
        await gate.enter(request, account_id, app_id)
        raise NotFoundError(f"Livestream session not found: {livestream_session_id}")

    @routes.get(f"{prefix}/livestreams/{{livestream_id}}")
    @describe(LIVESTREAMS, "Get a livestream: there is none", raw={404: None})
    async def get(account_id: str, app_id: str, livestream_id: str, request: Request) -> Response:
        await gate.enter(request, account_id, app_id)
        raise NotFoundError(f"Livestream not found: {livestream_id}")

    @routes.get(f"{prefix}/livestreams/{{livestream_id}}/active-livestream-session")
    @describe(LIVESTREAMS, "Get the running session of a livestream: there is none", raw={404: None})
    async def running(account_id: str, app_id: str, livestream_id: str, request: Request) -> Response:
        await gate.enter(request, account_id, app_id)
        raise NotFoundError(f"Livestream not found: {livestream_id}")


def add_analytics_routes(routes: APIRouter, prefix: str, gate: Gate, service: AnalyticsService) -> None:
    """Routes below an app, for backends."""

    @routes.get(f"{prefix}/analytics/daywise")
    @describe(ANALYTICS, "Count recordings and sessions by day", data=analytics.Analytics, query=_DAYS)
    async def by_day(account_id: str, app_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        query = Query(request.query_params, PREFIX)
        start, end = _day(query, "start_date"), _day(query, "end_date")
        query.done()
        return Reply(single(analytics.daywise(await service.by_day(entry.app, start, end))))

    @routes.get(f"{prefix}/analytics/livestreams/overall")
    @describe(ANALYTICS, "Sum up livestreams: there are none", data=analytics.LivestreamSum, query=_SECONDS)
    async def livestreams(account_id: str, app_id: str, request: Request) -> Response:
        await gate.enter(request, account_id, app_id)
        _span(request)
        return Reply(single({"count": 0, "total_ingest_seconds": 0, "total_viewer_seconds": 0}))

    @routes.get(f"{prefix}/analytics/livestreams/daywise")
    @describe(ANALYTICS, "Count livestreams by day: there are none", data=list[analytics.LivestreamDay], query=_SECONDS)
    async def livestream_days(account_id: str, app_id: str, request: Request) -> Response:
        await gate.enter(request, account_id, app_id)
        _span(request)
        return Reply(single([]))


def _span(request: Request) -> None:
    query = Query(request.query_params, PREFIX)
    query.whole("start_time"), query.whole("end_time")
    query.done()


def _day(query: Query, name: str) -> date | None:
    """A day as YYYY-MM-DD."""
    text = query.text(name)
    if text is None:
        return None
    try:
        if len(text) != 10:
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        problem = f'{PREFIX}"{name}" must be a day as YYYY-MM-DD'
        raise InvalidError(problem, (FieldProblem(f"/{name}", problem),)) from None
