"""Films of one meeting with the same picture, begun and paused at moments of their own: one encoder, and each film as
if it were alone."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.render.meetings import FPS, MS, SMALL, GrowingLog, Meeting, S
from tests.render.test_job import contents, job
from tests.render.test_together import Ear, together

from tapedeck.core.errors import MediaError, UnavailableError
from tapedeck.core.layouts import Layout
from tapedeck.core.output import AudioOutput, Output, VideoOutput
from tapedeck.core.timeline import RecordingPaused, RecordingResumed, RecordingStarted, RecordingStopped
from tapedeck.media.encode import PictureEncoder
from tapedeck.media.mux import FilmWriter
from tapedeck.media.sharing import Encoders
from tapedeck.medialog.mark import StoredMark
from tapedeck.medialog.reader import LogReader
from tapedeck.render.job import Job, run
from tapedeck.render.making import Making

LATER_NS = (3050 - 1313 + 8200 - 5117) * MS
VP8 = VideoOutput(width=160, height=90, fps=FPS, codec="vp8")


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[PictureEncoder]]:
    """The encoder of each picture that is encoded."""
    found: list[PictureEncoder] = []
    encode = PictureEncoder.encode

    def noted(self: PictureEncoder, frame: av.VideoFrame, index: int) -> Any:
        found.append(self)
        return encode(self, frame, index)

    monkeypatch.setattr(PictureEncoder, "encode", noted)
    yield found


def meeting() -> Meeting:
    """Two people, one of whom comes later, and two recordings, of which the second is paused."""
    made = Meeting()
    made.record(0, 9 * S)
    made.join("ada", 0)
    made.camera("ada", 0, 10 * S, close=False)
    made.microphone("ada", 0, 10 * S)
    made.join("bob", 2500 * MS)
    made.camera("bob", 2500 * MS, 10 * S, close=False)
    for event in (
        RecordingStarted(1313 * MS, "later"),
        RecordingPaused(3050 * MS, "later"),
        RecordingResumed(5117 * MS, "later"),
        RecordingStopped(8200 * MS, "later"),
    ):
        made.event(event)
    return made


def jobs(root: Path, suffix: str, video: VideoOutput = SMALL, **changes: Any) -> list[Job]:
    ending, sound = ("mp4", "aac") if video.codec == "h264" else ("webm", "vorbis")
    files = {name: Output(f"{name}{suffix}.{ending}", video, AudioOutput.of(sound)) for name in ("r", "later")}
    return [job(root, recording_id=name, outputs=(file,), **changes) for name, file in files.items()]


def assert_equal(root: Path, ear: Ear, alone: list[Job]) -> None:
    """Each film is the one that is made of its log alone: every picture and every sample, to the end."""
    assert not ear.faults
    for one in alone:
        (expected,), _ = run(one, threading.Event())
        (made,), stats = ear.made[one.recording_id]
        assert made.duration_ns == expected.duration_ns and stats.errors == stats.skipped == 0
        (pictures, sound), (others, other_sound) = contents(made.path), contents(expected.path)
        assert sound == other_sound and len(pictures) == len(others) == stats.pictures
        assert max(np.abs(a - b).mean() for a, b in zip(pictures, others, strict=True)) < 3
        assert times(made.path) == times(expected.path)


def times(path: Path) -> list[Any]:
    """When the pictures of a file are shown. Those that are decoded come in order, from the first on."""
    with av.open(str(path)) as film:
        packets = [packet for packet in film.demux(video=0) if packet.size]
    decoded = [packet.dts for packet in packets if packet.dts is not None]
    assert packets[0].is_keyframe and decoded == sorted(set(decoded))
    return sorted(packet.pts for packet in packets if packet.pts is not None)


@pytest.mark.parametrize("video", [SMALL, VP8], ids=["h264", "vp8"])
def test_two_recordings_with_one_picture_have_one_encoder_while_both_run(
    tmp_path: Path, encoded: list[PictureEncoder], video: VideoOutput
) -> None:
    meeting().lay_down(tmp_path / "log", 10 * S)
    ear = together(jobs(tmp_path, "", video))
    count = len(encoded)
    assert_equal(tmp_path, ear, jobs(tmp_path, "-alone", video))
    pictures = sum(stats.pictures for _, stats in ear.made.values())
    assert len(encoded) - count == pictures, "alone each has its own"
    # Shared from the first key frame of the older one on: 2 s to the pause, 6 s to the end of the later one.
    assert pictures - count >= (1 + 2) * FPS
    missing_ns = LATER_NS - ear.made["later"][0][0].duration_ns
    assert -S // FPS < missing_ns < 2 * S // FPS, "begins less than a picture late, with a picture"


def test_live_films_share_too_and_are_the_later_ones(tmp_path: Path, encoded: list[PictureEncoder]) -> None:
    grower = GrowingLog(meeting(), tmp_path / "log", 10 * S)
    live = together(jobs(tmp_path, "-live", live=True), grower.tail(40))
    count = len(encoded)
    assert_equal(tmp_path, live, jobs(tmp_path, "-alone"))
    assert sum(stats.pictures for _, stats in live.made.values()) - count >= 2 * FPS


@pytest.mark.parametrize("other", [{"layout": Layout.SINGLE}, {"video": VideoOutput(160, 90, FPS, quality="high")}])
def test_another_picture_has_its_own_encoder(
    tmp_path: Path, encoded: list[PictureEncoder], other: dict[str, Any]
) -> None:
    meeting().lay_down(tmp_path / "log", 10 * S)
    one, _ = jobs(tmp_path, "")
    _, another = jobs(tmp_path, "", **other)
    ear = together([one, another])
    assert not ear.faults
    assert len(encoded) == sum(stats.pictures for _, stats in ear.made.values()) and len(set(encoded)) == 2


def test_one_that_fails_meanwhile_leaves_the_other_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of one refuses in the middle of what both share."""
    write, begin = FilmWriter.write_picture, FilmWriter.__init__
    writers: list[FilmWriter] = []

    def noted(self: FilmWriter, *given: Any, **named: Any) -> None:
        writers.append(self)
        begin(self, *given, **named)

    def refuse(self: FilmWriter, frame: av.VideoFrame, index: int) -> None:
        if self is writers[1] and index > FPS:
            raise UnavailableError("The disk is full.")
        write(self, frame, index)

    monkeypatch.setattr(FilmWriter, "__init__", noted)
    monkeypatch.setattr(FilmWriter, "write_picture", refuse)
    meeting().lay_down(tmp_path / "log", 10 * S)
    first, later = jobs(tmp_path, "")
    ear = together([first, later])
    assert isinstance(ear.faults.pop("later"), UnavailableError)
    assert_equal(tmp_path, ear, jobs(tmp_path, "-alone")[:1])


def test_one_that_cannot_begin_takes_no_place_beside_the_other(tmp_path: Path) -> None:
    """Its second file cannot be made when the encoder of the first one is open."""
    meeting().lay_down(tmp_path / "log", 10 * S)
    first, later = jobs(tmp_path, "")
    (tmp_path / "out" / ".sound.m4a.part").mkdir(parents=True)
    encoders, log = Encoders(), LogReader(tmp_path / "log")
    whole = Making(first, log, encoders=encoders)
    with pytest.raises(MediaError):
        Making(replace(later, outputs=(*later.outputs, Output("sound.m4a", None))), log, encoders=encoders)
    (room,) = encoders._rooms.values()
    assert room.is_lonely
    whole.close()
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".sound.m4a.part"]


def test_one_whose_film_cannot_begin_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise UnavailableError("The watermark cannot be read now.")

    meeting().lay_down(tmp_path / "log", 10 * S)
    (tmp_path / "out").mkdir()
    monkeypatch.setattr("tapedeck.render.making.canvases", refuse)
    with pytest.raises(UnavailableError):
        Making(jobs(tmp_path, "")[0], LogReader(tmp_path / "log"), encoders=Encoders())
    assert list((tmp_path / "out").iterdir()) == []


def test_one_whose_watermark_is_gone_is_made_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the film of a recording that has its meeting for itself."""
    meeting().lay_down(tmp_path / "log", 10 * S)
    (tmp_path / "out").mkdir()
    gone = StoredMark(tmp_path / "gone.png", "left top", None, None)
    for place in ("making", "canvas", "resume"):
        monkeypatch.setattr(f"tapedeck.render.{place}.find_mark", lambda *_: gone)
    Making(jobs(tmp_path, "")[0], LogReader(tmp_path / "log"), encoders=Encoders()).close()
