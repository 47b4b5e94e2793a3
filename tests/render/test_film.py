"""Films of scripted meetings: who is seen and heard when, in absolute terms."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.render.meetings import DELAY_NS, FPS, MS, SMALL, GrowingLog, Meeting, Reel, S, clip, make

from tapedeck.core.errors import MediaError
from tapedeck.core.frames import Codec, FrameFlags, Origin
from tapedeck.core.timeline import (
    NameChanged,
    Outage,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    TrackMuted,
    TrackUnmuted,
)
from tapedeck.medialog.reader import LogReader
from tapedeck.render.film import Film

HALF_NS = S // FPS // 2
TOLERANCE_NS = 12 * MS
"""Jitter that the clock of a peer cannot see through in so short a film."""


def errors_ns(meeting: Meeting, reel: Reel, key: str, track_id: str, start_ns: int = 0) -> list[int]:
    """How much earlier (negative) or later than due each shown picture was captured; `start_ns`: of the film."""
    return [
        meeting.captured_ns(track_id, media_time) + DELAY_NS - (start_ns + frame * S // FPS)
        for frame, tile, media_time in reel.shown
        if tile == key and media_time is not None
    ]


def test_each_moment_shows_the_latest_picture_of_everybody(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(S, 6 * S)
    for who, codec in (("ada", Codec.H264), ("bob", Codec.VP8)):
        meeting.join(who, 0)
        meeting.camera(who, 0, 7 * S, codec=codec)
    reel = make(meeting.lay_down(tmp_path / "log", 8 * S))
    assert len(reel.pictures) == 5 * FPS
    for who in ("ada", "bob"):
        assert None not in reel.media_times(f"person:{who}")
        errors = errors_ns(meeting, reel, f"person:{who}", f"{who}-camera", S)
        assert max(errors[15:]) <= HALF_NS + TOLERANCE_NS
        assert min(errors) >= -HALF_NS - S // FPS - TOLERANCE_NS


def test_the_pixels_of_a_tile_are_those_of_its_picture(tmp_path: Path) -> None:
    meeting = Meeting(jitter_ns=0)
    meeting.record(0, 3 * S)
    meeting.join("ada", 0)
    track = meeting.camera("ada", 0, 4 * S)
    reel = make(meeting.lay_down(tmp_path / "log", 5 * S), reel=Reel(((80, 20),)))
    source = {frame.media_time: 40 + (n * 37) % 170 for n, frame in enumerate(clip(Codec.H264, 120, 64, 36, 30))}
    for (luma,), media_time in zip(reel.pictures, reel.media_times("person:ada"), strict=True):
        assert media_time is not None
        assert abs(luma - source[media_time - meeting.tracks[track].clock_rate]) <= 6


def test_the_film_opens_with_the_picture_and_not_with_initials(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(S, 4 * S)
    meeting.join("ada", S)
    meeting.camera("ada", S + 300 * MS, 5 * S, opened_ns=S + 320 * MS)
    reel = make(meeting.lay_down(tmp_path / "log", 6 * S))
    times = reel.media_times("person:ada")
    assert len(times) == 3 * FPS and None not in times
    assert len(set(times[:9])) == 1 and len(set(times[12:30])) == 18


def test_a_camera_that_comes_much_later_is_not_shown_much_earlier(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(0, 4 * S)
    meeting.join("ada", 0)
    meeting.camera("ada", 2 * S, 5 * S)
    times = make(meeting.lay_down(tmp_path / "log", 6 * S)).media_times("person:ada")
    first = next(index for index, media_time in enumerate(times) if media_time is not None)
    assert 45 <= first <= 61 and None not in times[first:]


def test_people_come_and_go_to_the_frame(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(0, 6 * S)
    meeting.join("ada", 0)
    meeting.join("bob", 2 * S, 4 * S)
    meeting.join("bob", 5 * S, peer="again")
    meeting.camera("ada", 0, 7 * S)
    reel = make(meeting.lay_down(tmp_path / "log", 8 * S))
    both = [index for index in range(6 * FPS) if reel.tiles(index) == ["person:ada", "person:bob"]]
    assert both == [*range(2 * FPS, 4 * FPS), *range(5 * FPS, 6 * FPS)]


def test_a_pause_is_cut_to_the_frame_and_nothing_of_it_is_seen_or_heard(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.event(RecordingStarted(0, "r"))
    meeting.join("ada", 0)
    track = meeting.camera("ada", 0, 2 * S, close=False)
    meeting.microphone("ada", 0, 2 * S, 440)
    meeting.event(RecordingPaused(2 * S, "r"))
    meeting.event(RecordingResumed(5 * S, "r"))
    frames = clip(Codec.H264, 90, 64, 36, 30)
    marked = (replace(frames[0], flags=FrameFlags.KEY | FrameFlags.DISCONTINUITY), *frames[1:])
    meeting.frames(track, 5 * S, marked)
    meeting.microphone("ada", 5 * S, 8 * S, 440)
    meeting.event(RecordingStopped(7 * S, "r"))
    reel = make(meeting.lay_down(tmp_path / "log", 9 * S))
    assert len(reel.pictures) == 4 * FPS
    assert reel.sound.shape == (2, 4 * 48_000)
    captured = [meeting.captured_ns(track, m) for m in reel.media_times("person:ada") if m is not None]
    assert len(captured) == 4 * FPS
    assert all(at < 2 * S for at in captured[: 2 * FPS]) and all(at >= 5 * S for at in captured[2 * FPS :])
    loud = np.abs(reel.sound[0]).reshape(-1, 480).max(axis=1)
    assert np.all(loud[10:195] > 0.1) and np.all(loud[205:390] > 0.1)


def test_what_another_recording_kept_in_the_pause_is_not_in_this_film(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(0, 9 * S, "other")
    meeting.event(RecordingStarted(S, "r"))
    meeting.event(RecordingPaused(3 * S, "r"))
    meeting.event(RecordingResumed(5 * S + 500 * MS, "r"))
    meeting.event(RecordingStopped(8 * S, "r"))
    meeting.join("ada", 0)
    track = meeting.camera("ada", 0, 10 * S, key_every=15)
    meeting.microphone("ada", 0, 10 * S)
    reel = make(meeting.lay_down(tmp_path / "log", 11 * S))
    assert len(reel.pictures) == 4 * FPS + FPS // 2
    captured = [meeting.captured_ns(track, m) + DELAY_NS for m in reel.media_times("person:ada") if m is not None]
    assert len(captured) == 4 * FPS + FPS // 2
    assert min(captured) >= S - TOLERANCE_NS
    assert not [at for at in captured if 3 * S + TOLERANCE_NS <= at < 5 * S + 500 * MS - TOLERANCE_NS]


@pytest.mark.parametrize("others", [False, True])
def test_a_picture_on_its_way_at_the_start_belongs_to_whoever_asked_for_it(tmp_path: Path, others: bool) -> None:
    """It was captured 10 ms before by the peer's clock; only this recording, or another too, had it kept."""
    meeting = Meeting(jitter_ns=0)
    start_ns = 2 * S
    if others:
        meeting.record(0, 9 * S, "other")
    meeting.record(start_ns, 4 * S)
    meeting.join("ada", 0)
    track = meeting.camera("ada", start_ns - 10 * MS - DELAY_NS, 6 * S, key_every=1)
    meeting.delay(track, 0, start_ns, 20 * MS)
    shown = [m for m in make(meeting.lay_down(tmp_path / "log", 10 * S)).media_times("person:ada") if m is not None]
    assert len(shown) == 2 * FPS
    assert (meeting.captured_ns(track, shown[0]) + DELAY_NS < start_ns) is not others


def test_the_last_picture_before_a_pause_is_not_one_of_the_pause(tmp_path: Path) -> None:
    """A picture captured up to half a frame later is "now", but not across a cut."""
    meeting = Meeting(jitter_ns=0)
    meeting.record(0, 9 * S, "other")
    meeting.event(RecordingStarted(0, "r"))
    meeting.event(RecordingPaused(2 * S + 5 * MS, "r"))
    meeting.event(RecordingResumed(4 * S, "r"))
    meeting.event(RecordingStopped(5 * S, "r"))
    meeting.join("ada", 0)
    track = meeting.camera("ada", 25_333_333, 6 * S, key_every=15)  # one falls 12 ms after the two seconds
    times = make(meeting.lay_down(tmp_path / "log", 10 * S)).media_times("person:ada")
    before = [meeting.captured_ns(track, m) + DELAY_NS for m in times[: 2 * FPS + 1] if m is not None]
    assert len(before) == 2 * FPS + 1 and max(before) < 2 * S + 5 * MS


def test_nobody_is_shown_early_with_a_picture_of_the_pause(tmp_path: Path) -> None:
    meeting = Meeting(jitter_ns=0)
    meeting.record(0, 9 * S, "other")
    meeting.event(RecordingStarted(0, "r"))
    meeting.event(RecordingPaused(S, "r"))
    meeting.event(RecordingResumed(3 * S, "r"))
    meeting.event(RecordingStopped(4 * S, "r"))
    meeting.join("ada", 800 * MS)
    track = meeting.camera("ada", S + 100 * MS, 6 * S, key_every=15, opened_ns=800 * MS)
    times = make(meeting.lay_down(tmp_path / "log", 10 * S)).media_times("person:ada")
    assert times[:6] == [None] * 6
    assert all(m is not None and meeting.captured_ns(track, m) + DELAY_NS >= 3 * S for m in times[6:])


def test_after_a_short_mute_the_old_picture_does_not_come_back(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(0, 5 * S)
    meeting.join("ada", 0)
    track = meeting.camera("ada", 0, 2 * S, close=False)
    meeting.event(TrackMuted(2 * S, track))
    meeting.event(TrackUnmuted(2 * S + 500 * MS, track))
    meeting.frames(track, 3 * S, clip(Codec.H264, 90, 64, 36, 30))
    times = make(meeting.lay_down(tmp_path / "log", 7 * S)).media_times("person:ada")
    assert None not in times[:60] and set(times[60:90]) == {None} and None not in times[95:]


def test_a_muted_camera_is_initials_and_comes_back_with_its_next_picture(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(0, 6 * S)
    meeting.join("ada", 0)
    track = meeting.camera("ada", 0, 2 * S, close=False)
    meeting.event(TrackMuted(2 * S, track))
    meeting.event(TrackUnmuted(4 * S, track))
    meeting.frames(track, 4 * S + 100 * MS, clip(Codec.H264, 90, 64, 36, 30))
    times = make(meeting.lay_down(tmp_path / "log", 8 * S)).media_times("person:ada")
    assert None not in times[:60]
    assert set(times[60:120]) == {None}
    assert set(times[120:122]) == {None} and None not in times[126:]


def test_a_camera_without_pictures_is_off_after_two_seconds(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(0, 8 * S)
    meeting.join("ada", 0)
    track = meeting.camera("ada", 0, 2 * S, close=False)
    meeting.frames(track, 6 * S, clip(Codec.H264, 90, 64, 36, 30))
    times = make(meeting.lay_down(tmp_path / "log", 10 * S)).media_times("person:ada")
    off = [index for index, media_time in enumerate(times) if media_time is None]
    assert 2 * FPS + 2 * FPS - 3 <= off[0] <= 2 * FPS + 2 * FPS + 3
    assert 6 * FPS - 1 <= off[-1] <= 6 * FPS + 3 and len(off) == off[-1] - off[0] + 1


def test_a_shared_screen_may_stand_still(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(0, 9 * S)
    meeting.join("ada", 0)
    meeting.camera("ada", 0, 10 * S)
    peer = meeting.join("ada", S, 8 * S, peer="ada-screen-peer", origin=Origin.SCREEN)
    meeting.open("slides", "ada", peer, Codec.H264, Origin.SCREEN, S)
    meeting.frames("slides", S, clip(Codec.H264, 3, 64, 36, 30))
    reel = make(meeting.lay_down(tmp_path / "log", 11 * S))
    times = reel.media_times("screen:slides")
    assert len(times) == 7 * FPS and None not in times and len(set(times)) <= 3
    assert reel.tiles(2 * FPS) == ["screen:slides", "person:ada"]


def test_after_a_loss_the_last_good_picture_stays_until_the_next_key_frame(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(0, 4 * S)
    meeting.join("ada", 0)
    track = meeting.camera("ada", 0, 5 * S, key_every=30)
    meeting.drop(track, S + 400 * MS, S + 470 * MS)
    reel = make(meeting.lay_down(tmp_path / "log", 6 * S))
    captured = [meeting.captured_ns(track, m) for m in reel.media_times("person:ada") if m is not None]
    assert len(captured) == 4 * FPS
    still = [at for at in captured if S + 400 * MS <= at < 2 * S]
    assert still == []
    assert captured.count(max(at for at in captured if at < S + 400 * MS)) >= 17


def test_garbage_does_not_end_the_film_and_is_counted(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(0, 4 * S)
    meeting.join("ada", 0)
    track = meeting.camera("ada", 0, 5 * S)
    meeting.spoil(track, S, S + 200 * MS)
    log = meeting.lay_down(tmp_path / "log", 6 * S)
    reel = Reel()
    film = Film(log, "r", SMALL, reel, on_shown=reel.shown.append)
    while not film.is_done:
        if not film.work():
            film.finish()
    film.close()
    assert len(reel.pictures) == 4 * FPS
    assert film.stats.errors >= 1 and film.stats.skipped > 10 and film.stats.pictures == 4 * FPS


def test_size_and_codec_may_change_inside_a_track(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(0, 6 * S)
    meeting.join("ada", 0)
    track = meeting.camera("ada", 0, 2 * S, close=False)
    meeting.frames(track, 2 * S, clip(Codec.H264, 60, 96, 96, 30))
    meeting.frames(track, 4 * S, clip(Codec.VP8, 90, 48, 64, 30))
    reel = make(meeting.lay_down(tmp_path / "log", 8 * S))
    assert None not in reel.media_times("person:ada")
    assert len(set(reel.media_times("person:ada"))) >= 6 * FPS - 6


def test_an_outage_is_a_cut(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.event(RecordingStarted(0, "r"))
    meeting.join("ada", 0)
    meeting.camera("ada", 0, 2 * S, close=False)
    meeting.event(Outage(6 * S, 2 * S))
    meeting.join("ada", 6 * S, peer="again")
    meeting.camera("ada", 6 * S, 9 * S, peer="again", track_id="second")
    meeting.event(RecordingStopped(8 * S, "r"))
    reel = make(meeting.lay_down(tmp_path / "log", 10 * S))
    assert len(reel.pictures) == 4 * FPS
    assert None not in reel.media_times("person:ada")


def test_a_log_that_breaks_off_gives_the_film_up_to_there(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(0, None)
    meeting.join("ada", 0)
    meeting.camera("ada", 0, 3 * S, close=False)
    reel = make(meeting.lay_down(tmp_path / "log", 3 * S))
    assert abs(len(reel.pictures) - 3 * FPS) <= 1
    assert None not in reel.media_times("person:ada")


def test_a_recording_of_nobody_is_a_quiet_picture(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(0, 2 * S)
    reel = make(meeting.lay_down(tmp_path / "log", 3 * S), reel=Reel(((5, 5), (80, 45))))
    assert len(reel.pictures) == 2 * FPS and len(set(reel.pictures)) == 1
    assert max(reel.pictures[0]) < 50
    assert reel.sound.shape == (2, 96_000) and float(np.abs(reel.sound).max()) < 1e-4


def test_a_log_without_the_recording_is_refused(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(0, 2 * S, "another")
    with pytest.raises(MediaError, match="Nothing was recorded"):
        make(meeting.lay_down(tmp_path / "log", 3 * S))


def test_everything_in_a_log_is_a_film_from_the_first_media(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(0, 5 * S, "a")
    meeting.join("ada", S)
    meeting.camera("ada", S, 6 * S)
    reel = make(meeting.lay_down(tmp_path / "log", 7 * S), None)
    assert len(reel.pictures) == 4 * FPS and None not in reel.media_times("person:ada")


def test_a_film_that_begins_late_in_a_long_log_shows_the_same_moments(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(0, 70 * S, "long")
    meeting.record(60 * S, 63 * S)
    meeting.join("ada", 0)
    track = meeting.camera("ada", 0, 66 * S, key_every=15)
    reel = make(meeting.lay_down(tmp_path / "log", 71 * S))
    assert len(reel.pictures) == 3 * FPS
    errors = errors_ns(meeting, reel, "person:ada", track, 60 * S)
    assert len(errors) == 3 * FPS and max(map(abs, errors[20:])) <= HALF_NS + S // FPS + TOLERANCE_NS


def test_in_a_crowd_only_those_who_are_seen_are_decoded(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(0, 2 * S)
    for number in range(28):
        meeting.join(f"p{number:02}", 0)
        meeting.camera(f"p{number:02}", 0, 3 * S, size=(16, 16))
    log = meeting.lay_down(tmp_path / "log", 4 * S)
    film = Film(log, "r", SMALL, Reel())
    while not film.is_done:
        if not film.work():
            film.finish()
    film.close()
    assert film.stats.decoded <= 24 * 2 * FPS and film.stats.decoded >= 24 * (2 * FPS - 3)


def test_sound_and_picture_have_the_same_length_and_stay_together(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(333 * MS, 5 * S + 77 * MS)
    meeting.join("ada", 0)
    meeting.microphone("ada", 2 * S, 3 * S)
    reel = make(meeting.lay_down(tmp_path / "log", 7 * S))
    length_ns = 4744 * MS
    assert len(reel.pictures) == -(-length_ns * FPS // S)
    assert reel.sound.shape[1] == length_ns * 48_000 // S
    loud = np.flatnonzero(np.abs(reel.sound[0]) > 0.05)
    begin_ns, end_ns = (int(at) * S // 48_000 for at in (loud[0], loud[-1]))
    assert abs(begin_ns - (2 * S + DELAY_NS - 333 * MS)) < 15 * MS
    assert abs(end_ns - (3 * S + DELAY_NS - 333 * MS)) < 70 * MS


def busy_meeting(seed: int) -> tuple[Meeting, int]:
    """Joins, leaves, mutes, losses, a pause, a screen: everything at odd times."""
    meeting = Meeting(seed, jitter_ns=60 * MS)
    meeting.event(RecordingStarted(215 * MS, "r"))
    meeting.event(RecordingPaused(2 * S + 111 * MS, "r"))
    meeting.event(RecordingResumed(3 * S + 444 * MS, "r"))
    meeting.event(RecordingStopped(6 * S + 17 * MS, "r"))
    meeting.record(0, 20 * S, "other")
    meeting.join("ada", 0)
    ada = meeting.camera("ada", 0, 8 * S, size=(32, 18))
    meeting.drop(ada, S + 100 * MS, S + 150 * MS)
    meeting.join("bob", 700 * MS, 5 * S)
    bob = meeting.camera("bob", 900 * MS, 4 * S, codec=Codec.VP8, size=(32, 32), close=False)
    meeting.event(TrackMuted(4 * S, bob), 4 * S + 600 * MS)
    meeting.event(NameChanged(S, "ada", "Countess"), S)
    peer = meeting.join("ada", S, 7 * S, peer="two", origin=Origin.SCREEN)
    meeting.open("slides", "ada", peer, Codec.H264, Origin.SCREEN, S + 50 * MS)
    meeting.frames("slides", S, clip(Codec.H264, 5, 32, 18, 30))
    meeting.microphone("ada", 0, 8 * S)
    return meeting, 9 * S


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 3), data=st.data())
def test_a_live_film_and_a_later_one_agree_on_everything(
    tmp_path_factory: pytest.TempPathFactory, seed: int, data: st.DataObject
) -> None:
    """Whatever the pieces in which a log grows and the steps in which it is worked on."""
    meeting, end_ns = busy_meeting(seed)
    root = tmp_path_factory.mktemp("logs")
    points = ((20, 20), (60, 30), (120, 60), (100, 80))
    later = make(meeting.lay_down(root / "later", end_ns), reel=Reel(points))

    grower = GrowingLog(meeting, root / "live", end_ns)
    grower.grow(1)
    live = Reel(points)
    film = Film(LogReader(root / "live"), "r", SMALL, live, on_shown=live.shown.append)
    growing = True
    while growing:
        growing = grower.grow(data.draw(st.integers(1, 400)))
        for _ in range(data.draw(st.integers(0, 3))):
            film.work(data.draw(st.integers(1, 40)))
    while not film.is_done:
        assert film.work(), "the log is complete, so that the film can be"
    film.close()
    assert live.shown == later.shown
    assert live.pictures == later.pictures
    assert np.array_equal(live.sound, later.sound)
