"""Recordings over HTTP: what lists select and how they page, and which bodies are refused with which words.

Numbers in brackets are those of the wire contract's own list of tests.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.kit import Site

from tapedeck.core.meeting import Meeting
from tapedeck.core.recording import Recording
from tapedeck.service.recordings import Action


async def ids(site: Site, query: str) -> list[str]:
    answer = await site.ask("GET", f"recordings?{query}")
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["data"]]


async def make(site: Site, count: int, meeting: Meeting | None = None) -> list[Recording]:
    """Recordings one second apart, oldest first, none of them active."""
    meeting = meeting or await site.world.meeting()
    made = []
    for _ in range(count):
        recording = await site.world.start(meeting)
        await site.world.recordings.control(site.world.app, site.world.backend, recording.id, Action.STOP)
        made.append(recording)
        site.world.clock.move(1)
    return made


async def uploaded(site: Site, meeting: Meeting) -> Recording:
    world = site.world
    recording = await world.capturing(meeting, await world.live(meeting))
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    return await world.finish(recording)


async def test_pages_count_from_one_and_include_both_ends(site: Site) -> None:
    """[32, 33]"""
    made = await make(site, 5)
    answer = await site.ask("GET", "recordings?page_no=2&per_page=2")
    assert answer.json()["paging"] == {"total_count": 5, "start_offset": 3, "end_offset": 4}
    assert [item["id"] for item in answer.json()["data"]] == [made[2].id, made[1].id]
    beyond = (await site.ask("GET", "recordings?page_no=9&per_page=2")).json()
    assert beyond == {"success": True, "data": [], "paging": {"total_count": 5, "start_offset": 0, "end_offset": 0}}
    assert await ids(site, "page_no=1.0&per_page=2.0") == [made[4].id, made[3].id]
    assert await ids(site, "page_no=0&per_page=0") == [r.id for r in reversed(made)]
    assert await ids(site, "page_no=999999999999999999999999&per_page=100") == []


async def test_order_is_by_invocation_newest_first_unless_asked(site: Site) -> None:
    """[37]"""
    made = [r.id for r in await make(site, 3)]
    assert await ids(site, "") == made[::-1]
    assert await ids(site, "sort_by=invokedTime&sort_order=ASC") == made
    assert await ids(site, "sort_order=DESC") == made[::-1]


async def test_recordings_of_one_instant_are_ordered_by_id(site: Site) -> None:
    first, second = await site.world.meeting(), await site.world.meeting()
    made = sorted([(await site.world.start(first)).id, (await site.world.start(second)).id])
    assert await ids(site, "sort_order=ASC") == made
    assert await ids(site, "") == made[::-1]


@pytest.mark.parametrize(
    "query",
    [
        "status=UPLOADED&status=ERRORED",
        "status=UPLOADED,ERRORED",
        "status[]=UPLOADED&status[]=ERRORED",
        "status%5B%5D=ERRORED&status=UPLOADED",
    ],
)
async def test_statuses_are_any_of_in_each_spelling(site: Site, query: str) -> None:
    """[31]"""
    (failed,) = await make(site, 1)
    done = await uploaded(site, await site.world.meeting())
    await site.world.start(await site.world.meeting())
    assert set(await ids(site, query)) == {failed.id, done.id}


async def test_times_are_inclusive_in_any_zone(site: Site) -> None:
    """[34] The first is invoked at 09:15:04.120 UTC, the others one and two seconds later."""
    made = [r.id for r in await make(site, 3)]
    assert await ids(site, "sort_order=ASC&start_time=2026-03-02T09:15:05.120Z") == made[1:]
    assert await ids(site, "sort_order=ASC&end_time=2026-03-02T10:15:05.120%2B01:00") == made[:2]
    assert await ids(site, "start_time=2026-03-02T10:15:05.120+01:00&end_time=2026-03-02T09:15:05.120") == [made[1]]
    assert await ids(site, "start_time=2026-03-02T09:15:06.1201Z") == []
    assert await ids(site, "start_time=2026-03-03") == []


async def test_expired_links_are_listed_and_answer_403(site: Site) -> None:
    """[35]"""
    done = await uploaded(site, await site.world.meeting())
    (failed,) = await make(site, 1)
    assert await ids(site, "expired=true") == []
    assert set(await ids(site, "expired=false")) == {done.id, failed.id}
    row = (await site.ask("GET", f"recordings/{done.id}")).json()["data"]
    assert row["download_url_expiry"] == "2026-03-09T09:15:05.000Z"
    link = row["download_url"]
    assert (await site.http.get(link)).content == b"film"
    site.world.clock.move(7 * 86_400)
    assert await ids(site, "expired=true") == [done.id]
    assert await ids(site, "expired=false") == [failed.id]
    assert (await site.ask("GET", f"recordings/{done.id}")).json()["data"]["download_url"] == link
    assert (await site.http.get(link)).status_code == 403


async def test_search_finds_titles_in_any_case_and_meeting_ids(site: Site) -> None:
    """[36]"""
    physics = await site.world.meeting(title="Straße 100% Übung_1")
    (wanted,) = await make(site, 1, physics)
    await make(site, 1, await site.world.meeting(title="Chemistry"))
    for text in ("STRASSE", "übung", "100%25 ", physics.id, physics.id[:13].upper()):
        assert await ids(site, f"search={text}") == [wanted.id], text
    for text in ("100_", "%25x", physics.id[4:]):
        assert await ids(site, f"search={text}") == []
    assert len(await ids(site, "search=")) == 2


async def test_meeting_filter_takes_one_meeting(site: Site) -> None:
    meeting = await site.world.meeting()
    wanted = [r.id for r in await make(site, 2, meeting)]
    await make(site, 1)
    assert await ids(site, f"meeting_id={meeting.id.upper()}") == wanted[::-1]
    assert await ids(site, "meeting_id=nothing") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("sort_by=foo", "sort_by"),
        ("sort_order=asc", "sort_order"),
        ("status=DONE", "status"),
        ("status=", "status"),
        ("page_no=-1", "page_no"),
        ("page_no=1.5", "page_no"),
        ("page_no=nan", "page_no"),
        ("per_page=ten", "per_page"),
        ("per_page=1e400", "per_page"),
        ("per_page=", "per_page"),
        ("expired=yes", "expired"),
        ("start_time=yesterday", "start_time"),
        ("end_time=0001-01-01T00:00:00%2B14:00", "end_time"),
        ("search=" + "x" * 257, "search"),
        ("meeting_id=%00", "meeting_id"),
    ],
)
async def test_wrong_parameters_are_422_and_named(site: Site, query: str, field: str) -> None:
    answer = await site.ask("GET", f"recordings?{query}")
    assert answer.status_code == 422
    body = answer.json()
    assert body["errors"][0]["source"]["pointer"] == f"/{field}"
    assert body["error"]["message"].startswith(f'"{field}" must')
    assert answer.headers["x-should-retry"] == "false"


async def test_every_wrong_parameter_is_named_at_once(site: Site) -> None:
    answer = await site.ask("GET", "recordings?page_no=x&expired=y&status=z")
    assert {e["source"]["pointer"] for e in answer.json()["errors"]} == {"/page_no", "/expired", "/status"}


async def test_list_items_have_the_meeting_but_no_reasons(site: Site) -> None:
    await make(site, 1)
    (item,) = (await site.ask("GET", "recordings")).json()["data"]
    assert item["meeting"]["title"] == "Physics" and item["storage_config"] is None
    assert "start_reason" not in item and "stop_reason" not in item
    one = (await site.ask("GET", f"recordings/{item['id']}")).json()["data"]
    assert one["meeting"] == item["meeting"]
    assert one["start_reason"]["reason"] == one["stop_reason"]["reason"] == "API_CALL"


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"audio_config": {"codec": "VORBIS"}}, "/audio_config/codec"),
        ({"audio_config": {"channel": 1}}, "/audio_config/channel"),
        ({"video_config": {"export_file": False}}, "/video_config/export_file"),
        (
            {"video_config": {"export_file": False}, "audio_config": {"export_file": False}},
            "/video_config/export_file",
        ),
        ({"interactive_config": {"type": "SCTE35"}}, "/interactive_config/type"),
        ({"rtmp_out_config": {"rtmp_url": "srt://example.org/x"}}, "/rtmp_out_config/rtmp_url"),
        ({"rtmp_out_config": {"rtmp_url": "rtmp://example.org"}}, "/rtmp_out_config/rtmp_url"),
        ({"rtmp_out_config": {}}, "/rtmp_out_config/rtmp_url"),
        ({"url": "https://example.org"}, "/url"),  # this server has no browser
        ({"url": "ftp://example.org"}, "/url"),
        ({"url": "https://user:secret@example.org"}, "/url"),
        ({"url": "https://example.org/" + "x" * 2048}, "/url"),
        ({"url": 5}, "/url"),
        ({"storage_config": {"type": "disk"}}, "/storage_config/type"),
        ({"storage_config": []}, "/storage_config"),
        ({"realtimekit_bucket_config": {}}, "/realtimekit_bucket_config/enabled"),
        ({"realtimekit_bucket_config": {"enabled": False}}, "/realtimekit_bucket_config/enabled"),
        ({"dyte_bucket_config": {"enabled": False}}, "/realtimekit_bucket_config/enabled"),
        (
            {"storage_config": None, "realtimekit_bucket_config": {"enabled": False}},
            "/realtimekit_bucket_config/enabled",
        ),
        ({"video_config": {"codec": "H266"}}, "/video_config/codec"),
        ({"video_config": {"height": 1080.5}}, "/video_config/height"),
        ({"video_config": {"height": "720"}}, "/video_config/height"),
        ({"video_config": {"height": True}}, "/video_config/height"),
        ({"max_seconds": 1e18}, "/max_seconds"),
        ({"allow_multiple_recordings": "yes"}, "/allow_multiple_recordings"),
        ({"file_name_prefix": ""}, "/file_name_prefix"),
        ({"file_name_prefix": "x" * 101}, "/file_name_prefix"),
        ({"file_name_prefix": "../x"}, "/file_name_prefix"),
        ({"meeting_id": None}, "/meeting_id"),
        ({"meeting_id": 7}, "/meeting_id"),
    ],
)
async def test_options_that_cannot_be_met_are_422_and_named(site: Site, more: dict[str, Any], pointer: str) -> None:
    """[11 and the rule that nothing is accepted and ignored]"""
    meeting = await site.world.meeting()
    answer = await site.ask("POST", "recordings", json={"meeting_id": meeting.id} | more)
    assert answer.status_code == 422
    assert [e["source"]["pointer"] for e in answer.json()["errors"]] == [pointer]
    assert await site.world.outbox() == []


@pytest.mark.parametrize(
    "more",
    [
        {"storage_config": None},
        {"audio_config": None, "max_seconds": None, "video_config": None},
        {"video_config": {"codec": "H264", "export_file": True, "width": 1280.0}},
        {"realtimekit_bucket_config": {"enabled": True}},
        {"dyte_bucket_config": {"enabled": True}, "realtimekit_bucket_config": {"enabled": True, "upload_prefix": "x"}},
        {"allow_multiple_recordings": False},
        {"audio_config": {"codec": "MP3", "channel": "mono", "export_file": True}},
        {"video_config": {"codec": "VP9"}, "audio_config": {"codec": "MP3"}},
        {"video_config": {"export_file": False}, "audio_config": {}},
    ],
)
async def test_options_that_ask_for_what_there_is_are_taken(site: Site, more: dict[str, Any]) -> None:
    meeting = await site.world.meeting()
    answer = await site.ask("POST", "recordings", json={"meeting_id": meeting.id} | more)
    assert answer.status_code == 200, answer.text


async def test_an_inactive_meeting_cannot_be_recorded(site: Site) -> None:
    meeting = await site.world.meeting()
    changed = await site.ask("PATCH", f"meetings/{meeting.id}", json={"status": "INACTIVE"})
    assert changed.json()["data"]["status"] == "INACTIVE"
    assert (await site.ask("POST", "recordings", json={"meeting_id": meeting.id})).status_code == 400


async def test_ids_that_are_none_are_400_and_unknown_ones_404(site: Site) -> None:
    unknown = "2f0a2d5e-8a3b-4b0e-8f57-6d1b0c9b7e01"
    for path in ("recordings/{}", "recordings/active-recording/{}"):
        assert (await site.ask("GET", path.format("track"))).status_code == 400
        assert (await site.ask("GET", path.format(unknown))).status_code == 404
    body = {"action": "stop"}
    assert (await site.ask("PUT", f"recordings/{unknown}", json=body)).json()["error"] == {
        "code": 404,
        "message": f"Recording not found: {unknown}",
    }
    assert (await site.ask("PUT", "recordings/nothing", json=body)).status_code == 400


async def test_stop_in_a_final_state_is_harmless_or_a_conflict(site: Site) -> None:
    """The table of actions by state, its last rows."""
    done = await uploaded(site, await site.world.meeting())
    (failed,) = await make(site, 1)

    async def status(recording: Recording, action: str) -> int:
        return (await site.ask("PUT", f"recordings/{recording.id}", json={"action": action})).status_code

    assert [await status(done, a) for a in ("stop", "pause", "resume")] == [200, 409, 409]
    assert [await status(failed, a) for a in ("stop", "pause", "resume")] == [409, 409, 409]
    answer = await site.ask("PUT", f"recordings/{failed.id}", json={"action": "stop"})
    assert answer.json()["error"]["message"] == "Cannot stop a recording in state ERRORED"


@pytest.mark.parametrize(
    ("more", "extension"),
    [
        ({}, "mp4"),
        ({"video_config": {"codec": "VP8"}}, "webm"),
        ({"video_config": {"codec": "VP9"}, "audio_config": {"codec": "MP3"}}, "webm"),
        ({"video_config": {"export_file": False}, "audio_config": {}}, "m4a"),
        ({"video_config": {"export_file": False}, "audio_config": {"codec": "MP3"}}, "mp3"),
        ({"video_config": {"export_file": False, "codec": "VP8"}, "audio_config": {"codec": "AAC"}}, "ogg"),
    ],
)
async def test_the_name_of_a_recording_tells_its_container(site: Site, more: dict[str, Any], extension: str) -> None:
    """[9] and E6."""
    meeting = await site.world.meeting()
    answer = await site.ask("POST", "recordings", json={"meeting_id": meeting.id} | more)
    name = answer.json()["data"]["output_file_name"]
    assert name.startswith(meeting.id) and name.rpartition(".")[2] == extension
