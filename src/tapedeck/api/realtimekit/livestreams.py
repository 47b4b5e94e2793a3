"""Livestreams and analytics of the RealtimeKit face, counted from what is stored."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Gate
from tapedeck.api.chapters import ANALYTICS, LIVESTREAMS
from tapedeck.api.describe import PAGE, SPAN, Param, describe
from tapedeck.api.http import JSON_LIMIT, Reply, parse_json, read_text
from tapedeck.api.realtimekit.meetings import PREFIX
from tapedeck.api.realtimekit.queries import Query
from tapedeck.core.errors import FieldProblem, InvalidError, NotFoundError
from tapedeck.core.ids import is_uuid, parse_uuid
from tapedeck.core.livestream import LivestreamStatus, Showing
from tapedeck.core.paging import Listing
from tapedeck.core.times import from_ms
from tapedeck.service.analytics import AnalyticsService
from tapedeck.service.livestreams import LivestreamFilter, LivestreamService
from tapedeck.shapes import analytics, bodies
from tapedeck.shapes import livestreams as shapes
from tapedeck.shapes.realtimekit import single

__all__ = ["add_analytics_routes", "add_livestream_routes"]

_STOPPED = "Livestream stopped successfully"
_LAST_S = 253_402_300_799
"""The end of the year 9999."""
_ORDER = Param("sort_order", "By age.", {"type": "string", "enum": ["ASC", "DSC"]})
_LIST = (
    *PAGE,
    *SPAN,
    _ORDER,
    Param("status", "Only those in this state.", {"type": "string", "enum": list(shapes.STATUSES)}),
    Param("exclude_meetings", "Without their meetings.", {"type": "string", "enum": ["true", "false"]}),
)
_SECONDS = tuple(
    Param(name, "Seconds since 1970.", {"type": "integer", "minimum": 0}) for name in ("start_time", "end_time")
)
_DAYS = (
    Param("start_date", "The first day (UTC); default 29 days before the last.", {"type": "string", "format": "date"}),
    Param("end_date", "The last day (UTC); default today.", {"type": "string", "format": "date"}),
)


def add_livestream_routes(routes: APIRouter, prefix: str, gate: Gate, livestreams: LivestreamService) -> None:
    """Routes below an app, for backends."""

    @routes.post(f"{prefix}/meetings/{{meeting_id}}/livestreams")
    @describe(
        LIVESTREAMS,
        "Show a meeting to viewers",
        data=shapes.StartedLivestream,
        body=bodies.LivestreamBody,
        optional_body=True,
        fails={409: "It is shown already, or this server makes films after the meeting."},
        about="Over HLS, at `playback_url`, from now on. What is shown is the recording that runs, if it is in H264 "
        "and of the wanted size; else one is started, as the meeting's are, which ends with the livestream.",
    )
    async def start(account_id: str, app_id: str, meeting_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        given = await read_text(request, JSON_LIMIT)
        body = bodies.parse(bodies.LivestreamBody, parse_json(given) if given.strip() else {}, PREFIX)
        meeting_id = parse_uuid(meeting_id, "meeting_id")
        video = body.video_config
        size = (None, None) if video is None else (video.width, video.height)
        showing = await livestreams.start(entry.app, entry.principal, meeting_id, body.name, size)
        return Reply(single(shapes.started_body(showing, livestreams.address(showing.stream))))

    @routes.post(f"{prefix}/meetings/{{meeting_id}}/active-livestream/stop")
    @describe(LIVESTREAMS, "Show a meeting no longer", data=shapes.StoppedLivestream)
    async def stop(account_id: str, app_id: str, meeting_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        await livestreams.stop(entry.app, entry.principal, parse_uuid(meeting_id, "meeting_id"))
        return Reply(single({"message": _STOPPED}))

    @routes.get(f"{prefix}/meetings/{{meeting_id}}/active-livestream")
    @describe(LIVESTREAMS, "Get the livestream of a meeting", data=shapes.Livestream)
    async def active(account_id: str, app_id: str, meeting_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        showing = await livestreams.active(entry.app, parse_uuid(meeting_id, "meeting_id"))
        return Reply(single(shapes.livestream_body(showing, livestreams.address(showing.stream))))

    @routes.get(f"{prefix}/livestreams")
    @describe(
        LIVESTREAMS,
        "List livestreams, newest first",
        data=shapes.LivestreamList,
        query=_LIST,
        about="All of the page are in `livestreams`; the first one is repeated in `data` itself, where the published "
        "type has room for one. With `exclude_meetings` there are none: each is one of a meeting.",
    )
    async def list_livestreams(account_id: str, app_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        query = Query(request.query_params, PREFIX)
        page, start, end = query.page(), query.time("start_time", round_up=True), query.time("end_time")
        without, order = query.flag("exclude_meetings"), query.choice("sort_order", ("ASC", "DSC"))
        status = query.choice("status", shapes.STATUSES)
        query.done()
        found: Listing[Showing] = Listing([], 0, page)
        if not without:
            chosen = None if status is None else LivestreamStatus(status.lower())
            found = await livestreams.list(entry.app, LivestreamFilter(chosen, start, end, order == "ASC"), page)
        return Reply(single(shapes.list_body(found, [livestreams.address(one.stream) for one in found.items])))

    @routes.get(f"{prefix}/livestreams/sessions/{{livestream_session_id}}")
    @describe(LIVESTREAMS, "Get a session of a livestream", data=shapes.LivestreamSession)
    async def session(account_id: str, app_id: str, livestream_session_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        showing = await livestreams.get_session(entry.app, _known(livestream_session_id, "Livestream session"))
        return Reply(single(shapes.session_body(showing, livestreams.now())))

    @routes.get(f"{prefix}/livestreams/{{livestream_id}}")
    @describe(LIVESTREAMS, "Get a livestream and its session", data=shapes.LivestreamDetail)
    async def get(account_id: str, app_id: str, livestream_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        showing = await livestreams.get(entry.app, _known(livestream_id, "Livestream"))
        return Reply(single(_detail(showing) | {"paging": {"total_count": 1, "start_offset": 1, "end_offset": 1}}))

    @routes.get(f"{prefix}/livestreams/{{livestream_id}}/active-livestream-session")
    @describe(LIVESTREAMS, "Get a livestream and the session that runs", data=shapes.ActiveLivestream)
    async def running(account_id: str, app_id: str, livestream_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        showing = await livestreams.get(entry.app, _known(livestream_id, "Livestream"))
        if not showing.is_open:
            raise NotFoundError(f"Livestream {livestream_id} has no active session")
        detail = _detail(showing)
        for name in ("ingest_seconds", "viewer_seconds"):  # numbers elsewhere, text here: so it is published
            detail["session"][name] = str(detail["session"][name])
        return Reply(single(detail))

    def _detail(showing: Showing) -> dict[str, Any]:
        return {
            "livestream": shapes.livestream_body(showing, livestreams.address(showing.stream)),
            "session": shapes.session_body(showing, livestreams.now()),
        }


def add_analytics_routes(
    routes: APIRouter, prefix: str, gate: Gate, service: AnalyticsService, streams: LivestreamService
) -> None:
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
    @describe(ANALYTICS, "Sum up livestreams", data=shapes.LivestreamSum, query=_SECONDS)
    async def overall(account_id: str, app_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        found, now = await streams.of_span(entry.app, *_span(request))
        return Reply(single(shapes.sum_body(found, now)))

    @routes.get(f"{prefix}/analytics/livestreams/daywise")
    @describe(ANALYTICS, "Count livestreams by day", data=list[shapes.LivestreamDay], query=_SECONDS)
    async def livestream_days(account_id: str, app_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        found, now = await streams.of_span(entry.app, *_span(request))
        return Reply(single(shapes.days_body(found, now)))


def _known(text: str, what: str) -> str:
    """The id in lower case. NotFoundError for what is none: no store is asked for text of anybody."""
    if not is_uuid(text):
        raise NotFoundError(f"{what} not found: {text[:64]}")
    return text.lower()


def _span(request: Request) -> tuple[datetime | None, datetime | None]:
    query = Query(request.query_params, PREFIX)
    start, end = query.whole("start_time"), query.whole("end_time")
    query.done()
    return _instant(start), _instant(end)


def _instant(seconds: int | None) -> datetime | None:
    """Beyond what a calendar knows, its end."""
    return None if seconds is None else from_ms(min(seconds, _LAST_S) * 1000)


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
