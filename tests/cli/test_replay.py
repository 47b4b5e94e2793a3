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
from tapedeck.cli.replay import parse_size, replay
from tapedeck.core.errors import InvalidError, MediaError, NotFoundError


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


def test_from_the_command_line(tmp_path: Path) -> None:
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    out = tmp_path / "a.mp4"
    result = CliRunner().invoke(app, ["replay", str(tmp_path / "log"), "--out", str(out), "--size", "64x36"])
    assert result.exit_code == 0 and out.stat().st_size > 1000
