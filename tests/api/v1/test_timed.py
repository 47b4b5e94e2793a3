"""Timed metadata by our route: taken while recording, refused with the reason otherwise; and what starts it."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from tests.api.kit import Site

from tapedeck.core.recording import Recording
from tapedeck.core.timed import CLOSE, TEXT_LIMIT
from tapedeck.service.recordings import Action

ID3 = {"interactive_config": {"type": "ID3"}}


async def capturing(site: Site, **config: Any) -> Recording:
    """A recording in RECORDING."""
    meeting = await site.world.meeting()
    session_id = await site.world.live(meeting)
    recording = await site.world.start(meeting, **(config or ID3))
    await site.world.sessions.on_capturing(recording.id, session_id, site.world.clock.now())
    return await site.world.now_of(recording)


async def say(site: Site, recording_id: str, data: Any, token: str | None = None) -> Any:
    headers = site.bearer(token)
    return await site.http.post(f"/v1/recordings/{recording_id}/id3", headers=headers, json={"data": data})


async def test_a_start_that_asks_for_it_gets_a_tar(site: Site) -> None:
    meeting = await site.world.meeting()
    configs: list[dict[str, Any]] = [ID3, {"interactive_config": {}}]
    for config in configs:
        body = {"meeting_id": meeting.id, "allow_multiple_recordings": True, "video_config": {"width": 640}} | config
        started = await site.ask("POST", "recordings", json=body)
        assert started.status_code == 200
        data = started.json()["data"]
        assert data["output_file_name"].startswith(meeting.id) and data["output_file_name"].endswith(".tar")
        assert data["id"] in site.world.capture.timed
    plain = await site.ask("POST", "recordings", json=body | {"interactive_config": None})
    assert plain.json()["data"]["output_file_name"].endswith(".mp4")
    assert plain.json()["data"]["id"] not in site.world.capture.timed


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"video_config": {"codec": "VP8"}}, "/interactive_config"),
        ({"video_config": {"codec": "VP9"}}, "/interactive_config"),
        ({"video_config": {"export_file": False}, "audio_config": {}}, "/interactive_config"),
        ({"interactive_config": {"type": "SCTE35"}}, "/interactive_config/type"),
        ({"interactive_config": "ID3"}, "/interactive_config"),
    ],
)
async def test_what_cannot_be_had_together_is_refused(site: Site, more: dict[str, Any], pointer: str) -> None:
    meeting = await site.world.meeting()
    answer = await site.ask("POST", "recordings", json={"meeting_id": meeting.id} | ID3 | more)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["source"]["pointer"] == pointer


async def test_a_meetings_codec_counts_too(site: Site) -> None:
    meeting = await site.world.meeting(recording_config={"video_config": {"codec": "VP8"}})
    body = {"meeting_id": meeting.id} | ID3
    assert (await site.ask("POST", "recordings", json=body)).status_code == 422
    assert (await site.ask("POST", "recordings", json=body | {"video_config": {}})).status_code == 200


@pytest.mark.parametrize("data", ["a quiz begins", {"quiz": 7}, [1], 0, False, "x" * TEXT_LIMIT, CLOSE])
async def test_what_is_said_reaches_the_recording(site: Site, data: Any) -> None:
    recording = await capturing(site)
    answer = await say(site, recording.id, data)
    assert answer.status_code == 200
    assert answer.json()["data"]["recording_id"] == recording.id
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    assert site.world.capture.said == [(recording.id, text)]


@pytest.mark.parametrize("data", ["", None, "x" * (TEXT_LIMIT + 1), "é" * TEXT_LIMIT, {"k": "x" * TEXT_LIMIT}])
async def test_what_is_nothing_or_too_much_is_refused(site: Site, data: Any) -> None:
    recording = await capturing(site)
    answer = await say(site, recording.id, data)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["source"]["pointer"] == "/data"
    assert site.world.capture.said == []


async def test_it_is_taken_in_recording_and_in_no_other_state(site: Site) -> None:
    meeting = await site.world.meeting()
    early = await site.world.start(meeting, **ID3)
    refused = await say(site, early.id, "early")
    assert refused.status_code == 409 and "INVOKED" in refused.text
    recording = await capturing(site)
    world = site.world
    await world.recordings.control(world.app, world.backend, recording.id, Action.PAUSE)
    refused = await say(site, recording.id, "paused")
    assert refused.status_code == 409 and "PAUSED" in refused.text
    assert (await say(site, recording.id, CLOSE)).status_code == 200, "to want no more of it is no metadata"
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    assert (await say(site, recording.id, "late")).status_code == 409
    assert world.capture.said == [(recording.id, CLOSE)]


async def test_a_recording_that_was_not_started_for_it_or_was_closed_says_so(site: Site) -> None:
    film = await capturing(site, max_seconds=600)
    refused = await say(site, film.id, "x")
    assert refused.status_code == 409 and "interactive_config" in refused.text
    recording = await capturing(site)
    site.world.capture.is_closed = True
    refused = await say(site, recording.id, "x")
    assert refused.status_code == 409 and CLOSE in refused.text


async def test_too_much_at_once_is_told_to_come_later(site: Site) -> None:
    recording = await capturing(site)
    answers = [(await say(site, recording.id, number)).status_code for number in range(101)]
    assert answers == [200] * 100 + [429]
    site.world.clock.move(1)
    assert (await say(site, recording.id, "again")).status_code == 200


async def test_who_is_not_of_the_app_finds_nothing(site: Site) -> None:
    recording = await capturing(site)
    other = await site.world.access.create_app("acme", "Other")
    token, _ = await site.world.access.issue_token("acme", other.id)
    assert (await say(site, recording.id, "x", token)).status_code == 404
    assert (await say(site, str(uuid4()), "x")).status_code == 404
    person = site.token_of(await site.world.person(await site.world.meeting()))
    assert (await say(site, recording.id, "x", person)).status_code == 403
    assert site.world.capture.said == []
