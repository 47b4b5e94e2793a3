"""Who shares an encoder with whom: whatever films show and however they come and go, each has its own pictures."""

import random
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tapedeck.core.output import AudioOutput, VideoOutput
from tapedeck.media.encode import PictureEncoder
from tapedeck.media.mux import FilmWriter
from tapedeck.media.sharing import Encoders, Seat, Shows

FPS, SIDE, TICKS = 10, 64, 170
VIDEO = VideoOutput(SIDE, SIDE, FPS, quality="high")
FRAME_NS = 1_000_000_000 // FPS


def flat(luma: int) -> av.VideoFrame:
    frame = av.VideoFrame(SIDE, SIDE, "yuv420p")
    for plane, value in zip(frame.planes, (luma, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    return frame


def shown(path: Path) -> list[int]:
    """Brightness of each picture, in the order of its times, which are those of a film."""
    with av.open(str(path)) as film:
        frames = list(film.decode(video=0))
    assert [round((frame.time or 0.0) * FPS) for frame in frames] == list(range(len(frames)))
    return [round(float(frame.to_ndarray()[:SIDE].mean())) for frame in frames]


class Film:
    """A film that is made tick by tick, some ticks ahead of others or behind them."""

    def __init__(self, path: Path, seat: Seat) -> None:
        self.path, self.seat = path, seat
        self.writer = FilmWriter(path.with_suffix(".part"), VIDEO, AudioOutput(), seat=seat)
        self.expected: list[int] = []
        self.was_paused = False

    def show(self, tick: int, scene: str, luma: int, *, said: bool = True) -> None:
        index = len(self.expected)
        self.seat.say(index, Shows(tick * FRAME_NS, scene, (), self.was_paused) if said else None)
        self.was_paused = False
        self.writer.write_picture(flat(luma), index)
        self.expected.append(luma)

    def finish(self) -> None:
        self.writer.write_sound(np.zeros((2, 4800 * len(self.expected)), np.float32))
        self.writer.finish(self.path)
        self.seat.close()


def luma_of(tick: int, scene: str) -> int:
    return 40 + (tick * 37 + (0 if scene == "all" else 90)) % 170


@pytest.mark.parametrize("seed", range(6))
def test_each_film_has_its_own_pictures_whatever_happens(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    encoders = Encoders()
    films: list[Film] = []
    at: list[int] = []
    until: list[int] = []
    pauses: list[set[int]] = []
    own: list[set[int]] = []
    beside: list[set[int]] = []

    def some(count: int, longest: int) -> set[int]:
        starts = [dice.randrange(TICKS) for _ in range(count)]
        return {tick for start in starts for tick in range(start, start + dice.randint(1, longest))}

    for number in range(3):
        films.append(Film(tmp_path / f"{number}.mp4", encoders.seat("one")))
        at.append(0 if number == 0 else dice.randint(0, 60))
        until.append(TICKS if number == 1 else dice.randint(110, TICKS))
        pauses.append(some(1, 40))
        own.append(some(3, 12))
        beside.append(some(1, 15))
    for low in range(0, TICKS, 4):
        for number in dice.sample(range(3), 3):
            film = films[number]
            for tick in range(max(low, at[number]), min(low + 4, until[number])):
                if tick in pauses[number]:
                    film.seat.rest()
                    film.was_paused = True
                    continue
                scene = f"own {number}" if tick in own[number] else "all"
                film.show(tick, scene, luma_of(tick, scene), said=tick not in beside[number])
    for film in films:
        film.finish()
        assert max(abs(a - b) for a, b in zip(shown(film.path), film.expected, strict=True)) <= 4


def test_a_film_that_comes_no_further_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    encode = PictureEncoder.encode

    def noted(self: PictureEncoder, frame: av.VideoFrame, index: int) -> Any:
        made.append(index)
        return encode(self, frame, index)

    monkeypatch.setattr(PictureEncoder, "encode", noted)
    encoders = Encoders()
    one, other = (Film(tmp_path / f"{name}.mp4", encoders.seat("one")) for name in "ab")
    for tick in range(40):
        one.show(tick, "all", luma_of(tick, "all"))
        other.show(tick, "all", luma_of(tick, "all"))
    assert len(made) < 70, "from the key frame on there is one encoder"
    for tick in range(40, 120):
        one.show(tick, "all", luma_of(tick, "all"))
    assert len(made) > 100, "it goes on alone"
    for film in (one, other):
        film.finish()
        assert max(abs(a - b) for a, b in zip(shown(film.path), film.expected, strict=True)) <= 4
