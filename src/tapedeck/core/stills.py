"""Which pictures of a film are kept as stills, and the storyboard that says where each lies. Pure.

Nobody knows how long a live film will be. A picture is taken every two seconds; when there are a hundred, every other
one is let go and the pause doubles. A poster is taken when the length of the film has doubled, so that there is
always one from between a quarter and the half of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tapedeck.core.geometry import Size, even

__all__ = ["COLUMNS", "Posters", "Strip", "names_of", "storyboard", "thumb_size"]

T = TypeVar("T")

COLUMNS = 10
_MOST = 100
_FIRST_NS = 2_000_000_000
_SECOND_NS = 1_000_000_000
_SIDE = 160
"""Of a thumbnail, the longer one (pixels)."""


@dataclass(slots=True)
class Strip(Generic[T]):
    """Thumbnails at even distances from the beginning of a film on."""

    every_ns: int = _FIRST_NS
    stills: list[T] = field(default_factory=list)

    def wants(self, film_ns: int) -> bool:
        """Whether the picture of this film time is the next one."""
        return film_ns >= len(self.stills) * self.every_ns

    def add(self, still: T) -> None:
        """Take the picture that was wanted."""
        self.stills.append(still)
        if len(self.stills) >= _MOST:
            del self.stills[1::2]
            self.every_ns *= 2


@dataclass(slots=True)
class Posters(Generic[T]):
    """The last three candidates: at the beginning, and whenever the film has doubled its length."""

    kept: list[tuple[int, T]] = field(default_factory=list)

    def wants(self, film_ns: int) -> bool:
        """Whether the picture of this film time is a candidate."""
        return not self.kept or film_ns >= max(2 * self.kept[-1][0], _SECOND_NS)

    def add(self, film_ns: int, still: T) -> None:
        """Take the picture that was wanted."""
        self.kept = [*self.kept[-2:], (film_ns, still)]

    def best(self, length_ns: int) -> T | None:
        """The last one in the first half of the film; None without any."""
        early = [still for at_ns, still in self.kept if 2 * at_ns <= length_ns]
        return early[-1] if early else (self.kept[0][1] if self.kept else None)


def thumb_size(film: Size) -> Size:
    """Of a thumbnail: the film's shape, the longer side 160 pixels, both even."""
    if film.width >= film.height:
        return Size(_SIDE, max(even(_SIDE * film.height // film.width), 2))
    return Size(max(even(_SIDE * film.width // film.height), 2), _SIDE)


def storyboard(sprite: str, thumb: Size, count: int, every_ns: int, length_ns: int) -> str:
    """WebVTT (W3C) with a cue per thumbnail; each names the sprite and, as a media fragment, its rectangle in it."""
    lines = ["WEBVTT", ""]
    for number in range(count):
        end_ns = length_ns if number == count - 1 else (number + 1) * every_ns
        x, y = number % COLUMNS * thumb.width, number // COLUMNS * thumb.height
        lines += [
            f"{_clock(number * every_ns)} --> {_clock(max(end_ns, number * every_ns + 1_000_000))}",
            f"{sprite}#xywh={x},{y},{thumb.width},{thumb.height}",
            "",
        ]
    return "\n".join(lines)


def _clock(film_ns: int) -> str:
    ms = film_ns // 1_000_000
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


def names_of(file_name: str) -> Sequence[str]:
    """File names of poster, sprite and storyboard beside a film."""
    stem = file_name.rpartition(".")[0] or file_name
    return f"{stem}-poster.jpg", f"{stem}-sprite.jpg", f"{stem}-storyboard.vtt"
