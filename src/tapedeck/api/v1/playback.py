"""Our own route to where a recording can be played."""

from __future__ import annotations

import re
from datetime import timedelta

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Gate
from tapedeck.api.chapters import OURS
from tapedeck.api.describe import Param, describe
from tapedeck.api.http import Reply
from tapedeck.core.errors import FieldProblem, InvalidError
from tapedeck.core.ids import parse_uuid
from tapedeck.service.playback import PlaybackService
from tapedeck.service.renders import RenderService
from tapedeck.shapes.playback import Playback, playback_body
from tapedeck.shapes.realtimekit import single

__all__ = ["add_routes", "life_of"]

_DAY_S, _LEAST_S, _MOST_S = 86_400, 60, 7 * 86_400
_LIFE = Param(
    "expires_in",
    "Seconds that the link lives; no longer than the files do.",
    {"type": "integer", "minimum": _LEAST_S, "maximum": _MOST_S, "default": _DAY_S},
)
_WHOLE = re.compile(r"[0-9]{1,9}")


def add_routes(routes: APIRouter, prefix: str, gate: Gate, renders: RenderService, playback: PlaybackService) -> None:
    """Routes below `/v1`: a recording is found by its id alone, in whichever app of the token's account."""

    @routes.get(f"{prefix}/recordings/{{recording_id}}/hls")
    @describe(
        OURS,
        "Get a link at which a recording can be played over HLS",
        data=Playback,
        query=(_LIFE,),
        fails={409: "It cannot be played; the message says why."},
        about="While it is recorded, from its first second on, and afterwards; the link is the same.",
    )
    async def link(recording_id: str, request: Request) -> Response:
        recording_id = parse_uuid(recording_id, "recording_id")
        await renders.enter(await gate.enter_backend(request), recording_id)
        found = await playback.link(recording_id, life_of(request))
        return Reply(single(playback_body(recording_id, found.url, found.page_url, found.expires_at, found.is_live)))


def life_of(request: Request) -> timedelta:
    """How long a link shall live. InvalidError."""
    text = request.query_params.get("expires_in", str(_DAY_S))
    seconds = int(text) if _WHOLE.fullmatch(text) else 0
    if not _LEAST_S <= seconds <= _MOST_S:
        problem = f'"expires_in" must be a whole number of seconds from {_LEAST_S} to {_MOST_S}'
        raise InvalidError(problem, (FieldProblem("/expires_in", problem),))
    return timedelta(seconds=seconds)
