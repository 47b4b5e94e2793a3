"""Encoding after painting, or beside it: a film's pictures and sound go to its writer at once or in another thread.

Beside is for haste: half of the time where there are two cores, and a twentieth more CPU (docs/explain/render.md).
Owns the queue between both, a few pictures long, and the thread; a fault in the thread is raised at the next call. What
is written is the same either way. Refuses to know what is written, and when there is haste.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import Protocol

import av
import numpy as np
from numpy.typing import NDArray

from tapedeck.core.geometry import Size
from tapedeck.media.picture import planes_of

__all__ = ["Press", "Sink"]

_AHEAD = 4


class Sink(Protocol):
    """Takes a film as it is made: `media.mux.FilmWriter`, or a press before it."""

    def write_picture(self, frame: av.VideoFrame, index: int) -> None:
        """Picture `index`; its planes may be painted again when this has returned."""

    def write_sound(self, samples: NDArray[np.float32]) -> None:
        """The next samples, shape (2, n)."""

    def write_text(self, film_ns: int, text: str) -> None:
        """Timed metadata, before the first picture that is shown after it."""


@dataclass(frozen=True, slots=True)
class _Text:
    film_ns: int
    text: str


class Press:
    """A sink before a sink. Not thread-safe itself: one caller."""

    def __init__(self, sink: Sink, size: Size, *, beside: bool = True) -> None:
        """`size`: of the pictures."""
        self.beside = beside
        "Whether what comes next is written in another thread; may change at any time."
        self._sink = sink
        self._size = size
        self._made = 0
        self._free: queue.SimpleQueue[av.VideoFrame] = queue.SimpleQueue()
        self._work: queue.Queue[tuple[av.VideoFrame, int] | NDArray[np.float32] | _Text | None] = queue.Queue()
        self._fault: BaseException | None = None
        self._thread: threading.Thread | None = None

    def write_picture(self, frame: av.VideoFrame, index: int) -> None:
        """Write a picture, or copy it and leave, waiting while a few others are before it.

        Raises what the sink raises, or raised before.
        """
        if not self._is_beside():
            self._sink.write_picture(frame, index)
            return
        if self._made < _AHEAD:
            self._made += 1
            copy = av.VideoFrame(self._size.width, self._size.height, "yuv420p")
        else:
            copy = self._free.get()
        self._check()
        for plane, source in zip(planes_of(copy), planes_of(frame), strict=True):  # rows of a decoder's may be longer
            np.copyto(plane, source)
        copy.colorspace, copy.color_range = frame.colorspace, frame.color_range
        copy.color_primaries, copy.color_trc = frame.color_primaries, frame.color_trc
        self._work.put((copy, index))

    def write_sound(self, samples: NDArray[np.float32]) -> None:
        """Write samples, or hand them over; they must not be changed. Raises what the sink raises, or raised before."""
        if self._is_beside():
            self._check()
            self._work.put(samples)
        else:
            self._sink.write_sound(samples)

    def write_text(self, film_ns: int, text: str) -> None:
        """Write timed metadata, or hand it over. Raises what the sink raises, or raised before."""
        if self._is_beside():
            self._check()
            self._work.put(_Text(film_ns, text))
        else:
            self._sink.write_text(film_ns, text)

    def close(self) -> None:
        """Wait until everything is written and end the thread. Raises what the sink raised. Again is no error."""
        self._end_thread()
        self._check()

    def _is_beside(self) -> bool:
        if self.beside and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="press", daemon=True)
            self._thread.start()
        elif not self.beside and self._thread is not None:
            self.close()
        else:
            self._check()
        return self.beside

    def _end_thread(self) -> None:
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
            self._thread = None

    def _check(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            try:
                if self._fault is not None:
                    pass  # nothing after a fault is written
                elif isinstance(item, tuple):
                    self._sink.write_picture(*item)
                elif isinstance(item, _Text):
                    self._sink.write_text(item.film_ns, item.text)
                else:
                    self._sink.write_sound(item)
            except BaseException as exc:
                self._fault = exc
            if isinstance(item, tuple):
                self._free.put(item[0])
