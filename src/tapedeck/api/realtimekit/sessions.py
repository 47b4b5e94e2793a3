"""Sessions of the RealtimeKit face: which there were, who was in them, and what the host of a live one may do."""

from __future__ import annotations

import re
from typing import NoReturn

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Gate
from tapedeck.api.chapters import SESSIONS
from tapedeck.api.describe import PAGE, SEARCH, SPAN, Param, describe
from tapedeck.api.http import Reply, read_json
from tapedeck.api.realtimekit.meetings import PREFIX
from tapedeck.api.realtimekit.queries import Query
from tapedeck.core.errors import FieldProblem, InvalidError, NotFoundError
from tapedeck.core.ids import parse_uuid
from tapedeck.service.attendance import (
    AttendanceFilter,
    AttendanceOrder,
    AttendanceService,
    AttendanceView,
    SessionFilter,
    SessionOrder,
    SessionView,
)
from tapedeck.service.hosting import HostService
from tapedeck.shapes import sessions as shapes
from tapedeck.shapes.bodies import parse
from tapedeck.shapes.realtimekit import single

__all__ = ["add_active_routes", "add_routes"]

_RANGE = "^([0-9]{0,9}):([0-9]{0,9})$"
_WORDS = {"type": "string"}
_ROOMS = Param("include_breakout_rooms", "Name its breakout rooms, of which there are none.", {"type": "boolean"})
_EVENTS = Param("include_peer_events", "With the comings and goings of each connection.", {"type": "boolean"})
_FORMAT = Param("format", "Of the file.", _WORDS | {"enum": ["SRT", "VTT", "JSON", "CSV"]})
_NONE = "Always 404: this server makes none."
_REPORTS = ("device_info", "ip_information", "precall_network_information", "events", "quality_stats")


def add_routes(routes: APIRouter, prefix: str, gate: Gate, attendance: AttendanceService) -> None:
    """Routes about sessions below an app, for backends."""

    @routes.get(f"{prefix}/sessions")
    @describe(
        SESSIONS,
        "List sessions",
        plain=shapes.SessionPage,
        query=(
            *PAGE,
            Param("associated_id", "Only of this meeting.", _WORDS),
            Param("status", "Only those that go on, or are over.", _WORDS | {"enum": ["LIVE", "ENDED"]}),
            SEARCH,
            Param("sort_by", "What counts.", _WORDS | {"enum": ["minutesConsumed", "createdAt"]}),
            Param("sort_order", "Which way.", _WORDS | {"enum": ["ASC", "DESC"], "default": "DESC"}),
            *SPAN,
            Param("participants", "How many were there at once, at most: a range.", _WORDS | {"pattern": _RANGE}),
        ),
    )
    async def list_sessions(account_id: str, app_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        query = Query(request.query_params, PREFIX)
        status = query.choice("status", ("LIVE", "ENDED"))
        meeting_id = query.text("associated_id")
        by_minutes = query.choice("sort_by", ("minutesConsumed", "createdAt")) == "minutesConsumed"
        start, end = query.time("start_time", round_up=True), query.time("end_time")
        search, ascending = query.search(), query.choice("sort_order", ("ASC", "DESC")) == "ASC"
        people, page = query.text("participants"), query.page()
        query.done()
        least, most = _range(people)
        wanted = SessionFilter(
            meeting_id=None if meeting_id is None else meeting_id.lower(),
            live=None if status is None else status == "LIVE",
            search=search,
            start=start,
            end=end,
            least_people=least,
            most_people=most,
            order=SessionOrder.CONSUMED if by_minutes else SessionOrder.STARTED,
            ascending=ascending,
        )
        found = await attendance.list_sessions(entry.app, wanted, page)
        return Reply(shapes.session_listing([_session(view) for view in found.items], found))

    @routes.get(f"{prefix}/sessions/peer-report/{{peer_id}}")
    @describe(
        SESSIONS,
        "Get a connection",
        data=shapes.OneParticipant,
        query=(_EVENTS, Param("filters", "A report of it: always 404.", _WORDS | {"enum": list(_REPORTS)})),
    )
    async def get_peer(account_id: str, app_id: str, peer_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        query = Query(request.query_params, PREFIX)
        report, events = query.choice("filters", _REPORTS), query.flag("include_peer_events") is True
        query.done()
        view = await attendance.get_connection(entry.app, parse_uuid(peer_id, "peer_id"), events)
        if report is not None:
            raise NotFoundError(f"No {report} of peer {peer_id}: this server keeps no reports of peers")
        return Reply(single({"participant": _person(view) | {"session_id": view.attendance.session_id}}))

    @routes.get(f"{prefix}/sessions/{{session_id}}")
    @describe(SESSIONS, "Get a session", data=shapes.Session, query=(_ROOMS,))
    async def get(account_id: str, app_id: str, session_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        query = Query(request.query_params, PREFIX)
        rooms = query.flag("include_breakout_rooms") is True
        query.done()
        return Reply(single(_session(await attendance.get_session(entry.app, _id(session_id)), rooms)))

    @routes.get(f"{prefix}/sessions/{{session_id}}/participants")
    @describe(
        SESSIONS,
        "List who was in a session",
        plain=shapes.ParticipantPage,
        query=(
            *PAGE,
            Param("search", "A part of the name or custom id, or an id.", _WORDS | {"maxLength": 256}),
            Param("sort_by", "What counts.", _WORDS | {"enum": ["joinedAt", "duration"]}),
            Param("sort_order", "Which way.", _WORDS | {"enum": ["ASC", "DESC"], "default": "ASC"}),
            Param(
                "view",
                "Each connection for itself, or people.",
                _WORDS | {"enum": ["raw", "consolidated"], "default": "raw"},
            ),
            _EVENTS,
        ),
    )
    async def list_people(account_id: str, app_id: str, session_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        query = Query(request.query_params, PREFIX)
        by_duration = query.choice("sort_by", ("joinedAt", "duration")) == "duration"
        wanted = AttendanceFilter(
            search=query.search(),
            raw=query.choice("view", ("raw", "consolidated")) != "consolidated",
            order=AttendanceOrder.STAYED if by_duration else AttendanceOrder.JOINED,
            ascending=query.choice("sort_order", ("ASC", "DESC")) != "DESC",
        )
        events, page = query.flag("include_peer_events") is True, query.page()
        query.done()
        found = await attendance.list_people(entry.app, _id(session_id), wanted, page, events)
        return Reply(shapes.participant_listing([_person(view) for view in found.items], found))

    @routes.get(f"{prefix}/sessions/{{session_id}}/participants/{{participant_id}}")
    @describe(SESSIONS, "Get somebody in a session", data=shapes.OneParticipant, query=(_EVENTS,))
    async def get_person(
        account_id: str, app_id: str, session_id: str, participant_id: str, request: Request
    ) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        query = Query(request.query_params, PREFIX)
        events = query.flag("include_peer_events") is True
        query.done()
        ids = _id(session_id), parse_uuid(participant_id, "participant_id")
        return Reply(single({"participant": _person(await attendance.get_person(entry.app, *ids, events))}))

    async def _nothing_of(account_id: str, app_id: str, session_id: str, request: Request, what: str) -> NoReturn:
        entry = await gate.enter(request, account_id, app_id)
        query = Query(request.query_params, PREFIX)
        if what == "transcript":
            query.choice("format", ("SRT", "VTT", "JSON", "CSV"))
        query.done()
        view = await attendance.get_session(entry.app, _id(session_id))
        raise NotFoundError(f"No {what} of session {view.session.id}: this server makes none")

    @routes.get(f"{prefix}/sessions/{{session_id}}/chat")
    @describe(SESSIONS, "Get the chat of a session", about=_NONE)
    async def chat(account_id: str, app_id: str, session_id: str, request: Request) -> Response:
        await _nothing_of(account_id, app_id, session_id, request, "chat")

    @routes.get(f"{prefix}/sessions/{{session_id}}/transcript")
    @describe(SESSIONS, "Get the transcript of a session", about=_NONE, query=(_FORMAT,))
    async def transcript(account_id: str, app_id: str, session_id: str, request: Request) -> Response:
        await _nothing_of(account_id, app_id, session_id, request, "transcript")

    @routes.get(f"{prefix}/sessions/{{session_id}}/summary")
    @describe(SESSIONS, "Get the summary of a session", about=_NONE)
    async def summary(account_id: str, app_id: str, session_id: str, request: Request) -> Response:
        await _nothing_of(account_id, app_id, session_id, request, "summary")

    @routes.post(f"{prefix}/sessions/{{session_id}}/summary")
    @describe(SESSIONS, "Summarize the transcript of a session", about=_NONE)
    async def summarize(account_id: str, app_id: str, session_id: str, request: Request) -> Response:
        await _nothing_of(account_id, app_id, session_id, request, "transcript to summarize")


def add_active_routes(
    routes: APIRouter, prefix: str, gate: Gate, attendance: AttendanceService, hosting: HostService
) -> None:
    """Routes about the live session of a meeting, for backends."""
    prefix = f"{prefix}/meetings/{{meeting_id}}/active-session"

    @routes.get(prefix)
    @describe(SESSIONS, "Get the live session of a meeting", data=shapes.Session)
    async def active(account_id: str, app_id: str, meeting_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        return Reply(single(_session(await attendance.active_session(entry.app, _meeting(meeting_id)))))

    @routes.post(f"{prefix}/kick")
    @describe(
        SESSIONS,
        "Kick participants",
        about="Their publications end at once. Their tokens stay good.",
        data=shapes.Kicked,
        body=shapes.KickBody,
    )
    async def kick(account_id: str, app_id: str, meeting_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        meeting_id = _meeting(meeting_id)
        body = parse(shapes.KickBody, await read_json(request), PREFIX)
        ids = [participant_id.lower() for participant_id in body.participant_ids or ()]
        kicked = await hosting.kick(entry.app, meeting_id, ids, body.custom_participant_ids or ())
        return Reply(single(shapes.kicked_body(kicked)))

    @routes.post(f"{prefix}/kick-all")
    @describe(
        SESSIONS,
        "Kick everybody",
        about="The session ends, and with it what records it.",
        data=shapes.KickedAll,
    )
    async def kick_all(account_id: str, app_id: str, meeting_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        return Reply(single(shapes.kicked_all(await hosting.kick_all(entry.app, _meeting(meeting_id)))))


def _session(view: SessionView, breakout_rooms: bool = False) -> dict[str, object]:
    return shapes.session_body(view.session, view.meeting, view.consumed_ms, breakout_rooms)


def _person(view: AttendanceView) -> dict[str, object]:
    return shapes.attendance_body(view.attendance, view.connections)


def _id(session_id: str) -> str:
    return parse_uuid(session_id, "session_id")


def _meeting(meeting_id: str) -> str:
    return parse_uuid(meeting_id, "meeting_id")


def _range(text: str | None) -> tuple[int | None, int | None]:
    """`1:10`, either end of which may be left open."""
    if text is None:
        return None, None
    match = re.fullmatch(_RANGE, text)
    least, most = (int(end) if end else None for end in match.groups()) if match else (None, None)
    if match is None or (least is not None and most is not None and least > most):
        reason = f'{PREFIX}"participants" must be a range of numbers such as 1:10'
        raise InvalidError(reason, (FieldProblem("/participants", reason),))
    return least, most
