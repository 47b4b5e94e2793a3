"""The rooms API, a test per sentence of its contract (spec I2 to I4); bodies are compared whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.api.kit import Site, make_site
from tests.service.world import World

from tapedeck.core.access import TokenScope
from tapedeck.core.caution import Caution
from tapedeck.core.errors import UnavailableError
from tapedeck.core.meeting import Meeting, MeetingStatus
from tapedeck.core.recording import FilmFile, Recording, RecordingState, Stop, StopCause
from tapedeck.db.recordings import add_caution
from tapedeck.service.expiry import ExpiryService
from tapedeck.workers.expire import FileKeeper

NOW = "2026-03-02T09:15:04Z"
API = "/api/v1"


@dataclass
class House:
    """A site with a tenant's key."""

    site: Site
    key: str

    @property
    def world(self) -> World:
        return self.site.world

    async def ask(self, method: str, path: str, key: str | None = None, **more: Any) -> httpx.Response:
        return await self.site.http.request(method, f"{API}{path}", headers={"x-api-key": key or self.key}, **more)

    async def data(self, method: str, path: str, **more: Any) -> Any:
        """What a good answer says, inside its envelope."""
        answer = await self.ask(method, path, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def refused(self, method: str, path: str, **more: Any) -> tuple[int, str]:
        """Status and code of a refusal, whose body has the one shape."""
        answer = await self.ask(method, path, **more)
        assert set(answer.json()) == {"error", "code"}, answer.text
        assert "eeting" not in answer.json()["error"], "words of the other API"
        return answer.status_code, answer.json()["code"]

    async def recorded(self, room: Meeting) -> Recording:
        """A recording with media, started here and stopped."""
        started = await self.data("POST", f"/rooms/{room.id}/recordings/start")
        session_id = await self.world.live(room)
        recording_id = started["id"].removeprefix("rec_")
        await self.world.sessions.on_capturing(recording_id, session_id, self.world.clock.now())
        self.world.clock.move(5)
        await self.data("POST", f"/rooms/{room.id}/recordings/stop")
        await self.world.recordings.settle()
        return await self.world.now_of_id(recording_id)

    async def ready(self, room: Meeting | None = None, content: bytes = b"film") -> Recording:
        """A recording whose film is in the bucket."""
        recording = await self.recorded(room or await self.world.meeting())
        return await self.world.finish(recording, content)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with make_site(tmp_path) as site:
        key, _ = await site.world.access.issue_token("acme", "campus", "school", TokenScope.ROOMS)
        yield House(site, key)


# I2: common


async def test_a_tenant_comes_with_a_key_or_a_token_that_stands_for_it(house: House) -> None:
    assert (await house.data("GET", "/rooms")) == []
    made = await house.data("POST", "/token", json={"ttl_seconds": 60})
    assert made["expires_at"] == "2026-03-02T09:16:04Z"
    bearer = {"authorization": f"Bearer {made['token']}"}
    assert (await house.site.http.get(f"{API}/rooms", headers=bearer)).status_code == 200
    house.world.clock.move(60)
    assert (await house.site.http.get(f"{API}/rooms", headers=bearer)).status_code == 401


async def test_without_a_key_it_is_401(house: House) -> None:
    answer = await house.site.http.get(f"{API}/recordings")
    assert answer.status_code == 401
    assert answer.json() == {
        "error": "Authentication is required: send X-API-Key, or Authorization: Bearer <token>",
        "code": "UNAUTHORIZED",
    }


async def test_a_token_ends_with_its_key(house: House) -> None:
    text, key = await house.world.access.issue_token("acme", "campus", scope=TokenScope.ROOMS)
    token, _ = house.world.access.tenant_token(key, 600)
    bearer = {"authorization": f"Bearer {token}"}
    assert (await house.site.http.get(f"{API}/rooms", headers=bearer)).status_code == 200
    await house.world.access.revoke_token(key.id)
    assert (await house.site.http.get(f"{API}/rooms", headers=bearer)).status_code == 401
    assert await house.refused("GET", "/rooms", key=text) == (401, "UNAUTHORIZED")


async def test_ids_are_prefixed_and_bare_ones_are_accepted(house: House) -> None:
    room = await house.data("POST", "/rooms", json={"name": "Physics"})
    assert room["id"].startswith("room_")
    bare = room["id"].removeprefix("room_")
    assert await house.data("GET", f"/rooms/{bare}") == await house.data("GET", f"/rooms/{room['id']}") == room
    started = await house.data("POST", f"/rooms/{bare}/recordings/start")
    assert started["id"].startswith("rec_") and started["room_id"] == room["id"]
    for known_as in (started["id"], started["id"].removeprefix("rec_").upper()):
        assert (await house.data("GET", f"/recordings/{known_as}"))["id"] == started["id"]


async def test_what_is_no_id_is_not_there(house: House) -> None:
    for path in ("/rooms/physics", "/recordings/rec_1", "/recordings/room_00000000-0000-4000-8000-000000000000"):
        assert await house.refused("GET", path) == (404, "NOT_FOUND")


async def test_unknown_routes_and_methods_are_refused_in_the_same_shape(house: House) -> None:
    assert await house.refused("GET", "/nothing") == (404, "NOT_FOUND")
    assert await house.refused("PUT", "/rooms") == (405, "BAD_REQUEST")
    assert await house.refused("POST", "/rooms", content=b"{") == (400, "BAD_REQUEST")
    assert await house.refused("POST", "/rooms", json={"name": 5}) == (400, "BAD_REQUEST")


async def test_a_key_is_good_nowhere_else(house: House) -> None:
    for path in ("meetings", "recordings", "/v1/accounts/acme/apps/campus/config"):
        assert (await house.site.ask("GET", path, token=house.key)).status_code == 403


# Rooms and people


async def test_the_life_of_a_room(house: House) -> None:
    room = await house.data("POST", "/rooms", json={"name": "Physics", "record_on_start": True})
    assert room == {
        "id": room["id"],
        "name": "Physics",
        "is_open": True,
        "record_on_start": True,
        "created_at": NOW,
        "updated_at": NOW,
    }
    house.world.clock.move(60)
    renamed = room | {"name": "Straße", "updated_at": "2026-03-02T09:16:04Z"}
    assert await house.data("PATCH", f"/rooms/{room['id']}", json={"name": "Straße"}) == renamed
    found = await house.ask("GET", "/rooms?search=STRASSE")
    assert found.json() == {"data": [renamed], "meta": {"total": 1, "limit": 20, "offset": 0}}
    gone = await house.data("DELETE", f"/rooms/{room['id']}")
    assert gone == {"id": room["id"], "deleted": True, "deleted_at": "2026-03-02T09:16:04Z"}
    for method, path in (
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/recordings/start"),
        ("POST", "/participants"),
    ):
        assert await house.refused(method, f"/rooms/{room['id']}{path}", json={}) == (404, "NOT_FOUND")
    assert (await house.ask("GET", "/rooms")).json() == {"data": [], "meta": {"total": 0, "limit": 20, "offset": 0}}


async def test_rooms_come_in_pages(house: House) -> None:
    names = [f"R{number}" for number in range(5)]
    for name in names:
        house.world.clock.move(1)
        await house.data("POST", "/rooms", json={"name": name})
    page = (await house.ask("GET", "/rooms?limit=2&offset=3")).json()
    assert [room["name"] for room in page["data"]] == ["R1", "R0"]
    assert page["meta"] == {"total": 5, "limit": 2, "offset": 3}


async def test_a_room_that_is_recorded_cannot_be_deleted_and_its_recordings_stay(house: House) -> None:
    room = await house.world.meeting()
    await house.data("POST", f"/rooms/{room.id}/recordings/start")
    assert await house.refused("DELETE", f"/rooms/{room.id}") == (409, "CONFLICT")
    await house.data("POST", f"/rooms/{room.id}/recordings/stop")
    await house.data("DELETE", f"/rooms/{room.id}")
    (left,) = await house.data("GET", "/recordings")
    assert left["room_id"] == f"room_{room.id}"


async def test_a_room_whose_deletion_fails_midway_is_closed_and_can_be_deleted(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never hidden and open: then nobody could close it here any more."""
    room = await house.world.meeting()

    async def fail(*_: object) -> None:
        raise UnavailableError("later")

    with monkeypatch.context() as patch:
        patch.setattr("tapedeck.service.rooms.table.delete_room", fail)
        assert (await house.ask("DELETE", f"/rooms/{room.id}")).status_code == 503
    assert (await house.data("GET", f"/rooms/{room.id}"))["is_open"] is False
    await house.data("DELETE", f"/rooms/{room.id}")
    assert await house.refused("DELETE", f"/rooms/{room.id}") == (404, "NOT_FOUND")


async def test_a_tenant_needs_no_other_api_to_let_people_in(house: House) -> None:
    room = await house.data("POST", "/rooms", json={})
    people = f"/rooms/{room['id']}/participants"
    ada = await house.data("POST", people, json={"name": "Ada", "role": "host", "user_id": "u7"})
    token = ada.pop("token")
    bare = room["id"].removeprefix("room_")
    assert ada == {
        "id": ada["id"],
        "room_id": room["id"],
        "name": "Ada",
        "role": "host",
        "user_id": "u7",
        "created_at": NOW,
        "whip_url": f"http://test/rtc/{bare}/whip",
    }
    whip = {"authorization": f"Bearer {token}", "content-type": "application/sdp"}
    offer = await house.site.http.post(f"/rtc/{bare}/whip", headers=whip, content="v=0")
    assert offer.status_code == 201
    house.world.clock.move(1)  # two of one moment have no order
    bob = await house.data("POST", people, json={})
    assert bob["role"] == "participant"
    assert bob["user_id"]
    listed = (await house.ask("GET", f"{people}?limit=1&offset=1")).json()
    assert listed["meta"] == {"total": 2, "limit": 1, "offset": 1}
    assert listed["data"][0]["id"] == bob["id"]
    again = await house.data("POST", f"{people}/{ada['id']}/token")
    assert set(again) == {"token", "whip_url"}
    assert await house.data("DELETE", f"{people}/{ada['id']}") == {"id": ada["id"], "deleted": True}
    void = await house.site.http.post(f"/rtc/{bare}/whip", headers=whip, content="v=0")
    assert void.status_code == 401
    assert await house.refused("DELETE", f"{people}/{ada['id']}") == (404, "NOT_FOUND")
    assert await house.refused("POST", people, json={"role": "wizard"}) == (400, "BAD_REQUEST")


# I3: start and stop


async def test_start_and_stop_say_what_the_contract_says(house: House) -> None:
    room = await house.world.meeting()
    started = await house.data("POST", f"/rooms/room_{room.id}/recordings/start")
    assert started == {
        "id": started["id"],
        "room_id": f"room_{room.id}",
        "status": "recording",
        "started_at": NOW,
    }
    session_id = await house.world.live(room)
    house.world.clock.move(1)
    recording_id = started["id"].removeprefix("rec_")
    await house.world.sessions.on_capturing(recording_id, session_id, house.world.clock.now())
    assert (await house.data("GET", f"/recordings/{recording_id}"))["started_at"] == "2026-03-02T09:15:05Z"
    house.world.clock.move(10)
    stopped = await house.data("POST", f"/rooms/room_{room.id}/recordings/stop")
    assert stopped == {
        "id": started["id"],
        "room_id": f"room_{room.id}",
        "status": "processing",
        "stopped_at": "2026-03-02T09:15:15Z",
    }


async def test_start_takes_the_options_of_the_other_api(house: House) -> None:
    room = await house.world.meeting()
    wishes = {"max_seconds": 90, "video_config": {"width": 640, "height": 360}}
    started = await house.data("POST", f"/rooms/{room.id}/recordings/start", json=wishes)
    made = await house.world.now_of_id(started["id"].removeprefix("rec_"))
    assert (made.options.max_seconds, made.options.width, made.options.height) == (90, 640, 360)
    wrong = {"max_seconds": "long"}
    assert await house.refused("POST", f"/rooms/{room.id}/recordings/start", json=wrong) == (400, "BAD_REQUEST")


async def test_a_second_start_is_409_and_only_one_of_a_race_wins(house: House) -> None:
    room = await house.world.meeting()
    path = f"/rooms/{room.id}/recordings/start"
    answers = await asyncio.gather(*(house.ask("POST", path) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert await house.refused("POST", path) == (409, "CONFLICT")
    assert (await house.ask("GET", "/recordings")).json()["meta"]["total"] == 1


async def test_start_of_an_unknown_or_closed_room_is_404(house: House) -> None:
    unknown = "/rooms/room_00000000-0000-4000-8000-000000000000/recordings"
    for verb in ("start", "stop", "sync"):
        assert await house.refused("POST", f"{unknown}/{verb}") == (404, "NOT_FOUND")
    closed = await house.world.meeting(status=MeetingStatus.INACTIVE)
    assert await house.refused("POST", f"/rooms/{closed.id}/recordings/start") == (404, "NOT_FOUND")


async def test_stop_of_an_idle_room_is_404(house: House) -> None:
    room = await house.world.meeting()
    assert await house.refused("POST", f"/rooms/{room.id}/recordings/stop") == (404, "NOT_FOUND")
    await house.recorded(room)
    assert await house.refused("POST", f"/rooms/{room.id}/recordings/stop") == (404, "NOT_FOUND")


async def test_stop_ends_the_newest_film_and_leaves_tracks_alone(house: House) -> None:
    room = await house.world.meeting()
    await house.world.live(room)
    tracks = {"meeting_id": room.id, "user_ids": None}
    assert (await house.site.ask("POST", "recordings/track", json=tracks)).status_code == 200
    assert await house.refused("POST", f"/rooms/{room.id}/recordings/stop") == (404, "NOT_FOUND")
    first = await house.data("POST", f"/rooms/{room.id}/recordings/start")
    house.world.clock.move(1)
    more = {"allow_multiple_recordings": True}
    second = await house.data("POST", f"/rooms/{room.id}/recordings/start", json=more)
    stops = [await house.data("POST", f"/rooms/{room.id}/recordings/stop") for _ in range(2)]
    assert [stop["id"] for stop in stops] == [second["id"], first["id"]]
    assert await house.refused("POST", f"/rooms/{room.id}/recordings/stop") == (404, "NOT_FOUND")


async def test_a_stop_beside_the_automatic_one_is_harmless(house: House) -> None:
    """One of them ends it; the other finds it ended, or nothing to end."""
    for _ in range(5):
        room = await house.world.meeting()
        started = await house.data("POST", f"/rooms/{room.id}/recordings/start")
        recording_id = started["id"].removeprefix("rec_")
        session_id = await house.world.live(room)
        await house.world.sessions.on_capturing(recording_id, session_id, house.world.clock.now())
        answer, _ = await asyncio.gather(
            house.ask("POST", f"/rooms/{room.id}/recordings/stop"),
            house.world.recordings.stop(recording_id, Stop(StopCause.MAX_SECONDS)),
        )
        assert answer.status_code in (200, 404)
        await house.world.recordings.settle()
        assert (await house.world.now_of_id(recording_id)).state is RecordingState.RENDERING


# I1 and J 58: states


async def test_a_recording_goes_from_recording_to_processing_to_ready(house: House) -> None:
    room = await house.world.meeting()

    async def status() -> str:
        listed = (await house.ask("GET", "/recordings")).json()
        assert listed["meta"] == {"total": 1, "limit": 20, "offset": 0}
        return str(listed["data"][0]["status"])

    started = await house.data("POST", f"/rooms/{room.id}/recordings/start")
    seen = [await status()]
    session_id = await house.world.live(room)
    recording_id = started["id"].removeprefix("rec_")
    await house.world.sessions.on_capturing(recording_id, session_id, house.world.clock.now())
    seen.append(await status())
    await house.data("POST", f"/rooms/{room.id}/recordings/stop")
    seen.append(await status())
    await house.world.finish(await house.world.now_of_id(recording_id))
    seen.append(await status())
    assert seen == ["recording", "recording", "processing", "ready"]


async def test_a_failed_recording_says_why(house: House) -> None:
    recording = await house.recorded(await house.world.meeting())
    await house.world.lifecycle.on_failed(recording.id, "The media log of the recording is gone.")
    said = await house.data("GET", f"/recordings/{recording.id}")
    assert (said["status"], said["error"]) == ("failed", "The media log of the recording is gone.")
    assert (await house.data("GET", "/recordings?status=failed"))[0]["id"] == f"rec_{recording.id}"


# Lists


async def test_a_list_says_what_the_contract_says(house: House) -> None:
    recording = await house.ready(content=b"film of ten")
    assert (await house.ask("GET", "/recordings")).json() == {
        "data": [
            {
                "id": f"rec_{recording.id}",
                "room_id": f"room_{recording.meeting_id}",
                "status": "ready",
                "duration_seconds": 4,
                "size_bytes": 11,
                "created_at": NOW,
            }
        ],
        "meta": {"total": 1, "limit": 20, "offset": 0},
    }


async def test_a_recording_says_what_the_contract_says(house: House) -> None:
    recording = await house.ready(content=b"film of ten")
    assert (await house.ask("GET", f"/recordings/rec_{recording.id}")).json() == {
        "data": {
            "id": f"rec_{recording.id}",
            "room_id": f"room_{recording.meeting_id}",
            "room": {"id": f"room_{recording.meeting_id}", "name": "Physics"},
            "status": "ready",
            "duration_seconds": 4,
            "size_bytes": 11,
            "started_at": NOW,
            "stopped_at": "2026-03-02T09:15:09Z",
        }
    }


async def test_unknown_sizes_and_durations_are_null(house: House) -> None:
    room = await house.world.meeting()
    started = await house.data("POST", f"/rooms/{room.id}/recordings/start")
    (listed,) = await house.data("GET", "/recordings")
    assert (listed["duration_seconds"], listed["size_bytes"]) == (None, None)
    assert (await house.data("GET", f"/recordings/{started['id']}"))["stopped_at"] is None


async def test_warnings_are_said(house: House) -> None:
    recording = await house.ready()
    async with house.world.db.write() as session:
        await add_caution(session, recording.id, Caution("watermark", "The watermark could not be had."))
    said = await house.data("GET", f"/recordings/{recording.id}")
    assert said["warnings"] == ["The watermark could not be had."]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "limit=-1", "limit=1.5", "offset=-1", "offset=x", "limit=", "status=done",
     "from=soon", "sort=age", "include_deleted=yes", "offset=99999999999"],
)  # fmt: skip
async def test_bad_numbers_and_words_are_400(house: House, query: str) -> None:
    assert await house.refused("GET", f"/recordings?{query}") == (400, "BAD_REQUEST")


async def test_lists_are_newest_first_and_come_in_pages(house: House) -> None:
    made = []
    for _ in range(5):
        room = await house.world.meeting()
        made.append((await house.data("POST", f"/rooms/{room.id}/recordings/start"))["id"])
        house.world.clock.move(1)
    page = (await house.ask("GET", "/recordings?limit=2&offset=1")).json()
    assert [item["id"] for item in page["data"]] == [made[3], made[2]]
    assert page["meta"] == {"total": 5, "limit": 2, "offset": 1}
    beyond = (await house.ask("GET", "/recordings?offset=5")).json()
    assert (beyond["data"], beyond["meta"]["total"]) == ([], 5)


async def test_filters_and_order(house: House) -> None:
    world = house.world
    rooms = {name: await world.meeting(title=name) for name in ("Straße", "Physics")}
    short = await house.ready(rooms["Physics"], b"12")
    long = await house.ready(rooms["Straße"], b"1234")
    live = await world.start(rooms["Physics"])
    ids = {f"rec_{short.id}": "short", f"rec_{long.id}": "long", f"rec_{live.id}": "live"}

    async def found(query: str) -> list[str]:
        answer = (await house.ask("GET", f"/recordings?{query}")).json()
        assert answer["meta"]["total"] == len(answer["data"])
        return [ids[item["id"]] for item in answer["data"]]

    assert await found("") == ["live", "long", "short"]
    assert await found(f"room_id=room_{rooms['Physics'].id}") == ["live", "short"]
    assert await found("room_id=nowhere") == []
    assert await found("status=ready") == ["long", "short"]
    assert await found("status=ready,recording&sort=created_at") == ["short", "long", "live"]
    assert await found("status=ready&status=recording") == ["live", "long", "short"]
    assert await found("search=STRASSE") == ["long"]
    assert await found(f"search=rec_{short.id[:13]}") == ["short"]
    assert await found("search=%25") == []
    assert await found("from=2026-03-02T09:15:05Z") == ["live", "long"]
    assert await found("to=2026-03-02T09:15:05Z") == ["short"]
    assert await found("sort=-size_bytes") == ["long", "short", "live"]
    assert await found("sort=duration_seconds&status=ready") in (["short", "long"], ["long", "short"])
    assert await found("sort=name") == ["short", "live", "long"]
    await world.meetings.update(world.app, rooms["Straße"].id, {"title": "Chemistry"})
    assert await found("search=chem") == await found("search=straSSe") == ["long"]


# Download


async def test_a_download_before_it_is_ready_has_no_link(house: House) -> None:
    recording = await house.recorded(await house.world.meeting())
    answer = await house.ask("GET", f"/recordings/{recording.id}/download")
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "recording_id": f"rec_{recording.id}",
            "status": "processing",
            "message": "Recording is still being processed. Please try again later.",
        },
    )


async def test_a_download_says_the_actual_status(house: House) -> None:
    room = await house.world.meeting()
    running = (await house.data("POST", f"/rooms/{room.id}/recordings/start"))["id"]
    said = (await house.ask("GET", f"/recordings/{running}/download")).json()
    assert (said["status"], said["message"]) == (
        "recording",
        "Recording is still being processed. Please try again later.",
    )
    failed = await house.recorded(await house.world.meeting())
    await house.world.lifecycle.on_failed(failed.id, "Nothing is left.")
    said = (await house.ask("GET", f"/recordings/{failed.id}/download")).json()
    assert said == {"recording_id": f"rec_{failed.id}", "status": "failed", "message": "Recording failed."}


async def test_a_download_that_is_ready_is_a_link_to_the_bytes_under_a_name_people_understand(house: House) -> None:
    room = await house.world.meeting(title="Physics: waves/2")
    recording = await house.ready(room, b"film of ten")
    answer = (await house.ask("GET", f"/recordings/{recording.id}/download")).json()
    url = answer.pop("download_url")
    assert answer == {
        "recording_id": f"rec_{recording.id}",
        "status": "ready",
        "duration": 4,
        "file_size": 11,
        "provider": "r2",
    }
    got = await fetch(house, url)
    assert (got.status_code, got.content) == (200, b"film of ten")
    named = 'attachment; filename="Physics waves 2 2026-03-02 09.15 UTC.mp4"'
    assert got.headers["content-disposition"] == named
    house.world.clock.move(3601)
    assert (await fetch(house, url)).status_code == 403


async def fetch(house: House, url: str) -> httpx.Response:
    parts = urlsplit(url)
    return await house.site.http.get(f"{parts.path}?{parts.query}")


async def test_a_download_of_several_files_names_each(house: House) -> None:
    """And the stills have links of their own, here and where the recording is asked for."""
    recording = await house.recorded(await house.world.meeting())
    store, files = house.world.store, []
    for kind, name in (("poster", "p.jpg"), ("audio", "a.mp3"), ("video", "v.mp4"), ("sprite", "s.jpg")):
        path = house.world.root / name
        path.write_bytes(kind.encode())
        await store.put_file(f"recordings/{name}", path, "image/jpeg", name)
        files.append(FilmFile(kind, name, len(kind), 1000, "00000000", key=f"recordings/{name}"))
    await house.world.lifecycle.on_rendered(recording.id, files)
    await house.world.lifecycle.on_uploaded(recording.id, files)
    said = (await house.ask("GET", f"/recordings/{recording.id}/download")).json()
    assert [file["name"] for file in said["files"]] == [
        "Physics 2026-03-02 09.15 UTC.mp4",
        "Physics 2026-03-02 09.15 UTC audio.mp3",
    ]
    assert said["download_url"] == said["files"][0]["url"]
    assert (await fetch(house, said["files"][1]["url"])).content == b"audio"
    shown = await house.data("GET", f"/recordings/{recording.id}")
    for links in (said, shown):
        assert (await fetch(house, links["poster_url"])).content == b"poster"
        assert (await fetch(house, links["thumbnails_url"])).content == b"sprite"
        assert "thumbnails_map_url" not in links


async def test_what_lies_in_the_customers_storage_alone_is_not_linked(house: House) -> None:
    recording = await house.recorded(await house.world.meeting())
    await house.world.finish_outside(recording)
    said = (await house.ask("GET", f"/recordings/{recording.id}/download")).json()
    assert (said["status"], "download_url" in said) == ("ready", False)
    assert "your own" in said["message"]


async def test_what_the_library_keeps_outlives_the_links_of_the_other_api(house: House) -> None:
    world = house.world
    kept = await house.ready()
    room = await world.meeting()
    other = await world.capturing(room, await world.live(room))
    world.clock.move(5)
    await world.recordings.stop(other.id, Stop(StopCause.REQUEST))
    await world.finish(other)
    now = world.clock.move(timedelta(days=8).total_seconds())
    await FileKeeper(ExpiryService(world.db), world.store, world.clock).free(now)
    said = (await house.ask("GET", f"/recordings/{kept.id}/download")).json()
    assert (await fetch(house, said["download_url"])).content == b"film"
    gone = (await house.ask("GET", f"/recordings/{other.id}/download")).json()
    assert "download_url" not in gone
    assert "never synced" in gone["message"]
