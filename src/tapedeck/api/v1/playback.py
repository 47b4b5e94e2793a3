"""Our own route to where a recording can be played."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Gate
from tapedeck.api.chapters import OURS
from tapedeck.api.describe import describe
from tapedeck.api.http import Reply
from tapedeck.api.lifetime import LIFE, life_of
from tapedeck.core.ids import parse_uuid
from tapedeck.service.playback import PlaybackService
from tapedeck.service.renders import RenderService
from tapedeck.shapes.playback import Playback, playback_body
from tapedeck.shapes.realtimekit import single

__all__ = ["add_routes"]


def add_routes(routes: APIRouter, prefix: str, gate: Gate, renders: RenderService, playback: PlaybackService) -> None:
    """Routes below `/v1`: a recording is found by its id alone, in whichever app of the token's account."""

    @routes.get(f"{prefix}/recordings/{{recording_id}}/hls")
    @describe(
        OURS,
        "Get a link at which a recording can be played over HLS",
        data=Playback,
        query=(LIFE,),
        fails={409: "It cannot be played; the message says why."},
        about="While it is recorded, from its first second on, and afterwards; the link is the same.",
    )
    async def link(recording_id: str, request: Request) -> Response:
        recording_id = parse_uuid(recording_id, "recording_id")
        await renders.enter(await gate.enter_backend(request), recording_id)
        found = await playback.link(recording_id, life_of(request))
        return Reply(single(playback_body(recording_id, found.url, found.page_url, found.expires_at, found.is_live)))
