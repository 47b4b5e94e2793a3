"""A film with a watermark: where it lies in the delivered pictures, and a film all the same when it is broken."""

import threading
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.media.marks import image_bytes
from tests.render.meetings import SMALL, Meeting, S

from tapedeck.core.output import Output
from tapedeck.core.watermark import POSITIONS
from tapedeck.media.mark import checked_png
from tapedeck.medialog.mark import find_mark, save_mark
from tapedeck.render.job import Job, run

GREEN = (0, 255, 0, 255)


def filmed(root: Path) -> list[NDArray[np.uint8]]:
    """RGB pictures of a film of one person whose brightness changes all the time."""
    job = Job(log_dir=root / "log", recording_id="r", out_dir=root / "out", outputs=(Output("a.mp4", SMALL),))
    (file,), _ = run(job, threading.Event())
    with av.open(str(file.path)) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    meeting = Meeting()
    meeting.record(0, S)
    meeting.join("ada", 0)
    meeting.camera("ada", 0, 2 * S)
    meeting.lay_down(tmp_path / "log", 3 * S)
    return tmp_path


def green(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    wide = picture.astype(np.int16)
    found: NDArray[np.bool_] = (wide[..., 1] > 170) & (wide[..., 0] < 90) & (wide[..., 2] < 90)
    return found


@pytest.mark.parametrize("position", POSITIONS)
def test_it_is_in_its_corner_of_every_picture_and_nowhere_else(log: Path, position: str) -> None:
    save_mark(log / "log", "r", checked_png(image_bytes(colour=GREEN)), position, 24, None)
    pictures = filmed(log)
    assert len(pictures) == 30
    wanted = np.zeros((90, 160), bool)
    x = slice(2, 26) if "left" in position else slice(134, 158)
    y = slice(2, 14) if "top" in position else slice(76, 88)
    wanted[y, x] = True
    for picture in pictures:
        assert (green(picture) & ~wanted).sum() == 0
        assert green(picture)[wanted].mean() > 0.9


def test_a_recording_has_its_own_mark_only(log: Path) -> None:
    save_mark(log / "log", "another", checked_png(image_bytes(colour=GREEN)), "left top", None, None)
    assert not any(green(picture).any() for picture in filmed(log))


@pytest.mark.parametrize("damage", [b"", b"\x89PNG\r\n\x1a\n and nothing"])
def test_a_mark_that_cannot_be_read_any_more_costs_no_film(log: Path, damage: bytes) -> None:
    save_mark(log / "log", "r", checked_png(image_bytes(colour=GREEN)), "left top", None, None)
    mark = find_mark(log / "log", "r")
    assert mark is not None
    mark.path.write_bytes(damage)
    pictures = filmed(log)
    assert len(pictures) == 30 and not green(pictures[0]).any()


@pytest.mark.parametrize("about", ["", "[]", '{"position": "middle", "width": null, "height": null}'])
def test_what_is_said_of_it_must_be_whole(log: Path, about: str) -> None:
    save_mark(log / "log", "r", checked_png(image_bytes()), "left top", None, None)
    (log / "log" / "watermark-r.json").write_text(about)
    assert find_mark(log / "log", "r") is None


def test_a_recording_id_from_elsewhere_cannot_leave_the_log(log: Path) -> None:
    save_mark(log / "log", "../../r", checked_png(image_bytes()), "left top", None, None)
    assert (log / "log" / "watermark-r.png").is_file()


def test_it_does_not_fade_with_the_layouts(tmp_path: Path) -> None:
    """While one layout dissolves into the next, and from the middle of that into another, the mark stays as it is."""
    meeting = Meeting()
    meeting.record(0, 2 * S)
    for number, who in enumerate(("ada", "bob", "eve")):
        joined = S // 2 + number * 100_000_000 if number else 0
        meeting.join(who, joined)
        meeting.camera(who, joined, 3 * S)
    meeting.lay_down(tmp_path / "log", 4 * S)
    save_mark(tmp_path / "log", "r", checked_png(image_bytes(colour=GREEN)), "right bottom", 24, 12)
    pictures = filmed(tmp_path)
    assert len(pictures) == 60
    assert min(green(picture)[77:87, 135:157].mean() for picture in pictures) > 0.95
    assert max(green(picture).sum() for picture in pictures) <= 24 * 12
