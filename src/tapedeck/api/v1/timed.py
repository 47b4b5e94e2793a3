"""Our own route for timed metadata of a running recording."""

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
from tapedeck.service.renders import RenderService
from tapedeck.service.timed import TimedService
from tapedeck.shapes.bodies import parse
from tapedeck.shapes.realtimekit import single
from tapedeck.shapes.timed import TimedBody, TimedMoment, timed_moment

__all__ = ["add_routes"]

_REFUSED = {
    409: "The recording was started without `interactive_config`, is not in RECORDING, or was closed.",
    429: "Too many at once: 100, and then 20 a second.",
}


def add_routes(routes: APIRouter, prefix: str, gate: Gate, renders: RenderService, timed: TimedService) -> None:
    """The route below `/v1`: a recording is found by its id alone, in whichever app of the token's account."""

    @routes.post(f"{prefix}/recordings/{{recording_id}}/id3")
    @describe(
        OURS,
        "Put timed metadata at this moment of a recording",
        Who.ADMIN,
        about="Of a recording that was started with `interactive_config`, while it is in RECORDING. Players get it as "
        "an ID3 tag at this moment of the film, as they get what participants send as `ID3Data`.",
        data=TimedMoment,
        body=TimedBody,
        fields=422,
        fails=_REFUSED,
    )
    async def say(recording_id: str, request: Request) -> Response:
        recording_id = parse_uuid(recording_id, "recording_id")
        app = await renders.enter(await gate.enter_backend(request), recording_id)
        setattr(request.state, FIELD_STATUS, 422)
        body = parse(TimedBody, await read_json(request))
        return Reply(single(timed_moment(recording_id, await timed.say(app, recording_id, body.text()))))
