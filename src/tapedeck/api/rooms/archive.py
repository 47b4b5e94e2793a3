"""Archive, restore, holds, purges and retention of the rooms API."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Gate, TenantEntry
from tapedeck.api.chapters import RETENTION
from tapedeck.api.describe import Param, Who, describe
from tapedeck.api.http import Reply, read_json
from tapedeck.api.realtimekit.queries import Query
from tapedeck.api.rooms.bulk import of_each
from tapedeck.api.rooms.queries import PAGE, read_page
from tapedeck.api.rooms.recordings import recording_of
from tapedeck.api.rooms.rooms import page_of, read_optional
from tapedeck.core.archive import Tier
from tapedeck.service.archive import ArchiveService
from tapedeck.service.retention import RetentionService
from tapedeck.shapes import archive as shapes
from tapedeck.shapes import library as answers
from tapedeck.shapes.archive import due_body, policy_body
from tapedeck.shapes.bodies import parse
from tapedeck.shapes.rooms import BulkBody, format_seconds, uuid_of

__all__ = ["add_routes"]

_AT = Param("at", "As of this time; default now.", {"type": "string", "format": "date-time"})


def add_routes(
    routes: APIRouter, prefix: str, gate: Gate, archives: ArchiveService, retention: RetentionService
) -> None:
    """Routes below `/api/v1`."""
    one = f"{prefix}/recordings/{{rec_id}}"

    @routes.post(f"{prefix}/recordings/bulk/archive")
    @describe(
        RETENTION,
        "Move several recordings to the archive",
        Who.TENANT,
        data=list[answers.BulkItem],
        body=BulkBody,
        about="One after the other, each for itself; answers when all are done.",
    )
    async def bulk_archive(request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        ids = parse(BulkBody, await read_json(request)).ids
        actor = _actor(entry)
        return Reply({"data": await of_each(ids, lambda recording: archives.archive(entry.app, actor, recording))})

    @routes.post(f"{one}/archive")
    @describe(
        RETENTION,
        "Move a recording to the archive",
        Who.TENANT,
        data=answers.Archived,
        fails={
            400: "It is not ready, archived already, or not in this server's bucket; or there is no archive.",
            500: "The copy could not be made; the recording stays ready.",
        },
        about="Answers when the copy is proven and takes as long as that; it goes on if you do not wait. Asking again "
        "while it runs waits for the same move.",
    )
    async def archive(rec_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        recording_id = recording_of(rec_id)
        place = await archives.archive(entry.app, _actor(entry), recording_id)
        at = format_seconds(place.archived_at)
        return Reply({"data": {"id": f"rec_{recording_id}", "status": "archived", "archived_at": at}})

    @routes.post(f"{one}/restore")
    @describe(
        RETENTION,
        "Get an archived recording back for some days",
        Who.TENANT,
        data=shapes.Restoring,
        body=shapes.RestoreBody,
        optional_body=True,
        fails={400: "It is not archived.", 500: "The archive refuses; nothing is changed."},
        about="`archive_state` of the recording becomes `restored` when it can be downloaded, hours later perhaps. "
        "`expedited` is not for DEEP_ARCHIVE.",
    )
    async def restore(rec_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        recording_id = recording_of(rec_id)
        await archives.place(entry.app, recording_id)
        body = parse(shapes.RestoreBody, await read_optional(request))
        place = await archives.restore(entry.app, _actor(entry), recording_id, Tier(body.tier), body.days)
        said: dict[str, Any] = {"id": f"rec_{recording_id}", "status": "archived", "archive_state": str(place.state)}
        said |= {"tier": place.note.tier, "days": place.note.days}
        if place.note.restored_until is not None:
            said["restored_until"] = format_seconds(place.note.restored_until)
        return Reply({"data": said})

    @routes.put(f"{one}/hold")
    @describe(
        RETENTION,
        "Put a recording on hold, or take it off",
        Who.TENANT_ADMIN,
        data=shapes.Held,
        body=shapes.HoldBody,
        about="Retention does nothing to what is on hold, and nobody deletes or purges it. Deleted ones can be, too.",
    )
    async def hold(rec_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        recording_id = recording_of(rec_id)
        await retention.exists(entry.app, recording_id)
        body = parse(shapes.HoldBody, await read_json(request))
        place = await retention.hold(entry.app, _actor(entry), recording_id, body.hold)
        return Reply({"data": {"id": f"rec_{recording_id}", "hold": place.hold}})

    @routes.post(f"{one}/purge")
    @describe(
        RETENTION,
        "Remove a deleted recording for good",
        Who.TENANT_ADMIN,
        data=shapes.Purged,
        fails={400: "It is not deleted.", 409: "It is on hold, or still being worked on."},
        about="Files, archived copies, stills, media log, names. The audit trail keeps that it was there.",
    )
    async def purge(rec_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        recording_id = recording_of(rec_id)
        place = await retention.purge(entry.app, _actor(entry), recording_id)
        at = format_seconds(place.purged_at)
        return Reply({"data": {"id": f"rec_{recording_id}", "purged": True, "purged_at": at}})

    @routes.get(f"{prefix}/retention")
    @describe(RETENTION, "How long recordings are kept", Who.TENANT, data=shapes.Retention)
    async def get(request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        return Reply({"data": policy_body(await retention.policy(entry.app))})

    @routes.put(f"{prefix}/retention")
    @describe(
        RETENTION,
        "Say how long recordings are kept",
        Who.TENANT_ADMIN,
        data=shapes.Retention,
        body=shapes.RetentionBody,
        about="Holds for what is there, too: see the dry run first.",
    )
    async def put(request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        given = parse(shapes.RetentionBody, await read_json(request)).values()
        return Reply({"data": policy_body(await retention.set_policy(entry.app, _actor(entry), given))})

    @routes.get(f"{prefix}/retention/due")
    @describe(
        RETENTION,
        "What retention would do now: a dry run",
        Who.TENANT,
        items=shapes.DueStep,
        query=(*PAGE, _AT),
        about="Of each recording the first step. Nothing is done.",
    )
    async def due(request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        span, query = read_page(request), Query(request.query_params)
        at = query.time("at")
        query.done()
        found = await retention.due(entry.app, at)
        return page_of([due_body(d) for d in found[span.offset : span.offset + span.limit]], len(found), span)

    @routes.get(f"{prefix}/rooms/{{room_id}}/retention")
    @describe(RETENTION, "How long recordings of a room are kept", Who.TENANT, data=shapes.Retention)
    async def get_of_room(room_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        return Reply({"data": policy_body(await retention.policy(entry.app, uuid_of(room_id, "room", "room")))})

    @routes.put(f"{prefix}/rooms/{{room_id}}/retention")
    @describe(
        RETENTION,
        "Say how long recordings of a room are kept",
        Who.TENANT_ADMIN,
        data=shapes.Retention,
        body=shapes.RetentionBody,
        about="What is not given is as for the other rooms; `null` is never.",
    )
    async def put_of_room(room_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        room = uuid_of(room_id, "room", "room")
        await retention.policy(entry.app, room)
        given = parse(shapes.RetentionBody, await read_json(request)).values()
        return Reply({"data": policy_body(await retention.set_policy(entry.app, _actor(entry), given, room))})


def _actor(entry: TenantEntry) -> dict[str, str]:
    """How the holder of a key is named in the audit trail."""
    return {"kind": "key", "id": entry.key.token.id, "name": entry.key.token.name}
