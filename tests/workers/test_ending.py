"""Sessions that are ended from outside, with real capture: what the log says, and who may come meanwhile and after."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.workers.house import House, Peer, open_house

from tapedeck.core.errors import ConflictError
from tapedeck.core.meeting import MeetingStatus, SessionEnd
from tapedeck.core.recording import Recording, RecordingState, StopCause
from tapedeck.core.timeline import ParticipantLeft, RecordingStopped
from tapedeck.db import presence
from tapedeck.medialog.reader import LogReader
from tapedeck.service.recordings import Action

R = RecordingState


async def recorded(house: House) -> tuple[Recording, Peer]:
    """A recording of somebody who is there."""
    meeting = await house.meeting()
    recording = await house.start(meeting)
    peer = await house.join(meeting)
    peer.send()
    return await house.until(recording, R.CAPTURING), peer


@pytest.mark.parametrize("how", ["kick-all", "inactive"])
async def test_the_log_hears_that_all_were_sent_away_and_the_next_session_is_another(tmp_path: Path, how: str) -> None:
    async with open_house(tmp_path) as house:
        recording, peer = await recorded(house)
        refused: list[str] = []

        async def leave() -> None:
            try:
                await house.join(await house.meetings.admit(recording.meeting_id))
            except ConflictError as exc:
                refused.append(str(exc))
            peer.leave()

        house.on_disconnect = leave
        if how == "kick-all":
            await house.hosting.kick_all(house.app, recording.meeting_id)
            assert refused == [f"The session of meeting {recording.meeting_id} is being ended"]
        else:
            values = {"status": MeetingStatus.INACTIVE}
            await house.meetings.update(house.app, recording.meeting_id, values)  # type: ignore[arg-type]
            assert len(refused) == 1 and "INACTIVE" in refused[0]
        assert house.host.session_ids() == []
        stopped = await house.until(recording, R.RENDERING)
        assert stopped.stop_cause is StopCause.EMPTY and stopped.stopped_by is None
        assert recording.session_id is not None
        with LogReader(tmp_path / "captures" / recording.session_id).timeline() as timeline:
            last = timeline.poll()
        kinds = [type(event) for event in last]
        assert kinds.index(ParticipantLeft) < kinds.index(RecordingStopped)
        async with house.db.read() as session:
            live = await presence.find_session(session, recording.session_id)
        assert live is not None and live.end_cause is SessionEnd.HOST
        assert (live.people, live.most_people) == (0, 1)
        if how == "kick-all":
            await house.join(await house.meetings.admit(recording.meeting_id))
            assert house.host.session_ids() not in ([], [recording.session_id])


async def test_everybody_may_press_kick_all_at_once(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        recording, peer = await recorded(house)

        async def leave() -> None:
            peer.leave()

        house.on_disconnect = leave
        kicks = [house.hosting.end(recording.meeting_id) for _ in range(5)]
        await asyncio.gather(*kicks)
        assert house.host.session_ids() == []
        assert (await house.until(recording, R.RENDERING)).stop_cause is StopCause.EMPTY


async def test_a_recording_that_starts_while_the_session_ends_is_ended_too(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        recording, peer = await recorded(house)
        late: list[Recording] = []
        meeting = await house.meetings.get(house.app, recording.meeting_id)

        async def leave() -> None:
            late.append(await house.start(meeting, allow_multiple=True))
            peer.leave()

        house.on_disconnect = leave
        await house.hosting.kick_all(house.app, recording.meeting_id)
        found = await house.until(late[0], R.FAILED, R.RENDERING)
        assert found.stop_cause is StopCause.EMPTY
        await house.until(recording, R.RENDERING)


async def test_a_meeting_nobody_is_in_ends_in_no_time(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        meeting = await house.meeting()
        recording = await house.start(meeting)
        await house.hosting.end(meeting.id)
        found = await house.until(recording, R.FAILED)
        assert found.stop_cause is StopCause.EMPTY
        await house.join(meeting)
        assert (await house.now_of(recording)).state is R.FAILED


async def test_a_stop_that_a_node_which_ends_cannot_wait_for_is_not_left_waiting(tmp_path: Path) -> None:
    """Nothing completes it when the clock of the sessions stands."""
    async with open_house(tmp_path) as house:
        recording, _ = await recorded(house)
        waits, goes_on = asyncio.Event(), asyncio.Event()

        async def stop(meeting_id: str, recording_id: str) -> None:
            waits.set()
            await goes_on.wait()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(house.host, "stop", stop)
            await house.act(recording, Action.STOP)
            await waits.wait()
            async with asyncio.timeout(60):
                await house.recordings.aclose()
                await house.recordings.settle()
        assert (await house.now_of(recording)).state is R.CLOSING
        house.recordings.retry_closing()
        await house.until(recording, R.RENDERING)
