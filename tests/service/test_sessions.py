"""What capture reports: sessions, presence, first media, and what follows from them."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from tests.service.world import World

from tapedeck.core.errors import NotFoundError, UnavailableError
from tapedeck.core.meeting import Session
from tapedeck.core.paging import Page
from tapedeck.core.recording import RecordingState, StartCause, StopCause
from tapedeck.db import presence
from tapedeck.service.recordings import Action, RecordingFilter


async def session_of(world: World, session_id: str) -> Session:
    async with world.db.read() as session:
        found = await presence.find_session(session, session_id)
    assert found is not None
    return found


async def test_presence_counts_peers_and_not_people(world: World) -> None:
    meeting = await world.meeting()
    session_id = str(uuid4())
    await world.sessions.on_session_started(meeting.id, session_id, world.clock.now())
    assert (await session_of(world, session_id)).empty_since is not None
    ada = await world.person(meeting)
    joined = world.clock.move(1)
    for peer in ("camera", "screen", "camera"):  # a report may come twice
        await world.sessions.on_joined(session_id, ada.id, peer, "Ada", world.clock.now())
    live = await session_of(world, session_id)
    assert (live.occupied_since, live.empty_since) == (joined, None)
    await world.sessions.on_left(session_id, "camera", world.clock.move(1))
    assert (await session_of(world, session_id)).occupied_since == joined
    left = world.clock.move(1)
    await world.sessions.on_left(session_id, "screen", left)
    await world.sessions.on_left(session_id, "screen", world.clock.move(1))
    await world.sessions.on_left(session_id, "nobody", world.clock.now())
    live = await session_of(world, session_id)
    assert (live.occupied_since, live.empty_since) == (None, left)


async def test_hidden_people_count_as_nobody(world: World) -> None:
    meeting = await world.meeting()
    session_id = await world.live(meeting, people=0)
    ghost = await world.person(meeting, "recorder_preset_v2")
    await world.sessions.on_joined(session_id, ghost.id, "ghost", "Ghost", world.clock.now())
    assert (await session_of(world, session_id)).occupied_since is None
    ada = await world.person(meeting)
    await world.sessions.on_joined(session_id, ada.id, "ada", "Ada", world.clock.now())
    await world.sessions.on_left(session_id, "ada", world.clock.move(1))
    assert (await session_of(world, session_id)).empty_since == world.clock.now()


async def test_a_participant_who_was_deleted_still_counts(world: World) -> None:
    session_id = await world.live(await world.meeting(), people=0)
    await world.sessions.on_joined(session_id, str(uuid4()), "peer", "Gone", world.clock.now())
    assert (await session_of(world, session_id)).occupied_since is not None


async def test_record_on_start_makes_one_recording_per_session(world: World) -> None:
    meeting = await world.meeting(record_on_start=True, recording_config={"max_seconds": 77})
    first = await world.live(meeting, people=3)
    await world.sessions.on_session_started(meeting.id, first, world.clock.now())
    await world.sessions.settle()
    page = await world.recordings.list(world.app, RecordingFilter(), Page())
    (view,) = page.items
    assert view.recording.start_cause is StartCause.FIRST_JOIN and view.recording.started_by is None
    assert view.recording.options.max_seconds == 77
    assert view.recording.state is RecordingState.STARTING
    await world.sessions.on_capturing(view.recording.id, first, world.clock.now())
    await world.sessions.on_session_ended(meeting.id, first, world.clock.move(60))
    await world.live(meeting)
    await world.sessions.settle()
    assert (await world.recordings.list(world.app, RecordingFilter(), Page())).total_count == 2


async def test_record_on_start_leaves_a_running_recording_alone(world: World) -> None:
    meeting = await world.meeting(record_on_start=True)
    await world.start(meeting)
    await world.live(meeting)
    assert (await world.recordings.list(world.app, RecordingFilter(), Page())).total_count == 1


async def test_record_on_start_that_capture_refuses_is_a_failed_recording_and_no_failed_join(world: World) -> None:
    async def refuse(word: str) -> None:
        raise UnavailableError("no worker")

    world.capture.before = refuse
    await world.live(await world.meeting(record_on_start=True))
    await world.sessions.settle()
    (view,) = (await world.recordings.list(world.app, RecordingFilter(), Page())).items
    assert view.recording.state is RecordingState.FAILED


async def test_first_media_starts_a_recording_once(world: World) -> None:
    meeting = await world.meeting()
    session_id = await world.live(meeting)
    recording = await world.start(meeting)
    at = world.clock.move(0.25)
    await world.sessions.on_capturing(recording.id, session_id, at)
    await world.sessions.on_capturing(recording.id, session_id, world.clock.move(5))
    stored = await world.now_of(recording)
    assert (stored.state, stored.started_at, stored.session_id) == (RecordingState.CAPTURING, at, session_id)
    assert await world.events(recording) == ["INVOKED", "RECORDING"]


async def test_media_of_a_recording_that_was_cancelled_is_ignored(world: World) -> None:
    meeting = await world.meeting()
    session_id = await world.live(meeting)
    recording = await world.start(meeting)
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    await world.sessions.on_capturing(recording.id, session_id, world.clock.now())
    assert (await world.now_of(recording)).state is RecordingState.FAILED


async def test_the_end_of_a_session_stops_what_records_it_and_nothing_else(world: World) -> None:
    meeting, other = await world.meeting(), await world.meeting()
    session_id = await world.live(meeting)
    recording = await world.capturing(meeting, session_id)
    elsewhere = await world.capturing(other, await world.live(other))
    ended = world.clock.move(30)
    await world.sessions.on_session_ended(meeting.id, session_id, ended)
    await world.sessions.on_session_ended(meeting.id, session_id, world.clock.move(1))
    await world.recordings.settle()
    stopped = await world.now_of(recording)
    assert (stopped.state, stopped.stop_cause) == (RecordingState.RENDERING, StopCause.EMPTY)
    assert stopped.stopped_at == ended and stopped.stopped_by is None
    assert world.capture.words(recording.id) == ["start", "stop"]
    assert (await world.now_of(elsewhere)).state is RecordingState.CAPTURING
    assert await world.lifecycle.live_sessions() == [await session_of(world, elsewhere.session_id or "")]


async def test_a_new_session_ends_one_that_was_left_open(world: World) -> None:
    meeting = await world.meeting()
    old = await world.live(meeting)
    recording = await world.capturing(meeting, old)
    crashed = world.clock.move(10)
    await world.lifecycle.recover({old: crashed})
    new = await world.live(meeting)
    await world.recordings.settle()
    stopped = await world.now_of(recording)
    assert (stopped.stop_cause, stopped.stopped_at) == (StopCause.FAULT, crashed)
    assert [live.id for live in await world.lifecycle.live_sessions()] == [new]


async def test_reports_about_nothing_we_know_are_not_found(world: World) -> None:
    now = world.clock.now()
    for report in (
        world.sessions.on_session_started("nothing", "s", now),
        world.sessions.on_session_ended("nothing", "s", now),
        world.sessions.on_joined("s", "p", "peer", "P", now),
        world.sessions.on_left("s", "peer", now),
        world.sessions.on_capturing("r", "s", now + timedelta(seconds=1)),
    ):
        with pytest.raises(NotFoundError):
            await report
