"""WHIP over HTTP (RFC 9725): routes, tokens, headers and every refusal of the table of media endpoints."""

from __future__ import annotations

import pytest
from tests.api.kit import Site
from tests.service.world import START

from tapedeck.api.http import SDP_LIMIT
from tapedeck.core.errors import ConflictError, UnavailableError
from tapedeck.core.frames import Origin
from tapedeck.core.meeting import Meeting, Participant
from tapedeck.db import access
from tapedeck.ports.sources import PeerInfo
from tapedeck.ports.whip import WhipAnswer

SDP = {"content-type": "application/sdp"}
FRAGMENT = {"content-type": "application/trickle-ice-sdpfrag"}


async def invited(site: Site, preset: str = "group_call_participant") -> tuple[Meeting, Participant, str]:
    meeting = await site.world.meeting()
    person = await site.world.person(meeting, preset)
    return meeting, person, site.token_of(person)


async def test_publish_trickle_restart_and_end(site: Site) -> None:
    meeting, person, token = await invited(site)
    answer = await site.ask("POST", f"/rtc/{meeting.id}/whip", token, content="v=0 offer", headers=SDP)
    assert answer.status_code == 201 and answer.text == "v=0 answer"
    assert answer.headers["content-type"] == "application/sdp"
    assert answer.headers["etag"] == '"tag1"'
    assert answer.headers["accept-patch"] == "application/trickle-ice-sdpfrag"
    assert answer.headers["link"] == '<stun:stun.example.org:3478>; rel="ice-server"'
    assert "Location" in answer.headers["access-control-expose-headers"]
    place = answer.headers["location"]
    assert place == f"/rtc/{meeting.id}/whip/s0"
    peer = site.whip.sessions["s0"]
    assert (peer.meeting_id, peer.participant_id, peer.name) == (meeting.id, person.id, "Ada")
    assert (peer.custom_id, peer.origin) == ("custom-Ada", Origin.CAMERA)

    trickled = await site.ask("PATCH", place, token, content="a=candidate:1", headers=FRAGMENT | {"if-match": '"tag1"'})
    assert trickled.status_code == 204 and trickled.content == b"" and trickled.headers["etag"] == '"tag1"'
    stale = await site.ask("PATCH", place, token, content="a=candidate:1", headers=FRAGMENT | {"if-match": '"old"'})
    assert stale.status_code == 412
    restarted = await site.ask("PATCH", place, token, content="a=ice-ufrag:x", headers=FRAGMENT | {"if-match": "*"})
    assert restarted.status_code == 200 and restarted.text == "a=ice-ufrag:new"
    assert restarted.headers["etag"] == '"tag2"'
    assert restarted.headers["content-type"].startswith("application/trickle-ice-sdpfrag")
    assert (await site.ask("DELETE", place, token)).status_code == 200
    assert (await site.ask("DELETE", place, token)).status_code == 404


async def test_options_of_a_publication(site: Site) -> None:
    meeting, _, token = await invited(site)
    query = "?source=screen&name=Ada%27s%20slides"
    answer = await site.ask("POST", f"/rtc/{meeting.id}/whip{query}", token, content="v=0", headers=SDP)
    assert answer.status_code == 201
    peer = site.whip.sessions["s0"]
    assert (peer.origin, peer.name) == (Origin.SCREEN, "Ada's slides")
    for wrong in ("?source=window", "?name=" + "x" * 257, "?name=%07"):
        answer = await site.ask("POST", f"/rtc/{meeting.id}/whip{wrong}", token, content="v=0", headers=SDP)
        assert answer.status_code == 400


async def test_every_publication_is_a_peer_of_its_own(site: Site) -> None:
    meeting, _, token = await invited(site)
    for _ in range(2):
        await site.ask("POST", f"/rtc/{meeting.id}/whip", token, content="v=0", headers=SDP)
    assert len({peer.peer_id for peer in site.whip.sessions.values()}) == 2


async def test_who_may_publish(site: Site) -> None:
    world = site.world
    meeting, _, token = await invited(site)
    other, _, stranger = await invited(site)
    _, _, recorder = await invited(site, "recorder_preset_v2")
    hidden = await world.person(meeting, "recorder_preset_v2", "Ghost")

    async def status(path: str, token: str | None) -> int:
        headers = SDP if token is None else SDP | site.bearer(token)
        return (await site.http.post(path, content="v=0", headers=headers)).status_code

    here = f"/rtc/{meeting.id}/whip"
    assert await status(here, None) == 401
    assert await status(here, "nonsense") == 401
    assert await status(here, stranger) == 403
    assert await status(here, recorder) == 403
    assert await status(here, site.token_of(hidden)) == 403
    assert await status(here, world.token) == 403
    assert await status("/rtc/2f0a2d5e-8a3b-4b0e-8f57-6d1b0c9b7e01/whip", token) == 404
    assert await status("/rtc/nothing/whip", token) == 400
    async with world.db.write() as session:
        await access.add_account(session, "foreign", START)
    foreign = await world.access.create_app("foreign", "Foreign")
    theirs = await world.meetings.create(foreign, {})
    assert await status(f"/rtc/{theirs.id}/whip", token) == 404
    await site.ask("PATCH", f"meetings/{meeting.id}", json={"status": "INACTIVE"})
    assert await status(here, token) == 409
    assert site.whip.sessions == {}
    assert other.id != meeting.id


async def test_what_may_be_published(site: Site) -> None:
    meeting, _, token = await invited(site)
    here = f"/rtc/{meeting.id}/whip"

    async def post(content: bytes, headers: dict[str, str]) -> tuple[int, str]:
        answer = await site.ask("POST", here, token, content=content, headers=headers)
        assert answer.json()["success"] is False and answer.headers["access-control-allow-origin"] == "*"
        return answer.status_code, answer.json()["error"]["message"]

    assert (await post(b"v=0", {"content-type": "application/json"}))[0] == 415
    assert (await post(b"v=0", {}))[0] == 415
    assert (await post(b"hello", SDP)) == (422, "The offer does not begin with v=0")
    assert (await post(b"\xff", SDP))[0] == 400
    assert (await post(b"v=0" + b"x" * SDP_LIMIT, SDP))[0] == 413
    site.whip.refusal = ConflictError("The meeting takes nobody now")
    assert (await post(b"v=0", SDP))[0] == 409
    with_charset = {"content-type": "Application/SDP; charset=utf-8"}
    site.whip.refusal = UnavailableError("The server is shutting down", retry_after_s=3)
    answer = await site.ask("POST", here, token, content="v=0", headers=with_charset)
    assert answer.status_code == 503 and answer.headers["retry-after"] == "3"


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_a_session_belongs_to_who_made_it(site: Site, method: str) -> None:
    meeting, _, token = await invited(site)
    place = (await site.ask("POST", f"/rtc/{meeting.id}/whip", token, content="v=0", headers=SDP)).headers["location"]
    neighbour = site.token_of(await site.world.person(meeting, name="Eve"))
    _, _, stranger = await invited(site)

    async def status(path: str, token: str | None) -> int:
        headers = FRAGMENT | {"if-match": '"tag1"'} | ({} if token is None else site.bearer(token))
        return (await site.http.request(method, path, content="a=candidate:1", headers=headers)).status_code

    assert await status(place, None) == 401
    assert await status(place, neighbour) == 404
    assert await status(place, stranger) == 403
    assert await status(place, site.world.token) == 403
    assert await status(place.replace("s0", "s1"), token) == 404
    assert await status(place, token) in (200, 204)


async def test_fragments_are_checked(site: Site) -> None:
    meeting, _, token = await invited(site)
    place = (await site.ask("POST", f"/rtc/{meeting.id}/whip", token, content="v=0", headers=SDP)).headers["location"]
    for headers, content, status in (
        (SDP, b"a=candidate:1", 415),
        (FRAGMENT | {"if-match": '"tag1"'}, b"x" * (SDP_LIMIT + 1), 413),
        (FRAGMENT, b"a=candidate:1", 428),
        (FRAGMENT | {"if-match": '"tag1"'}, b"nothing", 400),
    ):
        assert (await site.ask("PATCH", place, token, content=content, headers=headers)).status_code == status


async def test_preflight_names_what_is_accepted(site: Site) -> None:
    for path in ("/rtc/x/whip", "/rtc/x/whip/s0"):
        answer = await site.http.options(path)
        assert answer.status_code == 204
        assert answer.headers["accept-post"] == "application/sdp"
        assert "PATCH" in answer.headers["access-control-allow-methods"]
        assert "if-match" in answer.headers["access-control-allow-headers"]


async def test_who_is_deleted_while_the_offer_is_answered_publishes_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the answer there is nothing to disconnect."""
    meeting, person, token = await invited(site)
    answered = site.whip.offer

    async def offer(peer: PeerInfo, sdp: str) -> WhipAnswer:
        await site.world.meetings.delete_participant(site.world.app, meeting.id, person.id)
        return await answered(peer, sdp)

    monkeypatch.setattr(site.whip, "offer", offer)
    answer = await site.ask("POST", f"/rtc/{meeting.id}/whip", token, content="v=0", headers=SDP)
    assert answer.status_code == 401 and site.whip.sessions == {}


async def test_hidden_participants_publish_nothing_whatever_else_they_may(site: Site) -> None:
    world = site.world
    everything = {"hidden_participant": True, "media": {"audio": {"can_produce": "ALLOWED"}}}
    await world.presets.create(world.app, "silent watcher", {"permissions": everything, "config": {}, "ui": {}})
    meeting, _, token = await invited(site, "silent watcher")
    answer = await site.ask("POST", f"/rtc/{meeting.id}/whip", token, content="v=0", headers=SDP)
    assert answer.status_code == 403 and "hidden" in answer.json()["error"]["message"]
    assert site.whip.sessions == {}
