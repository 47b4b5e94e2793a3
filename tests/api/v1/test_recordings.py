"""Our routes of a recording: its files with links, its storyboard, and films made again. Also who may not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.api.kit import Site

from tapedeck.core.caution import Caution
from tapedeck.core.geometry import Size
from tapedeck.core.naming import object_key
from tapedeck.core.recording import FilmFile, MediaStored, Recording, RecordingOptions
from tapedeck.core.rerender import RerenderState
from tapedeck.core.stills import storyboard
from tapedeck.core.wanted import TrackChoice, TrackLayer
from tapedeck.db import renders as table
from tapedeck.service.recordings import Action
from tapedeck.service.renders import MOST_WAITING

VTT = storyboard("a-sprite.jpg", Size(160, 90), 2, 2_000_000_000, 4_000_000_000)


async def recorded(site: Site, *, log: bool = True) -> Recording:
    """A stopped recording of Ada and Bob, four seconds long, delivered."""
    world = site.world
    meeting = await world.meeting()
    session_id = await world.live(meeting)
    for who in ("ada", "bob"):
        person = await world.person(meeting, name=who.title())
        await world.sessions.on_joined(session_id, person.id, f"{who}-peer", who.title(), world.clock.now())
    recording = await world.capturing(meeting, session_id)
    if log:
        (world.root / "captures" / session_id).mkdir(parents=True)
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    return await world.finish(await world.now_of(recording))


async def ask(site: Site, recording_id: str, body: Any, token: str | None = None) -> Any:
    return await site.ask("POST", f"/v1/recordings/{recording_id}/renders", token, json=body)


async def test_a_recording_says_all_its_files_with_links_that_work(site: Site) -> None:
    world = site.world
    recording = await recorded(site)
    stills = []
    for kind, name, content in (("sprite", "a-sprite.jpg", b"jpeg"), ("storyboard", "a-storyboard.vtt", VTT.encode())):
        path = world.root / name
        path.write_bytes(content)
        key = object_key(recording.id, recording.invoked_at, name)
        await world.store.put_file(key, path, "text/vtt" if kind == "storyboard" else "image/jpeg", name)
        stills.append(FilmFile(kind, name, len(content), 4_000, "00000000", key=key))
    await world.ledger.amend(recording.id, lambda r: replace(r, files=(*r.files, *stills)))
    await world.lifecycle.caution(recording.id, Caution("watermark", "The film has no watermark: it is a test"))
    found = (await site.ask("GET", f"/v1/recordings/{recording.id}")).json()["data"]
    assert (found["status"], found["duration"], found["has_log"]) == ("UPLOADED", 4.0, True)
    assert found["warnings"] == [{"code": "watermark", "message": "The film has no watermark: it is a test"}]
    assert [file["kind"] for file in found["files"]] == ["video", "sprite", "storyboard"]
    for file, content in zip(found["files"], (b"film", b"jpeg", VTT.encode()), strict=True):
        answer = await site.http.get(file["url"].replace("http://127.0.0.1:1", ""))
        assert answer.status_code == 200 and answer.content == content and file["size"] == len(content)
    board = await site.ask("GET", f"/v1/recordings/{recording.id}/storyboard.vtt")
    assert board.headers["content-type"].startswith("text/vtt")
    lines = [line for line in board.text.splitlines() if "#xywh=" in line]
    assert len(lines) == 2
    for line in lines:
        link, _, place = line.partition("#")
        assert place.startswith("xywh=") and (await site.http.get(link)).content == b"jpeg"


async def test_a_film_without_stills_has_no_storyboard(site: Site) -> None:
    recording = await recorded(site)
    answer = await site.ask("GET", f"/v1/recordings/{recording.id}/storyboard.vtt")
    assert answer.status_code == 404 and "no storyboard" in answer.json()["error"]["message"]


async def test_another_film_is_asked_for_and_followed(site: Site) -> None:
    world = site.world
    recording = await recorded(site)
    ids = await _people(site, recording)
    ada, bob = ids["custom-Ada"], ids["custom-Bob"]
    body = {"layout": "speaker", "focus": "custom-Bob", "width": 1080, "height": 1919, "codec": "VP9"}
    body |= {"only": ["custom-Ada", bob], "from": 1, "to": 2.5, "watermark": False}
    answer = await ask(site, recording.id, body)
    assert answer.status_code == 201
    render = answer.json()["data"]
    assert (render["status"], render["made"], render["files"], render["error"]) == ("WAITING", None, [], None)
    assert render["asked"] == {
        "layout": "speaker", "focus": bob, "width": 1080, "height": 1920, "codec": "VP9",
        "only": [ada, bob], "from": 1.0, "to": 2.5, "watermark": False,
    }  # fmt: skip
    (waiting,) = await world.renders.waiting()
    assert waiting.id == render["id"]
    world.renders.on_progress(waiting.id, 700_000_000)
    place = f"/v1/recordings/{recording.id}/renders"
    assert (await site.ask("GET", f"{place}/{waiting.id}")).json()["data"]["made"] == 0.7
    path = Path(world.root / "again.mp4")
    path.write_bytes(b"again")
    key = object_key(recording.id, recording.invoked_at, "again.mp4")
    await world.store.put_file(key, path, "video/mp4", "again.mp4")
    await world.renders.on_done(waiting, [FilmFile("video", "again.mp4", 5, 1500, "00000000", key=key)])
    (done,) = (await site.ask("GET", place)).json()["data"]
    assert (done["status"], done["made"], done["files"][0]["size"]) == ("DONE", 1.5, 5)
    assert (await site.http.get(done["files"][0]["url"].replace("http://127.0.0.1:1", ""))).content == b"again"
    assert await world.now_of(recording) == recording, "the recording is as it was"
    board = await site.ask("GET", f"{place}/{waiting.id}/storyboard.vtt")
    assert board.status_code == 404 and "no storyboard" in board.json()["error"]["message"]


async def test_another_film_has_a_storyboard_of_its_own(site: Site) -> None:
    world, recording = site.world, await recorded(site)
    await ask(site, recording.id, {})
    (waiting,) = await world.renders.waiting()
    files = []
    for kind, name, content in (("sprite", "a-sprite.jpg", b"others"), ("storyboard", "a.vtt", VTT.encode())):
        path = world.root / f"again-{name}"
        path.write_bytes(content)
        key = object_key(recording.id, recording.invoked_at, path.name)
        await world.store.put_file(key, path, "image/jpeg", name)
        files.append(FilmFile(kind, name, len(content), 1500, "00000000", key=key))
    await world.renders.on_done(waiting, files)
    board = await site.ask("GET", f"/v1/recordings/{recording.id}/renders/{waiting.id}/storyboard.vtt")
    assert board.status_code == 200 and board.headers["content-type"].startswith("text/vtt")
    lines = [line for line in board.text.splitlines() if "#xywh=" in line]
    assert len(lines) == 2
    for line in lines:
        assert (await site.http.get(line.partition("#")[0])).content == b"others"


async def test_who_is_large_must_be_in_the_film(site: Site) -> None:
    recording = await recorded(site)
    await _people(site, recording)
    answer = await ask(site, recording.id, {"layout": "single", "focus": "custom-Bob", "only": ["custom-Ada"]})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["source"]["pointer"] == "/focus" and "not in the film" in error["message"]
    assert await site.world.renders.waiting() == []


async def _people(site: Site, recording: Recording) -> dict[str | None, str]:
    """Ids by custom id."""
    assert recording.session_id is not None
    async with site.world.db.read() as session:
        found = await table.people_of_session(session, recording.session_id)
    return {custom_id: id_ for id_, custom_id in found}


async def test_a_film_expires_like_others_and_its_file_is_deleted(site: Site) -> None:
    world = site.world
    recording = await recorded(site)
    await ask(site, recording.id, {})
    (waiting,) = await world.renders.waiting()
    path = world.root / "again.mp4"
    path.write_bytes(b"again")
    key = object_key(recording.id, recording.invoked_at, "again.mp4")
    await world.store.put_file(key, path, "video/mp4", "again.mp4")
    await world.renders.on_done(waiting, [FilmFile("video", "again.mp4", 5, 1500, "00000000", key=key)])
    assert await world.renders.delete_expired(world.clock.now()) == 0
    await ask(site, recording.id, {})
    (stuck,) = await world.renders.waiting()
    await world.renders.on_done(stuck, [FilmFile("video", "s.mp4", 5, 1500, "00000000", key="~no/key")])
    assert await world.renders.delete_expired(world.clock.move(7 * 86_400 + 1)) == 1
    assert await world.renders.delete_expired(world.clock.now()) == 0
    view = await world.renders.get(world.app, recording.id, waiting.id)
    assert view.render.state is RerenderState.DONE and view.render.files == ()
    assert [chunk async for chunk in world.store.read(recording.files[0].key or "")] == [b"film"], "not of this film"


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({"layout": "mosaic"}, "/layout", "must be one of"),
        ({"width": 0}, "/width", "must be at least 1"),
        ({"height": 1921}, "/height", "must be at most 1920"),
        ({"codec": "AV1"}, "/codec", "must be one of"),
        ({"only": []}, "/only", "must have at least 1 item"),
        ({"only": ["eve"]}, "/only", "'eve', who was not in the session"),
        ({"focus": "ada"}, "/focus", "needs the layout"),
        ({"layout": "single", "focus": "eve"}, "/focus", "was not in the session"),
        ({"from": -1}, "/from", "must be at least 0"),
        ({"from": 4}, "/from", "must be less than 4"),
        ({"from": 2, "to": 2}, "/to", 'must be greater than "from"'),
        ({"to": 0}, "/to", 'must be greater than "from"'),
        ({"to": "1:30"}, "/to", "must be a number"),
        ({"size": "1080x1920"}, "/size", "is not known here"),
    ],
)
async def test_what_cannot_be_made_is_refused_by_field(
    site: Site, body: dict[str, Any], pointer: str, words: str
) -> None:
    recording = await recorded(site)
    answer = await ask(site, recording.id, body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["source"]["pointer"] == pointer and words in error["message"]
    assert await site.world.renders.waiting() == []


async def test_without_a_log_or_while_it_runs_there_is_no_other_film(site: Site) -> None:
    gone = await recorded(site, log=False)
    answer = await ask(site, gone.id, {})
    assert answer.status_code == 409 and "TAPEDECK_KEEP_LOGS" in answer.json()["error"]["message"]
    assert (await site.ask("GET", f"/v1/recordings/{gone.id}")).json()["data"]["has_log"] is False
    meeting = await site.world.meeting()
    running = await site.world.capturing(meeting, await site.world.live(meeting))
    answer = await ask(site, running.id, {})
    assert answer.status_code == 409 and "still runs" in answer.json()["error"]["message"]


async def test_of_a_recording_of_tracks_no_film_is_made(site: Site) -> None:
    world = site.world
    meeting = await world.meeting()
    session_id = await world.live(meeting)
    options = RecordingOptions(tracks=TrackChoice((TrackLayer("default"),), ("ada",)))
    started = await world.recordings.start_tracks(world.app, world.backend, meeting.id, options, {})
    (world.root / "captures" / session_id).mkdir(parents=True)
    recording = await world.ledger.apply(started.recording.id, MediaStored(session_id))
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    await world.recordings.settle()
    answer = await ask(site, recording.id, {})
    assert answer.status_code == 409 and "tracks" in answer.json()["error"]["message"]
    assert await world.renders.waiting() == []


async def test_only_so_many_wait(site: Site) -> None:
    recording = await recorded(site)
    assert [(await ask(site, recording.id, {})).status_code for _ in range(MOST_WAITING)] == [201] * MOST_WAITING
    answer = await ask(site, recording.id, {})
    assert answer.status_code == 429 and answer.headers["retry-after"] == "60"


async def test_a_log_is_kept_while_a_film_is_to_be_made_of_it(site: Site) -> None:
    world = site.world
    recording = await recorded(site)
    assert recording.session_id is not None
    await world.sessions.on_session_ended(recording.meeting_id, recording.session_id, world.clock.now())
    nothing = timedelta(0)
    assert await world.lifecycle.log_needed_until(recording.session_id, nothing, nothing) is not None
    await ask(site, recording.id, {})
    assert await world.lifecycle.log_needed_until(recording.session_id, nothing, nothing) is None
    (waiting,) = await world.renders.waiting()
    await world.renders.on_failed(waiting, "It is a test.")
    assert await world.lifecycle.log_needed_until(recording.session_id, nothing, nothing) is not None
    found = (await site.ask("GET", f"/v1/recordings/{recording.id}/renders/{waiting.id}")).json()["data"]
    assert (found["status"], found["error"]) == ("FAILED", "It is a test.")


async def test_another_tenant_sees_nothing(site: Site) -> None:
    """Neither the recording nor its films, and not that there are any."""
    world = site.world
    recording = await recorded(site)
    await ask(site, recording.id, {})
    (waiting,) = await world.renders.waiting()
    await world.access.create_account("foreign")
    foreign, _ = await world.access.issue_token("foreign")
    other = await world.access.create_app("acme", "Other")
    elsewhere, _ = await world.access.issue_token("acme", other.id)
    place = f"/v1/recordings/{recording.id}"
    for token in (foreign, elsewhere):
        for path in (
            place,
            f"{place}/storyboard.vtt",
            f"{place}/renders",
            f"{place}/renders/{waiting.id}",
            f"{place}/renders/{waiting.id}/storyboard.vtt",
        ):
            answer = await site.ask("GET", path, token)
            assert answer.status_code == 404
            assert answer.json()["error"]["message"] == f"Recording not found: {recording.id}"
        assert (await ask(site, recording.id, {}, token)).status_code == 404
    another = await recorded(site)
    assert (await site.ask("GET", f"/v1/recordings/{another.id}/renders/{waiting.id}")).status_code == 404
    assert (await site.ask("GET", f"/v1/recordings/{uuid4()}")).status_code == 404
