"""Participants of the RealtimeKit face, and their tokens."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Gate
from tapedeck.api.chapters import PARTICIPANTS
from tapedeck.api.describe import PAGE, describe
from tapedeck.api.http import Reply, read_json
from tapedeck.api.realtimekit.meetings import PREFIX
from tapedeck.api.realtimekit.queries import Query
from tapedeck.core.ids import parse_uuid
from tapedeck.service.access import AccessService
from tapedeck.service.meetings import MeetingService, ParticipantValues
from tapedeck.shapes import answers, bodies
from tapedeck.shapes.realtimekit import listing, participant_body, removed_participant, single

__all__ = ["add_routes"]


def add_routes(routes: APIRouter, prefix: str, gate: Gate, access: AccessService, meetings: MeetingService) -> None:
    """Routes below an app, for backends."""
    prefix = f"{prefix}/meetings/{{meeting_id}}/participants"

    @routes.post(f"{prefix}")
    @describe(
        PARTICIPANTS, "Invite somebody", data=answers.ParticipantWithToken, body=bodies.ParticipantBody, status=201
    )
    async def add(account_id: str, app_id: str, meeting_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        meeting_id = parse_uuid(meeting_id, "meeting_id")
        body = bodies.parse(bodies.ParticipantBody, await read_json(request), PREFIX)
        values: ParticipantValues = {"name": body.name, "picture": body.picture, "preset_name": body.preset_name}
        person = await meetings.add_participant(entry.app, meeting_id, body.custom_participant_id, values)
        return Reply(single(participant_body(person, access.participant_token(entry.app, person))), 201)

    @routes.get(f"{prefix}")
    @describe(PARTICIPANTS, "List the participants of a meeting", items=answers.Participant, query=PAGE)
    async def list_participants(account_id: str, app_id: str, meeting_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        query = Query(request.query_params, PREFIX)
        page = query.page()
        query.done()
        found = await meetings.list_participants(entry.app, parse_uuid(meeting_id, "meeting_id"), page)
        return Reply(listing([participant_body(person) for person in found.items], found))

    @routes.get(f"{prefix}/{{participant_id}}")
    @describe(PARTICIPANTS, "Get a participant", data=answers.Participant)
    async def get(account_id: str, app_id: str, meeting_id: str, participant_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        ids = parse_uuid(meeting_id, "meeting_id"), parse_uuid(participant_id, "participant_id")
        return Reply(single(participant_body(await meetings.get_participant(entry.app, *ids))))

    @routes.patch(f"{prefix}/{{participant_id}}")
    @describe(
        PARTICIPANTS,
        "Change a participant; older tokens are void",
        data=answers.ParticipantWithToken,
        body=bodies.EditParticipantBody,
    )
    async def edit(account_id: str, app_id: str, meeting_id: str, participant_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        ids = parse_uuid(meeting_id, "meeting_id"), parse_uuid(participant_id, "participant_id")
        body = bodies.parse(bodies.EditParticipantBody, await read_json(request), PREFIX)
        person = await meetings.edit_participant(entry.app, *ids, cast(ParticipantValues, body.values()))
        return Reply(single(participant_body(person, access.participant_token(entry.app, person))))

    @routes.delete(f"{prefix}/{{participant_id}}")
    @describe(PARTICIPANTS, "Delete a participant; tokens are void", data=answers.RemovedParticipant)
    async def delete(account_id: str, app_id: str, meeting_id: str, participant_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        ids = parse_uuid(meeting_id, "meeting_id"), parse_uuid(participant_id, "participant_id")
        return Reply(single(removed_participant(await meetings.delete_participant(entry.app, *ids))))

    @routes.post(f"{prefix}/{{participant_id}}/token")
    @describe(PARTICIPANTS, "Make a new token", data=answers.Token)
    async def refresh(account_id: str, app_id: str, meeting_id: str, participant_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        ids = parse_uuid(meeting_id, "meeting_id"), parse_uuid(participant_id, "participant_id")
        person = await meetings.get_participant(entry.app, *ids)
        return Reply(single({"token": access.participant_token(entry.app, person)}))
