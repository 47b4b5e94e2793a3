"""Films of scripted meetings: who is seen and heard when, in absolute terms."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.render.meetings import DELAY_NS, FPS, MS, SMALL, GrowingLog, Meeting, Reel, S, clip, make

from tapedeck.core.errors import MediaError
from tapedeck.core.frames import Codec, FrameFlags, Origin
from tapedeck.core.layouts import Layout
from tapedeck.core.timed import CLOSE
from tapedeck.core.timeline import (
    AudioLevel,
    NameChanged,
    Outage,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    TimedText,
    TrackMuted,
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


def test_each_text_comes_with_the_picture_of_its_moment(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.event(RecordingStarted(500 * MS, "r"))
    meeting.event(RecordingPaused(2 * S, "r"))
    meeting.event(RecordingResumed(3 * S, "r"))
    meeting.event(RecordingStopped(5 * S, "r"))
    meeting.join("ada", 0)
    meeting.camera("ada", 0, 6 * S)
    said = {
        "before": 499 * MS, "first": 500 * MS, "odd": 1234 * MS, "last": 2 * S - 1, "paused": 2 * S,
        "too early": 3 * S - 1, "again": 3 * S, "end": 5 * S - 1, "after": 5 * S,
    }  # fmt: skip
    for text, at_ns in said.items():
        meeting.event(TimedText(at_ns, text))
    meeting.event(TimedText(S, "to another", "other"))
    reel = make(meeting.lay_down(tmp_path / "log", 7 * S))
    assert [(film_ns, text) for _, film_ns, text in reel.texts] == [
        (0, "first"), (734 * MS, "odd"), (1500 * MS - 1, "last"), (1500 * MS, "again"), (3500 * MS - 1, "end"),
    ]  # fmt: skip
    for pictures, film_ns, text in reel.texts:
        assert film_ns <= pictures * S // FPS or text == "end", "it is there before the first picture after it"
        assert (pictures - 1) * S // FPS <= film_ns


@pytest.mark.parametrize(("closed_to", "until"), [(None, 1), ("r", 1), ("other", 3)])
def test_nothing_is_said_after_the_transport_is_closed(tmp_path: Path, closed_to: str | None, until: int) -> None:
    meeting = Meeting()
    meeting.record(0, 3 * S)
    meeting.join("ada", 0)
    meeting.camera("ada", 0, 4 * S)
    for number, at_ns in enumerate((500 * MS, 1500 * MS, 2500 * MS)):
        meeting.event(TimedText(at_ns, str(number)))
    meeting.event(TimedText(S, CLOSE, closed_to))
    reel = make(meeting.lay_down(tmp_path / "log", 5 * S))
    assert [text for *_, text in reel.texts] == [str(number) for number in range(until)]


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
    meeting.microphone("bob", 900 * MS, 5 * S)
    for at_ns in range(600 * MS, 5 * S, 50 * MS):
        meeting.event(AudioLevel(at_ns, f"{('ada', 'bob')[at_ns // (700 * MS) % 2]}-mic", 20))
    for number, at_ns in enumerate(range(33 * MS, 8 * S, 333 * MS)):
        meeting.event(TimedText(at_ns, f"text {number}", (None, "r", "other")[number % 3]))
    return meeting, 9 * S


QUICK_PHASES = (Phase.reuse, Phase.generate)
"""Shrinking and explaining a failure would take minutes of rendering."""


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=QUICK_PHASES)
@given(seed=st.integers(0, 3), layout=st.sampled_from(Layout), data=st.data())
def test_a_live_film_and_a_later_one_agree_on_everything(
    tmp_path_factory: pytest.TempPathFactory, seed: int, layout: Layout, data: st.DataObject
) -> None:
    """Whatever the layout, the pieces in which a log grows and the steps in which it is worked on."""
    meeting, end_ns = busy_meeting(seed)
    root = tmp_path_factory.mktemp("logs")
    points = ((20, 20), (60, 30), (120, 60), (100, 80))
    later = make(meeting.lay_down(root / "later", end_ns), reel=Reel(points), layout=layout)

    grower = GrowingLog(meeting, root / "live", end_ns)
    grower.grow(1)
    live = Reel(points)
    film = Film(LogReader(root / "live"), "r", SMALL, live, layout=layout, on_shown=live.shown.append)
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
    assert live.texts == later.texts and len(live.texts) > 5
    assert np.array_equal(live.sound, later.sound)


@pytest.mark.parametrize("pause_ms", [2280, 2287, 2293, 2300])
def test_the_sound_around_a_pause_is_the_same_live_and_later(tmp_path: Path, pause_ms: int) -> None:
    """Wherever the pause lies in the packets: those that lead in to what follows come while its end is mixed."""
    meeting = Meeting(seed=8)
    for number, who in enumerate(("ada", "bob")):
        meeting.join(who, 0)
        meeting.microphone(who, 0, 6 * S, hertz=300 + 200 * number)
    meeting.event(RecordingStarted(124 * MS, "r"))
    meeting.event(RecordingPaused(pause_ms * MS, "r"))
    meeting.event(RecordingResumed(pause_ms * MS + 804 * MS, "r"))
    meeting.event(RecordingStopped(4 * S, "r"))
    later = make(meeting.lay_down(tmp_path / "later", 6 * S), video=None)

    grower = GrowingLog(meeting, tmp_path / "live", 6 * S)
    live = Reel()
    film = Film(LogReader(tmp_path / "live"), "r", None, live)
    while grower.grow(5):
        film.work()
    film.close()
    assert film.is_done
    assert np.array_equal(live.sound, later.sound)
