"""Meetings of the RealtimeKit face."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Gate
from tapedeck.api.chapters import MEETINGS
from tapedeck.api.describe import PAGE, SEARCH, SPAN, Param, describe
from tapedeck.api.http import Reply, read_json
from tapedeck.api.realtimekit.queries import Query
from tapedeck.core.ids import parse_uuid
from tapedeck.core.meeting import MeetingStatus
from tapedeck.service.meetings import MeetingFilter, MeetingService, MeetingValues
from tapedeck.shapes import answers, bodies
from tapedeck.shapes.realtimekit import listing, meeting_body, single

__all__ = ["PREFIX", "add_routes"]

PREFIX = "BAD_REQUEST: "
"""What messages about wrong fields begin with, everywhere but on recordings."""
_STATUS = Param("status", "Only those that are so.", {"type": "string", "enum": ["ACTIVE", "INACTIVE"]})


def add_routes(routes: APIRouter, prefix: str, gate: Gate, meetings: MeetingService) -> None:
    """Routes below an app, for backends."""

    @routes.post(f"{prefix}/meetings")
    @describe(MEETINGS, "Make a meeting", data=answers.Meeting, body=bodies.MeetingBody, status=201)
    async def create(account_id: str, app_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        return Reply(single(meeting_body(await meetings.create(entry.app, await _values(request)))), 201)

    @routes.get(f"{prefix}/meetings")
    @describe(MEETINGS, "List meetings", items=answers.Meeting, query=(*PAGE, SEARCH, *SPAN, _STATUS))
    async def list_meetings(account_id: str, app_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        query = Query(request.query_params, PREFIX)
        status = query.choice("status", ("ACTIVE", "INACTIVE"))
        wanted = MeetingFilter(
            search=query.search(),
            status=None if status is None else MeetingStatus(status.lower()),
            start=query.time("start_time", round_up=True),
            end=query.time("end_time"),
        )
        page = query.page()
        query.done()
        found = await meetings.list(entry.app, wanted, page)
        return Reply(listing([meeting_body(meeting, listed=True) for meeting in found.items], found))

    @routes.get(f"{prefix}/meetings/{{meeting_id}}")
    @describe(MEETINGS, "Get a meeting", data=answers.Meeting)
    async def get(account_id: str, app_id: str, meeting_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        return Reply(single(meeting_body(await meetings.get(entry.app, parse_uuid(meeting_id, "meeting_id")))))

    @routes.patch(f"{prefix}/meetings/{{meeting_id}}")
    @describe(MEETINGS, "Change what is given of a meeting", data=answers.Meeting, body=bodies.MeetingBody)
    async def update(account_id: str, app_id: str, meeting_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        meeting_id = parse_uuid(meeting_id, "meeting_id")
        return Reply(single(meeting_body(await meetings.update(entry.app, meeting_id, await _values(request)))))

    @routes.put(f"{prefix}/meetings/{{meeting_id}}")
    @describe(
        MEETINGS,
        "Replace a meeting: what is not given is as at its making",
        data=answers.Meeting,
        body=bodies.MeetingBody,
    )
    async def replace(account_id: str, app_id: str, meeting_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        meeting_id = parse_uuid(meeting_id, "meeting_id")
        return Reply(single(meeting_body(await meetings.replace(entry.app, meeting_id, await _values(request)))))


async def _values(request: Request) -> MeetingValues:
    body = bodies.parse(bodies.MeetingBody, await read_json(request), PREFIX)
    return cast(MeetingValues, body.values())
