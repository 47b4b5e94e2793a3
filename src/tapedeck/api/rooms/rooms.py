"""Rooms, the people in them, tokens and the audit trail of the rooms API."""

from __future__ import annotations

from typing import Any, cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Gate
from tapedeck.api.chapters import AUDIT, PEOPLE, ROOMS, TENANTS
from tapedeck.api.describe import Param, Who, describe
from tapedeck.api.http import JSON_LIMIT, Reply, parse_json, read_json, read_text
from tapedeck.api.rooms.queries import PAGE, read_page
from tapedeck.core.errors import InvalidError
from tapedeck.core.ids import is_uuid
from tapedeck.core.library import Span
from tapedeck.service.access import AccessService
from tapedeck.service.library import LibraryService
from tapedeck.service.meetings import MeetingValues
from tapedeck.service.rooms import ROLES, RoomService
from tapedeck.shapes import library as answers
from tapedeck.shapes import rooms as shapes
from tapedeck.shapes.bodies import parse
from tapedeck.shapes.rooms import format_seconds, person_body, rec_id, room_body, room_id, uuid_of

__all__ = ["add_routes", "page_of", "read_optional"]

_SEARCH = Param("search", "Only what has this text in its name.", {"type": "string", "maxLength": 256})
_OF = Param("recording_id", "Only what was done to it.", {"type": "string"})


def page_of(items: list[dict[str, Any]], total: int, span: Span) -> Response:
    """A list in its envelope."""
    return Reply({"data": items, "meta": {"total": total, "limit": span.limit, "offset": span.offset}})


async def read_optional(request: Request) -> Any:
    """A JSON body that need not be there."""
    text = await read_text(request, JSON_LIMIT)
    return parse_json(text) if text.strip() else {}


def add_routes(
    routes: APIRouter,
    prefix: str,
    gate: Gate,
    access: AccessService,
    rooms: RoomService,
    library: LibraryService,
    public_url: str,
) -> None:
    """Routes below `/api/v1`."""

    @routes.post(f"{prefix}/rooms")
    @describe(ROOMS, "Make a room", Who.TENANT, data=answers.Room, body=shapes.RoomBody)
    async def create(request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        body = parse(shapes.RoomBody, await read_json(request))
        room = await rooms.create(entry.app, entry.key, cast(MeetingValues, body.values()))
        return Reply({"data": room_body(room)})

    @routes.get(f"{prefix}/rooms")
    @describe(ROOMS, "List rooms", Who.TENANT, items=answers.Room, query=(*PAGE, _SEARCH))
    async def list_rooms(request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        span = read_page(request)
        search = request.query_params.get("search") or None
        if search is not None and (len(search) > 256 or "\x00" in search):
            raise InvalidError('"search" must have at most 256 characters, and no NUL')
        found, total = await rooms.list(entry.app, search, span)
        return page_of([room_body(room) for room in found], total, span)

    @routes.get(f"{prefix}/rooms/{{room_id}}")
    @describe(ROOMS, "Get a room", Who.TENANT, data=answers.Room)
    async def get(room_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        return Reply({"data": room_body(await rooms.get(entry.app, _room(room_id)))})

    @routes.patch(f"{prefix}/rooms/{{room_id}}")
    @describe(ROOMS, "Rename a room", Who.TENANT, data=answers.Room, body=shapes.RoomBody)
    async def rename(room_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        meeting_id = _room(room_id)
        body = parse(shapes.RoomBody, await read_json(request))
        room = await rooms.change(entry.app, entry.key, meeting_id, cast(MeetingValues, body.values()))
        return Reply({"data": room_body(room)})

    @routes.delete(f"{prefix}/rooms/{{room_id}}")
    @describe(
        ROOMS,
        "Delete a room; its recordings stay",
        Who.TENANT,
        data=answers.DeletedRoom,
        fails={409: "The room is being recorded."},
    )
    async def delete(room_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        meeting_id = _room(room_id)
        at = await rooms.delete(entry.app, entry.key, meeting_id)
        return Reply({"data": {"id": f"room_{meeting_id}", "deleted": True, "deleted_at": format_seconds(at)}})

    @routes.post(f"{prefix}/rooms/{{room_id}}/participants")
    @describe(
        PEOPLE,
        "Invite somebody",
        Who.TENANT,
        data=answers.PersonWithToken,
        body=shapes.InviteBody,
        fails={409: "The room is closed, or held at a recorder of the tenant's own."},
        about="The token joins the room: it is the Bearer of a WHIP offer to `whip_url`.",
    )
    async def invite(room_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        meeting_id = _room(room_id)
        body = parse(shapes.InviteBody, await read_json(request))
        person, token = await rooms.invite(entry.app, meeting_id, body.name, body.role, body.user_id)
        more = {"token": token, "whip_url": f"{public_url}/rtc/{meeting_id}/whip"}
        return Reply({"data": person_body(person, ROLES) | more})

    @routes.get(f"{prefix}/rooms/{{room_id}}/participants")
    @describe(PEOPLE, "List who is invited", Who.TENANT, items=answers.Person, query=PAGE)
    async def people(room_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        span = read_page(request)
        found, total = await rooms.people(entry.app, _room(room_id), span)
        return page_of([person_body(person, ROLES) for person in found], total, span)

    @routes.post(f"{prefix}/rooms/{{room_id}}/participants/{{participant_id}}/token")
    @describe(
        PEOPLE,
        "Make a new token for somebody",
        Who.TENANT,
        data=answers.PersonToken,
        fails={409: "The room is held at a recorder of the tenant's own."},
    )
    async def person_token(room_id: str, participant_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        meeting_id = _room(room_id)
        token = await rooms.token(entry.app, meeting_id, uuid_of(participant_id, "", "participant"))
        return Reply({"data": {"token": token, "whip_url": f"{public_url}/rtc/{meeting_id}/whip"}})

    @routes.delete(f"{prefix}/rooms/{{room_id}}/participants/{{participant_id}}")
    @describe(PEOPLE, "Remove somebody; tokens are void", Who.TENANT, data=answers.RemovedPerson)
    async def remove(room_id: str, participant_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        person = await rooms.remove(entry.app, _room(room_id), uuid_of(participant_id, "", "participant"))
        return Reply({"data": {"id": person.id, "deleted": True}})

    @routes.post(f"{prefix}/token")
    @describe(
        TENANTS,
        "Make a token that stands for a key",
        Who.TENANT,
        data=answers.TenantToken,
        body=shapes.TokenBody,
        optional_body=True,
        about="For `Authorization: Bearer`, where a key should not go. It ends by itself, or with its key.",
    )
    async def token(request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        body = parse(shapes.TokenBody, await read_optional(request))
        text, until = access.tenant_token(entry.key.token, body.ttl_seconds)
        return Reply({"data": {"token": text, "expires_at": format_seconds(until)}})

    @routes.get(f"{prefix}/audit")
    @describe(AUDIT, "List who did what, newest first", Who.TENANT, items=answers.Deed, query=(*PAGE, _OF))
    async def trail(request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        span = read_page(request)
        wanted = request.query_params.get("recording_id")
        only = None if wanted is None else wanted.removeprefix("rec_").lower()
        if only is not None and not is_uuid(only):
            raise InvalidError('"recording_id" must be the id of a recording')
        found, total = await library.trail(entry.app, span, only)
        items = [
            {
                "at": format_seconds(deed.at),
                "actor": dict(deed.actor),
                "action": deed.action,
                "recording_id": None if deed.recording_id is None else rec_id(deed.recording_id),
                "room_id": None if deed.room_id is None else _shown_room(deed.room_id),
                "detail": dict(deed.detail),
            }
            for deed in found
        ]
        return page_of(items, total, span)


def _room(text: str) -> str:
    return uuid_of(text, "room", "room")


_shown_room = room_id
