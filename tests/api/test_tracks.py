"""Recordings of tracks over HTTP: both shapes of the request, what is refused, and both readings of the answers.

Numbers in brackets are those of the wire contract's own list of tests.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from cloudflare import APIResponseValidationError
from tests.api.kit import Site, sdk

from tapedeck.core.destination import DestinationKind
from tapedeck.core.errors import InvalidError
from tapedeck.core.happenings import Happening, HappeningKind, recording_of
from tapedeck.core.meeting import Meeting
from tapedeck.core.naming import TRACK_FILE_TEMPLATE, object_key
from tapedeck.core.recording import FilmFile, RecordingState, snapshot
from tapedeck.core.wanted import TrackChoice, TrackLayer
from tapedeck.db import destinations
from tapedeck.notify.outbox import Composer
from tapedeck.shapes.bodies import parse
from tapedeck.shapes.tracks import TrackBody

NAME = "speaker_user-7_peer-456_peer_audio_1760000000000.webm"


async def live_meeting(site: Site) -> tuple[Meeting, str]:
    meeting = await site.world.meeting()
    return meeting, await site.world.live(meeting)


async def start(site: Site, meeting: Meeting, **body: Any) -> Any:
    return await site.ask("POST", "recordings/track", json={"meeting_id": meeting.id, **body})


async def chosen(site: Site, meeting: Meeting, **body: Any) -> TrackChoice:
    """Whose tracks capture was told to keep."""
    answer = await start(site, meeting, allow_multiple_recordings=True, **body)
    assert answer.status_code == 200, answer.text
    found = site.world.capture.tracks[answer.json()["data"]["id"]]
    assert found is not None
    return found


async def deliver(site: Site, recording_id: str, *names: str) -> None:
    """Stop it, and deliver files of these names."""
    world = site.world
    recording = await world.now_of_id(recording_id)
    if recording.state is not RecordingState.CAPTURING:
        assert recording.session_id
        await world.sessions.on_capturing(recording_id, recording.session_id, world.clock.now())
    answer = await site.ask("PUT", f"recordings/{recording_id}", json={"action": "stop"})
    assert answer.json()["data"]["status"] == "UPLOADING"
    await world.recordings.settle()
    files = []
    for name in names:
        path = world.root / name
        path.write_bytes(name.encode())
        key = object_key(recording_id, recording.invoked_at, name)
        await world.store.put_file(key, path, "audio/webm", name)
        layer = "default-video" if "_video_" in name else "default"
        files.append(FilmFile("track", name, len(name), 9_000, "00000000", key=key, layer=layer))
    await world.lifecycle.on_rendered(recording_id, files)
    await world.lifecycle.on_uploaded(recording_id, files)


async def test_a_start_is_answered_twice_over_and_knows_its_session(site: Site) -> None:
    """[38]"""
    meeting, session_id = await live_meeting(site)
    data = (await start(site, meeting)).json()["data"]
    inner = data.pop("recording")
    assert inner == data
    assert data["output_file_name"] == TRACK_FILE_TEMPLATE
    assert (data["status"], data["type"], data["session_id"]) == ("INVOKED", "TRACK", session_id)
    assert data["download_url"] is data["audio_download_url"] is data["file_size"] is data["started_time"] is None


async def test_nobody_in_the_meeting_is_404(site: Site) -> None:
    """[39]"""
    meeting = await site.world.meeting()
    answer = await start(site, meeting)
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == f"No active session found for meeting_id {meeting.id}"
    unknown = await site.ask("POST", "recordings/track", json={"meeting_id": "nothing"})
    assert unknown.status_code == 404 and "Meeting not found" in unknown.text


async def test_both_shapes_of_layers_are_taken(site: Site) -> None:
    """[40]"""
    meeting, _ = await live_meeting(site)
    sound = TrackChoice((TrackLayer("default"),))
    assert await chosen(site, meeting, layers={"default": {"outputs": [{"type": "REALTIMEKIT_BUCKET"}]}}) == sound
    assert await chosen(site, meeting, layers={"default": {"outputs": [{"type": "DYTE_BUCKET"}, {}]}}) == sound
    assert await chosen(site, meeting, layers={"default": {"media_kind": "audio"}}) == sound
    assert await chosen(site, meeting, layers={"default": None}) == sound
    assert await chosen(site, meeting, layers={"default": {"media_kind": "video", "file_name_prefix": "cam"}}) == (
        TrackChoice((TrackLayer("default", "video", "cam"),))
    )
    both = {"default": {"file_name_prefix": "speaker"}, "default-video": {}}
    assert await chosen(site, meeting, layers=both) == (
        TrackChoice((TrackLayer("default", "audio", "speaker"), TrackLayer("default-video", "video")))
    )
    everything = TrackChoice((TrackLayer("default"), TrackLayer("default-video", "video", "default")))
    assert await chosen(site, meeting) == await chosen(site, meeting, layers={}, user_ids=None) == everything


async def test_people_are_chosen_by_name_and_doubles_count_once(site: Site) -> None:
    meeting, _ = await live_meeting(site)
    assert (await chosen(site, meeting, user_ids=["a", "b", "a"])).user_ids == ("a", "b")
    assert len((await chosen(site, meeting, user_ids=[str(n) for n in range(100)])).user_ids or ()) == 100


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_ids", []),
        ("user_ids", [str(n) for n in range(101)]),
        ("user_ids", [""]),
        ("user_ids", "user-7"),
        ("user_ids", [7]),
        ("user_ids", ["x" * 257]),
        ("max_seconds", 59),
        ("max_seconds", 86_401),
        ("max_seconds", "59"),
        ("max_seconds", "an hour"),
        ("max_seconds", True),
        ("layers", {"other": {}}),
        ("layers", {"default": {"media_kind": "data"}}),
        ("layers", {"default": {"file_name_prefix": "a b"}}),
        ("layers", {"default": {"outputs": [{"type": "RTMP_OUT"}]}}),
        ("layers", {"default": {"outputs": [{"type": "WEBSOCKET"}]}}),
        ("layers", {"default": {}, "default-video": {"media_kind": "audio"}}),
        ("layers", []),
        ("allow_multiple_recordings", "yes"),
    ],
)
async def test_wrong_fields_are_422_by_name(site: Site, field: str, value: Any) -> None:
    """[41]"""
    meeting, _ = await live_meeting(site)
    answer = await start(site, meeting, **{field: value})
    assert answer.status_code == 422, answer.text
    assert field in answer.json()["errors"][0]["message"]
    assert answer.json()["errors"][0]["source"]["pointer"].startswith(f"/{field}")
    assert not site.world.capture.tracks


async def test_a_layer_may_go_to_a_storage_of_its_own_too(site: Site) -> None:
    meeting, _ = await live_meeting(site)
    storage = {"type": "aws", "access_key": "AK", "secret": "the-secret", "bucket": "rec", "region": "eu-west-1"}
    outputs = [{"type": "REALTIMEKIT_BUCKET"}, {"type": "STORAGE_CONFIG", "storage_config": storage}]
    answer = await start(site, meeting, layers={"default": {"outputs": outputs}, "default-video": {}})
    assert answer.status_code == 200 and "the-secret" not in answer.text
    async with site.world.db.read() as session:
        places = await destinations.of_recording(session, answer.json()["data"]["id"])
    found = sorted((place.kind, place.layer, place.storage.get("bucket")) for place in places)
    assert found == [(DestinationKind.BUCKET, None, None), (DestinationKind.EXTERNAL, "default", "rec")]
    assert all("the-secret" not in repr(place) for place in places)


async def test_two_recordings_at_once_write_no_files_of_one_name_to_one_storage(site: Site) -> None:
    """Who comes when both run has files of the same time in both; in the built-in bucket each has its folder."""
    meeting, _ = await live_meeting(site)
    storage = {"type": "aws", "access_key": "AK", "secret": "SK", "bucket": "rec", "region": "eu-west-1"}

    async def begin(name: str, prefix: str | None = None, **more: str) -> Any:
        layer: dict[str, Any] = {"outputs": [{"type": "STORAGE_CONFIG", "storage_config": storage | more}]}
        layer |= {"file_name_prefix": prefix} if prefix else {}
        return await start(site, meeting, layers={name: layer}, allow_multiple_recordings=True)

    first = await begin("default")
    assert first.status_code == 200
    assert (await start(site, meeting, allow_multiple_recordings=True)).status_code == 200
    for prefix in (None, "default"):
        refused = await begin("default", prefix, secret="other")
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["source"]["pointer"] == "/layers/default/file_name_prefix"
    for good in (begin("default", "second"), begin("default", path="second"), begin("default-video", "default")):
        assert (await good).status_code == 200
    await site.ask("PUT", f"recordings/{first.json()['data']['id']}", json={"action": "stop"})
    assert (await begin("default")).status_code == 200


@pytest.mark.parametrize(
    "outputs",
    [
        [{"type": "STORAGE_CONFIG"}],
        [{"type": "STORAGE_CONFIG", "storage_config": {"type": "aws"}}],
        [{"storage_config": {"type": "azure", "access_key": "k", "bucket": "rec"}}],
        [{"type": "STORAGE_CONFIG", "storage_config": {"type": "floppy", "secret": "hush"}}],
    ],
)
async def test_a_storage_without_sense_is_422(site: Site, outputs: Any) -> None:
    meeting, _ = await live_meeting(site)
    answer = await start(site, meeting, layers={"default": {"outputs": outputs}})
    assert answer.status_code == 422 and "layers.default.outputs" in answer.text and "hush" not in answer.text


async def test_no_meeting_id_is_422(site: Site) -> None:
    assert (await site.ask("POST", "recordings/track", json={})).status_code == 422


@pytest.mark.parametrize("seconds", [60, 86_400, "60", "3600", 90.0])
async def test_seconds_may_be_text(site: Site, seconds: Any) -> None:
    meeting, _ = await live_meeting(site)
    recording_id = (await start(site, meeting, max_seconds=seconds)).json()["data"]["id"]
    assert (await site.world.now_of_id(recording_id)).options.max_seconds == int(seconds)


async def test_one_of_a_kind_runs_unless_more_are_wanted(site: Site) -> None:
    """[44]"""
    meeting, session_id = await live_meeting(site)
    film = await site.world.capturing(meeting, session_id)
    assert (await start(site, meeting)).status_code == 200
    assert (await start(site, meeting)).status_code == 409
    assert (await start(site, meeting, allow_multiple_recordings=True)).status_code == 200
    await site.ask("PUT", f"recordings/{film.id}", json={"action": "stop"})
    again = await site.ask("POST", "recordings", json={"meeting_id": meeting.id})
    assert again.status_code == 200, "tracks do not stand in the way of a film"


async def test_tracks_are_the_active_recording_only_without_a_film(site: Site) -> None:
    meeting, session_id = await live_meeting(site)

    async def active() -> str:
        answer = await site.ask("GET", f"recordings/active-recording/{meeting.id}")
        return str(answer.json()["data"]["type"])

    film = await site.world.capturing(meeting, session_id)
    site.world.clock.move(1)
    assert (await start(site, meeting)).status_code == 200
    assert await active() == "COMPOSITE"
    await site.ask("PUT", f"recordings/{film.id}", json={"action": "stop"})
    assert await active() == "TRACK"


async def test_a_meeting_that_is_inactive_is_400(site: Site) -> None:
    meeting, _ = await live_meeting(site)
    await site.ask("PATCH", f"meetings/{meeting.id}", json={"status": "INACTIVE"})
    assert (await start(site, meeting)).status_code == 400


async def test_people_in_the_meeting_may_not_start_one(site: Site) -> None:
    meeting, _ = await live_meeting(site)
    token = site.token_of(await site.world.person(meeting))
    answer = await site.ask("POST", "recordings/track", token=token, json={"meeting_id": meeting.id})
    assert answer.status_code == 403


async def test_pause_resume_and_stop_are_those_of_films(site: Site) -> None:
    meeting, session_id = await live_meeting(site)
    recording_id = (await start(site, meeting)).json()["data"]["id"]

    async def act(action: str) -> str:
        answer = await site.ask("PUT", f"recordings/{recording_id}", json={"action": action})
        return str(answer.json()["data"]["status"]) if answer.status_code == 200 else str(answer.status_code)

    assert await act("pause") == "409"
    await site.world.sessions.on_capturing(recording_id, session_id, site.world.clock.now())
    assert [await act(a) for a in ("pause", "resume", "stop", "stop")] == ["PAUSED", "RECORDING"] + ["UPLOADING"] * 2


async def test_the_end_of_the_session_ends_it_even_before_it_began(site: Site) -> None:
    meeting, session_id = await live_meeting(site)
    begun = (await start(site, meeting)).json()["data"]["id"]
    await site.world.sessions.on_capturing(begun, session_id, site.world.clock.now())
    waiting = (await start(site, meeting, allow_multiple_recordings=True)).json()["data"]["id"]
    await site.world.sessions.on_session_ended(meeting.id, session_id, site.world.clock.now())
    got = [(await site.ask("GET", f"recordings/{key}")).json()["data"] for key in (begun, waiting)]
    assert [one["status"] for one in got] == ["UPLOADING", "ERRORED"]
    assert {one["stop_reason"]["reason"] for one in got} == {"ALL_PEERS_LEFT"}


async def test_files_are_listed_by_layer_and_name_everywhere(site: Site) -> None:
    meeting, _ = await live_meeting(site)
    recording_id = (await start(site, meeting)).json()["data"]["id"]
    video = NAME.replace("audio", "video").replace("webm", "mkv")
    before = (await site.ask("GET", f"recordings/{recording_id}")).json()["data"]
    assert before["download_url"] is None
    await deliver(site, recording_id, NAME, video)
    got = (await site.ask("GET", f"recordings/{recording_id}")).json()["data"]
    listed = (await site.ask("GET", "recordings")).json()["data"][0]
    assert got["download_url"] == listed["download_url"]
    assert got["status"] == "UPLOADED" and got["file_size"] == len(NAME) + len(video)
    assert got["audio_download_url"] is None and got["download_url_expiry"] is not None
    found = {one["layer_name"]: one["download_urls"] for one in got["download_url"]}
    assert {layer: list(files) for layer, files in found.items()} == {"default": [NAME], "default-video": [video]}
    file = await site.http.get(found["default"][NAME]["download_url"])
    assert file.status_code == 200 and file.content == NAME.encode()
    assert NAME in file.headers["content-disposition"]


async def test_no_files_are_an_empty_layer(site: Site) -> None:
    meeting, _ = await live_meeting(site)
    recording_id = (await start(site, meeting, user_ids=["nobody"])).json()["data"]["id"]
    await deliver(site, recording_id)
    got = (await site.ask("GET", f"recordings/{recording_id}")).json()["data"]
    assert got["status"] == "UPLOADED" and got["file_size"] == 0
    assert got["download_url"] == [{"layer_name": "default", "download_urls": {}}]


async def test_the_webhook_has_the_same_list(site: Site) -> None:
    world = site.world
    meeting, _ = await live_meeting(site)
    recording_id = (await start(site, meeting)).json()["data"]["id"]
    await deliver(site, recording_id, NAME)
    got = (await site.ask("GET", f"recordings/{recording_id}")).json()["data"]
    stored = recording_of(json.loads(json.dumps(snapshot(await world.now_of_id(recording_id)))))
    happening = Happening(1, HappeningKind.RECORDING, world.clock.now(), world.app, meeting, None, stored)
    message = await Composer(world.store, world.livestreams.address)(happening)
    assert message is not None
    said = json.loads(message.body)["recording"]
    assert said["downloadUrl"] == got["download_url"] != []
    assert said["fileSize"] == str(len(NAME)) and "audioDownloadUrl" not in said
    stopped = await Composer(world.store, world.livestreams.address)(
        replace(happening, recording=replace(stored, state=RecordingState.CLOSING, files=(), expires_at=None))
    )
    assert stopped is not None and "downloadUrl" not in json.loads(stopped.body)["recording"]


async def test_the_sdk_reads_the_list_and_a_strict_one_says_that_it_is_none_of_its_types(
    served: tuple[Site, str],
) -> None:
    """[38, 43]"""
    site, _ = served
    meeting, _ = await live_meeting(site)
    ids: dict[str, Any] = {"account_id": site.world.account_id, "app_id": site.world.app.id}
    async with sdk(*served, strict=False) as loose, sdk(*served, strict=True) as strict:
        started = await strict.realtime_kit.recordings.start_track_recording(
            site.world.app.id,
            account_id=site.world.account_id,
            meeting_id=meeting.id,
            layers={"default": {"media_kind": "audio", "file_name_prefix": "speaker"}},
            user_ids=["user-7"],
        )
        assert started.data is not None and started.data.recording.id
        recording_id = started.data.recording.id
        await deliver(site, recording_id, NAME)
        got = await loose.realtime_kit.recordings.get_one_recording(recording_id, **ids)
        links: object = got.data and got.data.download_url
        assert isinstance(links, list)
        with pytest.raises(APIResponseValidationError):
            await strict.realtime_kit.recordings.get_one_recording(recording_id, **ids)


@pytest.mark.parametrize("body", [{"layers": {"default-video": {}}}, {"layers": {"default": {"media_kind": "video"}}}])
def test_pictures_can_be_turned_off(body: dict[str, Any]) -> None:
    wanted = parse(TrackBody, {"meeting_id": "m"})
    assert wanted.options(video=False).tracks == TrackChoice((TrackLayer("default"),))
    refused = parse(TrackBody, {"meeting_id": "m"} | body)
    with pytest.raises(InvalidError, match=r"layers\.default") as error:
        refused.options(video=False)
    assert error.value.problems[0].pointer.startswith("/layers/default")
