"""The sound of a film: packets of all tracks in, the mix out, sample by sample on the film's clock.

Owns where each packet's samples go. A packet follows the last one without a seam while their times agree; a clock that
drifts against the film's is followed by making single packets some samples longer or shorter, a gap by concealment that
dies away within 60 ms, and a cut by trimming to the sample. Refuses to know meetings, pauses or logs: the caller maps
capture time to film time. Nothing here depends on the sizes of the calls, only on what was fed: a film rendered live
and one rendered later have the same samples.
"""

from __future__ import annotations

from bisect import insort
from collections import deque

import numpy as np
from numpy.typing import NDArray

from tapedeck.core.errors import MediaError
from tapedeck.media.sound import OPUS_LOOKAHEAD, SAMPLE_RATE, Limiter, OpusDecoder, opus_samples, stretch

__all__ = ["AudioMixer"]

_PER_SAMPLE = 1_000_000
"Film times are compared in millionths of a sample: 48 of them are a nanosecond, so nothing is rounded."
_SCALE = SAMPLE_RATE * _PER_SAMPLE // 1_000_000_000

_GAP_NS = 2_400_000
"Packets whose times are further apart than their length by this much are not neighbours (an Opus frame has 2.5 ms)."
_LATE = 4 * SAMPLE_RATE // 1000
"Samples: a packet that belongs this much after the end of the last is put there, with concealment in between."
_EARLY = 40 * SAMPLE_RATE // 1000
"Samples: a packet that belongs this much before the end of the last is dropped; up to there sound is shortened."
_CONCEAL = 60 * SAMPLE_RATE // 1000
_CONCEAL_FULL = 20 * SAMPLE_RATE // 1000
"Samples: concealment is heard at full level this long, and not at all after _CONCEAL."
_FADE = 3 * SAMPLE_RATE // 1000
_SLACK = 2
"Samples: sound that is nearer to its place than this (42 us) is left alone, and so passes bit by bit."
_SPEED = 45
"""A packet is changed by at most one part in this many. `core.sync` moves a track by 2 % at the fastest; sound must
follow that as closely as pictures do, or the two part while a track is being moved."""

Block = NDArray[np.float32]

_RISE: Block = (np.arange(_FADE) / _FADE).astype(np.float32)[:, None]
_FALL: Block = np.float32(1) - _RISE
_DYING: Block = np.clip((_CONCEAL - np.arange(_CONCEAL)) / (_CONCEAL - _CONCEAL_FULL), 0, 1).astype(np.float32)[:, None]


class AudioMixer:
    """Mixes Opus tracks into 48 kHz stereo. Not thread-safe."""

    LOOKAHEAD_NS = 20_000_000
    """What happens up to this long after the end of the next `mix` must be fed, and cut, before that call. What leads
    in to a span may come later, as long as no more than the span before it was asked for."""

    def __init__(self, first: int = 0) -> None:
        """`first`: number of the sample that it begins with; nothing is heard before it."""
        self._tracks: dict[str, _Track] = {}
        self._order: list[str] = []
        "Sums of floats depend on their order, and the order of feeding on the caller: so tracks go by name."
        self._limiter = Limiter()
        self._floor = first
        self._cuts: deque[int] = deque([first])
        self._summed = first
        self._ready = np.zeros((0, 2), np.float32)
        self._position = first

    @property
    def position_ns(self) -> int:
        """Film time of the next sample that `mix` returns, rounded down."""
        return self._position * 1_000_000_000 // SAMPLE_RATE

    def feed(self, track_id: str, film_ns: int, payload: bytes) -> None:
        """Place one Opus packet whose media time maps to `film_ns`; the packets of a track in order.

        `film_ns` may lie before the current span, even below zero, and the packet may reach beyond its end: what is
        outside is trimmed to the sample. A broken packet counts as lost.
        """
        track = self._tracks.get(track_id)
        if track is None:
            track = self._tracks[track_id] = _Track(self._floor)
            insort(self._order, track_id)
        track.feed(film_ns, payload)

    def cut(self, film_ns: int) -> None:
        """The film is cut here (pause, outage, end): what was fed so far ends here, what is fed later starts here."""
        at = film_ns * SAMPLE_RATE // 1_000_000_000
        for track in self._tracks.values():
            track.cut(at)
        self._floor = at
        self._cuts.append(at)

    def begin(self, film_ns: int) -> None:
        """What is fed from now on does not start before this; after the last cut it is silent until then."""
        if film_ns * SAMPLE_RATE // 1_000_000_000 > self._floor:
            self.cut(film_ns)

    def close(self, track_id: str) -> None:
        """No further packet of the track will come; what was fed is still heard. Unknown tracks are ignored."""
        track = self._tracks.get(track_id)
        if track is not None:
            track.closed = True

    def mix(self, n_samples: int) -> NDArray[np.float32]:
        """The next samples of the film, shape (2, n_samples), contiguous, within -1 dBFS."""
        missing = n_samples - len(self._ready)
        if missing > 0:
            block = Limiter.BLOCK
            behind = self._summed - self._position - len(self._ready)  # one block inside the limiter, once it runs
            count = -(-missing // block) * block + (0 if behind else block)
            self._ready = np.concatenate((self._ready, self._limiter.push(self._sum(count))))
        mixed = np.ascontiguousarray(self._ready[:n_samples].T)
        self._ready = self._ready[n_samples:]
        self._position += n_samples
        return mixed

    def _sum(self, count: int) -> Block:
        """The next `count` samples of all tracks together, faded where the film is cut."""
        start, end = self._summed, self._summed + count
        total = np.zeros((count, 2), np.float32)
        for track_id in tuple(self._order):
            track = self._tracks[track_id]
            track.add(total, start)
            if track.closed and track.is_silent(end):
                del self._tracks[track_id]
                self._order.remove(track_id)
        for at in self._cuts:
            _fade_around(total, at - start)
        while self._cuts and self._cuts[0] + _FADE <= end:
            self._cuts.popleft()
        self._summed = end
        return total


class _Track:
    """One track's samples on the line of the film."""

    def __init__(self, floor: int) -> None:
        self.closed = False
        self._decoder = OpusDecoder()
        self._pieces: deque[tuple[int, Block]] = deque()
        self._floor = floor
        self._end: int | None = None
        "Where decoded sound ends; None when nothing was placed since the last cut."
        self._due_ns = 0
        "Film time at which the next packet starts if nothing is missing."
        self._concealed = np.zeros((0, 2), np.float32)
        "What stands in for missing sound from `_end` on, as far as it was needed."

    def feed(self, film_ns: int, payload: bytes) -> None:
        try:
            count = opus_samples(payload)
            self._take(film_ns, payload, count)
        except (ValueError, MediaError):
            return  # lost: what comes next finds the gap
        self._due_ns = film_ns + count * 1_000_000_000 // SAMPLE_RATE

    def _take(self, film_ns: int, payload: bytes, count: int) -> None:
        target = film_ns * _SCALE - OPUS_LOOKAHEAD * _PER_SAMPLE
        if self._end is None:
            at = (target + _PER_SAMPLE // 2) // _PER_SAMPLE
            self._place(at, _risen(self._decoder.decode(payload)))
            return
        jump_ns = film_ns - self._due_ns
        error = (target - self._end * _PER_SAMPLE) / _PER_SAMPLE
        if error < -_EARLY:
            self._skip(payload)
        elif error > 0 and (jump_ns >= _GAP_NS or error > _LATE):
            self._join(payload, round(error))
        elif abs(jump_ns) >= _GAP_NS or len(self._concealed):
            self._join(payload, 0)
        else:
            most = max(1, count // _SPEED)
            by = max(-most, min(most, int(error))) if abs(error) >= _SLACK else 0
            self._place(self._end, stretch(self._decoder.decode(payload), by))

    def _join(self, payload: bytes, gap: int) -> None:
        """Place a packet `gap` samples after the end of what there is, with something in between and no click."""
        assert self._end is not None
        at = self._end + gap
        seamless = 0 < gap <= _CONCEAL_FULL and gap % self._decoder.frame_samples == 0
        self._conceal_to(at if seamless else at + _FADE)
        bridge, rest = self._concealed[:gap], self._concealed[gap:]
        samples = self._decoder.decode(payload)
        if not seamless:
            samples = _risen(samples)
            length = min(len(rest), len(samples), _FADE)
            samples[:length] += rest[:length] * _FALL[:length]
        self._place(self._end, bridge)
        self._place(at, samples)

    def _skip(self, payload: bytes) -> None:
        """Drop a packet whose place is taken (the clock went back); what was placed will fade out with its start."""
        samples = self._decoder.decode(payload)
        if not len(self._concealed):
            self._concealed = samples[:_FADE]

    def _place(self, at: int, block: Block) -> None:
        self._end = at + len(block)
        self._concealed = self._concealed[:0]
        if at < self._floor:
            at, block = self._floor, block[self._floor - at :]
        if len(block):
            self._pieces.append((at, block))

    def _conceal_to(self, until: int) -> None:
        """Have concealment up to `until`, or as far as it goes. As often as the gap is long, whoever asks when."""
        assert self._end is not None
        while self._end + len(self._concealed) < until and len(self._concealed) < _CONCEAL:
            level = _DYING[len(self._concealed) : len(self._concealed) + self._decoder.frame_samples]
            self._concealed = np.concatenate((self._concealed, self._decoder.conceal()[: len(level)] * level))

    def cut(self, at: int) -> None:
        if self._end is not None and self._end < at:
            self._conceal_to(at)
            self._place(self._end, self._concealed[: at - self._end])
        kept: deque[tuple[int, Block]] = deque()
        for start, block in self._pieces:
            if start < at:
                kept.append((start, block[: at - start]))
        self._pieces = kept
        self._floor, self._end = at, None
        self._concealed = self._concealed[:0]
        self._decoder.reset()

    def add(self, total: Block, start: int) -> None:
        """Add what lies at `start` and after to `total`; what was added before `start + len(total)` is forgotten."""
        end = start + len(total)
        for at, block in self._pieces:
            if at >= end:
                break
            _add(total, start, at, block)
        while self._pieces and self._pieces[0][0] + len(self._pieces[0][1]) <= end:
            self._pieces.popleft()
        # Before the floor lies another span, which may be asked for while what leads in to this one still comes:
        # nothing is known to be missing then, and nothing that stands in for it belongs there.
        if self._end is not None and self._end < end and self._floor < end:
            self._conceal_to(end)
            first = max(self._end, self._floor)
            _add(total, start, first, self._concealed[first - self._end :])

    def is_silent(self, at: int) -> bool:
        """Nothing that was fed is heard at `at` or after."""
        return not self._pieces and (self._end is None or self._end + _CONCEAL <= at)


def _risen(samples: Block) -> Block:
    """A copy that starts from silence."""
    risen = samples.copy()
    length = min(_FADE, len(risen))
    risen[:length] *= _RISE[:length]
    return risen


def _add(total: Block, start: int, at: int, block: Block) -> None:
    """Add to `total`, which begins at `start`, what of `block` at `at` lies inside it."""
    first, last = max(at, start), min(at + len(block), start + len(total))
    if first < last:
        total[first - start : last - start] += block[first - at : last - at]


def _fade_around(total: Block, at: int) -> None:
    """Let `total` fall silent before its sample `at` and rise after it, as far as that is inside."""
    for ramp, begin in ((_FALL, at - _FADE), (_RISE, at)):
        first, last = max(begin, 0), min(begin + _FADE, len(total))
        if first < last:
            total[first:last] *= ramp[first - begin : last - begin]
