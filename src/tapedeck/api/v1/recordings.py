"""Our own routes about a recording: all its files, and other films made of its log."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Entry, Gate
from tapedeck.api.chapters import OURS, RENDERS
from tapedeck.api.describe import Raw, Who, describe
from tapedeck.api.errors import FIELD_STATUS
from tapedeck.api.http import Reply, read_json
from tapedeck.core.ids import parse_uuid
from tapedeck.service.renders import RenderService, RenderView
from tapedeck.service.targets import TargetService
from tapedeck.shapes import renders as shapes
from tapedeck.shapes.bodies import parse
from tapedeck.shapes.realtimekit import single
from tapedeck.shapes.targets import target_body

__all__ = ["add_routes"]

_VTT = {200: Raw("text/vtt", "WebVTT; each cue names the sprite by a signed link, and a rectangle in it.")}
_ASKED = {
    409: "The recording still runs, its media log is gone, or it is one of tracks.",
    429: "Too many films wait to be made again.",
}


def add_routes(routes: APIRouter, prefix: str, gate: Gate, renders: RenderService, targets: TargetService) -> None:
    """Routes below `/v1`: a recording is found by its id alone, in whichever app of the token's account."""
    place = f"{prefix}/recordings/{{recording_id}}"

    async def enter(request: Request, recording_id: str) -> tuple[Entry, str]:
        recording_id = parse_uuid(recording_id, "recording_id")
        principal = await gate.enter_backend(request)
        return Entry(principal, await renders.enter(principal, recording_id)), recording_id

    @routes.get(place)
    @describe(OURS, "Get a recording with all its files", data=shapes.RecordingDetail)
    async def get(recording_id: str, request: Request) -> Response:
        entry, recording_id = await enter(request, recording_id)
        found = await renders.files(entry.app, recording_id)
        body = shapes.recording_detail(found.recording, list(found.links), found.has_log)
        streams = [target_body(target) for target in await targets.list(entry.app, recording_id)]
        return Reply(single(body | {"targets": streams}))

    @routes.get(f"{place}/storyboard.vtt")
    @describe(OURS, "Get the storyboard of a film", raw=_VTT)
    async def storyboard(recording_id: str, request: Request) -> Response:
        entry, recording_id = await enter(request, recording_id)
        return _vtt(await renders.storyboard(entry.app, recording_id))

    @routes.post(f"{place}/renders")
    @describe(
        RENDERS,
        "Make another film of a recording",
        Who.ADMIN,
        about="Another layout, size or codec; a part of it; some of its people. The recording and its film stay as "
        "they are.",
        data=shapes.Render,
        body=shapes.RenderBody,
        status=201,
        fields=422,
        fails=_ASKED,
    )
    async def ask(recording_id: str, request: Request) -> Response:
        entry, recording_id = await enter(request, recording_id)
        setattr(request.state, FIELD_STATUS, 422)
        body = parse(shapes.RenderBody, await read_json(request))
        return _reply(await renders.ask(entry.app, recording_id, body.wish()), 201)

    @routes.get(f"{place}/renders")
    @describe(RENDERS, "List the other films of a recording", data=list[shapes.Render])
    async def list_renders(recording_id: str, request: Request) -> Response:
        entry, recording_id = await enter(request, recording_id)
        found = await renders.list(entry.app, recording_id)
        return Reply(single([_body(view) for view in found]))

    @routes.get(f"{place}/renders/{{render_id}}")
    @describe(RENDERS, "Get another film of a recording", data=shapes.Render)
    async def get_render(recording_id: str, render_id: str, request: Request) -> Response:
        entry, recording_id = await enter(request, recording_id)
        return _reply(await renders.get(entry.app, recording_id, parse_uuid(render_id, "render_id")), 200)

    @routes.get(f"{place}/renders/{{render_id}}/storyboard.vtt")
    @describe(RENDERS, "Get the storyboard of another film", raw=_VTT)
    async def storyboard_of_render(recording_id: str, render_id: str, request: Request) -> Response:
        entry, recording_id = await enter(request, recording_id)
        return _vtt(await renders.storyboard(entry.app, recording_id, parse_uuid(render_id, "render_id")))


def _vtt(text: str) -> Response:
    return Response(text, media_type="text/vtt", headers={"cache-control": "private, no-store"})


def _reply(view: RenderView, status: int) -> Response:
    return Reply(single(_body(view)), status)


def _body(view: RenderView) -> dict[str, object]:
    return shapes.render_body(view.render, view.made_ms, list(view.links))
