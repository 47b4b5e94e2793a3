"""Films made and delivered, deadlines, recovery after a crash, an orderly end."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.service.world import World

from tapedeck.core.errors import NotFoundError, UnavailableError
from tapedeck.core.recording import FilmFile, Recording, RecordingChanged, RecordingState, StopCause, WrongStateError
from tapedeck.db.models import AppRow
from tapedeck.service.recordings import Action

FILM = FilmFile("video", "f.mp4", 10, 1000, "00", local_path="/x")
S = RecordingState


async def running(world: World) -> Recording:
    meeting = await world.meeting()
    return await world.capturing(meeting, await world.live(meeting))


async def stop(world: World, recording: Recording) -> None:
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    await world.recordings.settle()


async def test_a_film_is_rendered_delivered_and_linked_for_seven_days(world: World) -> None:
    recording = await running(world)
    heard: list[RecordingState] = []
    unsubscribe = world.ledger.subscribe(lambda _, change: heard.append(change.state))
    await stop(world, recording)
    world.clock.move(0.5)
    done = await world.finish(recording)
    assert heard == [S.CLOSING, S.RENDERING, S.UPLOADING, S.DONE]
    unsubscribe()
    assert done.expires_at is not None and done.expires_at.microsecond == 0
    assert timedelta(0) <= done.expires_at - world.clock.now() - timedelta(days=7) < timedelta(seconds=1)
    assert done.size_bytes == 4
    view = await world.recordings.get(world.app, recording.id)
    assert view.video_url is not None and f"/{recording.id}/" in view.video_url and view.audio_url is None
    assert await world.events(recording) == ["INVOKED", "RECORDING", "UPLOADING", "UPLOADED"]


async def test_reports_may_be_repeated_and_late(world: World) -> None:
    recording = await running(world)
    await stop(world, recording)
    await world.finish(recording)
    before = await world.now_of(recording)
    await world.lifecycle.on_rendered(recording.id, [FILM])
    await world.lifecycle.on_uploaded(recording.id, [FILM])
    assert await world.now_of(recording) == before
    with pytest.raises(WrongStateError):
        await world.lifecycle.on_failed(recording.id, "too late")
    with pytest.raises(WrongStateError):
        await world.lifecycle.on_rendered((await running(world)).id, [FILM])
    with pytest.raises(NotFoundError):
        await world.lifecycle.on_uploaded("nothing", [])


async def test_a_film_that_is_done_before_the_log_is_closed_is_taken(world: World) -> None:
    """A live render may report before the stop has come back from capture."""
    recording = await running(world)
    go = asyncio.Event()

    async def wait(word: str) -> None:
        await go.wait()

    world.capture.before = wait
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    assert (await world.lifecycle.on_rendered(recording.id, [FILM])).state is S.UPLOADING
    go.set()
    await world.recordings.settle()
    assert (await world.now_of(recording)).state is S.UPLOADING


async def test_a_failure_while_capturing_ends_capture_too(world: World) -> None:
    recording = await running(world)
    failed = await world.lifecycle.on_failed(recording.id, "The disk is gone.")
    await world.recordings.settle()
    assert (failed.state, failed.stop_cause, failed.failure) == (S.FAILED, StopCause.FAULT, "The disk is gone.")
    assert world.capture.words(recording.id)[-1] == "stop"


async def test_an_interruption_keeps_the_film_up_to_it(world: World) -> None:
    recording = await running(world)
    broke = world.clock.move(10)
    world.clock.move(5)
    stopped = await world.lifecycle.interrupt(recording.id, broke)
    assert (stopped.state, stopped.stop_cause, stopped.stopped_at) == (S.CLOSING, StopCause.FAULT, broke)


async def test_what_is_due_is_stopped_and_the_next_end_is_told(world: World) -> None:
    meeting = await world.meeting()
    session_id = await world.live(meeting)
    recording = await world.start(meeting, max_seconds=60)
    began = world.clock.move(1)
    await world.sessions.on_capturing(recording.id, session_id, began)
    longer = await running(world)
    assert await world.lifecycle.run_due(world.clock.move(59)) == began + timedelta(seconds=60)
    assert await world.lifecycle.due(world.clock.now()) == []
    (deadline,) = await world.lifecycle.due(world.clock.move(1))
    assert deadline.recording_id == recording.id
    upcoming = await world.lifecycle.run_due(world.clock.move(3))
    assert upcoming is not None and upcoming > world.clock.now() + timedelta(hours=23)
    stopped = await world.now_of(recording)
    assert (stopped.stop_cause, stopped.stopped_at) == (StopCause.MAX_SECONDS, began + timedelta(seconds=60))
    assert (await world.now_of(longer)).state is S.CAPTURING


async def test_max_seconds_and_the_empty_room_count_while_paused(world: World) -> None:
    recording = await running(world)
    await world.recordings.control(world.app, world.backend, recording.id, Action.PAUSE)
    world.clock.move(10)
    await world.sessions.on_left(recording.session_id or "", f"{recording.session_id}/0", world.clock.now())
    await world.lifecycle.run_due(world.clock.move(60))
    stopped = await world.now_of(recording)
    assert stopped.stop_cause is StopCause.EMPTY
    assert stopped.paused_ms == 70_000


async def test_somebody_who_comes_back_in_time_keeps_the_recording(world: World) -> None:
    recording = await running(world)
    session_id = recording.session_id or ""
    await world.sessions.on_left(session_id, f"{session_id}/0", world.clock.now())
    await world.sessions.on_joined(session_id, "p", "again", "P", world.clock.move(59))
    await world.lifecycle.run_due(world.clock.move(600))
    assert (await world.now_of(recording)).state is S.CAPTURING


async def test_nobody_ever_sending_media_is_a_fault_after_two_minutes(world: World) -> None:
    meeting = await world.meeting()
    await world.live(meeting)
    recording = await world.start(meeting)
    await world.lifecycle.run_due(world.clock.move(119))
    assert (await world.now_of(recording)).state is S.STARTING
    await world.lifecycle.run_due(world.clock.move(1))
    failed = await world.now_of(recording)
    assert (failed.state, failed.stop_cause) == (S.FAILED, StopCause.FAULT)


async def test_an_app_may_wait_longer_for_people(world: World) -> None:
    async with world.db.write() as session:
        row = await session.get(AppRow, world.app.id)
        assert row is not None
        row.empty_timeout_s = 90
    recording = await world.start(await world.meeting())
    await world.lifecycle.run_due(world.clock.move(89))
    assert (await world.now_of(recording)).state is S.STARTING
    await world.lifecycle.run_due(world.clock.move(1))
    assert (await world.now_of(recording)).stop_cause is StopCause.EMPTY


async def test_a_restart_keeps_recordings_running_and_lists_everything_unfinished(world: World) -> None:
    invoked = await world.start(await world.meeting())
    capturing = await running(world)
    rendering = await running(world)
    await stop(world, rendering)
    done = await running(world)
    await stop(world, done)
    await world.finish(done)
    crashed = world.clock.move(10)
    world.clock.move(20)
    recovery = await world.lifecycle.recover({capturing.session_id or "": crashed})
    listed = {state: [r.id for r in found] for state, found in recovery.recordings.items() if found}
    assert listed == {S.STARTING: [invoked.id], S.CAPTURING: [capturing.id], S.RENDERING: [rendering.id]}
    live = {session.id: session for session in recovery.sessions}[capturing.session_id or ""]
    assert (live.outage_at, live.empty_since, live.occupied_since) == (crashed, world.clock.now(), None)
    assert (await world.now_of(capturing)).state is S.CAPTURING


async def test_nobody_back_after_a_restart_ends_the_film_at_the_outage(world: World) -> None:
    recording = await running(world)
    session_id = recording.session_id or ""
    crashed = world.clock.move(10)
    world.clock.move(20)
    await world.lifecycle.recover({session_id: crashed})
    world.clock.move(30)
    await world.lifecycle.recover({})  # a second crash does not move the outage, but the wait begins anew
    await world.lifecycle.run_due(world.clock.move(59))
    assert (await world.now_of(recording)).state is S.CAPTURING
    await world.lifecycle.run_due(world.clock.move(1))
    await world.recordings.settle()
    stopped = await world.now_of(recording)
    assert (stopped.state, stopped.stop_cause, stopped.stopped_at) == (S.RENDERING, StopCause.FAULT, crashed)


async def test_somebody_back_after_a_restart_makes_it_an_ordinary_recording_again(world: World) -> None:
    recording = await running(world)
    session_id = recording.session_id or ""
    await world.lifecycle.recover({session_id: world.clock.move(10)})
    await world.sessions.on_joined(session_id, "p", "again", "P", world.clock.move(30))
    left = world.clock.move(30)
    await world.sessions.on_left(session_id, "again", left)
    await world.lifecycle.run_due(world.clock.move(60))
    stopped = await world.now_of(recording)
    assert (stopped.stop_cause, stopped.stopped_at) == (StopCause.EMPTY, left + timedelta(seconds=60))


async def test_a_room_that_was_empty_before_a_crash_is_no_fault(world: World) -> None:
    recording = await running(world)
    session_id = recording.session_id or ""
    left = world.clock.move(5)
    await world.sessions.on_left(session_id, f"{session_id}/0", left)
    world.clock.move(100)
    await world.lifecycle.recover({session_id: left})
    await world.lifecycle.run_due(world.clock.now())
    stopped = await world.now_of(recording)
    assert (stopped.stop_cause, stopped.stopped_at) == (StopCause.EMPTY, left + timedelta(seconds=60))


async def test_a_stop_that_a_crash_cut_off_is_finished_after_the_restart(world: World) -> None:
    recording = await running(world)

    async def dead(word: str) -> None:
        raise UnavailableError("the process is going")

    world.capture.before = dead
    await stop(world, recording)
    assert (await world.now_of(recording)).state is S.CLOSING
    world.capture.before = None
    await world.lifecycle.recover({})
    await world.recordings.settle()
    assert (await world.now_of(recording)).state is S.RENDERING


async def test_shutdown_stops_everything_and_waits_for_the_logs(world: World) -> None:
    invoked = await world.start(await world.meeting())
    recording = await running(world)
    stopped = await world.lifecycle.shutdown()
    assert {r.id for r in stopped} == {invoked.id, recording.id}
    assert (await world.now_of(recording)).state is S.RENDERING
    assert (await world.now_of(recording)).stop_cause is StopCause.SHUTDOWN
    assert (await world.now_of(invoked)).state is S.FAILED
    with pytest.raises(UnavailableError):
        await world.start(await world.meeting())
    assert await world.lifecycle.shutdown() == []


async def test_a_log_is_needed_until_its_films_are_delivered_and_kept(world: World) -> None:
    keep, keep_failed = timedelta(days=1), timedelta(days=7)
    meeting = await world.meeting()
    session_id = await world.live(meeting)
    recording = await world.capturing(meeting, session_id)
    ask = world.lifecycle.log_needed_until
    assert await ask("nobody knows", keep, keep_failed) is None
    world.clock.move(10)
    await stop(world, recording)
    stopped = world.clock.now()
    assert await ask(session_id, keep, keep_failed) is None  # the session lives
    ended = world.clock.move(60)
    await world.sessions.on_session_ended(meeting.id, session_id, ended)
    assert await ask(session_id, keep, keep_failed) is None  # the film is not there
    await world.finish(recording)
    assert await ask(session_id, keep, keep_failed) == stopped + keep
    assert await ask(session_id, timedelta(0), keep_failed) == ended


async def test_the_log_of_a_film_that_failed_is_kept_longer(world: World) -> None:
    recording = await running(world)
    session_id = recording.session_id or ""
    await stop(world, recording)
    await world.lifecycle.on_failed(recording.id, "no codec")
    stopped = world.clock.now()
    await world.sessions.on_session_ended(recording.meeting_id, session_id, world.clock.move(1))
    needed = await world.lifecycle.log_needed_until(session_id, timedelta(0), timedelta(days=7))
    assert needed == stopped + timedelta(days=7)


async def test_a_listener_that_fails_harms_nobody(world: World, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[int] = []

    def broken(recording: Recording, change: RecordingChanged) -> None:
        raise RuntimeError("listener")

    world.ledger.subscribe(broken)
    world.ledger.subscribe(lambda _, change: heard.append(change.seq))
    await world.start(await world.meeting())
    assert heard == [1, 2]
    assert "a listener failed" in caplog.text
