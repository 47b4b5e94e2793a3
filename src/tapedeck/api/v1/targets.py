"""Our own routes about where a running recording is streamed to."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Gate
from tapedeck.api.chapters import OURS
from tapedeck.api.describe import Who, describe
from tapedeck.api.errors import FIELD_STATUS
from tapedeck.api.http import Reply, read_json
from tapedeck.core.ids import parse_uuid
from tapedeck.core.meeting import App
from tapedeck.service.renders import RenderService
from tapedeck.service.targets import TargetService
from tapedeck.shapes.bodies import parse
from tapedeck.shapes.realtimekit import single
from tapedeck.shapes.targets import StreamTarget, TargetBody, target_body

__all__ = ["add_routes"]

_REFUSED = {
    409: "The recording has ended, has no film to stream, or is streamed there, or to too many places, already.",
}


def add_routes(routes: APIRouter, prefix: str, gate: Gate, renders: RenderService, targets: TargetService) -> None:
    """Routes below `/v1`: a recording is found by its id alone, in whichever app of the token's account."""
    place = f"{prefix}/recordings/{{recording_id}}/targets"

    async def enter(request: Request, recording_id: str) -> tuple[App, str]:
        recording_id = parse_uuid(recording_id, "recording_id")
        return await renders.enter(await gate.enter_backend(request), recording_id), recording_id

    @routes.get(place)
    @describe(OURS, "List where a recording is streamed to", data=list[StreamTarget])
    async def list_targets(recording_id: str, request: Request) -> Response:
        app, recording_id = await enter(request, recording_id)
        return Reply(single([target_body(target) for target in await targets.list(app, recording_id)]))

    @routes.post(place)
    @describe(
        OURS,
        "Stream a running recording to one more place",
        Who.ADMIN,
        about="`rtmp`, `rtmps` or `srt`. The recording is not touched by whatever happens there.",
        data=StreamTarget,
        body=TargetBody,
        status=201,
        fields=422,
        fails=_REFUSED,
    )
    async def add(recording_id: str, request: Request) -> Response:
        app, recording_id = await enter(request, recording_id)
        setattr(request.state, FIELD_STATUS, 422)
        body = parse(TargetBody, await read_json(request))
        return Reply(single(target_body(await targets.add(app, recording_id, body.url))), 201)

    @routes.delete(f"{place}/{{target_id}}")
    @describe(OURS, "Stream a recording no longer to a place", Who.ADMIN, data=StreamTarget)
    async def remove(recording_id: str, target_id: str, request: Request) -> Response:
        app, recording_id = await enter(request, recording_id)
        target = await targets.remove(app, recording_id, parse_uuid(target_id, "target_id"))
        return Reply(single(target_body(target)))
