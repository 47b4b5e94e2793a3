"""Which picture is seen when: openings, cuts, mutes, losses, changes."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.render.meetings import DELAY_NS, FPS, MS, SMALL, Meeting, Reel, S, clip, make

from tapedeck.core.frames import Codec, Origin
from tapedeck.core.layouts import Layout
from tapedeck.core.timeline import (
    AudioLevel,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    TrackMuted,
    TrackUnmuted,
)
from tapedeck.render.film import Film

HALF_NS = S // FPS // 2
TOLERANCE_NS = 12 * MS
"""Jitter that the clock of a peer cannot see through in so short a film."""


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


def two_in_turns(hidden_ns: int, key_every: int = 100_000) -> Meeting:
    """Ada speaks, then Bob, then Ada; their cameras make a key frame at the beginning and never again."""
    meeting = Meeting()
    end_ns = 8 * S + 2 * hidden_ns
    meeting.record(0, end_ns)
    for who in ("ada", "bob"):
        meeting.join(who, 0)
        meeting.camera(who, 0, end_ns + S, size=(16, 16), key_every=key_every)
        meeting.open(f"{who}-mic", who, f"{who}-peer", Codec.OPUS, Origin.CAMERA, 0)
    for who, from_ns, until_ns in (("ada", 0, 2 * S), ("bob", 3 * S + hidden_ns, 5 * S + hidden_ns)):
        for at_ns in range(from_ns, until_ns, 100 * MS):
            meeting.event(AudioLevel(at_ns, f"{who}-mic", 20))
    for at_ns in range(6 * S + 2 * hidden_ns, 7 * S + 2 * hidden_ns, 100 * MS):
        meeting.event(AudioLevel(at_ns, "ada-mic", 20))
    return meeting


@pytest.mark.parametrize("hidden_s", [2, 45])
def test_who_comes_into_view_is_there_at_once_however_long_they_were_hidden(tmp_path: Path, hidden_s: int) -> None:
    """One is seen at a time. Whoever was hidden has no key frame since, and is shown as of now all the same."""
    meeting = two_in_turns(hidden_s * S)
    log = meeting.lay_down(tmp_path / "log", 10 * S + 2 * hidden_s * S)
    reel = Reel()
    video = replace(SMALL, width=32, height=18)
    film = Film(log, "r", video, reel, layout=Layout.SINGLE, on_shown=reel.shown.append)
    while not film.is_done:
        if not film.work():
            film.finish()
    film.close()
    people = [tile for _, tile, _ in reel.shown]
    assert len(people) == len(reel.pictures)
    changes = [n for n in range(1, len(people)) if people[n] != people[n - 1]]
    assert [people[0], *(people[n] for n in changes)] == ["person:ada", "person:bob", "person:ada"]
    for number, tile, media_time in reel.shown:
        assert media_time is not None, f"picture {number} has nothing of {tile}"
        track = f"{tile.removeprefix('person:')}-camera"
        assert abs(meeting.captured_ns(track, media_time) + DELAY_NS - number * S // FPS) < 60 * MS
    # Each frame is decoded at most once: those of Bob before he was seen, those of Ada while she was not.
    assert film.stats.decoded <= 2 * len(reel.pictures) + 60 and film.stats.skipped == 0


def test_a_key_frame_spares_what_came_before_it(tmp_path: Path) -> None:
    log = two_in_turns(8 * S, key_every=30).lay_down(tmp_path / "log", 26 * S)
    film = Film(log, "r", SMALL, Reel(), layout=Layout.SINGLE)
    while not film.is_done:
        if not film.work():
            film.finish()
    film.close()
    assert film.stats.decoded <= film.stats.pictures + 100


def test_hours_are_not_decoded_for_one_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was hidden for too long is initials until their next key frame."""
    monkeypatch.setattr("tapedeck.render.pictures._CATCH_UP_NS", 2 * S)
    log = two_in_turns(4 * S).lay_down(tmp_path / "log", 18 * S)
    reel = make(log, layout=Layout.SINGLE)
    assert set(reel.media_times("person:bob")) == {None}
