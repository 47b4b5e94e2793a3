"""The browser's own routes under /v2: participant tokens, permissions, CORS for every origin."""

from __future__ import annotations

from tests.api.kit import Site


async def test_a_host_starts_pauses_and_stops_their_meeting(site: Site) -> None:
    """[54]"""
    world = site.world
    meeting = await world.meeting()
    host = await world.person(meeting)
    token = site.token_of(host)
    started = await site.ask("POST", "/v2/recordings", token, json={"meeting_id": meeting.id})
    assert started.status_code == 200
    data = started.json()["data"]
    assert data["start_reason"] == {
        "reason": "API_CALL",
        "caller": {"type": "USER", "user_Id": host.id, "name": "Ada"},
    }
    again = await site.ask("POST", "/v2/recordings", token, json={"meeting_id": meeting.id})
    assert again.status_code == 409
    await world.sessions.on_capturing(data["id"], await world.live(meeting), world.clock.now())
    active = await site.ask("GET", f"/v2/recordings/active-recording/{meeting.id}", token)
    assert active.json()["data"]["id"] == data["id"] and active.json()["data"]["status"] == "RECORDING"
    for action, status in (("pause", "PAUSED"), ("resume", "RECORDING"), ("stop", "UPLOADING")):
        answer = await site.ask("PUT", f"/v2/recordings/{data['id']}", token, json={"action": action})
        assert answer.json()["data"]["status"] == status
    assert answer.json()["data"]["stop_reason"]["caller"]["type"] == "USER"


async def test_guests_and_people_of_other_meetings_are_denied(site: Site) -> None:
    """[54, 55]"""
    world = site.world
    meeting, other = await world.meeting(), await world.meeting()
    recording = await world.start(meeting)
    guest = site.token_of(await world.person(meeting, "group_call_participant"))
    stranger = site.token_of(await world.person(other))
    for token in (guest, stranger):
        for method, path, body in (
            ("POST", "/v2/recordings", {"meeting_id": meeting.id}),
            ("PUT", f"/v2/recordings/{recording.id}", {"action": "stop"}),
            ("GET", f"/v2/recordings/active-recording/{meeting.id}", None),
        ):
            assert (await site.ask(method, path, token, json=body)).status_code == 403


async def test_an_api_token_has_no_business_here(site: Site) -> None:
    meeting = await site.world.meeting()
    answer = await site.ask("POST", "/v2/recordings", json={"meeting_id": meeting.id})
    assert answer.status_code == 403


async def test_wrong_fields_are_422_here_too(site: Site) -> None:
    token = site.token_of(await site.world.person(await site.world.meeting()))
    assert (await site.ask("POST", "/v2/recordings", token, json={})).status_code == 422


async def test_any_origin_may_ask_and_read_even_errors(site: Site) -> None:
    origin = {"origin": "https://app.example.org"}
    preflight = await site.http.options(
        "/v2/recordings",
        headers=origin
        | {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-any"},
    )
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert preflight.headers["access-control-allow-headers"] == "authorization,x-any"
    assert "PUT" in preflight.headers["access-control-allow-methods"]
    for path, status in (("/v2/recordings/active-recording/x", 401), ("/v2/nothing", 404)):
        answer = await site.http.get(path, headers=origin)
        assert answer.status_code == status and answer.headers["access-control-allow-origin"] == "*"


async def test_the_backend_routes_are_closed_to_other_origins(site: Site) -> None:
    answer = await site.ask("GET", "meetings", headers={"origin": "https://app.example.org"})
    assert "access-control-allow-origin" not in answer.headers
    assert (await site.http.options(f"{site.base}/meetings")).status_code == 405
