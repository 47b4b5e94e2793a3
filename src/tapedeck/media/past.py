"""What earlier attempts at a film left: its fragments, proven whole, to be put into the film instead of made again.

Owns the proof: fragments without a gap from the film's first picture and sample on, each with its checksum and the
boxes that we write, all by attempts that made the very same film (`Sidecar`), with the heads that the encoders of
today would give. What follows the first doubt is not used. Refuses to know logs: whether they say the same is asked
elsewhere (`render/resume.py`).
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import google_crc32c

from tapedeck import __version__
from tapedeck.core.avc import config_sets, from_lengths
from tapedeck.core.entry import Entry, entry_at
from tapedeck.core.errors import UnavailableError
from tapedeck.core.fmp4 import FragmentTrack, read_fragment
from tapedeck.core.liveindex import Fragment, parse_lines
from tapedeck.core.mp4film import heads_of
from tapedeck.media.lane import Lane

__all__ = ["MADE_BY", "Copying", "Past", "PastRefusedError", "Sidecar", "find_past"]

MADE_BY = (__version__, av.__version__, *sorted(f"{name} {version}" for name, version in av.library_versions.items()))
"""What decides about each bit of a film."""
_PACKET = 1024
"""Samples in a packet of AAC."""
_RATE = 48_000
_TICKS = 1000
"""Of a picture, in fragments."""
_MOST_TRIES = 3
_MOST_BYTES = 256 << 20
"""Of a fragment: more is none that we made."""
_SECOND_NS = 1_000_000_000


class PastRefusedError(Exception):
    """Nothing of the film is used that there is already. Says why."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What an attempt says of the fragments that it makes."""

    likeness: str
    "Equal for attempts that make the same film of the same log."
    primer: bytes = b""
    "The packet of sound before the first one: a player of fragments needs none, a file has it."

    def write(self, directory: Path, run: int) -> None:
        """OSError."""
        body = json.dumps({"likeness": self.likeness, "primer": base64.b64encode(self.primer).decode()})
        _write(_sidecar(directory, run), body)

    @classmethod
    def read(cls, directory: Path, run: int) -> Sidecar | None:
        """None: nobody knows how the fragments were made."""
        try:
            body = json.loads(_sidecar(directory, run).read_bytes())
            return cls(str(body["likeness"]), base64.b64decode(body["primer"], validate=True))
        except (OSError, ValueError, TypeError, KeyError):
            return None


@dataclass(frozen=True, slots=True)
class Past:
    """The beginning of a film."""

    directory: Path
    fps: int
    fragments: tuple[Fragment, ...]
    marks: tuple[tuple[int, int], ...]
    "Of each fragment, the picture and the sample that follow it."
    late: int
    "By how much pictures are later in fragments than in the film (ticks)."
    delay: int
    "Pictures by which decoding is ahead of showing."
    primer: bytes

    @property
    def entry(self) -> Entry:
        """Where the film is to be gone on with."""
        return entry_at(*self.marks[-1], self.fps)

    @property
    def end_ns(self) -> int:
        """Film time of that."""
        return self.fragments[-1].end_ns

    def until(self, count: int) -> Past:
        """Only the first fragments. PastRefusedError: there are none then."""
        if count < 1:
            raise PastRefusedError("what there is of it does not agree with its log")
        return replace(self, fragments=self.fragments[:count], marks=self.marks[:count])

    def check_heads(self, head: bytes) -> None:
        """PastRefusedError unless the encoders, which say this of themselves, go on with what was encoded."""
        for run in {one.run for one in self.fragments}:
            try:
                is_same = (self.directory / f"init-{run}.mp4").read_bytes() == head
            except OSError:
                is_same = False
            if not is_same:
                raise PastRefusedError("what there is of it was encoded in another way")

    def key(self, one: Fragment) -> bytes:
        """The first picture of a fragment in Annex B, with its parameter sets. OSError; ValueError."""
        stsd = heads_of((self.directory / f"init-{one.run}.mp4").read_bytes())[0].stsd
        data = _read(self.directory / "media", one)
        tracks, at = read_fragment(data)
        return config_sets(stsd[stsd.index(b"avcC") + 4 :]) + from_lengths(data[at : at + tracks[0].samples[0].size])

    def count_try(self) -> None:
        """To be called before each attempt to go on. PastRefusedError: attempts die of it, so it is left alone."""
        path, tries = self.directory / "tries", 0
        with suppress(OSError, ValueError, TypeError, KeyError):
            body = json.loads(path.read_bytes())
            tries = int(body["tries"]) if body["at_ns"] == self.end_ns else 0
        if tries >= _MOST_TRIES:
            raise PastRefusedError(f"{tries} attempts to go on with it came to nothing")
        with suppress(OSError):
            _write(path, json.dumps({"at_ns": self.end_ns, "tries": tries + 1}))

    def spoil(self, reason: Exception) -> UnavailableError:
        """It turned out not to be usable: the next attempt makes the film from its beginning. What to raise in this."""
        with suppress(OSError):
            _sidecar(self.directory, self.fragments[0].run).unlink(missing_ok=True)
        return UnavailableError(f"What there was of the film cannot be read any more: {reason}.")


class Copying:
    """Brings the packets of a past into the files of a film, a fragment at a time; what is made meanwhile waits.

    So nobody who watches waits for it, however long the film is. To be used in the thread that writes the film.
    """

    def __init__(self, past: Past, pictures: Lane, sound: Lane) -> None:
        self._past = past
        self._lanes = (pictures, sound)
        self._left: Iterator[Fragment] = iter(past.fragments)
        self._is_first = True
        pictures.hold(past.entry.picture - past.delay)
        sound.hold()

    def step(self) -> bool:
        """Copy one fragment; whether there is more. UnavailableError: it cannot be read any more."""
        one = next(self._left, None)
        if one is None:
            for lane in self._lanes:
                lane.release()
            return False
        try:
            data = _read(self._past.directory / "media", one)
            if google_crc32c.value(data) != one.crc32c:
                raise ValueError("its checksum is another one")
            tracks, at = read_fragment(data)
        except (OSError, ValueError) as exc:
            raise self._past.spoil(exc) from exc
        pictures, sound = self._lanes
        if self._is_first and self._past.primer:
            self._is_first = False
            sound.copy(_packet(self._past.primer, -_PACKET, -_PACKET, _PACKET, Fraction(1, _RATE), is_key=True))
        self._copy_pictures(pictures, tracks[0], data, at)
        at += sum(sample.size for sample in tracks[0].samples)
        for number, sample in enumerate(tracks[1].samples):
            time = tracks[1].decode_time - _late_sound(self._past.late, self._past.fps) + number * _PACKET
            sound.copy(_packet(data[at : at + sample.size], time, time, _PACKET, Fraction(1, _RATE), is_key=True))
            at += sample.size
        return True

    def _copy_pictures(self, lane: Lane, track: FragmentTrack, data: bytes, at: int) -> None:
        dts = track.decode_time - self._past.late
        for sample in track.samples:
            payload = from_lengths(data[at : at + sample.size])
            pts = (dts + sample.offset) // _TICKS
            lane.copy(_packet(payload, pts, dts // _TICKS, 0, Fraction(1, self._past.fps), is_key=sample.is_sync))
            at += sample.size
            dts += sample.duration


def find_past(directory: Path, likeness: str, fps: int) -> Past:
    """What there is of a film of pictures in H264 and sound in AAC. PastRefusedError."""
    try:
        index = (directory / "index").read_bytes()
        found, _ = parse_lines(index, (directory / "media").stat().st_size)
        if not found:
            raise PastRefusedError("nothing of it is there")
        return _Proof(directory, likeness, fps).go_through(found)
    except OSError as exc:
        raise PastRefusedError(f"what there is of it cannot be read: {exc.strerror or exc}") from exc


class _Proof:
    """Goes through fragments as far as they are whole."""

    def __init__(self, directory: Path, likeness: str, fps: int) -> None:
        self._directory = directory
        self._likeness = likeness
        self._fps = fps
        self._known: dict[int, Sidecar] = {}
        self._late = 0
        self._delay = 0
        self._last_dts = -(1 << 62)
        self._end_ns = 0
        self._marks: list[tuple[int, int]] = [(0, 0)]

    def go_through(self, found: Sequence[Fragment]) -> Past:
        reason = "nothing of it is there"
        with (self._directory / "media").open("rb") as media:
            for one in found:
                try:
                    self._take(one, media)
                except ValueError as exc:
                    reason = str(exc)
                    break
        count = len(self._marks) - 1
        if not count:
            raise PastRefusedError(reason)
        primer = self._known[found[0].run].primer
        if not primer:
            raise PastRefusedError("its sound lacks the packet that it begins with")
        marks = tuple(self._marks[1:])
        return Past(self._directory, self._fps, tuple(found[:count]), marks, self._late, self._delay, primer)

    def _take(self, one: Fragment, media: Any) -> None:
        """ValueError says what is wrong with the next fragment."""
        if one.run not in self._known:
            said = Sidecar.read(self._directory, one.run)
            if said is None or said.likeness != self._likeness:
                raise ValueError("what there is of it was made in another way")
            self._known[one.run] = said
        if one.start_ns != self._end_ns or one.crc32c is None or one.size > _MOST_BYTES:
            raise ValueError("a piece of it is missing")
        media.seek(one.offset)
        data = media.read(one.size)
        if google_crc32c.value(data) != one.crc32c:
            raise ValueError("a piece of it is damaged")
        tracks, _ = read_fragment(data)
        if [track.track_id for track in tracks if track.samples] != [1, 2]:
            raise ValueError("a piece of it has not both picture and sound")
        picture, sample = self._marks[-1]
        picture, dts = self._pictures(tracks[0], picture)
        mark = (picture, self._sound(tracks[1], sample))
        if picture * _SECOND_NS // self._fps != one.end_ns or mark[1] * _SECOND_NS // _RATE < one.end_ns:
            raise ValueError("a piece of it is not as long as it is said to be")
        self._marks.append(mark)
        self._last_dts, self._end_ns = dts, one.end_ns

    def _pictures(self, track: FragmentTrack, first: int) -> tuple[int, int]:
        """The picture that follows, and when the last one is decoded."""
        dts = track.decode_time
        if not first:
            self._late = dts + track.samples[0].offset
            self._delay = self._late // _TICKS
        dts -= self._late
        last = self._last_dts
        shown: list[int] = []
        for sample in track.samples:
            if dts <= last or dts % _TICKS or sample.offset < 0:
                raise ValueError("a piece of it is not in order")
            shown.append(dts + sample.offset)
            last, dts = dts, dts + sample.duration
        following = first + len(shown)
        if sorted(shown) != [index * _TICKS for index in range(first, following)] or not track.samples[0].is_sync:
            raise ValueError("a picture of it is missing")
        if last >= (following - self._delay) * _TICKS:
            raise ValueError("a piece of it is decoded too late")
        return following, last

    def _sound(self, track: FragmentTrack, first: int) -> int:
        """The sample that follows."""
        if track.decode_time - _late_sound(self._late, self._fps) != first:
            raise ValueError("some sound of it is missing")
        if any(sample.duration != _PACKET for sample in track.samples):
            raise ValueError("some sound of it is not in order")
        return first + len(track.samples) * _PACKET


def _late_sound(late: int, fps: int) -> int:
    """By how much sound is later in fragments than in the film, in samples, as `media/hls.py` says."""
    late_ns = -(late * _SECOND_NS // -(fps * _TICKS))
    return late_ns * _RATE // _SECOND_NS


def _packet(data: bytes, pts: int, dts: int, duration: int, base: Fraction, *, is_key: bool) -> av.Packet[Any]:
    packet: av.Packet[Any] = av.Packet(data)
    packet.time_base, packet.pts, packet.dts, packet.duration = base, pts, dts, duration
    packet.is_keyframe = is_key
    return packet


def _read(path: Path, one: Fragment) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, one.size, one.offset)
    finally:
        os.close(fd)


def _sidecar(directory: Path, run: int) -> Path:
    return directory / f"made-{run:d}.json"


def _write(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    part.rename(path)
