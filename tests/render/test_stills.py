"""Stills made beside a film: what is on them, where the storyboard says it is, and a film all the same without them."""

import re
import threading
from dataclasses import replace
from pathlib import Path

import av
import google_crc32c
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.render.meetings import SMALL, Meeting, S

from tapedeck.core.output import AudioOutput, Output
from tapedeck.media.mux import FilmFile
from tapedeck.render import stills as module
from tapedeck.render.job import Job, run


def filmed(root: Path, outputs: tuple[Output, ...] = (Output("a.mp4", SMALL),)) -> dict[str, FilmFile]:
    """Files by kind of a film of ten seconds: Ada from the beginning, Bob beside her from the fifth on."""
    if not (root / "log").exists():
        meeting = Meeting()
        meeting.record(0, 10 * S)
        for who, at_ns in (("ada", 0), ("bob", 5 * S)):
            meeting.join(who, at_ns)
            meeting.camera(who, at_ns, 11 * S)
        meeting.lay_down(root / "log", 12 * S)
    job = Job(root / "log", "r", root / "out", outputs, stills=True)
    return {file.kind: file for file in run(job, threading.Event())[0]}


def pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


def test_poster_sprite_and_storyboard_show_the_film(tmp_path: Path) -> None:
    files = filmed(tmp_path)
    assert set(files) == {"video", "poster", "sprite", "storyboard"}
    for file in files.values():
        assert file.size_bytes == file.path.stat().st_size
        assert file.crc32c == google_crc32c.value(file.path.read_bytes()) and file.duration_ns == 10 * S
    poster = pixels(files["poster"].path)
    assert poster.shape == (90, 160, 3)
    assert abs(int(poster[45, 50].mean()) - int(poster[45, 110].mean())) < 12, "Ada alone, over the whole width"
    sprite, cues = pixels(files["sprite"].path), files["storyboard"].path.read_text()
    assert sprite.shape == (90, 5 * 160, 3)
    found = re.findall(r"a-sprite\.jpg#xywh=(\d+),(\d+),160,90", cues)
    assert found == [("0", "0"), ("160", "0"), ("320", "0"), ("480", "0"), ("640", "0")]
    thumbs = [sprite[:, int(x) : int(x) + 160].astype(int) for x, _ in found]
    alone = [bool(abs(thumb[45, 40].mean() - thumb[45, 120].mean()) < 12) for thumb in thumbs]
    assert alone == [True, True, True, False, False], "from the fifth second on there are two people side by side"
    assert "00:00:08.000 --> 00:00:10.000" in cues


def test_sound_alone_has_no_stills(tmp_path: Path) -> None:
    assert set(filmed(tmp_path, (Output("a.m4a", None, AudioOutput()),))) == {"audio"}


def test_the_picture_is_the_canvas_in_its_colours(tmp_path: Path) -> None:
    """Avatars have colours: the poster's are those of the film."""
    meeting = Meeting()
    meeting.record(0, 2 * S)
    meeting.join("ada", 0)
    meeting.lay_down(tmp_path / "log", 3 * S)
    files = filmed(tmp_path, (Output("a.mp4", replace(SMALL, quality="high")),))
    with av.open(str(files["video"].path)) as film:
        frame = next(film.decode(video=0))
        shown = frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray().astype(int)
    apart = np.abs(shown - pixels(files["poster"].path).astype(int))
    assert apart.mean() < 4


@pytest.mark.parametrize("name", ["_write", "sheet", "jpeg"])
def test_a_disk_that_refuses_stills_costs_no_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, name, refuse)
    files = filmed(tmp_path)
    assert "video" in files and "storyboard" not in files
