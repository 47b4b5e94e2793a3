"""A film that is made at the rate of life, for tests of its live stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np

from tapedeck.core.output import AudioOutput, Output, VideoOutput
from tapedeck.media.mux import FilmWriters

__all__ = ["FPS", "Shoot", "shooting", "write_picture", "write_second"]

FPS = 30
_RNG = np.random.default_rng(7)
_NOISE = [_RNG.integers(0, 255, 320 * 180, np.uint8).tobytes() for _ in range(4)]


def _frame(index: int, *, noisy: bool) -> av.VideoFrame:
    frame = av.VideoFrame(320, 180, "yuv420p")
    for plane in frame.planes:
        body = _NOISE[index % 4] if noisy else bytes([index * 3 % 256]) * plane.buffer_size
        plane.update(body[: plane.buffer_size])
    return frame


def write_picture(writers: FilmWriters, index: int, *, noisy: bool = False) -> None:
    """One picture of film, without its sound."""
    writers.write_picture(_frame(index, noisy=noisy), index)


def write_second(writers: FilmWriters, second: int, *, video: bool = True, noisy: bool = False) -> None:
    """A second of film at once."""
    for index in range(second * FPS, (second + 1) * FPS):
        if video:
            write_picture(writers, index, noisy=noisy)
        if index % 15 == 14:
            writers.write_sound(np.full((2, 24_000), 0.01, np.float32))


class Shoot:
    """A film in a thread, a megabit a second and more, at the rate of life until `stop`."""

    def __init__(self, folder: Path, live_dir: Path) -> None:
        self.slowest_s = 0.0
        "The longest that the film had to wait to be written on."
        output = Output("film.mp4", VideoOutput(320, 180, quality="high"), AudioOutput())
        self._writers = FilmWriters(folder, [output], live_dir=live_dir)
        assert self._writers.live is not None
        self._writers.live.is_current = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def pause(self) -> None:
        """Film time stands still from now on."""
        self._stop.set()
        self._thread.join()

    def stop(self) -> float:
        """Finish the film; its length in seconds."""
        self._stop.set()
        self._thread.join()
        (film,) = self._writers.finish()
        return film.duration_ns / 1e9

    def _run(self) -> None:
        index, began = 0, time.monotonic()
        while not self._stop.wait(max(0.0, began + index / FPS - time.monotonic())):
            at = time.monotonic()
            self._writers.write_picture(_frame(index, noisy=True), index)
            if index % 15 == 14:
                self._writers.write_sound(np.full((2, 24_000), 0.01, np.float32))
            self.slowest_s = max(self.slowest_s, time.monotonic() - at)
            index += 1


@contextmanager
def shooting(folder: Path, live_dir: Path) -> Iterator[Shoot]:
    """A film that is being made."""
    shoot = Shoot(folder, live_dir)
    try:
        yield shoot
    finally:
        if shoot._thread.is_alive():
            shoot.pause()
