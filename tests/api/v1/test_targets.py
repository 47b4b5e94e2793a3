"""Our routes of where a recording is streamed to: added, shown without keys, removed. Also who may not."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from tests.api.kit import Site

from tapedeck.core.recording import Recording
from tapedeck.core.target import MOST_TARGETS, TargetState
from tapedeck.db import rooms
from tapedeck.service.recordings import Action

URL = "rtmp://live.example.org/app/s3cret-key"
SHOWN = "rtmp://live.example.org/app/***"


async def ask(site: Site, method: str, recording: Recording, path: str = "", **more: Any) -> Any:
    place = f"/v1/recordings/{recording.id}/targets{path}"
    return await site.http.request(method, place, headers=site.bearer(more.pop("token", None)), **more)


async def running(site: Site, **config: Any) -> Recording:
    meeting = await site.world.meeting(**config)
    return await site.world.start(meeting)


async def test_a_target_is_added_shown_without_its_key_and_removed(site: Site) -> None:
    recording = await running(site)
    asked: list[str] = []
    site.world.targets.on_asked = asked.append
    added = await ask(site, "POST", recording, json={"url": URL})
    assert added.status_code == 201
    body = added.json()["data"]
    assert (body["url"], body["status"], body["reason"], body["failures"]) == (SHOWN, "CONNECTING", None, 0)
    assert asked == [recording.id]
    (target,) = await site.world.targets.open_of(recording.id)
    assert site.world.targets.address(target) == URL
    assert "s3cret" not in repr(target)
    await site.world.targets.note(target.id, TargetState.RETRYING, "its name is not known")
    listed = await ask(site, "GET", recording)
    assert "s3cret" not in listed.text
    (one,) = listed.json()["data"]
    assert (one["status"], one["reason"], one["failures"]) == ("RETRYING", "its name is not known", 1)
    detail = await site.http.get(f"/v1/recordings/{recording.id}", headers=site.bearer())
    assert detail.json()["data"]["targets"] == [one]
    removed = await ask(site, "DELETE", recording, f"/{target.id}")
    assert removed.json()["data"]["status"] == "ENDED"
    assert (await ask(site, "DELETE", recording, f"/{target.id}")).status_code == 200
    await site.world.targets.note(target.id, TargetState.LIVE)
    assert (await ask(site, "GET", recording)).json()["data"][0]["status"] == "ENDED"
    assert len(asked) == 3


@pytest.mark.parametrize("url", ["srt://example.org/x", "https://example.org/x", "rtmp://example.org", 5, None])
async def test_an_address_that_cannot_be_streamed_to_is_refused_by_name(site: Site, url: object) -> None:
    answer = await ask(site, "POST", await running(site), json={"url": url})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["source"]["pointer"] == "/url"


async def test_who_is_not_of_the_app_finds_nothing(site: Site) -> None:
    recording = await running(site)
    (await ask(site, "POST", recording, json={"url": URL})).raise_for_status()
    (target,) = await site.world.targets.open_of(recording.id)
    other = await site.world.access.create_app("acme", "Other")
    token, _ = await site.world.access.issue_token("acme", other.id)
    assert (await ask(site, "GET", recording, token=token)).status_code == 404
    assert (await ask(site, "POST", recording, token=token, json={"url": URL})).status_code == 404
    assert (await ask(site, "DELETE", recording, f"/{target.id}", token=token)).status_code == 404
    another = await running(site)
    assert (await ask(site, "DELETE", another, f"/{target.id}")).status_code == 404
    assert (await ask(site, "DELETE", recording, f"/{uuid4()}")).status_code == 404


async def test_a_recording_that_ended_is_streamed_nowhere_and_a_running_one_to_so_many_places(site: Site) -> None:
    recording = await running(site)
    for number in range(MOST_TARGETS):
        assert (await ask(site, "POST", recording, json={"url": f"{URL}{number or ''}"})).status_code == 201
        twice = await ask(site, "POST", recording, json={"url": URL})
        assert (twice.status_code, "already" in twice.text) == (409, True), "two streams of one key drop each other"
    targets = site.world.targets
    (first,) = [one for one in await targets.open_of(recording.id) if targets.address(one) == URL]
    (await ask(site, "DELETE", recording, f"/{first.id}")).raise_for_status()
    assert (await ask(site, "POST", recording, json={"url": URL})).status_code == 201
    one_more = await ask(site, "POST", recording, json={"url": f"{URL}9"})
    assert (one_more.status_code, "remove one" in one_more.text) == (409, True)
    await site.world.recordings.control(site.world.app, site.world.backend, recording.id, Action.STOP)
    assert (await ask(site, "POST", recording, json={"url": URL})).status_code == 409


async def test_a_meetings_target_is_stored_sealed_shown_without_its_key_and_used(site: Site) -> None:
    config = {"live_streaming_config": {"rtmp_url": URL}}
    made = await site.ask("POST", "meetings", json={"recording_config": config})
    assert made.json()["data"]["recording_config"]["live_streaming_config"] == {"rtmp_url": SHOWN}
    meeting_id = made.json()["data"]["id"]
    async with site.world.db.read() as session:
        stored = await rooms.find_meeting(session, meeting_id)
    assert stored is not None
    assert "s3cret" not in str(stored.recording_config)
    first = (await site.ask("POST", "recordings", json={"meeting_id": meeting_id})).json()["data"]["id"]
    (target,) = await site.world.targets.open_of(first)
    assert (target.address, site.world.targets.address(target)) == (SHOWN, URL)
    other = "rtmps://other.example.org/x/y"
    body = {"meeting_id": meeting_id, "allow_multiple_recordings": True, "rtmp_out_config": {"rtmp_url": other}}
    second = (await site.ask("POST", "recordings", json=body)).json()["data"]["id"]
    (target,) = await site.world.targets.open_of(second)
    assert site.world.targets.address(target) == other, "the request wins"
    again = await site.ask("PATCH", f"meetings/{meeting_id}", json=made.json()["data"] | {"title": "x"})
    assert again.status_code == 400, "a hidden key is not taken for a key"
