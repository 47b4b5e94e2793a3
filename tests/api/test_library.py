"""The library: what is synced, recovered, deleted and brought back; several at once; two tenants in one server."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.api.kit import make_site
from tests.api.test_rooms import NOW, House

from tapedeck.core.access import TokenScope
from tapedeck.core.library import distinct
from tapedeck.core.recording import Recording, RecordingState
from tapedeck.db.library_lists import find_item, save_entry


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with make_site(tmp_path) as site:
        key, _ = await site.world.access.issue_token("acme", "campus", "school", TokenScope.ROOMS)
        yield House(site, key)


# Sync (OC-97)


async def test_sync_names_what_was_started_elsewhere_once(house: House) -> None:
    room, other = await house.world.meeting(), await house.world.meeting()
    own = await house.data("POST", f"/rooms/{room.id}/recordings/start")
    theirs = await house.world.start(other)
    assert await house.data("POST", f"/rooms/{room.id}/recordings/sync") == {"synced_count": 0, "recordings": []}
    assert {item["id"] for item in await house.data("GET", "/recordings")} == {own["id"], f"rec_{theirs.id}"}
    first = await house.data("POST", f"/rooms/{other.id}/recordings/sync")
    assert first == {"synced_count": 1, "recordings": [{"id": f"rec_{theirs.id}", "status": "recording"}]}
    again = await house.data("POST", f"/rooms/{other.id}/recordings/sync")
    assert again == {"synced_count": 0, "recordings": []}


async def test_syncs_at_the_same_time_name_each_recording_once(house: House) -> None:
    room = await house.world.meeting(record_on_start=True)
    await house.world.live(room)
    path = f"/rooms/{room.id}/recordings/sync"
    answers = await asyncio.gather(*(house.data("POST", path) for _ in range(6)))
    assert sorted(answer["synced_count"] for answer in answers) == [0] * 5 + [1]


# Recover (OC-102)


async def test_recover_goes_on_with_what_is_processed_and_says_so(house: House) -> None:
    heard: list[tuple[str, RecordingState]] = []
    house.world.library.on_recover = lambda r: heard.append((r.id, r.state))
    recording = await house.recorded(await house.world.meeting())
    for _ in range(2):
        assert await house.data("POST", f"/recordings/{recording.id}/recover") == {
            "id": f"rec_{recording.id}",
            "status": "processing",
            "message": "Recovery initiated. Recording will be reprocessed.",
        }
    assert heard == [(recording.id, RecordingState.RENDERING)] * 2


async def test_recover_of_anything_else_is_400(house: House) -> None:
    room = await house.world.meeting()
    started = await house.data("POST", f"/rooms/{room.id}/recordings/start")
    ready = await house.ready()
    failed = await house.recorded(await house.world.meeting())
    await house.world.lifecycle.on_failed(failed.id, "Nothing is left.")
    for known_as in (started["id"], ready.id, failed.id):
        assert await house.refused("POST", f"/recordings/{known_as}/recover") == (400, "BAD_REQUEST")


async def test_recover_of_what_nobody_can_be_asked_for_is_400(house: House) -> None:
    recording = await house.recorded(await house.world.meeting())
    async with house.world.db.write() as session:
        await session.execute(text("UPDATE library SET provider = 'cloudflare'"))
    answer = await house.ask("POST", f"/recordings/{recording.id}/recover")
    assert answer.status_code == 400
    assert "cloudflare_recording_id" in answer.json()["error"]


# Delete (OC-89, OC-103, OC-104)


async def test_a_deleted_recording_is_hidden_here_and_stays_there(house: House) -> None:
    recording = await house.ready()
    gone = await house.data("DELETE", f"/recordings/rec_{recording.id}")
    assert gone == {"id": f"rec_{recording.id}", "deleted": True, "deleted_at": "2026-03-02T09:15:09Z"}
    for method, path in (("GET", ""), ("GET", "/download"), ("POST", "/recover"), ("DELETE", "")):
        assert await house.refused(method, f"/recordings/{recording.id}{path}") == (404, "NOT_FOUND")
    assert (await house.ask("GET", "/recordings")).json() == {
        "data": [],
        "meta": {"total": 0, "limit": 20, "offset": 0},
    }
    there = (await house.site.ask("GET", f"recordings/{recording.id}")).json()["data"]
    assert there["status"] == "UPLOADED" and there["download_url"]


async def test_a_deleted_recording_can_be_brought_back(house: House) -> None:
    recording = await house.ready()
    path = f"/recordings/{recording.id}"
    assert await house.refused("POST", f"{path}/undelete") == (404, "NOT_FOUND")
    await house.data("DELETE", path)
    back = {"id": f"rec_{recording.id}", "deleted": False, "status": "ready"}
    assert await house.data("POST", f"{path}/undelete") == back
    assert "download_url" in (await house.ask("GET", f"{path}/download")).json()


async def test_what_was_deleted_is_shown_to_administrators_alone(house: House) -> None:
    recording = await house.ready()
    await house.data("DELETE", f"/recordings/{recording.id}")
    admin, _ = await house.world.access.issue_token("acme", "campus", "boss", TokenScope.ROOMS_ADMIN)
    for path in ("/recordings", f"/recordings/{recording.id}"):
        assert await house.refused("GET", f"{path}?include_deleted=true") == (403, "FORBIDDEN")
        assert (await house.ask("GET", f"{path}?include_deleted=true", admin)).status_code == 200
    listed = (await house.ask("GET", "/recordings?include_deleted=true", admin)).json()["data"]
    assert listed[0]["deleted_at"] == "2026-03-02T09:15:09Z"


async def test_what_runs_or_is_held_cannot_be_deleted(house: House) -> None:
    room = await house.world.meeting()
    started = await house.data("POST", f"/rooms/{room.id}/recordings/start")
    assert await house.refused("DELETE", f"/recordings/{started['id']}") == (409, "CONFLICT")
    recording = await house.ready()
    await hold(house, recording)
    assert await house.refused("DELETE", f"/recordings/{recording.id}") == (409, "CONFLICT")


async def hold(house: House, recording: Recording) -> None:
    async with house.world.db.write() as session:
        item = await find_item(session, house.world.app.id, recording.id)
        assert item is not None
        await save_entry(session, replace(item.entry, hold=True))


async def test_deletes_at_the_same_time_have_one_winner_and_a_download_beside_them_is_whole_or_refused(
    house: House,
) -> None:
    recording = await house.ready(content=b"x" * 300_000)
    path = f"/recordings/{recording.id}"
    body = {"ids": [recording.id]}
    *answers, zipped, link = await asyncio.gather(
        *(house.ask("DELETE", path) for _ in range(4)),
        house.ask("POST", "/recordings/bulk/download", json=body),
        house.ask("GET", f"{path}/download"),
    )
    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404]
    assert link.status_code in (200, 404)
    assert zipped.status_code in (200, 404)
    if zipped.status_code == 200:
        assert zipfile.ZipFile(io.BytesIO(zipped.content)).testzip() is None


# Several at once


async def test_several_are_deleted_each_for_itself(house: House) -> None:
    ready, room = await house.ready(), await house.world.meeting()
    running = (await house.data("POST", f"/rooms/{room.id}/recordings/start"))["id"]
    ids = [ready.id, running, "nonsense"]
    said = await house.data("POST", "/recordings/bulk/delete", json={"ids": ids})
    assert [(item["id"], item["ok"], item.get("code")) for item in said] == [
        (ready.id, True, None),
        (running, False, "CONFLICT"),
        ("nonsense", False, "NOT_FOUND"),
    ]
    assert [item["id"] for item in await house.data("GET", "/recordings")] == [running]
    for ids in ([], ["x"] * 101):
        assert await house.refused("POST", "/recordings/bulk/delete", json={"ids": ids}) == (400, "BAD_REQUEST")


async def test_several_come_as_one_zip_under_their_names(house: House) -> None:
    room = await house.world.meeting()
    films = {(await house.ready(room, content)).id: content for content in (b"first" * 100_000, b"second")}
    answer = await house.ask("POST", "/recordings/bulk/download", json={"ids": list(films)})
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="Recordings 2026-03-02.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as zipped:
        assert zipped.testzip() is None
        names = ["Physics 2026-03-02 09.15 UTC.mp4", "Physics 2026-03-02 09.15 UTC (2).mp4"]
        assert zipped.namelist() == names
        assert [zipped.read(name) for name in names] == list(films.values())


async def test_a_zip_of_what_is_not_ready_is_refused(house: House) -> None:
    ready, processed = await house.ready(), await house.recorded(await house.world.meeting())
    for ids, status in (([ready.id, processed.id], 409), ([ready.id, "rec_x"], 404)):
        refused = await house.ask("POST", "/recordings/bulk/download", json={"ids": ids})
        assert refused.status_code == status, refused.text


def test_names_that_would_come_twice_are_numbered() -> None:
    assert distinct(["a.mp4", "A.mp4", "a (2).mp4", "b", "b"]) == ["a.mp4", "A (2).mp4", "a (2) (2).mp4", "b", "b (2)"]


# Two tenants


async def test_two_tenants_never_see_each_other(house: House) -> None:
    """What `test_matrix.py` asks of every route with an id, here of lists, counts, filters, sync and the trail."""
    world = house.world
    other = await world.access.create_app("acme", "Other")
    theirs, _ = await world.access.issue_token("acme", other.id, "other", TokenScope.ROOMS_ADMIN)
    recording = await house.ready()
    room = f"room_{recording.meeting_id}"
    own = (await house.ask("POST", "/rooms", theirs, json={"name": "Physics"})).json()["data"]
    for path in ("/recordings", f"/recordings?room_id={room}", "/recordings?search=Physics&include_deleted=true"):
        assert (await house.ask("GET", path, theirs)).json()["meta"]["total"] == 0
    assert [found["id"] for found in (await house.ask("GET", "/rooms", theirs)).json()["data"]] == [own["id"]]
    for path in (f"/audit?recording_id={recording.id}", "/audit"):
        deeds = (await house.ask("GET", path, theirs)).json()["data"]
        assert {deed["action"] for deed in deeds} <= {"room.create"}
    bulk = {"ids": [recording.id]}
    said = (await house.ask("POST", "/recordings/bulk/delete", theirs, json=bulk)).json()["data"]
    assert [item["code"] for item in said] == ["NOT_FOUND"]
    assert (await house.ask("POST", "/recordings/bulk/download", theirs, json=bulk)).status_code == 404
    assert (await house.ask("GET", "/recordings")).json()["meta"]["total"] == 1


# The trail


async def test_who_did_what_can_be_read(house: House) -> None:
    recording = await house.ready()
    await house.data("DELETE", f"/recordings/{recording.id}")
    trail = (await house.ask("GET", "/audit")).json()
    assert [deed["action"] for deed in trail["data"]] == ["recording.delete", "recording.stop", "recording.start"]
    assert trail["meta"]["total"] == 3
    actor = trail["data"][2].pop("actor")
    assert (actor["kind"], actor["name"]) == ("key", "school")
    assert trail["data"][2] == {
        "at": NOW,
        "action": "recording.start",
        "recording_id": f"rec_{recording.id}",
        "room_id": f"room_{recording.meeting_id}",
        "detail": {},
    }
    assert await house.refused("GET", "/audit?recording_id=x") == (400, "BAD_REQUEST")
