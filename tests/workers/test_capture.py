"""The host of live sessions: what it starts, what it ends, and what it takes up after another process."""

from __future__ import annotations

import asyncio
import gc
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.pace import eventually
from tests.workers.house import House, open_house

from tapedeck.core.errors import ConflictError, NotFoundError, UnavailableError
from tapedeck.core.recording import Recording, RecordingState
from tapedeck.core.timeline import (
    Outage,
    RecordingPaused,
    RecordingStarted,
    RecordingStopped,
    TimedText,
    TimelineEvent,
)
from tapedeck.db import presence
from tapedeck.medialog.reader import LogReader
from tapedeck.ports.control import CaptureEvents
from tapedeck.service.recordings import Action
from tapedeck.service.sessions import SessionService

R = RecordingState


class Deaf:
    """The service's ears in a process that dies before it has heard of the first media."""

    def __init__(self, sessions: SessionService) -> None:
        self._sessions = sessions

    async def on_capturing(self, recording_id: str, session_id: str, at: datetime) -> None:
        raise NotFoundError("it died before")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sessions, name)


def deaf(sessions: SessionService) -> CaptureEvents:
    return Deaf(sessions)


def events_of(root: Path, session_id: str | None) -> list[TimelineEvent]:
    assert session_id is not None
    with LogReader(root / "captures" / session_id).timeline() as timeline:
        return timeline.poll()


async def session_ended_at(house: House, session_id: str) -> datetime | None:
    async with house.db.read() as session:
        found = await presence.find_session(session, session_id)
    assert found is not None
    return found.ended_at


async def ended(house: House, session_id: str) -> None:
    """Wait until the records say that a session is over."""

    async def is_over() -> bool:
        return await session_ended_at(house, session_id) is not None

    await eventually(is_over)


async def capturing(house: House, **meeting: object) -> Recording:
    """A recording with media, whose only peer has left again."""
    room = await house.meeting(**meeting)
    recording = await house.start(room)
    peer = await house.join(room)
    peer.send()
    found = await house.until(recording, R.CAPTURING)
    peer.leave()
    return found


async def test_a_recording_waits_for_media_and_is_in_the_log_from_its_first_frame(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        meeting = await house.meeting()
        recording = await house.start(meeting)
        assert (await house.now_of(recording)).state is R.STARTING
        assert not (tmp_path / "captures").exists(), "nothing is written before there is something to record"
        peer = await house.join(meeting)
        peer.send()
        found = await house.until(recording, R.CAPTURING)
        assert found.session_id in house.host.session_ids()
        await house.act(recording, Action.STOP)
        peer.leave()
        await house.until(recording, R.RENDERING)
        kinds = [type(event) for event in events_of(tmp_path, found.session_id)]
        assert kinds.count(RecordingStarted) == kinds.count(RecordingStopped) == 1


async def test_a_meeting_that_is_closed_takes_nobody_and_keeps_nothing(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        meeting = await house.meeting()
        await house.meetings.update(house.app, meeting.id, {"status": "inactive"})  # type: ignore[typeddict-item]
        with pytest.raises(ConflictError):
            await house.join(meeting)
        assert house.host.session_ids() == []


async def test_many_meetings_leave_no_locks_behind(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        for _ in range(5):
            (await house.join(await house.meeting())).leave()
        gc.collect()
        assert len(house.host._opening) == 0


async def test_two_who_come_at_once_share_a_session(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        meeting = await house.meeting()
        await asyncio.gather(*(house.join(meeting) for _ in range(5)))
        assert len(house.host.session_ids()) == 1


async def test_a_session_ends_when_nobody_came_back_in_its_keep_alive_time(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        meeting = await house.meeting(keep_alive_s=60.0)
        first = await house.join(meeting)
        (session_id,) = house.host.session_ids()
        first.leave()
        house.now_ns.skip(30)
        back = await house.join(meeting)
        house.now_ns.skip(600)
        assert house.host.session_ids() == [session_id], "somebody is there"
        back.leave()
        house.now_ns.skip(61)
        await ended(house, session_id)
        assert house.host.session_ids() == []


async def test_a_log_that_cannot_be_closed_does_not_keep_its_session_alive(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        (await house.join(await house.meeting())).leave()
        (session_id,) = house.host.session_ids()
        (live,) = house.host._live.values()

        async def refuse() -> None:
            raise UnavailableError("The disk is full")

        live.capture.aclose = refuse  # type: ignore[method-assign]
        house.now_ns.skip(61)
        await ended(house, session_id)


async def test_a_fault_in_one_session_does_not_stop_the_clock_of_the_others(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        (await house.join(await house.meeting())).leave()
        (broken,) = house.host._live.values()
        ticked = asyncio.Event()

        def fail(now_ns: int) -> None:
            ticked.set()
            raise RuntimeError("a bug")

        broken.capture.tick = fail  # type: ignore[method-assign]
        await asyncio.wait_for(ticked.wait(), 60)
        recording = await capturing(house)
        await house.act(recording, Action.STOP)  # needs ticks to be complete
        await house.until(recording, R.RENDERING)


async def test_a_wall_clock_that_is_set_back_ends_nothing_before_it_began(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        meeting = await house.meeting()
        recording = await house.start(meeting)
        peer = await house.join(meeting)
        peer.send()
        await house.until(recording, R.CAPTURING)
        house.clock.move(-3600)
        await house.act(recording, Action.PAUSE)
        await house.act(recording, Action.RESUME)
        await house.act(recording, Action.STOP)
        peer.leave()
        found = await house.until(recording, R.RENDERING)
        assert found.started_at is not None and found.stopped_at is not None
        assert found.stopped_at >= found.started_at
        assert found.paused_ms == 0


# Another process, later


async def test_whoever_comes_back_after_a_restart_continues_the_same_session(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        recording = await capturing(house)
    async with open_house(tmp_path) as later:
        assert later.host.session_ids() == [recording.session_id]
        meeting = await later.meetings.get(later.app, recording.meeting_id)
        peer = await later.join(meeting)
        peer.send()
        await later.act(recording, Action.STOP)
        peer.leave()
        await later.until(recording, R.RENDERING)
    events = events_of(tmp_path, recording.session_id)
    assert [type(e) for e in events if isinstance(e, RecordingStarted | Outage | RecordingStopped)] == [
        RecordingStarted,
        Outage,
        RecordingStopped,
    ]


@pytest.mark.parametrize("is_waiting", [False, True])
async def test_timed_metadata_is_taken_after_a_restart_as_before(tmp_path: Path, is_waiting: bool) -> None:
    """Whether media came before the process died, or only after."""
    timed = {"interactive_config": {"type": "ID3"}}
    async with open_house(tmp_path) as house:
        meeting = await house.meeting()
        recording = (await house.recordings.start(house.app, house.backend, meeting.id, timed)).recording
        with pytest.raises(UnavailableError):
            await house.host.say(meeting.id, recording.id, "nobody is there")
        if not is_waiting:
            peer = await house.join(meeting)
            peer.send()
            await house.until(recording, R.CAPTURING)
            assert await house.host.say(meeting.id, recording.id, "before")
    async with open_house(tmp_path) as later:
        if not is_waiting:
            assert not await later.host.say(meeting.id, recording.id, "nobody is back")
        peer = await later.join(meeting)
        peer.send()
        found = await later.until(recording, R.CAPTURING)
        assert await later.host.say(meeting.id, recording.id, "after")
        peer.sink.message('{"type":"ID3Data","payload":"of a person"}', later.now_ns())
        await later.act(recording, Action.STOP)
        peer.leave()
        await later.until(recording, R.RENDERING)
    said = [event.text for event in events_of(tmp_path, found.session_id) if isinstance(event, TimedText)]
    assert said == ([] if is_waiting else ["before"]) + ["after", "of a person"]


async def test_media_that_the_records_had_not_heard_of_is_found_in_its_log(tmp_path: Path) -> None:
    """The process died after the first media was on the disk, and before the database knew."""
    async with open_house(tmp_path, deaf) as house:
        meeting = await house.meeting()
        recording = await house.start(meeting)
        peer = await house.join(meeting)
        (session_id,) = house.host.session_ids()
        peer.send()
    async with open_house(tmp_path) as later:
        found = await later.until(recording, R.CAPTURING)
        assert found.session_id == session_id
        assert found.started_at is not None
        assert abs(found.started_at - later.clock.now()) < timedelta(seconds=30)
        await later.act(recording, Action.STOP)
        assert (await later.until(recording, R.RENDERING)).failure is None
    assert [type(e) for e in events_of(tmp_path, session_id)].count(RecordingStarted) == 1


async def test_a_log_beyond_reading_ends_its_recording_and_lets_the_others_go_on(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        bad, good = await capturing(house), await capturing(house)
    (tmp_path / "captures" / str(bad.session_id) / "meta.json").write_text("{")
    async with open_house(tmp_path) as later:
        assert later.host.session_ids() == [good.session_id]
        await later.until(bad, R.RENDERING)
        assert (await later.now_of(good)).state is R.CAPTURING


async def test_a_recording_whose_log_never_reached_the_disk_begins_with_who_comes_back(tmp_path: Path) -> None:
    """The process died within the tenth of a second before the first write."""
    async with open_house(tmp_path) as house:
        recording, stopped = await capturing(house), await capturing(house)
        await house.act(stopped, Action.STOP)
        await house.until(stopped, R.RENDERING)
        other = await capturing(house)
    (tmp_path / "captures").rename(tmp_path / "elsewhere")
    async with open_house(tmp_path) as later:
        assert set(later.host.session_ids()) == {recording.session_id, other.session_id}
        assert (await later.now_of(recording)).state is R.CAPTURING
        meeting = await later.meetings.get(later.app, recording.meeting_id)
        peer = await later.join(meeting)
        peer.send()
        await later.act(recording, Action.STOP)
        peer.leave()
        await later.until(recording, R.RENDERING)
        await later.act(other, Action.STOP)
        await later.until(other, R.RENDERING)
    events = events_of(tmp_path, recording.session_id)
    assert [type(e) for e in events if isinstance(e, RecordingStarted | RecordingStopped)] == [
        RecordingStarted,
        RecordingStopped,
    ]
    nothing = events_of(tmp_path, other.session_id)
    assert not [e for e in nothing if isinstance(e, RecordingStarted)], "a log without media: a render can say so"


async def test_a_paused_recording_whose_start_was_lost_is_still_paused_and_can_go_on(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        recording = await capturing(house)
        await house.act(recording, Action.PAUSE)
    log = tmp_path / "captures" / str(recording.session_id) / "timeline.log"
    log.write_bytes(log.read_bytes()[:64])  # the header: what a power cut may leave
    async with open_house(tmp_path) as later:
        meeting = await later.meetings.get(later.app, recording.meeting_id)
        peer = await later.join(meeting)
        peer.send()
        await later.act(recording, Action.RESUME)
        peer.send()
        await later.act(recording, Action.STOP)
        peer.leave()
        await later.until(recording, R.RENDERING)
    events = events_of(tmp_path, recording.session_id)
    assert [type(e) for e in events if isinstance(e, RecordingStarted | RecordingPaused | RecordingStopped)] == [
        RecordingStarted,
        RecordingStopped,
    ]


async def test_a_recording_that_nobody_came_to_waits_on_after_a_restart(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        meeting = await house.meeting()
        recording = await house.start(meeting)
    async with open_house(tmp_path) as later:
        assert (await later.now_of(recording)).state is R.STARTING
        (peer := await later.join(meeting)).send()
        await later.until(recording, R.CAPTURING)
        peer.leave()
        await later.act(recording, Action.STOP)
        await later.until(recording, R.RENDERING)
