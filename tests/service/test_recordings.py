"""Start, pause, resume, stop, get and list, against a capture that notes what it is told."""

from __future__ import annotations

import asyncio

import pytest
from tests.service.world import World

from tapedeck.core.access import Principal
from tapedeck.core.errors import (
    ConflictError,
    DeniedError,
    InvalidError,
    NotFoundError,
    TapedeckError,
    UnavailableError,
)
from tapedeck.core.meeting import Meeting, MeetingStatus, Participant
from tapedeck.core.paging import Page
from tapedeck.core.recording import Recording, RecordingState, StopCause, WrongStateError
from tapedeck.core.times import to_ms
from tapedeck.service.recordings import Action, RecordingFilter


async def act(world: World, recording_id: str, action: Action) -> RecordingState:
    view = await world.recordings.control(world.app, world.backend, recording_id, action)
    return view.recording.state


async def as_person(world: World, person: Participant) -> Principal:
    return await world.access.authenticate(world.access.participant_token(world.app, person))


async def test_start_stores_first_and_tells_capture_then(world: World) -> None:
    meeting = await world.meeting()
    view = await world.recordings.start(world.app, world.backend, meeting.id, {"max_seconds": 60})
    assert view.recording.state is RecordingState.REQUESTED
    assert view.recording.options.max_seconds == 60
    assert (await world.now_of(view.recording)).state is RecordingState.STARTING
    assert world.capture.words(view.recording.id) == ["start"]


async def test_start_merges_the_request_over_the_meeting_key_by_key(world: World) -> None:
    meeting = await world.meeting(
        recording_config={"max_seconds": 90, "video_config": {"width": 640, "height": 480}, "file_name_prefix": "m"}
    )
    recording = await world.start(meeting, video_config={"width": 333}, max_seconds=70)
    assert (recording.options.width, recording.options.height) == (334, 720)
    assert recording.options.max_seconds == 70
    assert recording.file_name == f"m_{meeting.id}_1772442904120.mp4"


async def test_recordings_that_begin_in_one_millisecond_have_names_of_their_own(world: World) -> None:
    """In a customer's storage the name is all that tells their films apart."""
    meeting, other = await world.meeting(), await world.meeting()

    async def start(of: Meeting, **config: str) -> Recording:
        return (await world.recordings.start(world.app, world.backend, of.id, config, allow_multiple=True)).recording

    begun = [await start(meeting) for _ in range(3)]
    assert [one.file_name for one in begun] == [f"{meeting.id}_{1772442904120 + n}.mp4" for n in range(3)]
    assert [to_ms(one.invoked_at) for one in begun] == [1772442904120 + n for n in range(3)]
    assert (await start(meeting, file_name_prefix="p")).file_name == f"p_{meeting.id}_1772442904120.mp4"
    assert (await start(other)).file_name == f"{other.id}_1772442904120.mp4"


async def test_start_needs_a_known_and_active_meeting(world: World) -> None:
    with pytest.raises(NotFoundError, match="Meeting not found"):
        await world.recordings.start(world.app, world.backend, "nothing", {})
    meeting = await world.meeting(status=MeetingStatus.INACTIVE)
    with pytest.raises(InvalidError, match="INACTIVE"):
        await world.start(meeting)
    assert await world.outbox() == []


async def test_twenty_starts_at_once_make_one_recording(world: World) -> None:
    meeting = await world.meeting()
    results = await asyncio.gather(*(world.start(meeting) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(r, ConflictError) for r in results) == 19
    assert len(await world.outbox()) == 2  # requested, starting


async def test_a_second_start_is_allowed_by_its_own_flag_or_after_the_stop(world: World) -> None:
    meeting = await world.meeting()
    session_id = await world.live(meeting)
    first = await world.capturing(meeting, session_id)
    with pytest.raises(ConflictError, match="already has an active recording"):
        await world.start(meeting)
    await world.recordings.start(world.app, world.backend, meeting.id, {}, allow_multiple=True)
    await act(world, first.id, Action.STOP)
    other = await world.meeting()
    only = await world.capturing(other, await world.live(other))
    await act(world, only.id, Action.STOP)
    assert (await world.start(other)).id != only.id


async def test_start_that_capture_refuses_fails_the_recording_and_says_so(world: World) -> None:
    async def refuse(word: str) -> None:
        raise UnavailableError("no worker")

    world.capture.before = refuse
    meeting = await world.meeting()
    with pytest.raises(UnavailableError, match="could not be started") as caught:
        await world.start(meeting)
    assert caught.value.retry_after_s is None
    page = await world.recordings.list(world.app, RecordingFilter(), Page())
    assert page.items[0].recording.state is RecordingState.FAILED
    assert "no worker" in (page.items[0].recording.failure or "")


async def test_pause_tells_capture_before_it_is_answered_and_once(world: World) -> None:
    meeting = await world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))
    assert await act(world, recording.id, Action.PAUSE) is RecordingState.PAUSED
    assert await act(world, recording.id, Action.PAUSE) is RecordingState.PAUSED
    assert world.capture.words(recording.id) == ["start", "pause"]
    world.clock.move(5)
    assert await act(world, recording.id, Action.RESUME) is RecordingState.CAPTURING
    assert await act(world, recording.id, Action.RESUME) is RecordingState.CAPTURING
    assert world.capture.words(recording.id) == ["start", "pause", "resume"]
    world.clock.move(5)
    await act(world, recording.id, Action.STOP)
    stopped = await world.now_of(recording)
    assert stopped.paused_ms == 5000


async def test_pause_that_capture_refuses_changes_nothing(world: World) -> None:
    meeting = await world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))

    async def refuse(word: str) -> None:
        raise UnavailableError("disk full", retry_after_s=1)

    world.capture.before = refuse
    with pytest.raises(UnavailableError):
        await act(world, recording.id, Action.PAUSE)
    world.capture.before = None
    assert (await world.now_of(recording)).state is RecordingState.CAPTURING


async def test_pause_that_cannot_be_stored_is_undone_in_capture(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = await world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))

    async def broken(*_: object) -> None:
        raise UnavailableError("database gone")

    with monkeypatch.context() as patch:
        patch.setattr(world.ledger, "apply", broken)
        with pytest.raises(UnavailableError):
            await act(world, recording.id, Action.PAUSE)
    assert world.capture.words(recording.id) == ["start", "pause", "resume"]
    assert (await world.now_of(recording)).state is RecordingState.CAPTURING


async def test_stop_answers_at_once_and_closes_the_log_behind(world: World) -> None:
    meeting = await world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))
    closing = asyncio.Event()

    async def wait(word: str) -> None:
        await closing.wait()

    world.capture.before = wait
    world.clock.move(10)
    view = await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    assert view.recording.state is RecordingState.CLOSING
    assert view.recording.stop_cause is StopCause.REQUEST
    assert view.recording.stopped_by == world.backend.caller(world.app)
    closing.set()
    await world.recordings.settle()
    assert (await world.now_of(recording)).state is RecordingState.RENDERING
    assert world.capture.words(recording.id) == ["start", "stop"]


async def test_stops_at_once_make_one_uploading_event(world: World) -> None:
    meeting = await world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))
    states = await asyncio.gather(*(act(world, recording.id, Action.STOP) for _ in range(10)))
    assert set(states) <= {RecordingState.CLOSING, RecordingState.RENDERING}
    await world.recordings.settle()
    assert await world.events(recording) == ["INVOKED", "RECORDING", "UPLOADING"]
    assert world.capture.words(recording.id) == ["start", "stop"]


async def test_stop_before_media_fails_and_cancels_capture(world: World) -> None:
    recording = await world.start(await world.meeting())
    assert await act(world, recording.id, Action.STOP) is RecordingState.FAILED
    await world.recordings.settle()
    assert world.capture.words(recording.id) == ["start", "stop"]
    with pytest.raises(WrongStateError):
        await act(world, recording.id, Action.STOP)


async def test_stop_that_capture_cannot_do_is_tried_again(world: World) -> None:
    meeting = await world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))

    async def refuse(word: str) -> None:
        raise UnavailableError("busy")

    world.capture.before = refuse
    await act(world, recording.id, Action.STOP)
    await world.recordings.settle()
    assert (await world.now_of(recording)).state is RecordingState.CLOSING
    world.capture.before = None
    await world.lifecycle.run_due(world.clock.now())
    await world.recordings.settle()
    assert (await world.now_of(recording)).state is RecordingState.RENDERING


async def test_stop_during_the_dispatch_leaves_nothing_running(world: World) -> None:
    """Capture is told to stop after it was told to start, whatever comes first in the database."""
    meeting = await world.meeting()
    told, go = asyncio.Event(), asyncio.Event()

    async def slow(word: str) -> None:
        if word == "start":
            told.set()
            await go.wait()

    world.capture.before = slow
    starting = asyncio.create_task(world.start(meeting))
    await told.wait()
    running = await world.recordings.active(world.app, world.backend, meeting.id)
    await world.lifecycle.on_failed(running.recording.id, "the worker died")
    go.set()
    recording = await starting
    await world.recordings.settle()
    assert world.capture.words(recording.id)[-1] == "stop"
    assert (await world.now_of(recording)).state is RecordingState.FAILED


async def test_capture_may_report_in_the_middle_of_a_command(world: World) -> None:
    """A worker that handles one thing at a time reports while it is being paused: no deadlock."""
    meeting = await world.meeting()
    session_id = await world.live(meeting)
    recording = await world.capturing(meeting, session_id)

    async def report(word: str) -> None:
        await world.sessions.on_capturing(recording.id, session_id, world.clock.now())
        await world.sessions.on_left(session_id, f"{session_id}/0", world.clock.now())

    world.capture.before = report
    assert await act(world, recording.id, Action.PAUSE) is RecordingState.PAUSED


async def test_a_recording_that_fails_while_it_is_paused_is_a_conflict(world: World) -> None:
    meeting = await world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))

    async def fail(word: str) -> None:
        if word == "pause":
            await world.lifecycle.on_failed(recording.id, "disk gone")

    world.capture.before = fail
    with pytest.raises(WrongStateError):
        await act(world, recording.id, Action.PAUSE)
    assert (await world.now_of(recording)).failure == "disk gone"


async def test_participants_need_the_meeting_and_the_permission(world: World) -> None:
    meeting, other = await world.meeting(), await world.meeting()
    host = await as_person(world, await world.person(meeting))
    guest = await as_person(world, await world.person(meeting, "group_call_participant"))
    for principal, place in ((host, other), (guest, meeting)):
        with pytest.raises(DeniedError):
            await world.recordings.start(world.app, principal, place.id, {})
    view = await world.recordings.start(world.app, host, meeting.id, {})
    assert view.recording.started_by == host.caller(world.app)
    stranger = await as_person(world, await world.person(other))
    for principal in (guest, stranger):
        with pytest.raises(DeniedError):
            await world.recordings.control(world.app, principal, view.recording.id, Action.STOP)
        with pytest.raises(DeniedError):
            await world.recordings.active(world.app, principal, meeting.id)
    assert (await world.now_of(view.recording)).state is RecordingState.STARTING


async def test_active_is_the_newest_that_is_not_stopped(world: World) -> None:
    meeting = await world.meeting()
    with pytest.raises(NotFoundError, match="No active recording found for meeting_id"):
        await world.recordings.active(world.app, world.backend, meeting.id)
    await world.start(meeting)
    world.clock.move(1)
    newer = await world.recordings.start(world.app, world.backend, meeting.id, {}, allow_multiple=True)
    found = await world.recordings.active(world.app, world.backend, meeting.id)
    assert found.recording.id == newer.recording.id


async def test_another_app_sees_nothing(world: World) -> None:
    meeting = await world.meeting()
    recording = await world.start(meeting)
    other = await world.access.create_app(world.account_id, "Other")
    for question in (
        world.recordings.get(other, recording.id),
        world.recordings.control(other, world.backend, recording.id, Action.STOP),
        world.recordings.active(other, world.backend, meeting.id),
        world.recordings.start(other, world.backend, meeting.id, {}),
    ):
        with pytest.raises(NotFoundError):
            await question
    assert (await world.recordings.list(other, RecordingFilter(), Page())).total_count == 0


async def test_draining_starts_nothing_and_still_stops(world: World) -> None:
    meeting = await world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))
    world.recordings.drain()
    with pytest.raises(UnavailableError) as caught:
        await world.start(await world.meeting())
    assert caught.value.retry_after_s == 5
    assert await act(world, recording.id, Action.STOP) is RecordingState.CLOSING


async def test_every_failure_is_one_of_ours(world: World) -> None:
    """What a caller can cause is a TapedeckError, so that a face can answer it."""
    for question in (
        world.recordings.get(world.app, "x"),
        world.recordings.control(world.app, world.backend, "x", Action.PAUSE),
        world.recordings.active(world.app, world.backend, "x"),
    ):
        with pytest.raises(TapedeckError):
            await question
