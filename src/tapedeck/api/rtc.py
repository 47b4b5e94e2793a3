"""Publishing into a meeting over WHIP (RFC 9725): routes, tokens and headers; offers are answered behind the port."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from uuid import uuid4

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Gate
from tapedeck.api.chapters import PUBLISHING
from tapedeck.api.describe import Param, Raw, Who, describe
from tapedeck.api.http import SDP_LIMIT, read_text
from tapedeck.core.access import ParticipantPrincipal
from tapedeck.core.errors import ConflictError, DeniedError, InvalidError, NotFoundError, UnauthenticatedError
from tapedeck.core.frames import Origin
from tapedeck.core.ids import parse_uuid
from tapedeck.core.meeting import Participant
from tapedeck.ports.sources import PeerInfo
from tapedeck.ports.whip import WhipServer
from tapedeck.service.meetings import MeetingService

__all__ = ["add_routes"]

_SDP = "application/sdp"
_FRAGMENT = "application/trickle-ice-sdpfrag"
_NAME_LIMIT = 256

_OFFER = Raw(_SDP, "The offer.", example="v=0\r\n…")
_HEADERS = {
    "location": "Where the session is patched and ended.",
    "etag": "Of the ICE session.",
    "accept-patch": _FRAGMENT,
    "link": "ICE servers, where some are set.",
}
_ANSWER = {201: Raw(_SDP, "The answer.", _HEADERS, "v=0\r\n…")}
_OPTIONS = (
    Param("source", "What is published.", {"type": "string", "enum": ["camera", "screen"], "default": "camera"}),
    Param("name", "Shown instead of the participant's name.", {"type": "string", "maxLength": _NAME_LIMIT}),
)
_REFUSED = {
    409: "The meeting is INACTIVE.",
    415: f"The content type is not `{_SDP}`.",
    422: "The offer cannot be answered; the message says why.",
}
_TRICKLE = Raw(_FRAGMENT, "Candidates, or new credentials (RFC 8840).", example="a=ice-ufrag:…")
_PATCHED = {200: Raw(_FRAGMENT, "ICE was restarted.", {"etag": "The new one."}), 204: None}
_TAG = (Param("if-match", "The entity tag, or `*` to restart ICE.", {"type": "string"}, "header", True),)
_UNFIT = {
    412: "The entity tag is not the current one.",
    415: f"The content type is not `{_FRAGMENT}`.",
    428: "`If-Match` is missing.",
}


def add_routes(
    routes: APIRouter, gate: Gate, meetings: MeetingService, whip: WhipServer, ice_servers: Sequence[str] = ()
) -> None:
    """The publish routes. `ice_servers` are URLs of STUN servers that clients are told of."""
    links = [f'<{url}>; rel="ice-server"' for url in ice_servers]

    @routes.post("/rtc/{meeting_id}/whip")
    @describe(
        PUBLISHING, "Publish into a meeting", Who.PERSON, raw=_ANSWER, body=_OFFER, query=_OPTIONS, fails=_REFUSED
    )
    async def publish(meeting_id: str, request: Request) -> Response:
        principal = await gate.identify(request)
        meeting_id = parse_uuid(meeting_id, "meeting_id")
        origin, name = _options(request)
        participant = await meetings.admit_publisher(principal, meeting_id, origin is Origin.SCREEN)
        _require(request, _SDP)
        offer = await read_text(request, SDP_LIMIT)
        peer = _peer(meeting_id, participant, origin, name)
        try:
            answer = await whip.offer(peer, offer)
        except InvalidError as exc:
            raise HTTPException(422, str(exc)) from exc
        try:
            await meetings.check_invited(participant)
        except UnauthenticatedError:
            with suppress(NotFoundError):
                await whip.delete(answer.session_id)
            raise
        response = Response(answer.sdp, 201, media_type=_SDP)
        response.headers["location"] = f"/rtc/{meeting_id}/whip/{answer.session_id}"
        response.headers["etag"] = f'"{answer.etag}"'
        response.headers["accept-patch"] = _FRAGMENT
        for link in links:
            response.headers.append("link", link)
        return response

    @routes.patch("/rtc/{meeting_id}/whip/{session_id}")
    @describe(
        PUBLISHING, "Trickle ICE, or restart it", Who.PERSON, raw=_PATCHED, body=_TRICKLE, query=_TAG, fails=_UNFIT
    )
    async def patch(meeting_id: str, session_id: str, request: Request) -> Response:
        await _own(request, meeting_id, session_id)
        _require(request, _FRAGMENT)
        tag = request.headers.get("if-match")
        if tag is None:
            raise HTTPException(428, "A PATCH needs If-Match with the session's entity tag, or * to restart ICE")
        fragment = await read_text(request, SDP_LIMIT)
        try:
            patched = await whip.patch(session_id, fragment, tag.strip().strip('"'))
        except ConflictError as exc:
            raise HTTPException(412, str(exc)) from exc
        headers = {"etag": f'"{patched.etag}"'}
        if patched.sdp is None:
            return Response(status_code=204, headers=headers)
        return Response(patched.sdp, 200, headers, media_type=_FRAGMENT)

    @routes.delete("/rtc/{meeting_id}/whip/{session_id}")
    @describe(PUBLISHING, "Stop publishing", Who.PERSON, raw={200: None})
    async def delete(meeting_id: str, session_id: str, request: Request) -> Response:
        await _own(request, meeting_id, session_id)
        await whip.delete(session_id)
        return Response(status_code=200)

    async def _own(request: Request, meeting_id: str, session_id: str) -> None:
        """Pass whoever made the session; to all others it is not there."""
        principal = await gate.identify(request)
        if not isinstance(principal, ParticipantPrincipal):
            raise DeniedError("Forbidden: publishing needs a participant token")
        if principal.meeting_id != meeting_id.lower():
            raise DeniedError("Forbidden: the token is for another meeting")
        peer = whip.peer(session_id)
        if peer.participant_id != principal.participant.id or peer.meeting_id != principal.meeting_id:
            raise NotFoundError("No such WHIP session")


def _options(request: Request) -> tuple[Origin, str | None]:
    source = request.query_params.get("source", Origin.CAMERA.value)
    if source not in list(Origin):
        raise InvalidError('BAD_REQUEST: "source" must be camera or screen')
    name = request.query_params.get("name", "").strip()
    if len(name) > _NAME_LIMIT or not name.isprintable():
        raise InvalidError(f'BAD_REQUEST: "name" must have at most {_NAME_LIMIT} printable characters')
    return Origin(source), name or None


def _peer(meeting_id: str, participant: Participant, origin: Origin, name: str | None) -> PeerInfo:
    return PeerInfo(
        meeting_id=meeting_id,
        participant_id=participant.id,
        peer_id=str(uuid4()),
        name=name or participant.display_name,
        custom_id=participant.custom_id,
        origin=origin,
    )


def _require(request: Request, media_type: str) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type:
        raise HTTPException(415, f"The content type must be {media_type}")
