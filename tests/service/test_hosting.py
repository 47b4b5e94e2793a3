"""What ends a session from outside: kicks, and a meeting that becomes INACTIVE."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import pytest
from tests.service.world import World

from tapedeck.core.errors import ConflictError, InvalidError, NotFoundError
from tapedeck.core.happenings import Happening
from tapedeck.core.meeting import MeetingStatus, SessionEnd
from tapedeck.core.recording import Recording, RecordingState, StopCause
from tapedeck.db import outbox, presence
from tapedeck.shapes.webhooks import message_of


async def told(world: World) -> list[tuple[str, str | None]]:
    """Meeting events as webhooks say them, with their reasons."""
    async with world.db.read() as session:
        found: list[Happening] = list(await outbox.happenings(session, 0, 1000))
    messages = [message_of(happening) for happening in found]
    bodies = [json.loads(message.body) for message in messages if message is not None]
    return [(body["event"], body.get("reason")) for body in bodies if body["event"].startswith("meeting.")]


async def test_kick_all_ends_the_session_its_people_and_its_recordings(world: World) -> None:
    meeting = await world.meeting()
    session_id = await world.live(meeting, people=2)
    recording = await world.capturing(meeting, session_id)
    waiting = (await world.recordings.start(world.app, world.backend, meeting.id, {}, True)).recording
    world.clock.move(10)
    assert await world.hosting.kick_all(world.app, meeting.id) == 2
    await world.recordings.settle()
    stopped, never = await world.now_of(recording), await world.now_of(waiting)
    assert (stopped.state, stopped.stop_cause) == (RecordingState.RENDERING, StopCause.EMPTY)
    assert (never.state, never.stop_cause) == (RecordingState.FAILED, StopCause.EMPTY)
    assert world.capture.words(waiting.id) == ["start", "stop"]
    assert await told(world) == [
        ("meeting.started", None),
        ("meeting.participantJoined", None),
        ("meeting.participantJoined", None),
        ("meeting.participantLeft", None),
        ("meeting.participantLeft", None),
        ("meeting.ended", "HOST_ENDED_MEETING"),
    ]
    assert await world.lifecycle.live_sessions() == []
    again = await world.live(meeting)  # a kick is no ban
    assert [live.id for live in await world.lifecycle.live_sessions()] == [again]


async def test_an_end_that_capture_reported_is_not_told_twice(world: World) -> None:
    meeting = await world.meeting()
    session_id = await world.live(meeting)

    async def report(word: str) -> None:
        if word == "end":
            await world.sessions.on_session_ended(meeting.id, session_id, world.clock.now(), SessionEnd.HOST)

    world.capture.before = report
    await world.hosting.kick_all(world.app, meeting.id)
    assert (await told(world)).count(("meeting.ended", "HOST_ENDED_MEETING")) == 1


async def test_a_session_that_emptied_by_itself_says_so(world: World) -> None:
    meeting = await world.meeting()
    await world.sessions.on_session_ended(meeting.id, await world.live(meeting), world.clock.now())
    assert (await told(world))[-1] == ("meeting.ended", "ALL_PARTICIPANTS_LEFT")


async def test_an_inactive_meeting_is_over_and_takes_nobody(world: World) -> None:
    meeting = await world.meeting(record_on_start=True)
    session_id = await world.live(meeting)
    await world.sessions.settle()
    recording = await world.capturing_first(meeting, session_id)
    for change in (world.meetings.update, world.meetings.replace):
        await change(world.app, meeting.id, {"status": MeetingStatus.INACTIVE})
    await world.recordings.settle()
    stopped = await world.now_of(recording)
    assert (stopped.state, stopped.stop_cause) == (RecordingState.RENDERING, StopCause.EMPTY)
    assert (await told(world))[-1] == ("meeting.ended", "HOST_ENDED_MEETING")
    with pytest.raises(ConflictError, match="INACTIVE"):
        await world.sessions.on_session_started(meeting.id, str(uuid4()), world.clock.now())
    with pytest.raises(InvalidError, match="INACTIVE"):
        await world.start(meeting)
    assert await world.lifecycle.live_sessions() == []


async def test_inactive_while_recordings_start_leaves_none_behind(world: World) -> None:
    """However the two meet, each start is refused or its recording is ended."""
    meeting = await world.meeting()
    await world.live(meeting)

    async def start() -> Recording | None:
        try:
            return (await world.recordings.start(world.app, world.backend, meeting.id, {}, True)).recording
        except InvalidError:
            return None

    async def close() -> None:
        await world.meetings.update(world.app, meeting.id, {"status": MeetingStatus.INACTIVE})

    started, *_ = await asyncio.gather(asyncio.gather(*(start() for _ in range(6))), close())
    await world.recordings.settle()
    states = {(await world.now_of(recording)).state for recording in started if recording is not None}
    assert states <= {RecordingState.FAILED}
    assert [word for word, _, _ in world.capture.calls].count("end") == 1


async def test_kicks_of_other_apps_and_of_nothing_are_not_found(world: World) -> None:
    meeting = await world.meeting()
    other = await world.access.create_app("acme", "Other")
    await world.live(meeting)
    idle = await world.meeting()
    for question in (
        world.hosting.kick_all(other, meeting.id),
        world.hosting.kick(other, meeting.id, ["x"], []),
        world.hosting.kick_all(world.app, idle.id),
        world.hosting.kick(world.app, idle.id, ["x"], []),
    ):
        with pytest.raises(NotFoundError):
            await question


async def test_a_report_that_comes_after_the_end_changes_no_count(world: World) -> None:
    meeting = await world.meeting()
    session_id = await world.live(meeting)
    await world.hosting.kick_all(world.app, meeting.id)
    person = await world.person(meeting, name="Late")
    await world.sessions.on_joined(session_id, person.id, "late", "Late", world.clock.now())
    await world.sessions.on_left(session_id, f"{session_id}/0", world.clock.move(5))
    async with world.db.read() as session:
        live = await presence.find_session(session, session_id)
    assert live is not None and (live.people, live.most_people, live.since_sum_ms) == (0, 1, 0)
    assert live.end_cause is SessionEnd.HOST
