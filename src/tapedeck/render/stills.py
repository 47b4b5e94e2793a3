"""Stills of a film, taken from the canvas while the film is made: a poster, and a strip of thumbnails as sprite and
WebVTT.

A sink before a sink: it looks at each picture on its way to the encoders and keeps few of them. Nothing is decoded for
it, and a film never fails for want of a still.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tapedeck.core.errors import MediaError
from tapedeck.core.geometry import Size
from tapedeck.core.stills import COLUMNS, Posters, Strip, names_of, storyboard, thumb_size
from tapedeck.media.decode import key_picture
from tapedeck.media.mux import FilmFile
from tapedeck.media.press import Sink
from tapedeck.media.still import Frame, Shrinker, copied, jpeg, sheet

__all__ = ["Stills"]

_S = 1_000_000_000


class Stills:
    """Keeps stills of the pictures that are written through it."""

    def __init__(self, sink: Sink, size: Size, fps: int) -> None:
        """`size`: of the pictures."""
        self._sink = sink
        self._fps = fps
        self._thumbs: Strip[Image.Image] = Strip()
        self._posters: Posters[Frame | bytes] = Posters()
        "Pictures, or key frames as they were sent: an image is made of one of them, at the end."
        self._small, self._large = Shrinker(thumb_size(size)), Shrinker(size)
        self._length_ns = 0

    def write_picture(self, frame: Frame, index: int) -> None:
        """As `Sink`."""
        film_ns = index * _S // self._fps
        self._length_ns = (index + 1) * _S // self._fps
        if self._thumbs.wants(film_ns) and (image := _image(frame, self._small)) is not None:
            self._thumbs.add(image)
        if self._posters.wants(film_ns):
            self._posters.add(film_ns, copied(frame))
        self._sink.write_picture(frame, index)

    def recall(self, keys: Sequence[int], payload: Callable[[int], bytes]) -> None:
        """What was seen of a film before it is gone on with: the times of its key frames, and one of them in H264.

        Only those are asked for that a film would have kept by now. ValueError: one of them is damaged.
        """
        thumbs: Strip[int] = Strip()
        posters: Posters[int] = Posters()
        for film_ns in keys:
            if thumbs.wants(film_ns):
                thumbs.add(film_ns)
            if posters.wants(film_ns):
                posters.add(film_ns, film_ns)
        self._posters.kept = [(film_ns, payload(film_ns)) for film_ns, _ in posters.kept]
        for film_ns in thumbs.stills:
            image = _decoded(payload(film_ns), self._small)
            if image is None:
                raise ValueError("a picture of it is damaged")
            self._thumbs.stills.append(image)
        self._thumbs.every_ns = thumbs.every_ns

    def see_key(self, film_ns: int, payload: bytes) -> None:
        """A key frame of H264 that is passed on: it is decoded when a thumbnail is due."""
        self._length_ns = film_ns
        if self._posters.wants(film_ns):
            self._posters.add(film_ns, payload)
        if self._thumbs.wants(film_ns) and (image := _decoded(payload, self._small)) is not None:
            self._thumbs.add(image)

    def write_sound(self, samples: NDArray[np.float32]) -> None:
        """As `Sink`."""
        self._sink.write_sound(samples)

    def write_text(self, film_ns: int, text: str) -> None:
        """As `media.press.Sink`."""
        self._sink.write_text(film_ns, text)

    def finish(self, directory: Path, file_name: str, length_ns: int = 0) -> tuple[FilmFile, ...]:
        """Write the stills beside the film of this name; fewer, or none, when the disk or a codec refuses.

        `length_ns`: of the film, if that is more than was seen of it.
        """
        length_ns = max(length_ns, self._length_ns)
        poster = self._poster(length_ns)
        thumbs = self._thumbs.stills
        poster_name, sprite_name, board_name = names_of(file_name)
        files: list[FilmFile] = []
        try:
            if poster is not None:
                files.append(_write(directory / poster_name, jpeg(poster), "poster", length_ns))
            if thumbs:
                sprite = _write(directory / sprite_name, jpeg(sheet(thumbs, COLUMNS)), "sprite", length_ns)
                board = storyboard(sprite_name, self._small.size, len(thumbs), self._thumbs.every_ns, length_ns)
                files += [sprite, _write(directory / board_name, board.encode(), "storyboard", length_ns)]
        except (OSError, ValueError) as exc:
            sys.stderr.write(f"The stills cannot be written: {exc}\n")
        return tuple(files)

    def _poster(self, length_ns: int) -> Image.Image | None:
        kept = self._posters.best(length_ns)
        if kept is None:
            return None
        return _decoded(kept, self._large) if isinstance(kept, bytes) else _image(kept, self._large)


def _decoded(payload: bytes, shrinker: Shrinker) -> Image.Image | None:
    """The image of a key frame; None if it is damaged."""
    # A decoder of its own each time: the pictures that it keeps are most of what the process would take.
    picture = key_picture(payload)
    return None if picture is None else _image(picture, shrinker)


def _image(frame: Frame, shrinker: Shrinker) -> Image.Image | None:
    try:
        return shrinker.image(frame)
    except MediaError as exc:
        sys.stderr.write(f"{exc}\n")
        return None


def _write(path: Path, data: bytes, kind: str, length_ns: int) -> FilmFile:
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return FilmFile(path, len(data), length_ns, google_crc32c.value(data), kind)
