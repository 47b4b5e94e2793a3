"""Livestreams of meetings through the official SDK, and what viewers of one see of a recording."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import cloudflare
import pytest
from cloudflare import AsyncCloudflare
from tests.api.kit import Site
from tests.media.test_hls import FILM, shoot

from tapedeck.core.errors import UnavailableError
from tapedeck.core.livestream import LINK_LIFE
from tapedeck.core.recording import ACTIVE, Fail, Recording, RecordingState
from tapedeck.core.times import to_ms
from tapedeck.db.livestreams import find_livestream
from tapedeck.service.recordings import Action


def ids(site: Site) -> dict[str, Any]:
    return {"account_id": site.world.account_id, "app_id": site.world.app.id}


async def fragments(
    site: Site, recording: Recording, folder: Path, seconds: int, from_ms: int, pause: tuple[int, int] = (0, 0)
) -> bytes:
    """A film that was captured from `from_ms` on, with a pause (after so many seconds of film, so long)."""
    folder.mkdir()
    await asyncio.to_thread(shoot, folder, FILM, seconds, from_ms=from_ms, pause=pause)
    place = site.world.root / "hls" / recording.id
    await asyncio.to_thread(shutil.copytree, folder / "hls", place)
    return (folder / "film.mp4").read_bytes()


async def shown(site: Site, url: str) -> tuple[int, list[str], bool]:
    """Status, segments, and whether that is all."""
    answer = await site.http.get(urlsplit(url).path.replace("index.m3u8", "media.m3u8"))
    lines = answer.text.splitlines() if answer.status_code == 200 else []
    return answer.status_code, [line for line in lines if line.endswith(".m4s")], "#EXT-X-ENDLIST" in lines


async def test_livestream_of_a_meeting_that_is_not_recorded_records_it(
    client: AsyncCloudflare, live_site: Site
) -> None:
    world, live = live_site.world, client.realtime_kit.livestreams
    meeting = await world.meeting()
    made = await live.start_livestreaming_a_meeting(
        meeting.id, **ids(live_site), name="Lecture", video_config={"width": 640, "height": 360}
    )
    assert made.data is not None and made.data.id is not None and made.data.playback_url is not None
    assert (made.data.status, made.data.ingest_server, made.data.stream_key) == ("INVOKED", None, None)
    with pytest.raises(cloudflare.ConflictError, match="already has an active livestream"):
        await live.start_livestreaming_a_meeting(meeting.id, **ids(live_site))
    stream = (await live.get_meeting_active_livestreams(meeting.id, **ids(live_site))).data
    assert stream is not None and (stream.id, stream.name, stream.meeting_id) == (made.data.id, "Lecture", meeting.id)
    assert stream.playback_url == made.data.playback_url, "it is the same whenever it is asked for"
    (view,) = (await client.realtime_kit.recordings.get_recordings(world.app.id, account_id="acme")).data or []
    recording = await world.now_of_id(view.id)
    assert (recording.options.width, recording.options.height, recording.options.video_codec) == (640, 360, "h264")
    session_id = await world.live(meeting)
    await world.sessions.on_capturing(recording.id, session_id, world.clock.now())
    world.clock.move(90)
    running = await live.get_active_livestreams_for_livestream_id(made.data.id, **ids(live_site))
    assert running.data is not None and running.data.session is not None and running.data.livestream is not None
    assert (running.data.livestream.status, running.data.session.ingest_seconds) == ("LIVE", "90")
    stopped = await live.stop_livestreaming_a_meeting(meeting.id, **ids(live_site))
    assert stopped.data is not None and stopped.data.message == "Livestream stopped successfully"
    assert (await world.now_of(recording)).state is not RecordingState.CAPTURING, "what was recorded for it ends too"
    world.clock.move(90)
    with pytest.raises(cloudflare.NotFoundError):
        await live.get_meeting_active_livestreams(meeting.id, **ids(live_site))
    with pytest.raises(cloudflare.NotFoundError):
        await live.stop_livestreaming_a_meeting(meeting.id, **ids(live_site))
    with pytest.raises(cloudflare.NotFoundError):
        await live.get_active_livestreams_for_livestream_id(made.data.id, **ids(live_site))
    whole = (await live.get_livestream_session_for_livestream_id(made.data.id, **ids(live_site))).data
    assert whole is not None and whole.session is not None and whole.session.id is not None
    assert whole.livestream is not None and whole.livestream.status == "IDLE"
    assert whole.session.ingest_seconds == 90 and whole.session.stopped_time is not None
    session = (await live.get_livestream_session_details_for_session_id(whole.session.id, **ids(live_site))).data
    assert session is not None and (session.livestream_id, session.ingest_seconds) == (made.data.id, 90)


async def test_livestream_of_a_recorded_meeting_shows_its_own_time_and_leaves_the_recording_alone(
    site: Site, tmp_path: Path
) -> None:
    world = site.world
    meeting = await world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))
    began_ms = to_ms(world.clock.now())
    world.clock.move(3)
    made = (await site.ask("POST", f"meetings/{meeting.id}/livestreams", content=b"")).json()["data"]
    assert made["status"] == "LIVE"
    assert len((await site.ask("GET", "recordings")).json()["data"]) == 1, "the recording that runs is shown"
    content = await fragments(site, recording, tmp_path / "film", 12, began_ms)
    url = made["playback_url"]
    assert await shown(site, url) == (200, ["2.m4s", "3.m4s", "4.m4s", "5.m4s"], False)
    base = urlsplit(url).path.removesuffix("index.m3u8")
    assert (await site.http.get(f"{base}1.m4s")).status_code == 404, "what was before it is not shown"
    seen = await site.http.get(f"{base}2.m4s")
    assert seen.status_code == 200
    # Who asks how long it is, or whether it is still the same, loads nothing of it.
    assert (await site.http.head(f"{base}3.m4s")).status_code == 200
    known = {"if-none-match": seen.headers["etag"]}
    assert (await site.http.get(f"{base}2.m4s", headers=known)).status_code == 304
    world.clock.move(6.5)  # 9.5 s after the beginning of the film
    assert (await site.ask("POST", f"meetings/{meeting.id}/active-livestream/stop")).status_code == 200
    assert await shown(site, url) == (200, ["2.m4s", "3.m4s"], True)
    assert (await site.http.get(f"{base}4.m4s")).status_code == 404, "nor what comes after it"
    assert (await world.now_of(recording)).state is RecordingState.CAPTURING
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    done = await world.finish(recording, content)
    await world.playback.finished(done)
    assert await shown(site, url) == (200, ["2.m4s", "3.m4s"], True), "and so it stays while the film is kept"
    assert (await site.http.get(f"{base}4.m4s")).status_code == 404
    found = (await site.ask("GET", f"livestreams/{made['id']}")).json()["data"]
    assert found["session"]["viewer_seconds"] == 2
    world.clock.move(LINK_LIFE.total_seconds())
    assert (await shown(site, url))[0] == 403


async def test_what_follows_a_pause_that_a_livestream_ended_in_is_not_shown(site: Site, tmp_path: Path) -> None:
    world = site.world
    meeting = await world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))
    began_ms = to_ms(world.clock.now())
    made = (await site.ask("POST", f"meetings/{meeting.id}/livestreams", json={})).json()["data"]
    world.clock.move(10)  # paused after 5 s, in the third segment; gone on with after 60
    assert (await site.ask("POST", f"meetings/{meeting.id}/active-livestream/stop")).status_code == 200
    content = await fragments(site, recording, tmp_path / "film", 10, began_ms, pause=(5, 60))
    assert await shown(site, made["playback_url"]) == (200, ["0.m4s", "1.m4s"], True)
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    await world.playback.finished(await world.finish(recording, content))
    assert await shown(site, made["playback_url"]) == (200, ["0.m4s", "1.m4s"], True)


async def test_what_is_known_to_no_fragment_is_not_shown(site: Site, tmp_path: Path) -> None:
    """The film goes on where its fragments ended (a disk was full), behind a pause that nobody was told of."""
    world = site.world
    meeting = await world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))
    began_ms = to_ms(world.clock.now())
    made = (await site.ask("POST", f"meetings/{meeting.id}/livestreams", json={})).json()["data"]
    content = await fragments(site, recording, tmp_path / "film", 12, began_ms, pause=(6, 60))
    index = world.root / "hls" / recording.id / "index"
    index.write_bytes(b"".join(index.read_bytes().splitlines(keepends=True)[:3]))
    world.clock.move(30)
    assert (await site.ask("POST", f"meetings/{meeting.id}/active-livestream/stop")).status_code == 200
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    await world.playback.finished(await world.finish(recording, content))
    assert (await shown(site, made["playback_url"]))[1] == ["0.m4s", "1.m4s"]
    base = urlsplit(made["playback_url"]).path.removesuffix("index.m3u8")
    assert [(await site.http.get(f"{base}{number}.m4s")).status_code for number in (1, 2, 3, 5)] == [200, 404, 404, 404]


async def test_another_size_or_codec_than_is_recorded_has_a_recording_of_its_own(site: Site) -> None:
    for config, video in (({}, {"width": 640, "height": 360}), ({"codec": "VP8"}, None)):
        meeting = await site.world.meeting()
        started = await site.ask("POST", "recordings", json={"meeting_id": meeting.id, "video_config": config})
        assert started.status_code == 200
        body = {} if video is None else {"video_config": video}
        assert (await site.ask("POST", f"meetings/{meeting.id}/livestreams", json=body)).status_code == 200
        listed = (await site.ask("GET", f"recordings?meeting_id={meeting.id}")).json()["data"]
        assert len(listed) == 2
        assert (await site.ask("POST", f"meetings/{meeting.id}/active-livestream/stop")).status_code == 200
        first = await site.world.now_of_id(started.json()["data"]["id"])
        assert first.state is RecordingState.STARTING, "the one that was there goes on"


async def test_livestreams_are_listed_and_counted(client: AsyncCloudflare, live_site: Site) -> None:
    world, live, account = live_site.world, client.realtime_kit.livestreams, live_site.world.account_id
    app = world.app.id
    empty = await live.get_all_livestreams(app, account_id=account, sort_order="DSC", per_page=5, status="LIVE")
    assert empty.data is not None and empty.data.paging is not None and empty.data.paging.total_count == 0
    made = []
    for number in range(3):
        meeting = await world.meeting()
        started = await live.start_livestreaming_a_meeting(meeting.id, **ids(live_site), name=f"S{number}")
        assert started.data is not None
        made.append(started.data.id)
        world.clock.move(86_400 if number == 0 else 60)
    await live.stop_livestreaming_a_meeting(meeting.id, **ids(live_site))
    async with world.db.read() as session:
        from tapedeck.db import livestreams

        second = await livestreams.find_livestream(session, made[1])
    assert second is not None
    await world.recordings.stop(second.recording.id, Fail("The disk broke."))

    async def listed(**query: Any) -> list[str]:
        found = (await live.get_all_livestreams(app, account_id=account, **query)).data
        assert found is not None and found.paging is not None
        more: list[dict[str, Any]] = found.livestreams  # type: ignore[attr-defined]
        assert found.id == (more[0]["id"] if more else None)
        return [one["id"] for one in more]

    assert await listed() == made[::-1]
    assert await listed(sort_order="ASC", per_page=2) == made[:2]
    assert await listed(sort_order="ASC", per_page=2, page_no=2) == made[2:]
    for status, wanted in (("INVOKED", made[:1]), ("ERRORED", made[1:2]), ("IDLE", made[2:]), ("LIVE", [])):
        assert await listed(status=status) == wanted
    assert await listed(exclude_meetings=True) == []
    errored = (await live.get_livestream_session_for_livestream_id(made[1] or "", **ids(live_site))).data
    assert errored is not None and errored.session is not None and errored.session.err_message == "The disk broke."
    total = await live.get_livestream_analytics_complete(app, account_id=account, start_time=1)
    assert total.data is not None and (total.data.count, total.data.total_ingest_seconds) == (3, 0)
    days = await live.get_livestream_analytics_daywise(app, account_id=account)
    assert [(day.date, day.count) for day in days.data or []] == [("2026-03-02", 1), ("2026-03-03", 2)]
    late = await live.get_livestream_analytics_complete(app, account_id=account, end_time=1)
    assert late.data is not None and late.data.count == 0


async def test_what_is_another_apps_or_nobodys_is_not_found(site: Site) -> None:
    meeting = await site.world.meeting()
    made = (await site.ask("POST", f"meetings/{meeting.id}/livestreams", json={})).json()["data"]
    session = (await site.ask("GET", f"livestreams/{made['id']}")).json()["data"]["session"]
    other = await site.world.access.create_app("acme", "Other")
    token, _ = await site.world.access.issue_token("acme", other.id)
    base = site.base.replace("/campus", f"/{other.id}")
    for path in (
        f"meetings/{meeting.id}/active-livestream",
        f"livestreams/{made['id']}",
        f"livestreams/{made['id']}/active-livestream-session",
        f"livestreams/sessions/{session['id']}",
        f"livestreams/{uuid4()}",
    ):
        assert (await site.ask("GET", f"{base}/{path}", token=token)).status_code == 404
    assert (await site.ask("POST", f"{base}/meetings/{meeting.id}/livestreams", token=token)).status_code == 404
    stop = f"{base}/meetings/{meeting.id}/active-livestream/stop"
    assert (await site.ask("POST", stop, token=token)).status_code == 404
    assert (await site.ask("GET", f"{base}/livestreams", token=token)).json()["data"]["paging"]["total_count"] == 0
    for path in ("livestreams/x%00y", "livestreams/%00/active-livestream-session", "livestreams/sessions/x%00y"):
        answer = await site.ask("GET", path)
        assert (answer.status_code, answer.json()["success"]) == (404, False), "what is no id is nobody's"
    wrong = {"video_config": {"width": 4000}}
    assert (await site.ask("POST", f"meetings/{meeting.id}/livestreams", json=wrong)).status_code == 400


async def test_server_that_makes_films_afterwards_shows_none_live(site: Site) -> None:
    site.world.playback.is_live = False
    meeting = await site.world.meeting()
    refused = await site.ask("POST", f"meetings/{meeting.id}/livestreams", json={})
    assert refused.status_code == 409 and "RENDER_MODE" in refused.text
    recording = await site.world.start(meeting)
    answer = await site.http.get(f"/v1/recordings/{recording.id}/hls", headers=site.bearer())
    assert answer.status_code == 409 and "RENDER_MODE" in answer.text


async def test_a_stop_that_failed_halfway_is_finished_by_the_next(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    world = site.world
    meeting = await world.meeting()
    made = (await site.ask("POST", f"meetings/{meeting.id}/livestreams", json={})).json()["data"]
    stop = f"meetings/{meeting.id}/active-livestream/stop"
    with monkeypatch.context() as broken:

        async def control(*args: object) -> None:
            raise UnavailableError("The database is locked")

        broken.setattr(world.recordings, "control", control)
        assert (await site.ask("POST", stop)).status_code == 503
    assert (await site.ask("POST", stop)).status_code == 200
    async with world.db.read() as session:
        found = await find_livestream(session, made["id"])
    assert found is not None and found.stream.stopped_at is not None
    assert found.recording.state not in ACTIVE, "what was recorded for it ends too"
