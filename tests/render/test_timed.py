"""Films with timed metadata from a log: live, later, a part, and by replay, each the same tar."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from tests.media.hls import Archive, read_archive
from tests.render.meetings import FPS, MS, SMALL, GrowingLog, Meeting, S
from tests.render.test_job import job

from tapedeck.cli.replay import replay
from tapedeck.core.errors import InvalidError
from tapedeck.core.output import AudioOutput, Output, VideoOutput
from tapedeck.core.recording import Recording, RecordingOptions
from tapedeck.core.rerender import RerenderWish, outputs_of_wish
from tapedeck.core.timed import CLOSE
from tapedeck.core.timeline import RecordingPaused, RecordingResumed, RecordingStarted, RecordingStopped, TimedText
from tapedeck.render.excerpt import Excerpt
from tapedeck.render.job import run

TAR = (Output("film.tar", SMALL, timed=True),)
SAID = {"one": 600 * MS, "two": 11_234 * MS, "in the pause": 12_500 * MS, "three": 13_999 * MS}
IN_FILM = [(0.6, "one"), (11.234, "two"), (12.999, "three")]


def meeting() -> Meeting:
    """14 s, of which one is a pause."""
    found = Meeting()
    found.event(RecordingStarted(0, "r", timed=True))
    found.event(RecordingPaused(12 * S, "r"))
    found.event(RecordingResumed(13 * S, "r"))
    found.event(RecordingStopped(15 * S, "r"))
    found.join("ada", 0)
    found.camera("ada", 0, 16 * S, close=False)
    found.microphone("ada", 0, 16 * S)
    for text, at_ns in SAID.items():
        found.event(TimedText(at_ns, text))
    found.event(TimedText(14 * S, CLOSE))
    found.event(TimedText(14 * S + 1, "too late"))
    return found


def close_to(archive: Archive, expected: list[tuple[float, str]]) -> None:
    """Each text is within one frame of its moment."""
    found = archive.cue_times()
    assert [text for _, text in found] == [text for _, text in expected]
    assert all(abs(at - due) < 1 / FPS for (at, _), (due, _) in zip(found, expected, strict=True))


def test_a_live_film_and_later_ones_are_the_same_tar(tmp_path: Path) -> None:
    grower = GrowingLog(meeting(), tmp_path / "log", 17 * S)
    (live,), _ = run(job(tmp_path, live=True, outputs=TAR), grower.tail(97))
    first = read_archive(live.path.read_bytes())
    assert live.duration_ns == 14 * S and sum(first.durations) == pytest.approx(14, abs=0.001)
    close_to(first, IN_FILM)
    (later,), _ = run(job(tmp_path, outputs=TAR), threading.Event())
    out, console = tmp_path / "replayed.tar", Console(file=StringIO())
    assert replay(tmp_path / "log", out, recording_id="r", width=160, height=90, console=console) == 0
    for path in (later.path, out):
        again = read_archive(path.read_bytes())
        assert (again.cues, again.playlist, again.pictures) == (first.cues, first.playlist, first.pictures)


def test_a_part_of_it_has_what_was_said_in_that_part(tmp_path: Path) -> None:
    meeting().lay_down(tmp_path / "log", 17 * S)
    (file,), _ = run(job(tmp_path, outputs=TAR, excerpt=Excerpt(10 * S, 13 * S)), threading.Event())
    close_to(read_archive(file.path.read_bytes()), [(1.234, "two"), (2.999, "three")])


def test_the_sound_beside_it_and_a_film_without_it(tmp_path: Path) -> None:
    meeting().lay_down(tmp_path / "log", 17 * S)
    outputs = (*TAR, Output("film.m4a", None))
    files, _ = run(job(tmp_path, outputs=outputs, stills=True), threading.Event())
    kinds = {file.kind: file.path.name for file in files}
    assert kinds["video"] == "film.tar" and kinds["audio"] == "film.m4a" and kinds["poster"] == "film-poster.jpg"
    (plain,), _ = run(job(tmp_path), threading.Event())
    assert plain.duration_ns == 14 * S


def test_a_film_that_nobody_can_make_is_refused(tmp_path: Path) -> None:
    vp8 = VideoOutput(160, 90, codec="vp8")
    with pytest.raises(InvalidError, match="H264 with AAC"):
        job(tmp_path, outputs=(Output("film.tar", vp8, AudioOutput.of("vorbis"), timed=True),)).check()


@pytest.mark.parametrize(("codec", "extension"), [(None, "tar"), ("h264", "mp4"), ("vp8", "webm")])
def test_a_film_made_again_is_a_tar_unless_another_codec_is_named(codec: str | None, extension: str) -> None:
    at = datetime(2026, 3, 2, tzinfo=UTC)
    recording = Recording("r", "a", "m", "x.tar", at, options=RecordingOptions(timed=True))
    (output,) = outputs_of_wish(RerenderWish(video_codec=codec), recording, "12345678-1")
    assert output.file_name == f"x-12345678.{extension}" and output.timed is (codec is None)
