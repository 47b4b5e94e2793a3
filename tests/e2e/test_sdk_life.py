"""The life of recordings as an application drives it and as it ends by itself, with real people in the meetings.

Numbers in brackets are those of the wire contract's own list of tests. All meetings take place in one server, whose
meetings count as empty after 6 s.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudflare
import pytest
from tests.e2e.kit import MS, SMALL, House, Recording, S, Take, Viewed, judge, open_house, together, told

from tapedeck.sources.synthetic import CAST, Look
from tapedeck.testing.expect import Attendance, Recorded
from tapedeck.testing.people import Act, Cue, Person
from tapedeck.testing.report import Report

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

EMPTY_S = 6


def person(look: Look, *cues: Cue) -> Person:
    return Person(look, cues, size=(320, 180), fps=20)


def stay(look: Look, from_s: float, until_s: float) -> Person:
    return person(look, Cue(from_s, Act.JOIN), Cue(until_s, Act.LEAVE))


@dataclass(frozen=True)
class Ended:
    """What became of one recording."""

    recording: Recording
    viewed: Viewed | None = None
    people: tuple[Attendance, ...] = ()
    recorded: tuple[Recorded, ...] = ()
    seen: dict[str, Any] = field(default_factory=dict)

    def judge(self) -> Report:
        assert self.viewed is not None
        return judge(self.viewed, self.people, self.recorded)


async def end(take: Take, people: tuple[Attendance, ...], seen: dict[str, Any] | None = None) -> Ended:
    viewed = await take.film([one.look for one in people], limit_s=90)
    return Ended(viewed.recording, viewed, people, await take.recorded(), seen or {})


async def refused(call: Any) -> cloudflare.APIStatusError:
    """The error of a call that must fail."""
    with pytest.raises(cloudflare.APIStatusError) as caught:
        await call
    return caught.value


def attempt(error: cloudflare.APIStatusError) -> int:
    """How often the SDK had tried before: 0 when one request was all."""
    return int(error.response.request.headers["x-stainless-retry-count"])


async def on_start(house: House) -> Ended:
    """A meeting that is recorded and shown from the first join, until everybody left."""
    wishes = {"record_on_start": True, "live_stream_on_start": True}
    room = await house.room([stay(CAST[0], 0.4, 5.4)], "Recorded from the start", **wishes)
    people = await room.play()
    (take,) = await room.recordings()
    left_ns = room.clock.now_ns()
    running = await take.get()
    ended = await end(take, people, {"before": running.status})
    ended.seen["left_ns"] = left_ns
    ended.seen["streams"] = await streams_of(house, room.id)
    return ended


async def streams_of(house: House, meeting_id: str) -> list[dict[str, Any]]:
    """What was told of the livestreams of a meeting, until one was over."""
    url = f"{house.server.base_url}/v1/accounts/{house.server.account_id}/events?meeting_id={meeting_id}"
    headers = {"authorization": f"Bearer {house.server.token}", "last-event-id": "0"}
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(60), house.http.get(url, headers=headers) as answer:
        async for line in answer.content:
            if line.startswith(b"data:"):
                said = json.loads(line[5:])
                found += [said] if said["event"] == "livestreaming.statusUpdate" else []
            if found and found[-1]["status"] == "OFFLINE":
                break
    return found


async def nobody(house: House) -> Ended:
    """Started, and nobody ever comes."""
    room = await house.room([], "Nobody")
    take = await room.start()
    pause, resume = await refused(take.act("pause")), await refused(take.act("resume"))
    second = await refused(room.start())
    recording = await take.until("ERRORED")
    late = await refused(take.act("stop"))
    idle = await refused(house.sdk.realtime_kit.recordings.get_active_recordings(room.id, **house.ids))
    seen = {"first": take.first, "pause": pause, "resume": resume, "second": second, "late": late, "idle": idle}
    return Ended(recording, seen=seen)


async def given_up(house: House) -> Ended:
    """Stopped before anybody came."""
    room = await house.room([], "Given up")
    take = await room.start()
    return Ended(await take.act("stop"))


async def twice(house: House) -> Ended:
    """Stopped twice at once, and once more when all was over."""
    room = await house.room([stay(CAST[2], 0.4, 6.4)], "Stopped twice")
    playing = asyncio.create_task(room.play())
    await room.at(1.45)
    take = await room.start(**SMALL)
    await room.at(5.45)
    answers = await asyncio.gather(take.act("stop"), take.act("stop"))
    people = await playing
    ended = await end(take, people, {"answers": answers})
    ended.seen["again"] = await take.act("stop")
    ended.seen["paused"] = await refused(take.act("pause"))
    ended.seen["changes"] = [line for line in house.log_lines() if take.id in line and "state=closing" in line]
    return ended


async def two(house: House) -> tuple[Ended, Ended]:
    """A second recording of the same meeting, shorter than the first."""
    room = await house.room([stay(CAST[3], 0.4, 10.6)], "Two recordings")
    playing = asyncio.create_task(room.play())
    await room.at(1.45)
    long = await room.start(**SMALL)
    await long.until("RECORDING")
    await room.at(4.45)
    conflict = await refused(room.start(**SMALL))
    short = await room.start(allow_multiple_recordings=True, video_config={"width": 480, "height": 270})
    await room.at(7.55)
    await short.act("stop")
    await room.at(9.55)
    await long.act("stop")
    people = await playing
    return await end(long, people, {"conflict": conflict}), await end(short, people)


async def paused(house: House) -> Ended:
    """Paused, asked for, resumed, paused and stopped while paused."""
    kit = house.sdk.realtime_kit.recordings
    room = await house.room([stay(CAST[4], 0.4, 12.6)], "Paused")
    playing = asyncio.create_task(room.play())
    await room.at(1.45)
    take = await room.start(**SMALL)
    await take.until("RECORDING")
    await room.at(4.45)
    seen = {"paused": await take.act("pause"), "again": await take.act("pause")}
    active = await kit.get_active_recordings(room.id, **house.ids)
    assert active.data is not None
    await room.at(7.75)
    seen |= {"resumed": await take.act("resume"), "once more": await take.act("resume")}
    await room.at(10.35)
    await take.act("pause")
    await room.at(11.85)
    seen["stopped"] = await take.act("stop")
    idle = await refused(kit.get_active_recordings(room.id, **house.ids))
    people = await playing
    return await end(take, people, {**seen, "active": active.data, "idle": idle})


async def back(house: House) -> Ended:
    """Everybody leaves, and somebody is back before the meeting counts as empty."""
    cues = (Cue(0.4, Act.JOIN), Cue(4.4, Act.LEAVE), Cue(5.9, Act.JOIN), Cue(9.6, Act.LEAVE))
    room = await house.room([person(CAST[5], *cues)], "Back in time")
    playing = asyncio.create_task(room.play())
    await room.at(1.45)
    take = await room.start(**SMALL)
    await room.at(8.95)
    seen = {"before": (await take.get()).status}
    await take.act("stop")
    people = await playing
    return await end(take, people, seen)


async def play(folder: Path) -> dict[str, Any]:
    async with open_house(folder, {"TAPEDECK_EMPTY_MEETING_TIMEOUT_S": str(EMPTY_S)}) as house:
        return await together(
            nobody=nobody(house),
            given_up=given_up(house),
            rest=in_turn(house),
        )


async def in_turn(house: House) -> dict[str, Any]:
    """Two by two: films of seven meetings at once are more than two cores make in time."""
    found: dict[str, Any] = {}
    found |= await together(on_start=on_start(house), twice=twice(house))
    found |= await together(two=two(house), back=back(house))
    found |= await together(paused=paused(house))
    return found


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    found = asyncio.run(play(tmp_path_factory.mktemp("life")))
    rest = found.pop("rest")
    yield {**found, **(rest if isinstance(rest, dict) else dict.fromkeys(STORIES, rest))}


STORIES = ("on_start", "twice", "two", "back", "paused")


def test_record_on_start_records_from_the_first_join_until_all_left(played: dict[str, Any]) -> None:
    """[22, 27]"""
    ended = told(played, "on_start", Ended)
    reason = ended.recording.start_reason
    assert reason is not None
    assert (reason.reason, reason.caller) == ("RECORD_ON_START", None)
    assert ended.seen["before"] == "RECORDING"
    stop = ended.recording.stop_reason
    assert stop is not None
    assert (stop.reason, stop.caller) == ("ALL_PEERS_LEFT", None)
    (span,) = ended.recorded
    (camera,) = ended.people[0].camera
    assert span.start.middle_ns - camera.start_ns < 300 * MS
    assert span.end.middle_ns - ended.seen["left_ns"] == pytest.approx(EMPTY_S * S, abs=S)
    assert ended.judge().ok, f"\n{ended.judge()}"


def test_live_stream_on_start_shows_what_is_recorded_until_that_ends(played: dict[str, Any]) -> None:
    ended = told(played, "on_start", Ended)
    streams = ended.seen["streams"]
    assert [one["status"] for one in streams] == ["IDLE", "LIVE", "OFFLINE"]
    assert len({one["streamId"] for one in streams}) == len({one["playbackUrl"] for one in streams}) == 1
    assert all(one["meeting"]["title"] == "Recorded from the start" for one in streams)


def test_a_recording_that_nobody_joins_is_errored_and_stays_so(played: dict[str, Any]) -> None:
    """[29], and in INVOKED pausing is a conflict that costs one request [25]."""
    ended = told(played, "nobody", Ended)
    assert ended.seen["first"].status == "INVOKED"
    for name in ("pause", "resume", "second", "late"):
        assert ended.seen[name].status_code == 409, name
        assert attempt(ended.seen[name]) == 0, name
    assert ended.seen["idle"].status_code == 404
    assert ended.recording.started_time is None
    assert ended.recording.download_url is None
    assert ended.recording.recording_duration is None


def test_a_recording_stopped_before_any_media_is_errored(played: dict[str, Any]) -> None:
    ended = told(played, "given_up", Ended)
    assert ended.recording.status == "ERRORED"


def test_stop_is_answered_with_uploading_and_stopping_again_changes_nothing(played: dict[str, Any]) -> None:
    """[23, 24]"""
    ended = told(played, "twice", Ended)
    one, two = ended.seen["answers"]
    assert (one.status, two.status) == ("UPLOADING", "UPLOADING")
    assert one.stopped_time == two.stopped_time == ended.recording.stopped_time
    for answer in (one, two):
        assert answer.stop_reason.reason == "API_CALL"
        assert answer.stop_reason.caller.type == "ORGANIZATION"
        assert answer.stop_reason.caller.user_id
    assert ended.seen["again"].status == "UPLOADED"
    assert ended.seen["paused"].status_code == 409
    assert len(ended.seen["changes"]) == 1
    assert ended.judge().ok, f"\n{ended.judge()}"


def test_two_recordings_of_one_meeting_share_its_log(played: dict[str, Any]) -> None:
    long, short = told(played, "two", tuple)
    assert long.seen["conflict"].status_code == 409
    assert attempt(long.seen["conflict"]) == 0
    assert long.recording.session_id == short.recording.session_id
    assert long.judge().ok, f"\n{long.judge()}"
    assert short.judge().ok, f"\n{short.judge()}"
    assert (short.viewed.film.facts.width, short.viewed.film.facts.height) == (480, 270)
    (outer,), (inner,) = long.recorded, short.recorded
    assert outer.start.middle_ns < inner.start.middle_ns < inner.end.middle_ns < outer.end.middle_ns


def test_pause_and_resume_are_repeatable_and_a_paused_recording_can_be_stopped(played: dict[str, Any]) -> None:
    """[25, 30]"""
    ended = told(played, "paused", Ended)
    statuses = [ended.seen[name].status for name in ("paused", "again", "active", "resumed", "once more", "stopped")]
    assert statuses == ["PAUSED", "PAUSED", "PAUSED", "RECORDING", "RECORDING", "UPLOADING"]
    assert ended.seen["active"].id == ended.recording.id
    assert ended.seen["idle"].status_code == 404
    assert len(ended.recorded) == 2
    assert ended.judge().ok, f"\n{ended.judge()}"


def test_who_comes_back_in_time_keeps_the_recording_alive(played: dict[str, Any]) -> None:
    ended = told(played, "back", Ended)
    assert ended.seen["before"] == "RECORDING"
    assert ended.recording.stop_reason is not None
    assert ended.recording.stop_reason.reason == "API_CALL"
    assert len(ended.people[0].camera) == 2
    assert ended.judge().ok, f"\n{ended.judge()}"
