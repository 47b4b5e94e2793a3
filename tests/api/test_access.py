"""Who may call which route: every route times every kind of token."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from tests.api.kit import Site
from tests.service.world import START

from tapedeck.core.meeting import Meeting
from tapedeck.db import access

ROUTES = [
    ("GET", "/client/v4/accounts/acme/realtime/kit/apps"),
    ("POST", "/client/v4/accounts/acme/realtime/kit/apps"),
    ("GET", "meetings"),
    ("POST", "meetings"),
    ("GET", "meetings/{meeting}"),
    ("PATCH", "meetings/{meeting}"),
    ("PUT", "meetings/{meeting}"),
    ("GET", "meetings/{meeting}/participants"),
    ("POST", "meetings/{meeting}/participants"),
    ("GET", "meetings/{meeting}/participants/{person}"),
    ("PATCH", "meetings/{meeting}/participants/{person}"),
    ("POST", "meetings/{meeting}/participants/{person}/token"),
    ("DELETE", "meetings/{meeting}/participants/{person}"),
    ("GET", "meetings/{meeting}/active-session"),
    ("POST", "meetings/{meeting}/active-session/kick"),
    ("POST", "meetings/{meeting}/active-session/kick-all"),
    ("GET", "sessions"),
    ("GET", "sessions/peer-report/{peer}"),
    ("GET", "sessions/{session}"),
    ("GET", "sessions/{session}/participants"),
    ("GET", "sessions/{session}/participants/{person}"),
    ("GET", "presets"),
    ("POST", "presets"),
    ("GET", "presets/{preset}"),
    ("PATCH", "presets/{preset}"),
    ("PUT", "presets/{preset}"),
    ("DELETE", "presets/{preset}"),
    ("GET", "/v1/accounts/acme/apps/campus/config"),
    ("PATCH", "/v1/accounts/acme/apps/campus/config"),
    ("PUT", "/v1/accounts/acme/apps/campus/config"),
    ("GET", "webhooks"),
    ("POST", "webhooks"),
    ("GET", "webhooks/all"),
    ("GET", "webhooks/{webhook}"),
    ("PATCH", "webhooks/{webhook}"),
    ("PUT", "webhooks/{webhook}"),
    ("DELETE", "webhooks/{webhook}"),
    ("GET", "/v1/accounts/acme/apps/campus/webhooks/{webhook}/deliveries"),
    ("GET", "/v1/accounts/acme/apps/campus/webhooks/{webhook}/deliveries/{delivery}"),
    ("POST", "/v1/accounts/acme/apps/campus/webhooks/{webhook}/deliveries/{cancelled}/redeliver"),
    ("POST", "/v1/accounts/acme/apps/campus/webhooks/{webhook}/redeliver"),
    ("POST", "/v1/accounts/acme/apps/campus/webhooks/{webhook}/test"),
    ("GET", "recordings"),
    ("POST", "recordings"),
    ("GET", "recordings/active-recording/{meeting}"),
    ("GET", "recordings/{recording}"),
    ("PUT", "recordings/{recording}"),
]
FOR_PEOPLE = {
    ("POST", "recordings"),
    ("PUT", "recordings/{recording}"),
    ("GET", "recordings/active-recording/{meeting}"),
}
BODIES: dict[str, dict[str, object]] = {
    "webhooks": {"name": "n", "url": "https://example.org/hook", "events": ["recording.statusUpdate"]},
    "apps": {"name": "n"},
    "presets": {"config": {}, "permissions": {"can_record": True}, "ui": {}},
    "kick": {"custom_participant_ids": ["nobody"]},
    "recordings": {"action": "pause", "allow_multiple_recordings": True},
    "participants": {"custom_participant_id": "c", "preset_name": "group_call_host"},
}


async def request(site: Site, method: str, path: str, token: str, meeting: Meeting) -> int:
    """Ask with everything the route needs in place; the status."""
    world = site.world
    person = await world.person(meeting)
    view = await world.recordings.start(world.app, world.backend, meeting.id, {}, allow_multiple=True)
    session_id, peer_id = str(uuid4()), str(uuid4())
    await world.sessions.on_session_started(meeting.id, session_id, world.clock.now())
    await world.sessions.on_joined(session_id, person.id, peer_id, "P", world.clock.now())
    await world.sessions.on_capturing(view.recording.id, session_id, world.clock.now())
    preset = await world.presets.create(world.app, str(uuid4()), {})
    webhook = await world.webhooks.create(world.app, "n", "https://example.org/hook", ("meeting.ended",), True)
    cancelled = await world.deliveries.send_test(world.app, webhook.id, "meeting.ended")
    await world.webhooks.update(world.app, webhook.id, {"enabled": False})
    await world.webhooks.update(world.app, webhook.id, {"enabled": True})
    delivery = await world.deliveries.send_test(world.app, webhook.id, "meeting.ended")
    ids = {"meeting": meeting.id, "person": person.id, "preset": preset.id, "recording": view.recording.id}
    ids |= {"session": session_id, "peer": peer_id}
    full = path.format(webhook=webhook.id, delivery=delivery.id, cancelled=cancelled.id, **ids)
    body = next((value for key, value in BODIES.items() if key in path and not path.startswith("/v1")), {})
    if "presets" in path:
        body = body | {"name": str(uuid4())}
    answer = await site.ask(method, full, token, json=body | {"meeting_id": meeting.id})
    if answer.status_code in (401, 403):
        assert answer.json()["errors"][0]["code"] == 10000
        assert answer.headers["x-should-retry"] == "false"
    return answer.status_code


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_with_every_kind_of_token(site: Site, method: str, path: str) -> None:
    """[52, 54, 55 and the whole table around them]"""
    world = site.world
    other_app = await world.access.create_app("acme", "Other")
    async with world.db.write() as session:
        await access.add_account(session, "foreign", START)
    good, _ = await world.access.issue_token("acme")
    scoped, _ = await world.access.issue_token("acme", world.app.id)
    elsewhere, _ = await world.access.issue_token("acme", other_app.id)
    foreign, _ = await world.access.issue_token("foreign")
    revoked, token = await world.access.issue_token("acme")
    await world.access.revoke_token(token.id)
    expired, _ = await world.access.issue_token("acme", expires_at=START)
    meeting, another = await world.meeting(), await world.meeting()
    host = site.token_of(await world.person(meeting))
    guest = site.token_of(await world.person(meeting, "group_call_participant"))
    stranger = site.token_of(await world.person(another))

    def fine(status: int) -> bool:
        return status in (200, 201)

    assert fine(await request(site, method, path, good, meeting))
    of_account = path.endswith("/apps")
    status = await request(site, method, path, scoped, meeting)
    assert (status == 403) if of_account and method == "POST" else fine(status)
    if not of_account:
        assert await request(site, method, path, elsewhere, meeting) == 403
    assert await request(site, method, path, foreign, meeting) == 403
    for bad in (revoked, expired, "nonsense", "a.b.c", good[:-1], host[:-2]):
        assert await request(site, method, path, bad, meeting) == 401, bad
    people = fine if (method, path) in FOR_PEOPLE else (lambda status: status == 403)
    assert people(await request(site, method, path, host, meeting))
    assert await request(site, method, path, guest, meeting) == 403
    assert await request(site, method, path, stranger, meeting) == 403


async def test_an_app_that_is_not_there_is_404_for_its_account_only(site: Site) -> None:
    for account, app, status in (
        ("acme", "nothing", 404),
        ("acme", "apps", 404),
        ("other", site.world.app.id, 403),
        ("a b", "x", 403),
    ):
        answer = await site.ask("GET", f"/client/v4/accounts/{account}/realtime/kit/{app}/meetings")
        assert answer.status_code == status


async def test_an_app_token_sees_its_own_app_alone(site: Site) -> None:
    await site.world.access.create_app("acme", "Other")
    scoped, _ = await site.world.access.issue_token("acme", site.world.app.id)
    listed = await site.ask("GET", "/client/v4/accounts/acme/realtime/kit/apps", scoped)
    assert [app["id"] for app in listed.json()["data"]] == [site.world.app.id]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer  "},
        {"authorization": "Basic b3JnOmtleQ=="},
        {"x-auth-email": "a@example.org", "x-auth-key": "k"},
        {"x-auth-user-service-key": "v1.0-x"},
    ],
)
async def test_nothing_but_a_bearer_counts(site: Site, headers: dict[str, str]) -> None:
    answer = await site.http.get(f"{site.base}/meetings", headers=headers)
    assert answer.status_code == 401


@pytest.mark.parametrize("token", [b"\xe9", b"\xe9.\xff.\x80", b"..", b"e30.e30.e30", b"eyJhbGciOiJub25lIn0.e30."])
async def test_tokens_that_are_no_text_are_unknown(site: Site, token: bytes) -> None:
    answer = await site.http.get(f"{site.base}/meetings", headers=[(b"authorization", b"Bearer " + token)])
    assert answer.status_code == 401


async def test_the_bearer_word_has_no_case(site: Site) -> None:
    answer = await site.http.get(f"{site.base}/meetings", headers={"authorization": f"bEARER {site.world.token}"})
    assert answer.status_code == 200


async def test_tokens_of_a_participant_end_with_time_edit_and_deletion(site: Site) -> None:
    world = site.world
    meeting = await world.meeting()
    await world.start(meeting)
    place = f"meetings/{meeting.id}/participants"
    body = {"custom_participant_id": "a", "preset_name": "group_call_host"}
    person = (await site.ask("POST", place, json=body)).json()["data"]

    async def status(token: str) -> int:
        return (await site.ask("GET", f"recordings/active-recording/{meeting.id}", token)).status_code

    assert await status(person["token"]) == 200
    refreshed = (await site.ask("POST", f"{place}/{person['id']}/token")).json()["data"]["token"]
    assert [await status(person["token"]), await status(refreshed)] == [200, 200]
    edited = (await site.ask("PATCH", f"{place}/{person['id']}", json={"name": "B"})).json()["data"]["token"]
    assert [await status(person["token"]), await status(refreshed), await status(edited)] == [401, 401, 200]
    world.clock.move(timedelta(hours=24).total_seconds() - 1)
    assert await status(edited) == 200
    world.clock.move(1)
    assert await status(edited) == 401
    fresh = (await site.ask("POST", f"{place}/{person['id']}/token")).json()["data"]["token"]
    assert await status(fresh) == 200
    await site.ask("DELETE", f"{place}/{person['id']}")
    assert await status(fresh) == 401
