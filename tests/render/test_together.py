"""Several films of one log in one process: each as if it were alone, and every frame decoded once."""

import gc
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
from tests.media.cameras import film_of
from tests.render.meetings import FPS, MS, SMALL, GrowingLog, Meeting, S
from tests.render.test_job import contents, job, packets

from tapedeck.core.errors import UnavailableError
from tapedeck.core.frames import EncodedFrame
from tapedeck.core.output import Output, VideoOutput
from tapedeck.core.timeline import RecordingPaused, RecordingResumed, RecordingStarted, RecordingStopped
from tapedeck.media import shared
from tapedeck.media.decode import Picture, VideoDecoder
from tapedeck.media.mux import FilmFile
from tapedeck.media.shared import Decoders, SharedDecoder
from tapedeck.render.film import FilmStats, NothingRecordedError
from tapedeck.render.job import Abandoned, Job, Progress, run
from tapedeck.render.together import make_together

UPRIGHT = VideoOutput(90, 160, SMALL.fps)


class Ear:
    """Hears how each job goes."""

    def __init__(self) -> None:
        self.made: dict[str | None, tuple[tuple[FilmFile, ...], FilmStats]] = {}
        self.faults: dict[str | None, Exception] = {}

    def progress(self, job: Job, progress: Progress) -> None:
        pass

    def done(self, job: Job, files: tuple[FilmFile, ...], stats: FilmStats) -> None:
        self.made[job.recording_id] = files, stats

    def failed(self, job: Job, exc: Exception) -> None:
        self.faults[job.recording_id] = exc


def meeting() -> Meeting:
    """Two people; one recording of all, one that begins later and pauses, one that ends early."""
    made = Meeting()
    made.record(0, 4 * S)
    for who in ("ada", "bob"):
        made.join(who, 0)
        made.camera(who, 0, 5 * S, close=False)
    made.microphone("ada", 0, 5 * S)
    for event in (
        RecordingStarted(731 * MS, "later"),
        RecordingPaused(1500 * MS, "later"),
        RecordingResumed(2210 * MS, "later"),
        RecordingStopped(3900 * MS, "later"),
    ):
        made.event(event)
    made.record(95 * MS, 2 * S, "short")
    return made


def jobs(root: Path, suffix: str = "", **changes: Any) -> list[Job]:
    return [
        job(root, outputs=(Output(f"wide{suffix}.mp4", SMALL),), **changes),
        job(root, recording_id="later", outputs=(Output(f"upright{suffix}.mp4", UPRIGHT),), **changes),
        job(root, recording_id="short", outputs=(Output(f"sound{suffix}.m4a", None),), **changes),
    ]


def together(all_jobs: list[Job], stop: threading.Event | None = None) -> Ear:
    inbox: SimpleQueue[Job] = SimpleQueue()
    for one in all_jobs:
        inbox.put(one)
    ear = Ear()
    make_together(inbox, stop or threading.Event(), ear)
    return ear


def differences(one: Path, other: Path) -> list[Any]:
    """Numbers of pictures that are not the same, how much they differ, and whether the sound does.

    x264 itself differs a little now and then, given the same input (test_a_live_film_is_the_later_one).
    """
    if one.suffix == ".m4a":
        return [] if packets(one) == packets(other) else ["sound"]
    (pictures, sound), (others, other_sound) = contents(one), contents(other)
    assert len(pictures) == len(others)
    pairs = enumerate(zip(pictures, others, strict=True))
    found: list[Any] = [(number, int(np.abs(a - b).max())) for number, (a, b) in pairs if np.abs(a - b).mean() >= 0.5]
    return found if sound == other_sound else [*found, "sound"]


def test_films_made_together_are_those_made_alone_and_share_what_is_decoded(tmp_path: Path) -> None:
    meeting().lay_down(tmp_path / "log", 6 * S)
    ear = together(jobs(tmp_path))
    assert not ear.faults
    decoded = 0
    for one in jobs(tmp_path, "-alone"):
        (alone,), stats = run(one, threading.Event())
        (made,), beside = ear.made[one.recording_id]
        assert made.duration_ns == alone.duration_ns and beside.pictures == stats.pictures
        assert differences(made.path, alone.path) == []
        decoded += stats.decoded
    sums = [stats.decoded for _, stats in ear.made.values()]
    assert sum(sums) < 0.7 * decoded and sum(sums) <= 2 * 5 * FPS, "no frame is decoded twice"
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".mp4", ".m4a"}, "no part file is left"


def test_films_of_one_person_lend_each_other_nothing_that_is_drawn_over(tmp_path: Path) -> None:
    """At the camera's size a decoder's picture is the film's, with a name on it: no other film may see that, however
    it is made, nor a later picture that the decoder makes of it."""
    made = Meeting()
    made.record(0, 4 * S)
    made.join("ada", 0)
    made.camera("ada", 0, 5 * S, size=(160, 90), close=False)
    made.event(RecordingStarted(520 * MS, "later"))
    made.event(RecordingStopped(3 * S, "later"))
    made.record(95 * MS, 2 * S, "upright")
    made.lay_down(tmp_path / "log", 6 * S)

    def wanted(suffix: str, **changes: Any) -> list[Job]:
        # Of another quality, so that it has an encoder of its own, and x264 decides alike in all.
        names = {"r": SMALL, "later": replace(SMALL, quality="high"), "upright": UPRIGHT}
        return [
            job(tmp_path, recording_id=name, outputs=(Output(f"{name}{suffix}.mp4", video),), **changes)
            for name, video in names.items()
        ]

    ear, hasty = together(wanted("")), together(wanted("-hasty", haste=True))
    assert not ear.faults and not hasty.faults
    for one in wanted("-alone"):
        (alone,), _ = run(one, threading.Event())
        for way in (ear, hasty):
            (file,), stats = way.made[one.recording_id]
            assert stats.errors == 0 and differences(file.path, alone.path) == []


def test_live_films_together_are_the_same_as_later_ones(tmp_path: Path) -> None:
    grower = GrowingLog(meeting(), tmp_path / "log", 6 * S)
    live = together(jobs(tmp_path, "-live", live=True), grower.tail(40))
    later = together(jobs(tmp_path))
    assert not live.faults and not later.faults
    for recording_id, ((file,), stats) in live.made.items():
        (other,), _ = later.made[recording_id]
        assert file.duration_ns == other.duration_ns and differences(file.path, other.path) == []
        assert stats.errors == stats.skipped == 0


def test_one_that_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    meeting().lay_down(tmp_path / "log", 6 * S)
    (tmp_path / "file").write_text("in the way")
    wide, upright, sound = jobs(tmp_path)
    nobody = replace(sound, recording_id="nobody", outputs=(Output("x.m4a", None),))
    ear = together([replace(wide, out_dir=tmp_path / "file" / "x"), nobody, upright, sound])
    assert isinstance(ear.faults["r"], UnavailableError) and isinstance(ear.faults["nobody"], NothingRecordedError)
    assert set(ear.made) == {"later", "short"}


def test_all_are_given_up_at_once_and_leave_nothing(tmp_path: Path) -> None:
    grower = GrowingLog(meeting(), tmp_path / "log", 6 * S)

    class Stopped(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if not self.is_set() and not grower.grow(40):
                self.set()
            if len(list((tmp_path / "out").glob(".*.part"))) == 3:
                self.set()
            return self.is_set()

    with pytest.raises(Abandoned):
        together(jobs(tmp_path, live=True), Stopped())
    assert list((tmp_path / "out").iterdir()) == []


class Track:
    """A track that can be read again, and a decoder of it for each of several films."""

    def __init__(self, *keys: int, count: int = 40) -> None:
        self.frames = film_of([40 + (n * 37) % 170 for n in range(count)], keys=keys or (0,), width=32, height=32)
        self.decoders = Decoders()
        self.replayed = 0

    def replay(self, first: EncodedFrame, last: EncodedFrame) -> Iterator[EncodedFrame]:
        for frame in self.frames[self.frames.index(first) : self.frames.index(last) + 1]:
            self.replayed += 1
            yield frame

    def open(self) -> SharedDecoder:
        return self.decoders.open("t", self.replay)


def luma(picture: Picture | None) -> int | None:
    return None if picture is None else int(np.asarray(picture.frame.to_ndarray())[10, 10])


def test_films_in_step_decode_each_frame_once_whoever_asks_first() -> None:
    track = Track(0, 20)
    films = [track.open() for _ in range(3)]
    for number, frame in enumerate(track.frames):
        order = films[number % 3 :] + films[: number % 3]
        pictures = [film.decode(frame) for film in order]
        assert pictures[0] is pictures[1] is pictures[2] is not None
    assert sum(film.stats.decoded for film in films) == len(track.frames) and track.replayed == 0


def test_of_a_track_that_no_film_needs_any_more_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakSet[VideoDecoder] = weakref.WeakSet()

    class Noted(VideoDecoder):
        def __init__(self) -> None:
            super().__init__()
            alive.add(self)

    monkeypatch.setattr(shared, "VideoDecoder", Noted)
    track = Track(count=6)
    ahead, behind = track.open(), track.open()
    for frame in track.frames:
        ahead.decode(frame)
    behind.decode(track.frames[0])
    ahead.close()
    assert alive and behind.decode(track.frames[1]) is not None
    behind.close()
    gc.collect()
    assert not alive, "a meeting of a day has thousands of tracks"
    assert track.open().decode(track.frames[0]) is not None


def test_a_film_that_is_elsewhere_sees_the_right_pictures_and_joins_where_they_meet() -> None:
    track = Track()
    ahead, behind = track.open(), track.open()
    alone = VideoDecoder()
    expected = [luma(alone.decode(frame)) for frame in track.frames]
    for frame in track.frames[:30]:
        ahead.decode(frame)
    assert [luma(behind.decode(frame)) for frame in track.frames[:30]] == expected[:30]
    made = behind.stats.decoded
    for frame, luminance in zip(track.frames[30:], expected[30:], strict=True):
        assert luma(behind.decode(frame)) == luma(ahead.decode(frame)) == luminance
    assert ahead.stats.decoded + behind.stats.decoded == 30 + made + 10


def test_a_film_that_skipped_some_decodes_them_from_the_key_frame_and_goes_on_with_the_others() -> None:
    track = Track()
    steady, again = track.open(), track.open()
    alone = VideoDecoder()
    expected = [luma(alone.decode(frame)) for frame in track.frames]
    for frame in track.frames[:10]:
        steady.decode(frame)
        again.decode(frame)
    for frame in track.frames[10:30]:
        steady.decode(frame)
    again.reset()
    assert again.decode(track.frames[30]) is None, "its references are missing"
    again.reset()
    for frame in track.frames[:30]:
        again.decode(frame)
    for frame, luminance in zip(track.frames[30:], expected[30:], strict=True):
        assert luma(steady.decode(frame)) == luma(again.decode(frame)) == luminance


def test_a_film_alone_keeps_nothing_and_a_closed_one_is_not_waited_for() -> None:
    track = Track()
    one, other = track.open(), track.open()
    other.close()
    other.close()
    for frame in track.frames:
        assert one.decode(frame) is not None
    assert one.stats.decoded == len(track.frames)
