"""A finished flat MP4 read as fragments: which of its samples a segment holds, and where they lie in the file.

So a film is played over HLS without a second copy of it: its index (`moov`) says everything that a fragment's head
needs, and the media is taken as it lies. Owns the tables (ISO/IEC 14496-12 8.6, 8.7) and the rule by which a film is
cut into segments, which is that of the live stream too (`media/hls.py`). Reads no file itself: bytes in, places out.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from tapedeck.core.fmp4 import FragmentTrack, Sample, TrackHead, fragment

__all__ = ["SEGMENT_NS", "FilmTable", "Piece", "heads_of", "is_due"]

SEGMENT_NS = 2_000_000_000
_SECOND_NS = 1_000_000_000
_SLACK_NS = 25_000_000
"""A key frame so much early still begins a segment, so that rounding in a container does not double one."""


_MOST_SAMPLES = 20_000_000
"""Of a track: that of a film of a day has eight million."""
_BROKEN = (struct.error, IndexError, OverflowError, ZeroDivisionError, ValueError)


def is_due(length_ns: int) -> bool:
    """Whether a key frame that comes so long after the beginning of a segment begins the next one."""
    return length_ns >= SEGMENT_NS - _SLACK_NS


def heads_of(data: bytes) -> tuple[TrackHead, ...]:
    """What the first `moov` in a file says of its tracks, the picture first. ValueError when it has none."""
    moov = _only(data, b"moov")
    heads = [_head(trak)[0] for kind, trak in _boxes(moov) if kind == b"trak"]
    return tuple(sorted(heads, key=lambda head: not head.is_video))


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment of a film: film times in ns, and the bytes `start <= i < end` of the file in which its samples lie."""

    start_ns: int
    end_ns: int
    start: int
    end: int
    head: bytes
    "`moof` and the header of `mdat`."
    spans: Sequence[tuple[int, int]]
    "Where the samples lie in the file, in the order of the fragment: (from, to)."

    def build(self, data: bytes) -> bytes:
        """The fragment, of the bytes from `start` to `end`."""
        return self.head + b"".join(data[a - self.start : b - self.start] for a, b in self.spans)


class _Track:
    """The tables of one track."""

    def __init__(self, trak: bytes) -> None:
        self.head, self.kind, stbl = _head(trak)
        self.timescale = self.head.timescale
        self.shift = _media_time(trak)
        self.sizes = _sizes(_only(stbl, b"stsz"))
        self.count = len(self.sizes)
        steps = _words(_only(stbl, b"stts"))
        self._step_ticks = steps[1::2]
        self._step_first = array("Q", [0, *accumulate(steps[0::2])])
        self._step_at = array("Q", [0, *accumulate(n * d for n, d in zip(steps[0::2], steps[1::2], strict=True))])
        if self._step_first[-1] != self.count:
            raise ValueError("the tables of the film disagree")
        self._offsets = _offsets_of(_child(stbl, b"ctts"), self.count)
        sync = _child(stbl, b"stss")
        self.sync = None if sync is None else [number - 1 for number in _words(sync)]
        self._chunks(stbl)

    def dts(self, index: int) -> int:
        """When a sample is decoded; of one behind the last, when that ends."""
        row = min(bisect_right(self._step_first, index) - 1, len(self._step_ticks) - 1)
        return int(self._step_at[row] + (index - self._step_first[row]) * self._step_ticks[row])

    def first_at(self, ticks: int) -> int:
        """The first sample that is decoded at or after a moment."""
        row = max(min(bisect_right(self._step_at, ticks) - 1, len(self._step_ticks) - 1), 0)
        if ticks <= 0:
            return 0
        found = self._step_first[row] - (-(ticks - self._step_at[row]) // max(self._step_ticks[row], 1))
        return int(min(found, self.count))

    def pts(self, index: int) -> int:
        """When a sample is presented, in ticks of the film."""
        return self.dts(index) + self.offset(index)

    def offset(self, index: int) -> int:
        """From its decoding to its presentation."""
        return (self._offsets[index] if self._offsets else 0) - self.shift

    def place(self, index: int) -> int:
        """Where a sample lies in the file."""
        chunk = bisect_right(self._chunk_first, index) - 1
        return int(self._chunk_at[chunk] + sum(self.sizes[self._chunk_first[chunk] : index]))

    def spans(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Where the samples `first <= i < last` lie, chunk by chunk."""
        while first < last:
            chunk = bisect_right(self._chunk_first, first) - 1
            following = self._chunk_first[chunk + 1] if chunk + 1 < len(self._chunk_first) else self.count
            until = min(last, following)
            at = self.place(first)
            yield at, at + sum(self.sizes[first:until])
            first = until

    def samples(self, first: int, last: int) -> list[Sample]:
        sync = set() if self.sync is None else set(self.sync[bisect_left(self.sync, first) :][: last - first])
        return [
            Sample(
                self.sizes[index],
                self.dts(index + 1) - self.dts(index),
                (self._offsets[index] if self._offsets else 0) if self.head.is_video else 0,
                self.sync is None or index in sync,
            )
            for index in range(first, last)
        ]

    def _chunks(self, stbl: bytes) -> None:
        wide = _child(stbl, b"co64")
        places = _words(_only(stbl, b"stco")) if wide is None else _longs(wide)
        rows = _words(_only(stbl, b"stsc"))
        firsts, counts = rows[0::3], rows[1::3]
        self._chunk_at = places
        self._chunk_first = array("I")
        sample = 0
        for row, first in enumerate(firsts):
            following = firsts[row + 1] if row + 1 < len(firsts) else len(places) + 1
            if following > len(places) + 1:
                raise ValueError("the tables of the film disagree")
            for _ in range(first, following):
                self._chunk_first.append(sample)
                sample += counts[row]
        if sample != self.count or len(self._chunk_first) != len(places):
            raise ValueError("the tables of the film disagree")


class FilmTable:
    """The index of a film, and its segments. ValueError when it is none of ours, or broken."""

    def __init__(self, moov: bytes) -> None:
        """`moov`: the contents of the box. Takes about half a second for a film of eight hours."""
        try:
            self._read(moov)
        except _BROKEN as exc:
            raise ValueError("the index of the film is broken") from exc

    @property
    def count(self) -> int:
        """How many segments it has."""
        return len(self._starts) - 1

    def times(self, number: int) -> tuple[int, int]:
        """From when to when a segment goes (ns of film)."""
        return self._starts[number], self._starts[number + 1]

    @property
    def weight(self) -> int:
        """About how many bytes the tables take."""
        return sum(track.count for track in self._tracks) * 8 + 16 * len(self._starts)

    def _peak(self) -> int:
        peak = 0
        for number in range(self.count):
            start_ns, end_ns = self.times(number)
            size = sum(sum(track.sizes[a:b]) for track, (a, b) in zip(self._tracks, self._ranges(number), strict=True))
            peak = max(peak, size * 8 * _SECOND_NS // max(end_ns - start_ns, 1))
        return peak

    def piece(self, number: int) -> Piece:
        """One segment. IndexError when there is none of that number; ValueError when the index is broken."""
        if not 0 <= number < self.count:
            raise IndexError(number)
        try:
            return self._piece(number)
        except _BROKEN as exc:
            raise ValueError("the index of the film is broken") from exc

    def _piece(self, number: int) -> Piece:
        tracks: list[FragmentTrack] = []
        spans: list[tuple[int, int]] = []
        for position, (track, (first, last)) in enumerate(zip(self._tracks, self._ranges(number), strict=True), 1):
            if first < last:
                # Of sound, what comes before zero is the priming of the encoder, and left out.
                late = 0 if track.head.is_video else self._late * track.timescale // _SECOND_NS - track.shift
                tracks.append(FragmentTrack(position, track.dts(first) + late, track.samples(first, last)))
                spans += track.spans(first, last)
        head = fragment(number + 1, tracks)
        start_ns, end_ns = self.times(number)
        return Piece(start_ns, end_ns, min(a for a, _ in spans), max(b for _, b in spans), head, spans)

    def _read(self, moov: bytes) -> None:
        tracks = [_Track(trak) for kind, trak in _boxes(moov) if kind == b"trak"]
        self._tracks = sorted((t for t in tracks if t.kind in (b"vide", b"soun")), key=lambda t: not t.head.is_video)
        if not self._tracks or not all(track.count for track in self._tracks):
            raise ValueError("the film has nothing to show")
        self.heads = tuple(track.head for track in self._tracks)
        lead = self._tracks[0]
        self._late = -(-lead.shift * _SECOND_NS // lead.timescale) if lead.head.is_video else 0
        "How much later all is presented than in the film, so that decoding can begin at zero (ns)."
        self._starts = self._cut()
        self.peak_bps = self._peak()
        "The highest rate of a segment."

    def _cut(self) -> list[int]:
        """Where segments begin (ns), and where the last one ends."""
        lead = self._tracks[0]
        sync: Sequence[int] = range(lead.count) if lead.sync is None else lead.sync
        starts = [0]
        for index in sync:
            at = _ns(lead.pts(index), lead.timescale)
            if is_due(at - starts[-1]):
                starts.append(at)
        last = lead.dts(lead.count)
        end = _ns(last if lead.head.is_video else last - lead.shift, lead.timescale)
        if end > starts[-1]:
            starts.append(end)
        return starts

    def _ranges(self, number: int) -> list[tuple[int, int]]:
        """Of each track, the samples of a segment."""
        is_last = number == self.count - 1
        found: list[tuple[int, int]] = []
        for track in self._tracks:
            bounds = []
            for start_ns in self.times(number):
                ticks = -(-start_ns * track.timescale // _SECOND_NS)
                if track.head.is_video and track.sync is not None:
                    bounds.append(self._sync_at(track, start_ns))
                else:
                    bounds.append(track.first_at(ticks + track.shift))
            found.append((bounds[0], track.count if is_last else bounds[1]))
        return found

    def _sync_at(self, track: _Track, start_ns: int) -> int:
        """The key frame with which a segment begins."""
        sync = track.sync or []
        place = bisect_left(sync, start_ns, key=lambda index: _ns(track.pts(index), track.timescale))
        return sync[place] if place < len(sync) else track.count


def _head(trak: bytes) -> tuple[TrackHead, bytes, bytes]:
    """What a track is; its handler, and the contents of its tables."""
    mdia = _only(trak, b"mdia")
    kind = _only(mdia, b"hdlr")[8:12]
    mdhd = _only(mdia, b"mdhd")
    timescale = struct.unpack_from(">I", mdhd, 20 if mdhd[0] else 12)[0]
    width, height = (value >> 16 for value in struct.unpack(">II", _only(trak, b"tkhd")[-8:]))
    stbl = _only(_only(mdia, b"minf"), b"stbl")
    head = TrackHead(kind == b"vide", timescale, _whole(b"stsd", _only(stbl, b"stsd")), width, height)
    return head, kind, stbl


def _ns(ticks: int, timescale: int) -> int:
    return ticks * _SECOND_NS // timescale


def _boxes(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, contents) of the boxes in a container's contents."""
    at = 0
    while at + 8 <= len(body):
        size, kind = struct.unpack_from(">I4s", body, at)
        header = 8
        if size == 1:
            size, header = struct.unpack_from(">Q", body, at + 8)[0], 16
        if size < header or at + size > len(body):
            raise ValueError("the index of the film is broken")
        yield kind, body[at + header : at + size]
        at += size


def _child(body: bytes, kind: bytes) -> bytes | None:
    return next((inner for found, inner in _boxes(body) if found == kind), None)


def _only(body: bytes, kind: bytes) -> bytes:
    found = _child(body, kind)
    if found is None:
        raise ValueError(f"the index of the film has no {kind.decode()}")
    return found


def _whole(kind: bytes, inner: bytes) -> bytes:
    return struct.pack(">I4s", len(inner) + 8, kind) + inner


def _numbers(form: str, data: bytes) -> array[int]:
    found = array(form, data)
    if sys.byteorder == "little":
        found.byteswap()
    return found


def _words(box: bytes) -> array[int]:
    """What a table of 32-bit words holds, behind its version and its count."""
    return _numbers("I", box[8 : 8 + (len(box) - 8) // 4 * 4])


def _longs(box: bytes) -> array[int]:
    return _numbers("Q", box[8 : 8 + (len(box) - 8) // 8 * 8])


def _sizes(box: bytes) -> array[int]:
    """`stsz`: of each sample, or one for all."""
    one, count = struct.unpack_from(">II", box, 4)
    if count > _MOST_SAMPLES:
        raise ValueError("the film has too many samples")
    return array("I", [one]) * count if one else _numbers("I", box[12 : 12 + 4 * count])


def _offsets_of(box: bytes | None, count: int) -> array[int]:
    """`ctts` by sample; empty: none."""
    found = array("i")
    if box is None:
        return found
    rows = _numbers("i", box[8 : 8 + (len(box) - 8) // 8 * 8])
    for number, offset in zip(rows[0::2], rows[1::2], strict=True):
        found.extend([offset] * min(number, count - len(found)))
    if len(found) != count:
        raise ValueError("the tables of the film disagree")
    return found


def _media_time(trak: bytes) -> int:
    """Where in the media the film begins, by the edit list (8.6.6): behind the priming and the reordering."""
    edts = _child(trak, b"edts")
    elst = None if edts is None else _child(edts, b"elst")
    if elst is None:
        return 0
    form, size = (">Qq", 20) if elst[0] else (">Ii", 12)
    for row in range(struct.unpack_from(">I", elst, 4)[0]):
        _, media_time = struct.unpack_from(form, elst, 8 + row * size)
        if media_time >= 0:
            return int(media_time)
    return 0
