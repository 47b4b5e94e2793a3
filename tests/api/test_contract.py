"""Sentences of the rooms contract (spec I1 to I4) that no other test is about; errors are compared whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.api.kit import make_site
from tests.api.test_rooms import NOW, House

from tapedeck.config import load_settings
from tapedeck.core.access import TokenScope
from tapedeck.core.recording import FilmFile, RecordingState
from tapedeck.service.recordings import Action

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with make_site(tmp_path) as site:
        key, _ = await site.world.access.issue_token("acme", "campus", "school", TokenScope.ROOMS_ADMIN)
        yield House(site, key)


async def status(house: House, recording_id: str) -> str:
    return str((await house.data("GET", f"/recordings/{recording_id}"))["status"])


# I1


async def test_a_paused_recording_is_recording(house: House) -> None:
    world, meeting = house.world, await house.world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))
    await world.recordings.control(world.app, world.backend, recording.id, Action.PAUSE)
    assert (await world.now_of(recording)).state is RecordingState.PAUSED
    assert await status(house, recording.id) == "recording"


async def test_a_recording_that_crashes_while_it_runs_is_failed(house: House) -> None:
    world, meeting = house.world, await house.world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))
    await world.lifecycle.on_failed(recording.id, "The disk of the server is broken.")
    said = await house.data("GET", f"/recordings/{recording.id}")
    assert (said["status"], said["error"]) == ("failed", "The disk of the server is broken.")


# I2, I3: errors


async def test_every_refusal_is_a_sentence_and_a_code(house: House) -> None:
    """The bodies of I3's errors, whole."""
    world = house.world
    idle, busy = await world.meeting(), await world.meeting()
    running = (await house.data("POST", f"/rooms/{busy.id}/recordings/start"))["id"]
    ready = await house.ready()
    processing = await house.recorded(await world.meeting())
    no_room = ("There is no such room", "NOT_FOUND")
    no_recording = ("There is no such recording", "NOT_FOUND")
    unknown = f"/recordings/rec_{NOBODY}"
    for method, path, code, error in (
        ("POST", f"/rooms/{busy.id}/recordings/start", 409, ("The room is already being recorded", "CONFLICT")),
        ("POST", f"/rooms/room_{NOBODY}/recordings/start", 404, no_room),
        ("POST", f"/rooms/room_{NOBODY}/recordings/stop", 404, no_room),
        ("POST", f"/rooms/room_{NOBODY}/recordings/sync", 404, no_room),
        ("POST", f"/rooms/{idle.id}/recordings/stop", 404, ("The room has no active recording", "NOT_FOUND")),
        ("GET", "/recordings?limit=0", 400, ('"limit" must be from 1 to 100', "BAD_REQUEST")),
        ("GET", "/recordings?offset=x", 400, ('"offset" must be a whole number', "BAD_REQUEST")),
        ("GET", unknown, 404, no_recording),
        ("GET", f"{unknown}/download", 404, no_recording),
        ("POST", f"{unknown}/recover", 404, no_recording),
        ("DELETE", unknown, 404, no_recording),
        ("POST", f"{unknown}/archive", 404, ("Recording not found", "NOT_FOUND")),
        (
            "POST",
            f"/recordings/{processing.id}/archive",
            400,
            ("Only a recording that is ready can be archived.", "BAD_REQUEST"),
        ),
        (
            "POST",
            f"/recordings/{ready.id}/recover",
            400,
            ("Only a recording that is processing can be recovered; this one is ready", "BAD_REQUEST"),
        ),
        (
            "DELETE",
            f"/recordings/{running}",
            409,
            ("A recording that is running cannot be deleted: stop it first", "CONFLICT"),
        ),
    ):
        answer = await house.ask(method, path)
        assert (answer.status_code, answer.json()) == (code, dict(zip(("error", "code"), error, strict=True))), path


async def test_a_room_in_the_body_of_a_start_is_not_heard(house: House) -> None:
    """OC-94: the room is the path's."""
    room, other = await house.world.meeting(), await house.world.meeting()
    started = await house.data("POST", f"/rooms/{room.id}/recordings/start", json={"meeting_id": other.id})
    assert started["room_id"] == f"room_{room.id}"
    assert (await house.world.now_of_id(started["id"].removeprefix("rec_"))).meeting_id == room.id


# I4


async def test_what_is_started_here_is_visible_there(house: House) -> None:
    """OC-97, the other way round than `sync`."""
    room = await house.world.meeting()
    started = await house.data("POST", f"/rooms/{room.id}/recordings/start")
    (there,) = (await house.site.ask("GET", "recordings")).json()["data"]
    assert (f"rec_{there['id']}", there["status"]) == (started["id"], "INVOKED")


async def test_a_download_of_tracks_is_the_first_file_and_all_by_name(house: House) -> None:
    """OC-100, also when there is but one."""
    world, meeting = house.world, await house.world.meeting()
    session_id = await world.live(meeting)
    asked = await house.site.ask("POST", "recordings/track", json={"meeting_id": meeting.id})
    recording_id = asked.json()["data"]["id"]
    await world.sessions.on_capturing(recording_id, session_id, world.clock.now())
    world.clock.move(5)
    await world.recordings.control(world.app, world.backend, recording_id, Action.STOP)
    await world.recordings.settle()
    files = []
    for name in ("ada.webm", "bob.webm"):
        (world.root / name).write_bytes(name.encode())
        await world.store.put_file(f"recordings/{name}", world.root / name, "audio/webm", name)
        files.append(FilmFile("track", name, 8, 4_000, "00000000", key=f"recordings/{name}", layer="default"))
    await world.lifecycle.on_rendered(recording_id, files)
    await world.lifecycle.on_uploaded(recording_id, files)
    said = (await house.ask("GET", f"/recordings/{recording_id}/download")).json()
    assert [file["name"] for file in said["files"]] == ["ada.webm", "bob.webm"]
    assert said["download_url"] == said["files"][0]["url"] and (said["file_size"], said["provider"]) == (8, "r2")
    for file in said["files"]:
        parts = urlsplit(file["url"])
        assert (await house.site.http.get(f"{parts.path}?{parts.query}")).content == file["name"].encode()


@pytest.mark.parametrize("name", ["r2", "s3", "local"])
async def test_the_bucket_may_be_called_otherwise(house: House, name: str) -> None:
    """OC-100: `r2` unless the server's settings say something else."""
    recording = await house.ready()
    assert load_settings().bucket_provider == house.world.library.store_name == "r2"
    house.world.library.store_name = load_settings(bucket_provider=name).bucket_provider
    assert (await house.ask("GET", f"/recordings/{recording.id}/download")).json()["provider"] == name


async def test_recover_ends_as_ready_or_as_failed_with_the_reason(house: House) -> None:
    """OC-102: it is asynchronous; what comes of it is seen later."""
    good, bad = [await house.recorded(await house.world.meeting()) for _ in range(2)]
    for recording in (good, bad):
        await house.data("POST", f"/recordings/{recording.id}/recover")
        assert await status(house, recording.id) == "processing"
    await house.world.finish(good)
    await house.world.lifecycle.on_failed(bad.id, "The media log of the recording is gone.")
    assert await status(house, good.id) == "ready"
    said = await house.data("GET", f"/recordings/{bad.id}")
    assert (said["status"], said["error"]) == ("failed", "The media log of the recording is gone.")


async def test_any_state_but_recording_can_be_deleted(house: House) -> None:
    """OC-103."""
    processing, failed = [await house.recorded(await house.world.meeting()) for _ in range(2)]
    await house.world.lifecycle.on_failed(failed.id, "Nothing is left.")
    for recording in (processing, failed, await house.ready()):
        assert (await house.data("DELETE", f"/recordings/{recording.id}"))["deleted"] is True


async def test_a_deleted_recording_is_shown_whole_to_an_administrator(house: House) -> None:
    """OC-104."""
    recording = await house.ready(content=b"film of ten")
    await house.data("DELETE", f"/recordings/{recording.id}")
    assert await house.data("GET", f"/recordings/{recording.id}?include_deleted=true") == {
        "id": f"rec_{recording.id}",
        "room_id": f"room_{recording.meeting_id}",
        "room": {"id": f"room_{recording.meeting_id}", "name": "Physics"},
        "status": "ready",
        "duration_seconds": 4,
        "size_bytes": 11,
        "started_at": NOW,
        "stopped_at": "2026-03-02T09:15:09Z",
        "deleted_at": "2026-03-02T09:15:09Z",
    }


async def test_what_became_of_each_of_several_is_said_whole(house: House) -> None:
    recording = await house.ready()
    said = await house.data("POST", "/recordings/bulk/delete", json={"ids": [f"rec_{recording.id}", f"rec_{NOBODY}"]})
    assert said == [
        {"id": f"rec_{recording.id}", "ok": True},
        {"id": f"rec_{NOBODY}", "ok": False, "error": "There is no such recording", "code": "NOT_FOUND"},
    ]
