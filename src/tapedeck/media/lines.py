"""Who shares a picture encoder with whom: films whose next pictures look the same are a line.

Films meet at a key frame of the older one: both encoders end, and one goes on for both. Where a film goes its own way,
because it pauses, ends, fails, falls behind or shows something else, the common encoder ends before that picture and
each gets one of its own. So each stretch is closed: no film has a packet that needs one which it has not, and all films
end exactly. Pictures wait for other films in copies, and only where they may meet. Refuses to know what a film does
with packets (`media/sharing.py`).
"""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import av
import numpy as np
from av.container import OutputContainer

from tapedeck.core.output import VideoOutput
from tapedeck.media.decode import Picture
from tapedeck.media.encode import PictureEncoder
from tapedeck.media.live import copy_packet
from tapedeck.media.picture import planes_of

if TYPE_CHECKING:
    from tapedeck.media.sharing import SharedPictures

__all__ = ["Line", "Packets", "Room", "Shows", "Waiting"]

_S = 1_000_000_000
_SLACK_NS = 1000
"""Times of one moment in two films differ by their rounding."""
_NEAR_NS = 1_000_000_000
"""Films that are further apart are not in step."""
_MOST_WAITING = 30
"""Pictures that wait for another film; then it is taken for elsewhere. One of 720p is 1.4 MB."""

Packets: TypeAlias = "list[av.Packet[Any]]"


@dataclass(frozen=True, slots=True, eq=False)
class Shows:
    """What a picture of a film shows. Equal ones of films that were equal before look the same."""

    t_ns: int
    "Capture time."
    scene: object
    pictures: Sequence[Picture | None]
    is_cut: bool = False
    slides: bool = False
    "Whether the pictures before it decide about it too."

    def same(self, other: Shows) -> bool:
        """Whether both show the same."""
        return (
            abs(self.t_ns - other.t_ns) <= _SLACK_NS
            and (self.is_cut, self.slides) == (other.is_cut, other.slides)
            and self.scene == other.scene
            and len(self.pictures) == len(other.pictures)
            and all(one is another for one, another in zip(self.pictures, other.pictures, strict=True))
        )


@dataclass(frozen=True, slots=True)
class Waiting:
    index: int
    shows: Shows
    frame: av.VideoFrame


class Line:
    """An encoder, and the films that have what it makes. Ends when they part."""

    def __init__(self, room: Room, films: list[SharedPictures], encoder: PictureEncoder | None = None) -> None:
        """`films`: the oldest first. Without `encoder` one is made for the first picture."""
        self.films = films
        self.last: tuple[int, int] | None = None
        "Capture time and index of the last picture that was encoded, or is."
        self._room = room
        self._encoder = encoder
        self._desk: OutputContainer | None = None
        self._is_begun = False

    def index_at(self, t_ns: int) -> int | None:
        """Which picture it will make at a capture time if nothing intervenes; None: none then, or not in step."""
        if self.last is None or not self.last[0] < t_ns - _SLACK_NS <= self.last[0] + _NEAR_NS:
            return None
        steps, over = divmod((t_ns - self.last[0]) * self._room.output.fps + _SLACK_NS, _S)
        return self.last[1] + steps if over <= 2 * _SLACK_NS * self._room.output.fps else None

    def open(self, first: int) -> PictureEncoder:
        """The encoder; `first`: of the next picture, if it begins with that."""
        if self._encoder is None:
            self._desk = av.open(io.BytesIO(), "w", "mp4" if self._room.output.codec == "h264" else "webm")
            self._encoder = PictureEncoder(self._desk, self._room.output, 1, first=first)
        return self._encoder

    def encode_alone(self, frame: av.VideoFrame, index: int) -> Packets:
        """Encode the next picture of the only film."""
        film = self.films[0]
        self._is_begun = True
        return film_packets(self.open(index - film.offset).encode(frame, index - film.offset), film.offset)

    def encode(self) -> None:
        """Encode the picture that all wait for."""
        heads = [film.waiting.popleft() for film in self.films]
        index = heads[0].index - self.films[0].offset
        self.last, self._is_begun = (heads[0].shows.t_ns, index), True
        try:
            self._give(self.open(index).encode(heads[0].frame, index))
        except Exception as exc:
            self._fail(exc)
        for head in heads:
            self._room.free.append(head.frame)

    def end(self) -> None:
        """Give everybody the last packets."""
        encoder, self._encoder = self._encoder, None
        try:
            if encoder is not None and self._is_begun:
                self._give(encoder.flush())
        except Exception as exc:
            self._fail(exc)
        desk, self._desk = self._desk, None
        if desk is not None:
            with contextlib.suppress(Exception):
                desk.close()

    def _give(self, packets: Sequence[av.Packet[Any]]) -> None:
        for number, film in enumerate(self.films):
            mine = packets if number == len(self.films) - 1 else [copy_packet(packet) for packet in packets]
            film.ready.extend(film_packets(mine, film.offset))

    def _fail(self, exc: Exception) -> None:
        for film in self.films:
            film.fault = film.fault or exc


def film_packets(packets: Sequence[av.Packet[Any]], offset: int) -> Packets:
    """Packets of a line, with the times of a film."""
    if offset:
        for packet in packets:
            packet.pts = None if packet.pts is None else packet.pts + offset
            packet.dts = None if packet.dts is None else packet.dts + offset
    return list(packets)


class Room:
    """Films with one setting, and their lines."""

    def __init__(self, output: VideoOutput) -> None:
        self.output = output
        self.lock = threading.RLock()
        self.free: list[av.VideoFrame] = []
        self._films: list[SharedPictures] = []
        "In the order in which they came."
        self._lines: list[Line] = []
        self._grid = output.gop_s * output.fps

    @property
    def is_lonely(self) -> bool:
        """Whether nobody can be met, and nobody is left to be parted with."""
        return len(self._films) < 2

    def enter(self, film: SharedPictures) -> None:
        with self.lock:
            self._films.append(film)
            self._lines.append(film.line)

    def part_with(self, film: SharedPictures) -> None:
        if film in self._films:
            self._films.remove(film)
            self._lines.remove(film.line)
        if self.is_lonely:
            self.free.clear()

    def copy(self, frame: av.VideoFrame) -> av.VideoFrame:
        """A picture that may wait."""
        copy = self.free.pop() if self.free else av.VideoFrame(frame.width, frame.height, "yuv420p")
        for plane, source in zip(planes_of(copy), planes_of(frame), strict=True):
            np.copyto(plane, source)
        copy.colorspace, copy.color_range = frame.colorspace, frame.color_range
        copy.color_primaries, copy.color_trc = frame.color_primaries, frame.color_trc
        return copy

    def waits_for(self, film: SharedPictures, index: int, shows: Shows) -> bool:
        """Whether a picture may have to wait for another film."""
        line = film.line
        if film.waiting or len(line.films) > 1:
            return True
        return any(self._is_gate(line, other, index - film.offset, shows.t_ns) for other in self._others(line))

    def leave(self, film: SharedPictures) -> None:
        line = film.line
        if len(line.films) > 1:
            self._part(line, [[film], [other for other in line.films if other is not film]])
        while film.waiting:
            film.line.encode()
        film.line.last = None
        self.pump()

    def pump(self) -> None:
        """Encode what has waited long enough."""
        while any([self._step(line) for line in tuple(self._lines)]):
            pass

    def _step(self, line: Line) -> bool:
        """The next picture of a line, or who has it; whether there may be more to do."""
        came = [film for film in line.films if film.waiting]
        if line not in self._lines or not came:
            return False
        is_late = max(len(film.waiting) for film in came) > _MOST_WAITING
        if len(came) < len(line.films):
            if is_late:
                self._part(line, [came, [film for film in line.films if not film.waiting]])
            return is_late
        groups = list(_groups(line.films))
        if len(groups) > 1:
            self._part(line, groups)
            return True
        head = line.films[0].waiting[0]
        for other in self._others(line):
            if self._is_gate(line, other, head.index - line.films[0].offset, head.shows.t_ns):
                if self._meet(line, other, head.shows):
                    return True
                if not is_late and self._may_come(other, head.shows.t_ns):
                    return False
        line.encode()
        return True

    def _others(self, line: Line) -> Iterator[Line]:
        return (other for other in tuple(self._lines) if other is not line)

    def _is_gate(self, line: Line, other: Line, index: int, t_ns: int) -> bool:
        """Whether two lines may become one at a picture of the first: there the older one has a key frame."""
        theirs = other.index_at(t_ns)
        if theirs is None:
            return False
        return (index if self._age(line) < self._age(other) else theirs) % self._grid == 0

    def _age(self, line: Line) -> int:
        return self._films.index(line.films[0])

    def _may_come(self, other: Line, t_ns: int) -> bool:
        """Whether a line may still come to a picture at that time."""
        heads = [film.waiting[0].shows.t_ns for film in other.films if film.waiting]
        if any(head_ns > t_ns + _SLACK_NS for head_ns in heads):
            return False
        return len(heads) < len(other.films) or any(head_ns < t_ns - _SLACK_NS for head_ns in heads)

    def _meet(self, line: Line, other: Line, shows: Shows) -> bool:
        """Make two lines one, if their next pictures show the same and nothing before them counts."""
        heads = [film.waiting[0].shows for film in other.films if film.waiting]
        if shows.slides or len(heads) < len(other.films) or not all(shows.same(head) for head in heads):
            return False
        if not _is_alike(line.films[0], other.films[0]):
            return False
        older, younger = (line, other) if self._age(line) < self._age(other) else (other, line)
        self._replace([older, younger], [[*older.films, *younger.films]])
        return True

    def _part(self, line: Line, groups: Sequence[Sequence[SharedPictures]]) -> None:
        self._replace([line], groups)

    def _replace(self, lines: Sequence[Line], groups: Sequence[Sequence[SharedPictures]]) -> None:
        """End lines, and begin others; each counts as the oldest of its films does."""
        for line in lines:
            line.end()
            self._lines.remove(line)
        for group in groups:
            films = sorted(group, key=self._films.index)
            begun = Line(self, films)
            first = films[0].waiting[0].index if films[0].waiting else films[0].count
            for film in films:
                film.offset = (film.waiting[0].index if film.waiting else film.count) - first
                film.line, film.has_parted = begun, True
            self._lines.append(begun)


def _groups(films: Sequence[SharedPictures]) -> Iterator[list[SharedPictures]]:
    """Films whose next pictures show the same, together."""
    left = list(films)
    while left:
        shows = left[0].waiting[0].shows
        yield [film for film in left if film.waiting[0].shows.same(shows)]
        left = [film for film in left if not film.waiting[0].shows.same(shows)]


def _is_alike(one: SharedPictures, other: SharedPictures) -> bool:
    """Whether files of both say the same of their pictures, so that a decoder needs no more."""
    return bytes(one.template.codec_context.extradata or b"") == bytes(other.template.codec_context.extradata or b"")
