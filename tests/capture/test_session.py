"""What gets into the log, and when: nothing too much, nothing too little, in words a render can rely on."""

from __future__ import annotations

import pytest
from tests.capture.room import BOOT, MS, Room, S, settle

from tapedeck.core.errors import UnavailableError
from tapedeck.core.frames import EncodedFrame, FrameFlags, Origin
from tapedeck.core.timeline import (
    AudioLevel,
    ClockReport,
    NameChanged,
    ParticipantJoined,
    ParticipantLeft,
    Progress,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    TrackClosed,
    TrackMuted,
    TrackOpened,
    TrackUnmuted,
    recording_spans,
)


def test_nothing_is_opened_before_the_first_start() -> None:
    room = Room()
    ada = room.join("ada")
    room.play([room.video(ada), room.audio(ada)], 0, 3 * S)
    assert room.logs == []
    assert not room.session.has_log


async def test_first_frame_is_kept_at_once_and_starts_the_film_at_the_command() -> None:
    room = Room()
    ada = room.join("ada")
    video = room.video(ada)
    room.play([video], 0, 3 * S)
    room.start("r", 3 * S)
    video.send(3 * S + 10 * MS, 3 * S + 12 * MS)
    assert room.kept(video) == [3 * S + 10 * MS]
    assert room.log.of(RecordingStarted) == [RecordingStarted(3 * S, "r")]
    assert room.capturing == [("r", room.utc(3 * S))]


def test_frame_captured_before_the_start_is_not_kept() -> None:
    room = Room()
    video = room.video(room.join("ada"))
    room.play([video], 0, 3 * S)
    room.start("r", 3 * S)
    video.send(3 * S - 20 * MS, 3 * S + 50 * MS)
    video.send(3 * S + 20 * MS, 3 * S + 51 * MS)
    assert room.kept(video) == [3 * S + 20 * MS]


def test_film_of_an_empty_room_starts_with_the_first_media() -> None:
    room = Room()
    room.start("r", 1 * S)
    room.tick(5 * S)
    assert room.log.told() == [], "no film of an empty room"
    assert room.capturing == []
    video = room.video(room.join("ada", 9 * S), 9 * S)
    video.send(9 * S + 300 * MS, key=True)
    assert room.log.of(RecordingStarted) == [RecordingStarted(9 * S + 300 * MS, "r")]
    assert room.capturing == [("r", room.utc(9 * S + 300 * MS))]


def test_log_explains_itself_from_the_start_on() -> None:
    room = Room()
    ada, screen = room.join("ada", S), room.join("ada", 2 * S, Origin.SCREEN)
    bob = room.join("bob", 2 * S)
    audio, shared = room.audio(ada, S), room.video(screen, 2 * S)
    ada.rename("Ada L", BOOT + 3 * S)
    shared.sink.muted(BOOT + 4 * S, True)
    for second in range(10):
        audio.sink.clock_report(BOOT + second * S, 10**18 + second * S, second * 48_000)
    bob.close(BOOT + 9 * S)
    room.start("r", 10 * S)
    assert room.log.told() == [
        ParticipantJoined(S, "user-ada", "peer-ada-camera", "Ada L"),
        TrackOpened(S, audio.info),
        *(ClockReport(s * S, audio.info.track_id, 10**18 + s * S, s * 48_000) for s in range(5, 10)),
        ParticipantJoined(2 * S, "user-ada", "peer-ada-screen", "Ada", origin=Origin.SCREEN),
        TrackOpened(2 * S, shared.info),
        TrackMuted(10 * S, shared.info.track_id),
    ]
    assert room.log.opened == [audio.info.track_id, shared.info.track_id]


def test_changes_are_events_while_something_is_recorded() -> None:
    room = Room()
    room.start("r", 0)
    ada = room.join("ada", S)
    video = room.video(ada, S)
    video.send(S, key=True)
    video.sink.muted(BOOT + 2 * S, True)
    video.sink.muted(BOOT + 2 * S, True)
    video.sink.muted(BOOT + 3 * S, False)
    video.sink.clock_report(BOOT + 3 * S, 10**18, 1)
    ada.rename("Ada L", BOOT + 4 * S)
    ada.rename("Ada L", BOOT + 4 * S)
    ada.close(BOOT + 5 * S)
    ada.close(BOOT + 5 * S)
    video.send(6 * S, key=True)
    track_id = video.info.track_id
    assert room.log.told() == [
        ParticipantJoined(S, "user-ada", "peer-ada-camera", "Ada"),
        TrackOpened(S, video.info),
        RecordingStarted(S, "r"),
        TrackMuted(2 * S, track_id),
        TrackUnmuted(3 * S, track_id),
        ClockReport(3 * S, track_id, 10**18, 1),
        NameChanged(4 * S, "user-ada", "Ada L"),
        TrackClosed(5 * S, track_id),
        ParticipantLeft(5 * S, "user-ada", "peer-ada-camera"),
    ]
    assert room.kept(video) == [S], "nothing after the close"
    assert room.log.open == set()


async def test_pause_keeps_what_was_captured_before_however_late_and_nothing_captured_after() -> None:
    room = Room()
    video = room.video(room.join("ada"))
    room.start("r", 0)
    room.play([video], 0, 5 * S)
    await room.pause("r", 5 * S)
    assert room.log.told()[-1] == RecordingPaused(5 * S, "r")
    assert room.log.syncs == 1
    video.send(4_980 * MS, 7_400 * MS)
    video.send(5_000 * MS, 7_400 * MS)
    video.send(5_020 * MS, 7_400 * MS)
    assert room.kept(video)[-1] == 4_980 * MS
    room.play([video], 8 * S, 9 * S)
    assert room.kept(video)[-1] == 4_980 * MS
    assert recording_spans(room.log.events, "r")[0].end_ns == 5 * S


async def test_frame_later_than_any_wait_counts_as_captured_later() -> None:
    room = Room()
    video = room.video(room.join("ada"))
    room.start("r", 0)
    room.play([video], 0, 5 * S)
    await room.pause("r", 5 * S)
    video.send(4_980 * MS, 7_600 * MS)
    assert 4_980 * MS not in room.kept(video)


async def test_resume_keeps_nothing_of_the_pause_and_marks_the_gap() -> None:
    room = Room()
    ada = room.join("ada")
    video, audio = room.video(ada), room.audio(ada)
    room.start("r", 0)
    room.play([video, audio], 0, 2 * S)
    await room.pause("r", 2 * S)
    room.play([video, audio], 2 * S, 4 * S)
    room.resume("r", 4 * S + 10 * MS)
    video.send(4 * S, 4 * S + 90 * MS, key=True)
    video.send(4 * S + 40 * MS, 4 * S + 90 * MS)
    audio.send(4 * S + 40 * MS)
    assert [at for at in room.kept(video) if at >= 2 * S] == [4 * S + 40 * MS]
    flags = {track_id: frame.flags for track_id, frame in room.log.frames}
    assert flags[video.info.track_id] & FrameFlags.DISCONTINUITY
    assert flags[audio.info.track_id] == FrameFlags.KEY, "sound needs no key frame"
    assert RecordingResumed(4 * S + 10 * MS, "r") in room.log.events


async def test_key_frames_are_asked_for_at_start_and_resume_until_one_is_stored() -> None:
    room = Room()
    ada = room.join("ada")
    video, audio = room.video(ada), room.audio(ada)
    room.play([video, audio], 0, S)
    room.start("r", S)
    assert (len(video.asked), len(audio.asked)) == (1, 0)
    room.play([video], S, 2_600 * MS, key_every_ns=100 * S)
    assert video.asked == [S, 1_500 * MS, 2_000 * MS, 2_500 * MS]
    video.send(2_640 * MS, key=True)
    room.play([video], 2_680 * MS, 6 * S, key_every_ns=100 * S)
    assert len(video.asked) == 4
    await room.pause("r", 6 * S)
    room.resume("r", 7 * S)
    assert video.asked[4:] == [7 * S]
    for at in range(7_000, 120_000, 50):
        video.send(at * MS)
        room.tick(at * MS)
    assert len(video.asked) < 50, "somebody who never answers is not asked for ever"


def test_nobody_is_asked_who_is_muted() -> None:
    room = Room()
    video = room.video(room.join("ada"))
    room.play([video], 0, S)
    room.start("r", S)
    video.send(S + 10 * MS)
    video.sink.muted(BOOT + S + 20 * MS, True)
    for at in range(1_050, 5_000, 50):
        room.tick(at * MS)
    assert len(video.asked) == 1


async def test_stop_waits_for_the_last_frames_and_no_longer() -> None:
    room = Room()
    ada = room.join("ada")
    video, audio = room.video(ada), room.audio(ada)
    room.start("r", 0)
    room.play([video, audio], 0, 5 * S, delay=lambda at: 30 * MS if at % (60 * MS) else 0)
    task = await room.stop_soon("r", 5 * S)
    assert room.log.told()[-1] == RecordingStopped(5 * S, "r"), "the end is in the log before anything is waited for"
    assert not task.done()
    room.play([video, audio], 5 * S, 5_100 * MS)
    await settle()
    assert task.done() and await task
    last = room.log.of(Progress)[-1]
    assert last.until_ns >= 5 * S
    assert last.at_ns <= 5_100 * MS
    assert room.kept(video)[-1] == 4_960 * MS
    assert room.kept(audio)[-1] == 4_980 * MS
    assert room.log.syncs == 1
    assert room.session.recording_ids == ()


async def test_stop_waits_for_a_packet_that_may_still_come() -> None:
    room = Room()
    ada = room.join("ada")
    video, audio = room.video(ada), room.audio(ada)
    room.start("r", 0)
    room.play([video, audio], 0, 5 * S)
    video.sink.waiting_since(BOOT + 4_990 * MS)
    task = await room.stop_soon("r", 5 * S)
    room.play([audio], 5 * S, 6_900 * MS)
    await settle()
    assert not task.done()
    video.send(4_980 * MS + 20 * MS - 1, 6_900 * MS)
    video.sink.waiting_since(None)
    video.send(5_020 * MS, 6_900 * MS)
    room.tick(6_950 * MS)
    await settle()
    assert task.done()
    assert room.kept(video)[-1] == 5 * S - 1


async def test_stop_never_waits_longer_than_the_receiver_would() -> None:
    room = Room()
    video = room.video(room.join("ada"))
    room.start("r", 0)
    room.play([video], 0, 5 * S)
    video.sink.waiting_since(BOOT + 4_990 * MS)
    task = await room.stop_soon("r", 5 * S)
    room.tick(7_450 * MS)
    await settle()
    assert not task.done()
    room.tick(7_500 * MS)
    await settle()
    assert task.done() and await task


async def test_stop_does_not_wait_for_those_who_are_silent() -> None:
    """Muted, DTX, a still screen, closed, or nobody at all."""
    room = Room()
    ada, screen = room.join("ada"), room.join("ada", 0, Origin.SCREEN)
    video, audio, shared = room.video(ada), room.audio(ada), room.video(screen)
    room.start("r", 0)
    room.play([video, audio], 0, S)
    video.sink.muted(BOOT + S, True)
    for at in range(0, 10_000, 400):
        audio.send(at * MS + S)
        if at % 1_000 == 0:
            shared.send(at * MS + S, key=True)
    task = await room.stop_soon("r", 11 * S)
    room.tick(11 * S + 50 * MS)
    room.tick(11 * S + 100 * MS)
    await settle()
    assert task.done()


async def test_start_and_stop_without_media_make_no_film() -> None:
    room = Room()
    room.start("r", S)
    task = await room.stop_soon("r", 2 * S)
    room.tick(2_050 * MS)
    assert not await task
    assert room.log.told() == []
    assert room.capturing == []


async def test_late_first_frame_of_a_recording_already_stopped_still_makes_its_film() -> None:
    room = Room()
    video = room.video(room.join("ada"))
    room.play([video], 0, 3 * S)
    room.start("r", 3 * S)
    task = await room.stop_soon("r", 3_100 * MS)
    video.send(3_040 * MS, 3_110 * MS)
    video.send(3_160 * MS, 3_165 * MS)
    await settle()
    assert task.done() and await task
    assert room.log.told()[-2:] == [RecordingStarted(3 * S, "r"), RecordingStopped(3_100 * MS, "r")]
    assert room.kept(video) == [3_040 * MS]


async def test_commands_are_idempotent_and_unknown_recordings_are_ignored() -> None:
    room = Room()
    video = room.video(room.join("ada"))
    room.start("r", 0)
    room.start("r", S)
    room.resume("r", S)
    room.play([video], S, 2 * S)
    for _ in range(2):
        await room.pause("r", 2 * S)
    for _ in range(2):
        room.resume("r", 3 * S)
    await room.pause("nobody", 3 * S)
    room.resume("nobody", 3 * S)
    assert await room.session.stop("nobody", BOOT + 3 * S) is False
    one, two = await room.stop_soon("r", 4 * S), await room.stop_soon("r", 4_010 * MS)
    room.tick(4_100 * MS)
    room.tick(7 * S)
    assert await one and await two
    assert await room.session.stop("r", BOOT + 8 * S) is True
    kinds = [type(event) for event in room.log.told() if hasattr(event, "recording_id")]
    assert kinds == [RecordingStarted, RecordingPaused, RecordingResumed, RecordingStopped]


async def test_recordings_of_one_session_share_the_log_each_with_its_spans() -> None:
    room = Room()
    video = room.video(room.join("ada"))
    room.start("one", 0)
    room.play([video], 0, 2 * S)
    room.start("two", 2 * S)
    room.play([video], 2 * S, 3 * S)
    await room.pause("one", 3 * S)
    room.play([video], 3 * S, 4 * S)
    task = await room.stop_soon("two", 4 * S)
    room.play([video], 4 * S, 5 * S)
    await task
    room.resume("one", 5 * S)
    room.play([video], 5 * S, 6 * S)
    task = await room.stop_soon("one", 6 * S)
    room.play([video], 6 * S, 7 * S)
    await task
    assert len(room.logs) == 1
    assert [(s.start_ns, s.end_ns) for s in recording_spans(room.log.events, "one")] == [(0, 3 * S), (5 * S, 6 * S)]
    assert [(s.start_ns, s.end_ns) for s in recording_spans(room.log.events, "two")] == [(2 * S, 4 * S)]
    kept = room.kept(video)
    assert [at for at in kept if 4 * S <= at < 5 * S or at >= 6 * S] == []
    assert len([at for at in kept if at < 4 * S]) == 100


async def test_between_recordings_nothing_is_said_and_then_what_changed_is() -> None:
    room = Room()
    ada, bob = room.join("ada"), room.join("bob")
    video, other = room.video(ada), room.video(bob)
    room.start("one", 0)
    room.play([video, other], 0, S)
    task = await room.stop_soon("one", S)
    room.play([video, other], S, 2 * S)
    await task
    said = len(room.log.entries)
    other.sink.close(BOOT + 3 * S)
    bob.close(BOOT + 3 * S)
    ada.rename("Ada L", BOOT + 3 * S)
    eve = room.join("eve", 4 * S)
    room.play([video], 4 * S, 5 * S)
    assert len(room.log.entries) == said
    room.start("two", 5 * S)
    assert room.log.entries[said:] == [
        TrackClosed(5 * S, other.info.track_id),
        ParticipantLeft(5 * S, "user-bob", "peer-bob-camera"),
        NameChanged(5 * S, "user-ada", "Ada L"),
        ParticipantJoined(4 * S, "user-eve", "peer-eve-camera", eve.name),
    ]


def test_levels_are_thinned_to_the_loudest_of_each_tenth() -> None:
    room = Room()
    audio = room.audio(room.join("ada"))
    for packet in range(50):
        audio.sink.audio_level(BOOT + packet * 20 * MS, 3)
    room.start("r", S)
    for packet in range(50, 100):
        audio.sink.audio_level(BOOT + packet * 20 * MS, 20 if packet % 10 == 7 else 90)
        audio.send(packet * 20 * MS)
    levels = room.log.of(AudioLevel)
    assert 8 <= len(levels) <= 11
    assert {level.dbov for level in levels} == {20, 90}
    assert levels[0].dbov == 90, "nothing of before the start"


def test_progress_says_how_far_the_log_is_complete() -> None:
    room = Room()
    ada = room.join("ada")
    video, audio = room.video(ada), room.audio(ada)
    room.play([video, audio], 0, S)
    room.start("r", S)
    room.play([video, audio], S, 6 * S)
    passed = room.log.of(Progress)
    assert 18 <= len(passed) <= 21
    assert all(p.at_ns - 100 * MS <= p.until_ns < p.at_ns for p in passed)
    video.sink.waiting_since(BOOT + 6 * S)
    room.play([audio], 6 * S, 8 * S)
    assert room.log.of(Progress)[-1].until_ns < 6 * S
    video.sink.waiting_since(None)
    video.sink.muted(BOOT + 8 * S, True)
    room.play([audio], 8 * S, 9 * S)
    assert room.log.of(Progress)[-1].until_ns > 8_650 * MS


async def test_disk_that_refuses_is_reported_and_costs_nothing() -> None:
    room = Room()
    video = room.video(room.join("ada"))
    room.start("r", 0)
    room.play([video], 0, S)
    fault = UnavailableError("The disk is full.")
    room.log.fault = fault
    room.session.log_failed(fault)
    room.play([video], S, 2 * S)
    room.join("bob", 2 * S)
    task = await room.stop_soon("r", 2 * S)
    room.play([video], 2 * S, 3 * S)
    with pytest.raises(UnavailableError):
        await task
    room.log.fault = None
    room.session.log_recovered()
    assert await room.session.stop("r", BOOT + 3 * S) is True
    assert room.problems == ["The disk is full.", None]
    assert len(room.kept(video)) == 50
    assert room.log.of(RecordingStopped) == [RecordingStopped(2 * S, "r")]


async def test_peer_that_comes_again_under_its_id_replaces_itself() -> None:
    room = Room()
    room.start("r", 0)
    first = room.video(room.join("ada"))
    room.join("ada", S)
    assert [type(e) for e in room.log.told()] == [
        ParticipantJoined,
        TrackOpened,
        TrackClosed,
        ParticipantLeft,
        ParticipantJoined,
    ]
    first.send(2 * S, key=True)
    assert room.log.frames == []


async def test_closing_ends_the_log() -> None:
    room = Room()
    video = room.video(room.join("ada"))
    room.start("r", 0)
    room.play([video], 0, S)
    await room.session.aclose()
    assert room.log.closed
    video.send(2 * S, key=True)
    assert len(room.kept(video)) == 25
    await room.session.aclose()


def test_frame_reaches_the_log_byte_for_byte() -> None:
    room = Room()
    video = room.video(room.join("ada"))
    room.start("r", 0)
    frame = EncodedFrame(1 << 40, BOOT + 5 * MS, b"\x00\xffpayload", video.info.codec, FrameFlags.KEY)
    video.sink.frame(frame)
    stored = room.log.frames[0][1]
    assert (stored.media_time, stored.payload, stored.codec, stored.flags) == (
        frame.media_time,
        frame.payload,
        frame.codec,
        frame.flags,
    )
    assert stored.arrival_ns == 5 * MS
