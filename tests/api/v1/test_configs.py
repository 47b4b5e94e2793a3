"""Levels of wishes: the start request over the meeting over the app over the settings, key by key."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.kit import Site

from tapedeck.core.access import TokenScope
from tapedeck.core.errors import InvalidError
from tapedeck.core.recording import Recording, RecordingState
from tapedeck.db import destinations
from tapedeck.service.recordings import RecordingService

PLACE = "/v1/accounts/acme/apps/campus/config"
AWS = {"type": "aws", "access_key": "AKIA-ours", "secret": "SK-ours", "bucket": "rec", "region": "eu-west-1"}
EMPTY = {"recording_config": None, "empty_meeting_timeout_seconds": None}


async def configure(site: Site, values: dict[str, Any], method: str = "PATCH") -> dict[str, Any]:
    answer = await site.ask(method, PLACE, json=values)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def started(site: Site, meeting_config: dict[str, Any] | None = None, **wishes: Any) -> Recording:
    body = {"recording_config": meeting_config} if meeting_config else {}
    meeting = (await site.ask("POST", "meetings", json=body)).json()["data"]
    answer = await site.ask("POST", "recordings", json={"meeting_id": meeting["id"]} | wishes)
    assert answer.status_code == 200, answer.text
    return await site.world.now_of_id(answer.json()["data"]["id"])


async def test_a_config_is_read_changed_replaced_and_cleared(site: Site) -> None:
    assert (await site.ask("GET", PLACE)).json()["data"] == EMPTY
    wishes = {"max_seconds": 600, "encoding_config": {"quality": "high", "frame_rate": 25}}
    both = {"recording_config": wishes, "empty_meeting_timeout_seconds": 90}
    assert await configure(site, both) == both
    assert await configure(site, {"empty_meeting_timeout_seconds": 120.0}) == both | {
        "empty_meeting_timeout_seconds": 120
    }
    only = {"recording_config": {"file_name_prefix": "campus"}}
    assert await configure(site, only) == only | {"empty_meeting_timeout_seconds": 120}
    assert await configure(site, only, "PUT") == only | {"empty_meeting_timeout_seconds": None}
    assert (await site.ask("GET", PLACE)).json()["data"] == only | {"empty_meeting_timeout_seconds": None}
    assert await configure(site, {"recording_config": None}) == EMPTY
    assert await configure(site, {}, "PUT") == EMPTY


async def test_of_each_key_the_strongest_level_wins_whole(site: Site) -> None:
    """[21] OC-30: objects are not mixed; what the winner leaves out is a default, not another level's."""
    wishes = {
        "max_seconds": 600,
        "file_name_prefix": "app",
        "video_config": {"width": 640, "height": 360, "codec": "VP8"},
        "audio_config": {"codec": "MP3"},
        "encoding_config": {"quality": "high"},
    }
    await configure(site, {"recording_config": wishes})
    by_app = (await started(site)).options
    assert (by_app.max_seconds, by_app.file_name_prefix, by_app.video_codec) == (600, "app", "vp8")
    assert (by_app.width, by_app.height, by_app.quality) == (640, 360, "high")
    assert by_app.audio is not None and by_app.audio.codec == "vorbis"
    meeting = {"max_seconds": 700, "video_config": {"width": 320}}
    by_meeting = (await started(site, meeting)).options
    assert (by_meeting.max_seconds, by_meeting.file_name_prefix) == (700, "app")
    assert (by_meeting.width, by_meeting.height, by_meeting.video_codec) == (320, 720, "h264")
    assert by_meeting.audio is not None and by_meeting.audio.codec == "mp3"
    by_request = (await started(site, meeting, max_seconds=800, file_name_prefix="now")).options
    assert (by_request.max_seconds, by_request.file_name_prefix, by_request.width) == (800, "now", 320)


async def test_the_apps_storage_takes_what_no_bucket_keeps_and_its_keys_are_told_to_nobody(site: Site) -> None:
    """[12, 17, 21]"""
    wishes = {"storage_config": AWS, "realtimekit_bucket_config": {"enabled": False}}
    answer = await site.ask("PATCH", PLACE, json={"recording_config": wishes})
    assert answer.status_code == 200 and answer.json()["data"]["recording_config"]["storage_config"]["bucket"] == "rec"
    texts = [answer.text, (await site.ask("GET", PLACE)).text]
    recording = await started(site)
    async with site.world.db.read() as session:
        (place,) = await destinations.of_recording(session, recording.id)
    assert place.storage["bucket"] == "rec" and place.sealed is not None
    texts.append((await site.ask("GET", f"recordings/{recording.id}")).text)
    meeting = (await site.ask("POST", "meetings", json={})).json()["data"]
    nowhere = await site.ask("POST", "recordings", json={"meeting_id": meeting["id"], "storage_config": None})
    assert nowhere.status_code == 422
    await site.world.db.aclose()
    stored = b"".join(path.read_bytes() for path in site.world.root.glob("tapedeck.db*"))
    for secret in (AWS["access_key"], AWS["secret"]):
        assert all(secret not in text for text in texts) and secret.encode() not in stored


async def test_a_first_join_records_by_the_apps_wishes(site: Site) -> None:
    world = site.world
    await configure(site, {"recording_config": {"max_seconds": 77}})
    meeting = await world.meeting(record_on_start=True)
    recording = await world.capturing_first(meeting, await world.live(meeting))
    assert recording.options.max_seconds == 77
    await world.sessions.settle()


async def test_the_empty_room_timeout_is_the_apps(site: Site) -> None:
    world = site.world
    meeting = await world.meeting()
    recording = await world.start(meeting)
    await configure(site, {"empty_meeting_timeout_seconds": 10})
    await world.lifecycle.run_due(world.clock.move(9.9))
    assert (await world.now_of(recording)).state is RecordingState.STARTING
    await world.lifecycle.run_due(world.clock.move(0.2))
    assert (await world.now_of(recording)).state is RecordingState.FAILED


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"recording_config": {"max_seconds": 59}}, "/recording_config/max_seconds"),
        ({"recording_config": {"video_config": {"width": 0}}}, "/recording_config/video_config/width"),
        ({"recording_config": {"video_config": {"codec": "AV1"}}}, "/recording_config/video_config/codec"),
        ({"recording_config": {"encoding_config": {"frame_rate": 61}}}, "/recording_config/encoding_config/frame_rate"),
        ({"recording_config": {"encoding_config": {"encoder": "magic"}}}, "/recording_config/encoding_config/encoder"),
        ({"recording_config": []}, "/recording_config"),
        ({"empty_meeting_timeout_seconds": 0}, "/empty_meeting_timeout_seconds"),
        ({"empty_meeting_timeout_seconds": 3601}, "/empty_meeting_timeout_seconds"),
        ({"empty_meeting_timeout_seconds": 1.5}, "/empty_meeting_timeout_seconds"),
    ],
)
async def test_wrong_wishes_are_400_and_change_nothing(site: Site, body: dict[str, Any], pointer: str) -> None:
    for method in ("PATCH", "PUT"):
        answer = await site.ask(method, PLACE, json=body)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["source"]["pointer"] == pointer
    assert (await site.ask("GET", PLACE)).json()["data"] == EMPTY


async def test_only_an_administrator_configures(site: Site) -> None:
    token, _ = await site.world.access.issue_token("acme", scope=TokenScope.REALTIME)
    assert (await site.ask("GET", PLACE, token)).status_code == 200
    for method in ("PATCH", "PUT"):
        assert (await site.ask(method, PLACE, token, json={})).status_code == 403


async def test_the_settings_are_the_weakest_level(site: Site) -> None:
    world = site.world
    defaults = {"max_seconds": 60, "file_name_prefix": "server", "storage_config": AWS}
    recordings = RecordingService(
        world.db, world.clock, world.ledger, world.capture, world.store, world.vault, defaults
    )
    await world.configs.change(world.app, {"recording_config": {"max_seconds": 70}})
    view = await recordings.start(world.app, world.backend, (await world.meeting()).id, {})
    assert (view.recording.options.max_seconds, view.recording.options.file_name_prefix) == (70, "server")
    assert {place.storage.get("bucket") for place in view.places} == {None, "rec"}
    with pytest.raises(InvalidError):
        r2 = {"storage_config": {"type": "cloudflare", "access_key": "a", "secret": "b", "bucket": "c"}}
        RecordingService(world.db, world.clock, world.ledger, world.capture, world.store, world.vault, r2)
