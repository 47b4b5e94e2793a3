"""Archive, restore and retention over HTTP: bodies are compared whole, two tenants, a real S3 server as the archive."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import google_crc32c
import httpx
import pytest
from tests.api.kit import make_site
from tests.api.test_rooms import House
from tests.servers.moto import moto

from tapedeck.adapters.egress import Guard
from tapedeck.adapters.storage.archive import make_archive
from tapedeck.core.access import TokenScope
from tapedeck.core.archive import StorageClass
from tapedeck.core.errors import UnavailableError
from tapedeck.core.naming import object_key
from tapedeck.core.recording import FilmFile, Recording
from tapedeck.service.expiry import ExpiryService
from tapedeck.service.recordings import Action
from tapedeck.workers.archive import LibraryKeeper
from tapedeck.workers.expire import FileKeeper

NOW = "2026-03-02T09:15:09Z"
FILM = b"film" * 5000


@pytest.fixture(scope="module")
def moto_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture
async def house(tmp_path: Path, moto_url: str) -> AsyncIterator[House]:
    """A tenant with a key of an administrator, and a server with an archive."""
    bucket = f"cold-{uuid4().hex[:8]}"
    storage = {"type": "aws", "access_key": "AK", "secret": "SK", "bucket": bucket, "endpoint": moto_url, "path": ""}
    store = make_archive(storage, StorageClass.GLACIER, Guard(allow_private=True))
    async with httpx.AsyncClient(timeout=300) as client:
        assert (await client.put(f"{moto_url}/{bucket}")).status_code == 200
    async with make_site(tmp_path, archive=store) as site:
        key, _ = await site.world.access.issue_token("acme", "campus", "school", TokenScope.ROOMS_ADMIN)
        yield House(site, key)
    await store.aclose()


async def ready(house: House) -> Recording:
    """A film in the bucket, with the checksum it really has."""
    world = house.world
    recording = await house.recorded(await world.meeting())
    path = world.root / "film.mp4"
    path.write_bytes(FILM)
    crc = f"{google_crc32c.value(FILM):08x}"
    key = object_key(recording.id, recording.invoked_at, recording.file_name)
    film = FilmFile("video", recording.file_name, len(FILM), 4_000, crc, local_path=str(path))
    await world.lifecycle.on_rendered(recording.id, [film])
    await world.store.put_file(key, path, "video/mp4", film.name)
    stored = FilmFile("video", film.name, len(FILM), 4_000, crc, key=key)
    uploaded = await world.lifecycle.on_uploaded(recording.id, [stored])
    await world.delivered(recording)
    return uploaded


async def poll(house: House) -> None:
    world = house.world
    await LibraryKeeper(world.archives, world.retention, world.clock).round(world.clock.now())


async def test_a_recording_goes_to_the_archive_and_comes_back(house: House) -> None:
    recording = await ready(house)
    one = f"/recordings/rec_{recording.id}"
    assert await house.refused("POST", f"{one}/restore") == (400, "BAD_REQUEST")
    said = await house.data("POST", f"{one}/archive")
    assert said == {"id": f"rec_{recording.id}", "status": "archived", "archived_at": NOW}
    assert await house.refused("POST", f"{one}/archive") == (400, "BAD_REQUEST")
    assert (await house.data("GET", one))["status"] == "archived"
    assert (await house.ask("GET", f"{one}/download")).json() == {
        "recording_id": f"rec_{recording.id}",
        "status": "archived",
        "message": "Recording is archived. Restore it before downloading.",
    }
    played = await house.ask("GET", f"{one}/play")
    assert (played.status_code, "it can be downloaded" in played.json()["error"]) == (409, True)
    kit = (await house.site.ask("GET", f"recordings/{recording.id}")).json()["data"]
    assert (kit["status"], kit["download_url"], kit["audio_download_url"]) == ("UPLOADED", None, None)

    assert await house.refused("POST", f"{one}/restore", json={"days": 0}) == (400, "BAD_REQUEST")
    assert await house.refused("POST", f"{one}/restore", json={"tier": "now"}) == (400, "BAD_REQUEST")
    said = await house.data("POST", f"{one}/restore", json={"tier": "bulk", "days": 2})
    wanted = {
        "id": f"rec_{recording.id}",
        "status": "archived",
        "archive_state": "restoring",
        "tier": "bulk",
        "days": 2,
    }
    assert said == wanted
    shown = await house.data("GET", one)
    assert (shown["status"], shown["archive_state"], "restored_until" in shown) == ("archived", "restoring", False)
    await poll(house)
    shown = await house.data("GET", one)
    assert (shown["archive_state"], shown["restored_until"]) == ("restored", "2026-03-04T09:15:09Z")
    found = (await house.ask("GET", f"{one}/download")).json()
    assert (found["status"], found["provider"], found["file_size"]) == ("archived", "s3_glacier", len(FILM))
    async with httpx.AsyncClient(timeout=300) as client:
        assert (await client.get(found["download_url"])).content == FILM
    zipped = await house.ask("POST", "/recordings/bulk/download", json={"ids": [recording.id]})
    with zipfile.ZipFile(io.BytesIO(zipped.content)) as found_in:
        assert [found_in.read(name) for name in found_in.namelist()] == [FILM], "of the restored copy"
    said = await house.data("POST", f"{one}/restore")
    assert said == wanted | {
        "archive_state": "restored",
        "tier": "standard",
        "days": 7,
        "restored_until": "2026-03-09T09:15:09Z",
    }
    house.world.clock.move(7 * 86_400)
    await poll(house)
    assert "download_url" not in (await house.ask("GET", f"{one}/download")).json()
    assert (await house.data("GET", one))["archive_state"] == "archived"
    refused = await house.ask("POST", "/recordings/bulk/download", json={"ids": [recording.id]})
    assert (refused.status_code, "Restore it" in refused.json()["error"]) == (409, True)


async def test_the_poster_of_what_is_archived_is_still_shown(house: House) -> None:
    recording = await house.recorded(await house.world.meeting())
    store, files = house.world.store, []
    for kind, name, content in (("video", "v.mp4", FILM), ("poster", "p.jpg", b"poster"), ("sprite", "s.jpg", b"s")):
        path = house.world.root / name
        path.write_bytes(content)
        await store.put_file(f"recordings/{name}", path, "image/jpeg", name)
        crc = f"{google_crc32c.value(content):08x}"
        files.append(FilmFile(kind, name, len(content), 1000, crc, key=f"recordings/{name}"))
    await house.world.lifecycle.on_rendered(recording.id, files)
    await house.world.lifecycle.on_uploaded(recording.id, files)
    await house.data("POST", f"/recordings/{recording.id}/archive")
    shown = await house.data("GET", f"/recordings/{recording.id}")
    assert shown["status"] == "archived" and shown["thumbnails_url"]
    parts = urlsplit(shown["poster_url"])
    assert (await house.site.http.get(f"{parts.path}?{parts.query}")).content == b"poster"


async def test_what_cannot_be_archived_is_a_bad_request_and_a_failed_copy_is_ours(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[59] 400 while processing; OC-101: 500 for a copy that fails, and it stays ready."""
    processing = await house.recorded(await house.world.meeting())
    assert await house.refused("POST", f"/recordings/{processing.id}/archive") == (400, "BAD_REQUEST")
    outside = await house.world.finish_outside(processing)
    assert await house.refused("POST", f"/recordings/{outside.id}/archive") == (400, "BAD_REQUEST")
    recording = await ready(house)

    async def refuse(*_: object) -> None:
        raise UnavailableError("The storage cannot do it now (503).", retry_after_s=30)

    monkeypatch.setattr(house.world.archives._archive, "put_part", refuse)
    assert await house.refused("POST", f"/recordings/{recording.id}/archive") == (500, "INTERNAL")
    assert (await house.data("GET", f"/recordings/{recording.id}"))["status"] == "ready"
    found = (await house.ask("GET", f"/recordings/{recording.id}/download")).json()
    assert (await house.site.http.get(found["download_url"])).content == FILM


async def test_a_download_meanwhile_gets_the_film_or_is_told(house: House) -> None:
    """archive x download: a link that is given out is of a film that was there, or there is none."""
    recording = await ready(house)
    one = f"/recordings/{recording.id}"
    moving = asyncio.create_task(house.data("POST", f"{one}/archive"))
    seen = []
    while not moving.done():
        found = (await house.ask("GET", f"{one}/download")).json()
        seen.append((found["status"], "download_url" in found))
        await asyncio.sleep(0)
    await moving
    assert set(seen) <= {("ready", True), ("archived", False)}
    assert (await house.ask("GET", f"{one}/download")).json()["status"] == "archived"


async def test_retention_over_http(house: House) -> None:
    nothing = {"archive_after_days": None, "delete_after_days": None, "purge_after_days": None}
    assert await house.data("GET", "/retention") == nothing
    wish = {"delete_after_days": 3, "purge_after_days": 1}
    assert await house.data("PUT", "/retention", json=wish) == nothing | wish
    for bad in (
        {"delete_after_days": -1},
        {"delete_after_days": 1.5},
        {"purge_after_days": "soon"},
        {"archive_after_days": 99_999},
    ):
        assert await house.refused("PUT", "/retention", json=bad) == (400, "BAD_REQUEST")
    recording, kept = await ready(house), await ready(house)
    room = f"/rooms/room_{kept.meeting_id}/retention"
    assert await house.data("PUT", room, json={"delete_after_days": None}) == nothing | {"purge_after_days": 1}
    assert await house.data("GET", room) == nothing | {"purge_after_days": 1}
    assert await house.data("GET", "/retention/due") == []
    assert await house.data("GET", "/retention/due?at=0001-01-01T00:00:00Z") == []
    answer = (await house.ask("GET", "/retention/due?at=2026-03-05T09:16:00Z&limit=1")).json()
    line = {
        "id": f"rec_{recording.id}",
        "room_id": f"room_{recording.meeting_id}",
        "action": "delete",
        "due_since": "2026-03-05T09:15:04Z",
    }
    assert answer == {"data": [line], "meta": {"total": 1, "limit": 1, "offset": 0}}

    held = await house.data("PUT", f"/recordings/{recording.id}/hold", json={"hold": True})
    assert held == {"id": f"rec_{recording.id}", "hold": True}
    assert await house.refused("DELETE", f"/recordings/{recording.id}") == (409, "CONFLICT")
    house.world.clock.move(4 * 86_400)
    await poll(house)
    await house.data("GET", f"/recordings/{recording.id}")
    await house.data("PUT", f"/recordings/{recording.id}/hold", json={"hold": False})
    await poll(house)
    assert await house.refused("GET", f"/recordings/{recording.id}") == (404, "NOT_FOUND")
    await house.data("POST", f"/recordings/{recording.id}/undelete")
    await poll(house)
    assert (await house.data("GET", f"/recordings/{recording.id}"))["status"] == "ready", "its age begins anew"
    assert await house.refused("POST", f"/recordings/{recording.id}/purge") == (400, "BAD_REQUEST")
    await house.data("DELETE", f"/recordings/{recording.id}")
    purged = await house.data("POST", f"/recordings/{recording.id}/purge")
    assert purged == {"id": f"rec_{recording.id}", "purged": True, "purged_at": "2026-03-06T09:15:14Z"}
    assert await house.refused("POST", f"/recordings/{recording.id}/undelete") == (404, "NOT_FOUND")
    trail = await house.data("GET", f"/audit?recording_id={recording.id}")
    assert [deed["action"] for deed in reversed(trail)][-6:] == [
        "recording.release",
        "recording.delete",
        "recording.undelete",
        "recording.delete",
        "recording.purge",
        "recording.purged",
    ]
    assert {deed["actor"]["name"] for deed in trail} == {"school", "Tapedeck"}


async def test_what_is_on_hold_does_not_expire(house: House) -> None:
    """Also where the library does not keep it."""
    world = house.world
    meeting = await world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    done = await world.finish(recording)
    assert done.expires_at is not None
    await house.data("PUT", f"/recordings/{done.id}/hold", json={"hold": True})
    world.clock.move((done.expires_at - world.clock.now()).total_seconds())
    keeper = FileKeeper(ExpiryService(world.db), world.store, world.clock)
    assert await keeper.free(world.clock.now()) == 0
    path = f"/recordings/{done.id}/download"
    assert "download_url" in (await house.ask("GET", path)).json()
    await house.data("PUT", f"/recordings/{done.id}/hold", json={"hold": False})
    assert await keeper.free(world.clock.now()) == 0
    assert "download_url" in (await house.ask("GET", path)).json(), "from then on the library keeps it"


async def test_several_are_archived_each_for_itself(house: House) -> None:
    first, second = await ready(house), await ready(house)
    stranger = f"rec_{uuid4()}"
    said = await house.data("POST", "/recordings/bulk/archive", json={"ids": [first.id, stranger, f"rec_{second.id}"]})
    assert [line["ok"] for line in said] == [True, False, True] and said[1]["code"] == "NOT_FOUND"
    for recording in (first, second):
        assert (await house.data("GET", f"/recordings/{recording.id}"))["status"] == "archived"
