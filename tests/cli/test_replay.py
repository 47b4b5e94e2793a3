"""`tapedeck replay`: sizes, films, and what is said."""

from io import StringIO
from pathlib import Path

import av
import pytest
from rich.console import Console
from tests.render.meetings import S
from tests.render.test_job import meeting_of_two
from typer.testing import CliRunner

from tapedeck.cli.main import app
from tapedeck.cli.replay import parse_moment, parse_size, replay
from tapedeck.core.errors import InvalidError, MediaError, NotFoundError
from tapedeck.render.excerpt import Excerpt


@pytest.mark.parametrize(
    ("text", "size"),
    [("1280x720", (1280, 720)), (" 720 X 1280 ", (720, 1280)), ("1×1", (2, 2)), ("641x361", (642, 362))],
)
def test_sizes(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "1280", "0x720", "1280x720x3", "axb", "-2x4", "9999x2"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InvalidError, match="1280x720"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "ns"),
    [("60", 60 * S), ("0.5", S // 2), ("1:30", 90 * S), ("01:02:03.25", 3723 * S + S // 4), ("5000", 5000 * S)],
)
def test_moments(text: str, ns: int) -> None:
    assert parse_moment(text) == ns


@pytest.mark.parametrize("text", ["", "-1", "1:60", "1:2:3:4", "1.", "one", "1e3", "nan"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(InvalidError, match="not a time"):
        parse_moment(text)


def test_a_part_of_a_film_with_one_person_from_the_command_line(tmp_path: Path) -> None:
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    out = tmp_path / "a.mp4"
    command = ["replay", str(tmp_path / "log"), "--out", str(out), "--size", "64x36"]
    assert CliRunner().invoke(app, [*command, "--only", "ADA", "--from", "0:01", "--to", "2.5"]).exit_code == 0
    with av.open(str(out)) as film:
        assert film.streams.video[0].frames == 45
    for more, words in (
        (["--only", "eve"], "'eve' was not there"),
        (["--from", "3"], "only 0:03 long"),
        (["--from", "2", "--to", "2"], "ends after that"),
    ):
        refused = CliRunner().invoke(app, [*command, *more])
        assert isinstance(refused.exception, InvalidError) and words in str(refused.exception)


def test_a_film_is_made_and_told(tmp_path: Path) -> None:
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    said = StringIO()
    out = tmp_path / "films" / "new.mp4"
    assert replay(tmp_path / "log", out, width=160, height=90, console=Console(file=said, width=200)) == 0
    assert str(out) in said.getvalue() and "0:03" in said.getvalue() and "160x90" in said.getvalue()
    with av.open(str(out)) as film:
        assert film.streams.video[0].frames == 90


def test_one_recording_or_the_whole_log(tmp_path: Path) -> None:
    meeting = meeting_of_two()
    meeting.record(S, 2 * S, "second")
    meeting.lay_down(tmp_path / "log", 5 * S)
    console = Console(file=StringIO())
    for recording_id, frames in (("second", 30), (None, 90)):
        out = tmp_path / "a.mp4"
        assert replay(tmp_path / "log", out, recording_id=recording_id, width=32, height=32, console=console) == 0
        with av.open(str(out)) as film:
            assert film.streams.video[0].frames == frames


def test_what_cannot_be_done(tmp_path: Path) -> None:
    console = Console(file=StringIO())
    with pytest.raises(NotFoundError):
        replay(tmp_path / "none", tmp_path / "a.mp4", console=console)
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    with pytest.raises(InvalidError, match="is a directory"):
        replay(tmp_path / "log", tmp_path, console=console)
    with pytest.raises(MediaError, match="Nothing was recorded"):
        replay(tmp_path / "log", tmp_path / "a.mp4", recording_id="?", console=console)
    assert not (tmp_path / "a.mp4").exists()


@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("a.MP4", ["h264", "aac"]),
        ("a.webm", ["vp9", "vorbis"]),
        ("a.m4a", ["aac"]),
        ("a.mp3", ["mp3float"]),
        ("a.ogg", ["vorbis"]),
    ],
)
def test_the_name_of_the_file_says_what_is_made(tmp_path: Path, name: str, codecs: list[str]) -> None:
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    said = Console(file=StringIO())
    assert replay(tmp_path / "log", tmp_path / name, width=32, height=18, excerpt=Excerpt(S), console=said) == 0
    with av.open(str(tmp_path / name)) as film:
        assert [stream.codec_context.name for stream in film.streams] == codecs
        assert sum(frame.samples for frame in film.decode(audio=0)) == pytest.approx(96_000, abs=2400)


@pytest.mark.parametrize("name", ["film", "film.mov", "film.mp4.txt", ".mp4x"])
def test_a_name_that_says_nothing_is_refused(tmp_path: Path, name: str) -> None:
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    with pytest.raises(InvalidError, match=r"end it in \.mp4"):
        replay(tmp_path / "log", tmp_path / name, console=Console(file=StringIO()))
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_from_the_command_line(tmp_path: Path) -> None:
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    out = tmp_path / "a.mp4"
    result = CliRunner().invoke(app, ["replay", str(tmp_path / "log"), "--out", str(out), "--size", "64x36"])
    assert result.exit_code == 0 and out.stat().st_size > 1000


def test_another_layout_and_size_from_the_command_line(tmp_path: Path) -> None:
    """Above and below the middle is the same picture: that of Ada alone."""
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    out = tmp_path / "a.mp4"
    command = ["replay", str(tmp_path / "log"), "--out", str(out), "--size", "90x160"]
    result = CliRunner().invoke(app, [*command, "--layout", "single", "--focus", "ADA"])
    assert result.exit_code == 0
    with av.open(str(out)) as film:
        pictures = [frame.to_ndarray(format="gray") for frame in film.decode(video=0)]
    assert pictures[0].shape == (160, 90)
    assert all(abs(int(one[60, 45]) - int(one[100, 45])) < 12 for one in pictures)


def test_a_layout_that_does_not_exist_and_a_focus_that_nobody_can_be_in(tmp_path: Path) -> None:
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    command = ["replay", str(tmp_path / "log"), "--out", str(tmp_path / "a.mp4")]
    assert CliRunner().invoke(app, [*command, "--layout", "mosaic"]).exit_code == 2
    refused = CliRunner().invoke(app, [*command, "--layout", "grid", "--focus", "ada"])
    assert isinstance(refused.exception, InvalidError) and "in focus" in str(refused.exception)
    for more, words in (
        (["--focus", "eve"], "'eve' was not there"),
        (["--focus", "ada", "--only", "bob"], "'ada' is not in the film"),
    ):
        refused = CliRunner().invoke(app, [*command, "--layout", "single", *more])
        assert isinstance(refused.exception, InvalidError) and words in str(refused.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
