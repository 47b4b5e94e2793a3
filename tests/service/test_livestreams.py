"""Livestreams that begin with the first join, and what is told of all of them."""

from __future__ import annotations

import asyncio

import pytest
from tests.service.world import World

from tapedeck.core.errors import ConflictError, InvalidError, UnavailableError
from tapedeck.core.livestream import Livestream, LivestreamStatus
from tapedeck.core.meeting import Meeting
from tapedeck.core.paging import Page
from tapedeck.core.recording import ACTIVE, Fail, Recording, RecordingState, StartCause
from tapedeck.core.target import NO_STREAMS, TargetState
from tapedeck.db import archive, outbox
from tapedeck.db import livestreams as table
from tapedeck.db.livestreams import LivestreamFilter
from tapedeck.service.meetings import MeetingService
from tapedeck.service.recordings import Action, RecordingFilter
from tapedeck.service.vault import Vault

S = LivestreamStatus
ANY = (None, None)


async def told(world: World) -> list[tuple[str, LivestreamStatus]]:
    """Livestreams and how they do, in order."""
    async with world.db.read() as session:
        found = await outbox.happenings(session, 0, 1000)
    return [(one.livestream.id, one.livestream.status) for one in found if one.livestream is not None]


async def streams(world: World) -> list[Livestream]:
    found = await world.livestreams.list(world.app, LivestreamFilter(ascending=True), Page())
    return [one.stream for one in found.items]


async def recordings(world: World) -> list[Recording]:
    found = await world.recordings.list(world.app, RecordingFilter(), Page())
    return [view.recording for view in found.items]


async def begin(world: World, meeting: Meeting) -> str:
    session_id = await world.live(meeting)
    await world.sessions.settle()
    return session_id


async def test_livestream_is_idle_until_there_is_media_and_over_with_what_it_shows(world: World) -> None:
    meeting = await world.meeting()
    showing = await world.livestreams.start(world.app, world.backend, meeting.id, "Lecture", ANY)
    stream = showing.stream
    assert await told(world) == [(stream.id, S.INVOKED)]
    session_id = await begin(world, meeting)
    await world.sessions.on_capturing(showing.recording.id, session_id, world.clock.now())
    for action in (Action.PAUSE, Action.RESUME):
        await world.recordings.control(world.app, world.backend, showing.recording.id, action)
    assert await told(world) == [(stream.id, S.INVOKED), (stream.id, S.LIVE)], "a pause is none of its own"
    await world.sessions.on_session_ended(meeting.id, session_id, world.clock.move(60))
    await world.finish(showing.recording)
    assert await told(world) == [(stream.id, S.INVOKED), (stream.id, S.LIVE), (stream.id, S.IDLE)]


async def test_stop_is_told_once_whoever_makes_the_recording(world: World) -> None:
    meeting = await world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))
    first = (await world.livestreams.start(world.app, world.backend, meeting.id, None, ANY)).stream
    assert first.recording_id == recording.id
    await world.livestreams.stop(world.app, world.backend, meeting.id)
    own = (await world.livestreams.start(world.app, world.backend, meeting.id, None, (640, 360))).stream
    assert own.is_own
    await world.livestreams.stop(world.app, world.backend, meeting.id)
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    # Of what was recorded for the second nothing was captured: no film will come of it.
    assert await told(world) == [(first.id, S.LIVE), (first.id, S.IDLE), (own.id, S.INVOKED), (own.id, S.ERRORED)]


async def test_failure_ends_what_shows_it(world: World) -> None:
    meeting = await world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))
    stream = (await world.livestreams.start(world.app, world.backend, meeting.id, None, ANY)).stream
    await world.recordings.stop(recording.id, Fail("the disk is gone"))
    assert await told(world) == [(stream.id, S.LIVE), (stream.id, S.ERRORED)]


async def test_start_that_capture_refuses_is_told_as_over(world: World) -> None:
    async def refuse(word: str) -> None:
        raise UnavailableError("no worker")

    meeting = await world.meeting()
    world.capture.before = refuse
    with pytest.raises(UnavailableError):
        await world.livestreams.start(world.app, world.backend, meeting.id, None, ANY)
    assert [status for _, status in await told(world)] == [S.INVOKED, S.ERRORED]


async def test_two_starts_at_once_are_one_livestream(world: World) -> None:
    meeting = await world.meeting()
    start = world.livestreams.start
    both = [start(world.app, world.backend, meeting.id, None, ANY) for _ in range(2)]
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    assert sum(isinstance(one, ConflictError) for one in outcomes) == 1
    assert len(await streams(world)) == len(await recordings(world)) == 1


async def test_first_join_shows_a_meeting_that_wants_it_and_ends_with_its_session(world: World) -> None:
    video = {"width": 640, "height": 360, "codec": "VP8", "export_file": False}
    wish = {"video_config": video, "max_seconds": 77, "audio_config": {"codec": "MP3"}}
    meeting = await world.meeting(stream_on_start=True, recording_config=wish)
    session_id = await begin(world, meeting)
    (stream,), (recording,) = await streams(world), await recordings(world)
    assert (stream.recording_id, stream.is_own) == (recording.id, True)
    assert (recording.start_cause, recording.state) == (StartCause.FIRST_JOIN, RecordingState.STARTING)
    options = recording.options
    assert (options.width, options.height, options.max_seconds) == (640, 360, 77), "as the meeting's recordings are"
    assert (options.video_codec, options.video_export) == ("h264", True), "but such that players know it"
    assert world.playback.can_stream(recording)
    await world.sessions.on_capturing(recording.id, session_id, world.clock.now())
    await world.sessions.on_session_ended(meeting.id, session_id, world.clock.move(60))
    assert (await world.now_of(recording)).state not in ACTIVE
    await begin(world, meeting)
    assert len(await streams(world)) == 2, "and so does the next session"


async def test_first_join_of_a_recorded_meeting_shows_its_recording(world: World) -> None:
    await begin(world, await world.meeting(stream_on_start=True, record_on_start=True))
    (stream,), (recording,) = await streams(world), await recordings(world)
    assert (stream.recording_id, stream.is_own) == (recording.id, False)
    vp8 = {"video_config": {"codec": "VP8"}}
    await begin(world, await world.meeting(stream_on_start=True, record_on_start=True, recording_config=vp8))
    assert len(await recordings(world)) == 3, "what players do not know is recorded beside it"
    assert [one.is_own for one in await streams(world) if one.id != stream.id] == [True]


async def test_what_is_recorded_for_viewers_is_not_streamed_where_the_meeting_is_already(world: World) -> None:
    """A server drops one of two streams of a key, again and again."""
    rtmp = {"rtmp_url": "rtmp://live.example.com/app/key"}
    wish = {"video_config": {"codec": "VP8"}, "live_streaming_config": rtmp}
    meeting = await world.meeting(recording_config=wish)
    recording = await world.capturing(meeting, await world.live(meeting))
    own = (await world.livestreams.start(world.app, world.backend, meeting.id, None, ANY)).recording
    (first,) = await world.targets.list(world.app, recording.id)
    (second,) = await world.targets.list(world.app, own.id)
    assert (first.state, second.state) == (TargetState.CONNECTING, TargetState.WAITING)
    assert second.reason == "Another recording of the meeting is streamed there; when that ends this one is"
    with pytest.raises(ConflictError, match="streamed there already"):
        await world.recordings.start(
            world.app, world.backend, meeting.id, {"live_streaming_config": rtmp}, allow_multiple=True
        )
    with pytest.raises(ConflictError, match="streamed there already"):
        await world.targets.add(world.app, own.id, rtmp["rtmp_url"])
    later = (await world.recordings.start(world.app, world.backend, meeting.id, {}, allow_multiple=True)).recording
    await world.targets.hand_over()
    assert await target_states(world, own, later) == ["waiting", "waiting"]
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    await world.finish(recording)
    asked: list[str] = []
    world.targets.on_asked = asked.append
    await world.targets.hand_over()
    await world.targets.hand_over()
    assert await target_states(world, own, later) == ["connecting", "waiting"], "who waits longest is next, alone"
    assert asked == [own.id]
    (second,) = await world.targets.list(world.app, own.id)
    assert second.reason is None
    await world.targets.remove(world.app, own.id, second.id)
    await world.targets.hand_over()
    assert await target_states(world, own, later) == ["ended", "ended"], "who takes a stream off means it"


async def target_states(world: World, *found: Recording) -> list[str]:
    return [target.state for one in found for target in await world.targets.list(world.app, one.id)]


async def test_first_join_leaves_a_livestream_alone(world: World) -> None:
    meeting = await world.meeting(stream_on_start=True)
    await world.livestreams.start(world.app, world.backend, meeting.id, "Lecture", ANY)
    await begin(world, meeting)
    assert [stream.name for stream in await streams(world)] == ["Lecture"]


async def test_first_join_is_no_failure_where_nothing_can_be_shown(world: World) -> None:
    meeting = await world.meeting(stream_on_start=True)
    world.playback.is_live = False
    await begin(world, meeting)
    assert not await streams(world) and not await recordings(world)
    world.recordings.drain()
    world.playback.is_live = True
    await begin(world, await world.meeting(stream_on_start=True))
    assert not await streams(world) and not await recordings(world)


async def test_server_that_makes_films_afterwards_takes_no_meeting_that_is_to_be_shown(world: World) -> None:
    vault = Vault(world.db, world.vault._sealer, streams=False)
    meetings = MeetingService(world.db, world.clock, world.capture, world.hosting, vault)
    with pytest.raises(InvalidError, match="RENDER_MODE") as refused:
        await meetings.create(world.app, {"stream_on_start": True})
    assert [problem.pointer for problem in refused.value.problems] == ["/live_stream_on_start"]
    assert NO_STREAMS in str(refused.value)
    assert not (await meetings.create(world.app, {"stream_on_start": False})).stream_on_start


async def test_purge_leaves_no_name_of_a_livestream(world: World) -> None:
    meeting = await world.meeting()
    stream = (await world.livestreams.start(world.app, world.backend, meeting.id, "Ada's lecture", ANY)).stream
    async with world.db.write() as session:
        await archive.scrub(session, stream.recording_id)
    async with world.db.read() as session:
        found = await table.find_livestream(session, stream.id)
    assert found is not None and found.stream.name is None
    assert await told(world) == [(stream.id, S.INVOKED)], "what was told of it can still be read"


async def test_what_was_watched_while_the_database_refused_is_counted_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting = await world.meeting()
    stream = (await world.livestreams.start(world.app, world.backend, meeting.id, None, ANY)).stream
    world.playback.on_watched(stream.id, 2000)

    async def locked(*_: object) -> None:
        world.playback.on_watched(stream.id, 1000)
        raise UnavailableError("The database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(table, "add_viewed", locked)
        with pytest.raises(UnavailableError):
            await world.livestreams.flush()
    found = await world.livestreams.get(world.app, stream.id)
    assert found.stream.viewer_ms == 3000
