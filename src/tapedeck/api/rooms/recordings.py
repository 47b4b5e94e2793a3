"""Recordings of the rooms API: start, stop, sync, list, get, download, recover, delete."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Gate, TenantEntry
from tapedeck.api.chapters import LIBRARY
from tapedeck.api.describe import Param, Who, describe
from tapedeck.api.http import Reply
from tapedeck.api.lifetime import LIFE, life_of
from tapedeck.api.rooms.queries import FILTERS, read_filter, read_page
from tapedeck.api.rooms.rooms import page_of, read_optional
from tapedeck.core.access import TokenScope
from tapedeck.core.errors import DeniedError, InvalidError
from tapedeck.core.library import status_of
from tapedeck.service.library import Download, LibraryService
from tapedeck.service.playback import PlaybackService
from tapedeck.shapes import library as answers
from tapedeck.shapes import rooms as shapes
from tapedeck.shapes.bodies import parse
from tapedeck.shapes.rooms import format_seconds, rec_id, room_id, uuid_of

__all__ = ["add_routes", "recording_of", "told_download"]

_DELETED = Param("include_deleted", "Even if it was deleted; for keys of administrators.", {"type": "boolean"})
_RECOVERED = "Recovery initiated. Recording will be reprocessed."


def add_routes(routes: APIRouter, prefix: str, gate: Gate, library: LibraryService, playback: PlaybackService) -> None:
    """Routes below `/api/v1`."""
    of_room = f"{prefix}/rooms/{{room_id}}/recordings"
    one = f"{prefix}/recordings/{{rec_id}}"

    @routes.post(f"{of_room}/start")
    @describe(
        LIBRARY,
        "Start recording a room",
        Who.TENANT,
        data=answers.Started,
        body=shapes.RoomStartBody,
        optional_body=True,
        fails={409: "The room is being recorded already."},
    )
    async def start(room_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        meeting_id = uuid_of(room_id, "room", "room")
        body = parse(shapes.RoomStartBody, await read_optional(request))
        several = body.allow_multiple_recordings is True
        view = await library.start(entry.app, entry.key, meeting_id, body.config(), several)
        at = format_seconds(view.recording.started_at or view.recording.invoked_at)
        return Reply({"data": _heads(view.recording.id, meeting_id) | {"status": "recording", "started_at": at}})

    @routes.post(f"{of_room}/stop")
    @describe(
        LIBRARY,
        "Stop recording a room",
        Who.TENANT,
        data=answers.Stopped,
        fails={404: "There is no such room, or no active recording of it."},
    )
    async def stop(room_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        meeting_id = uuid_of(room_id, "room", "room")
        recording = (await library.stop(entry.app, entry.key, meeting_id)).recording
        said = {"status": str(status_of(recording.state)), "stopped_at": format_seconds(recording.stopped_at)}
        return Reply({"data": _heads(recording.id, meeting_id) | said})

    @routes.post(f"{of_room}/sync")
    @describe(
        LIBRARY,
        "Take recordings into the library that were started without it",
        Who.TENANT,
        data=answers.Synced,
        about="What was taken before is not named again. The library keeps what it took until you delete it.",
    )
    async def sync(room_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        found = await library.sync(entry.app, entry.key, uuid_of(room_id, "room", "room"))
        named = [{"id": rec_id(recording_id), "status": str(status)} for recording_id, status in found]
        return Reply({"data": {"synced_count": len(named), "recordings": named}})

    @routes.get(f"{prefix}/recordings")
    @describe(LIBRARY, "List recordings, newest first", Who.TENANT, items=answers.ListedRecording, query=FILTERS)
    async def list_recordings(request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        span, wanted = read_page(request), read_filter(request)
        if wanted.with_deleted:
            _check_admin(entry)
        found, total = await library.list(entry.app, wanted, span)
        return page_of([shapes.listed(item) for item in found], total, span)

    @routes.get(one)
    @describe(LIBRARY, "Get a recording", Who.TENANT, data=answers.RoomRecording, query=(_DELETED,))
    async def get(rec_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        deleted = _wants_deleted(entry, request)
        item = await library.get(entry.app, recording_of(rec_id), deleted)
        return Reply({"data": shapes.recording_body(item, await library.stills(item))})

    @routes.get(f"{one}/download")
    @describe(
        LIBRARY,
        "Get links to the files",
        Who.TENANT,
        plain=answers.DownloadLink,
        about="Links live for an hour. Without `download_url`, `message` says why. The answer has no envelope.",
    )
    async def download(rec_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        return Reply(told_download(await library.download(entry.app, recording_of(rec_id)), library.store_name))

    @routes.get(f"{one}/play")
    @describe(
        LIBRARY,
        "Get a link at which a recording can be played",
        Who.TENANT,
        data=answers.PlayLink,
        query=(LIFE,),
        fails={409: "It cannot be played; the message says why."},
        about="Over HLS, while it is recorded, from its first second on, and afterwards.",
    )
    async def play(rec_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        item = await library.get(entry.app, recording_of(rec_id))
        found = await playback.link(item.recording.id, life_of(request))
        said = {"status": "live" if found.is_live else "recorded", "play_url": found.url, "page_url": found.page_url}
        return Reply(
            {"data": {"id": f"rec_{item.recording.id}"} | said | {"expires_at": format_seconds(found.expires_at)}}
        )

    @routes.post(f"{one}/recover")
    @describe(
        LIBRARY,
        "Go on with a recording that does not get ready",
        Who.TENANT,
        data=answers.Recovered,
        fails={400: "It is not being processed."},
        about="From what was captured, as often as you like: it ends as `ready`, or as `failed` when nothing is left.",
    )
    async def recover(rec_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        item = await library.recover(entry.app, entry.key, recording_of(rec_id))
        said = {"id": f"rec_{item.recording.id}", "status": "processing", "message": _RECOVERED}
        return Reply({"data": said})

    @routes.delete(one)
    @describe(
        LIBRARY,
        "Delete a recording",
        Who.TENANT,
        data=answers.Deleted,
        fails={409: "It is running, or on hold."},
        about="It is hidden; nothing of it is lost until it is purged.",
    )
    async def delete(rec_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        recording_id = recording_of(rec_id)
        at = await library.delete(entry.app, entry.key, recording_id)
        return Reply({"data": {"id": f"rec_{recording_id}", "deleted": True, "deleted_at": format_seconds(at)}})

    @routes.post(f"{one}/undelete")
    @describe(LIBRARY, "Bring back a deleted recording", Who.TENANT, data=answers.Undeleted)
    async def undelete(rec_id: str, request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        item = await library.undelete(entry.app, entry.key, recording_of(rec_id))
        said = {"id": f"rec_{item.recording.id}", "deleted": False, "status": str(item.entry.status)}
        return Reply({"data": said})


def recording_of(text: str) -> str:
    """The id that a path names; NotFoundError."""
    return uuid_of(text, "rec", "recording")


def told_download(found: Download, provider: str) -> dict[str, object]:
    """What is said of what can be had."""
    files = [(named.name, named.file.size_bytes, named.url) for named in found.files]
    return shapes.download_body(found.item, files, found.stills or {}, found.message, provider)


def _heads(recording_id: str, meeting_id: str) -> dict[str, str]:
    return {"id": rec_id(recording_id), "room_id": room_id(meeting_id)}


def _wants_deleted(entry: TenantEntry, request: Request) -> bool:
    wanted = request.query_params.get("include_deleted", "false")
    if wanted not in ("true", "false"):
        raise InvalidError('"include_deleted" must be true or false')
    if wanted == "true":
        _check_admin(entry)
    return wanted == "true"


def _check_admin(entry: TenantEntry) -> None:
    if entry.key.token.scope is not TokenScope.ROOMS_ADMIN:
        raise DeniedError("What was deleted is shown to keys of administrators only")
