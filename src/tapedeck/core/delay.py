"""The least delay of a track: how far arrivals lie behind media time when the network was at its best.

Owns the minimum-delay filter: the lower envelope of `arrival - media time` over a sliding window, which falls at once
and rises no faster than real clocks drift, so that jitter, queues and retransmissions do not move a film. Two forms:
the exact one, which depends on what arrived and never on the order or the calls in which it was fed, and a cheap one
for capture. Refuses sender reports and everything else that makes a capture time of it (`core/sync.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

__all__ = [
    "BIN_NS",
    "EVIDENCE_BINS",
    "FREEZE_NS",
    "DelayFloor",
    "RecentDelay",
    "rise",
    "slipped",
    "stood_still",
]

FREEZE_NS = 400_000_000
"""Shortest silence after which it is asked whether the track's clock stood still meanwhile."""

BIN_NS = 250_000_000
"""Arrivals are kept as one minimum per so much time."""

EVIDENCE_BINS = 3
"""A clock that stood still must show it in this many of the first four quarters of a second."""

_BEFORE_SLIP_NS = 2_000_000_000
"""What delays were before a gap is told from so much time at most."""

_SLIP_NS = 20_000_000
"""So much more must a track be late after a gap than another track of the peer."""

_WINDOW_BINS = 60
"""15 s: longer than a burst of congestion lasts, short enough that 100 ppm of drift costs 1.5 ms."""

_RECENT_BINS = 20
_RISE_PPM = 500
"""Oscillators are within 100 ppm, cheap sound cards within 300: a faster rise is a queue, not a clock."""

_FAR_NS = 100_000_000
_FAR_RISE_PPM = 2_000
"""A rise that stayed for the whole window and is this large may be a new path, or a bad clock: followed faster."""


def rise(value_ns: int, least_ns: int, elapsed_ns: int, ppm: int) -> int:
    """The envelope `elapsed_ns` after it was at `value_ns`: `least_ns` if that is lower, else on its way up to it."""
    if least_ns - value_ns > _FAR_NS:
        ppm = _FAR_RISE_PPM
    return min(least_ns, value_ns + elapsed_ns * ppm // 1_000_000)


def stood_still(moved_ns: int, silence_ns: int) -> bool:
    """Whether a delay that rose by `moved_ns` for a second after a silence tells of a clock that stood still in it.

    A network that stood still catches up within that second, and the delay is what it was.
    """
    return moved_ns > silence_ns - max(60_000_000, silence_ns // 8)


class DelayFloor:
    """Lower envelope of one track's delays, exact. `observe` in any order, `advance` in steps of whole bins."""

    def __init__(self, delay_ns: int) -> None:
        """`delay_ns`: the first frame's, to start with."""
        self.value_ns = delay_ns
        "The envelope at the last `advance`."
        self.least_ns = delay_ns
        "The least delay of the window at the last `advance`."
        self._bins: dict[int, int] = {}
        self._next_bin: int | None = None
        self._window: deque[tuple[int, int]] = deque()
        self._recent: deque[tuple[int, int]] = deque(maxlen=_RECENT_BINS)
        self._value_bin: int | None = None

    def observe(self, arrival_ns: int, delay_ns: int) -> None:
        """One frame. What arrived before the last `advance` is ignored."""
        index = arrival_ns // BIN_NS
        least = self._bins.get(index)
        if least is None:
            if self._next_bin is None or index >= self._next_bin:
                self._bins[index] = delay_ns
        elif delay_ns < least:
            self._bins[index] = delay_ns

    def new_before(self, until_ns: int) -> list[int]:
        """Least delays not yet taken in, one per BIN_NS with arrivals, before `until_ns` (a multiple of BIN_NS)."""
        until = until_ns // BIN_NS
        return [delay for index, delay in self._bins.items() if index < until]

    def recent(self, from_ns: int, until_ns: int) -> list[int]:
        """Least delays per BIN_NS with arrivals, of the bins that lie in that time: up to 5 s before the last
        `advance`, and what was observed since."""
        first, until = -(-from_ns // BIN_NS), until_ns // BIN_NS
        return [delay for index, delay in (*self._recent, *self._bins.items()) if first <= index < until]

    def inherit(self, earlier: DelayFloor) -> None:
        """Go on where another envelope of the same clock ended; call before the first `advance`."""
        self.value_ns = earlier.value_ns
        self.least_ns = earlier.least_ns
        self._value_bin = earlier._value_bin
        self._window = deque(earlier._window)
        self._recent = deque(earlier._recent, maxlen=_RECENT_BINS)
        for index, delay in earlier._bins.items():
            self._bins[index] = min(delay, self._bins.get(index, delay))

    def advance(self, until_ns: int) -> None:
        """Take in everything that arrived before `until_ns` (a multiple of BIN_NS)."""
        until = until_ns // BIN_NS
        first = self._next_bin
        if first is None:
            first = min(self._bins, default=until)
        window = self._window
        for index in range(first, until):
            delay = self._bins.pop(index, None)
            if delay is not None:
                while window and window[-1][1] >= delay:
                    window.pop()
                window.append((index, delay))
                self._recent.append((index, delay))
        self._next_bin = until
        while window and window[0][0] < until - _WINDOW_BINS:
            window.popleft()
        if not window:
            return
        self.least_ns = window[0][1]
        if self._value_bin is None:
            self.value_ns = self.least_ns
        else:
            elapsed = (until - self._value_bin) * BIN_NS
            self.value_ns = rise(self.value_ns, self.least_ns, elapsed, _RISE_PPM)
        self._value_bin = until


def slipped(
    before: DelayFloor, fresh: list[int], witnesses: Iterable[DelayFloor], from_ns: int, gap_ns: int, until_ns: int
) -> int:
    """By how many ns a track is later since a gap in its arrivals, if another track of its peer is not; else 0.

    The gap is from `from_ns` to `gap_ns`. `before` is the track's floor until then, `fresh` its least delays per bin
    since: all of these must be later than any of those before, for jitter is no loss. A network that stood still
    catches up, or delays all tracks of a connection; only a witness tells that from a sound card that stood still.
    """
    since_ns = from_ns - _BEFORE_SLIP_NS
    earlier = before.recent(since_ns, until_ns)
    if not earlier or len(fresh) < EVIDENCE_BINS or min(fresh) - max(earlier) <= _SLIP_NS:
        return 0
    moved = min(fresh) - min(earlier)
    for witness in witnesses:
        old, new = witness.recent(since_ns, gap_ns), witness.recent(gap_ns, until_ns)
        if old and new and moved - (min(new) - min(old)) > _SLIP_NS:
            return moved
    return 0


class RecentDelay:
    """Least delay of the last 10 to 20 s, for deciding at once: a few comparisons per frame, no memory.

    Until packets with little delay were seen it is too late, never too early: capture uses it to tell what was captured
    before a command, and an error towards "later" keeps nothing that was not to be kept.
    """

    __slots__ = ("_arrival_ns", "_current_ns", "_glitch_ns", "_last_ns", "_probe", "_turn_ns", "value_ns")

    TURN_NS = 10_000_000_000
    JUMP_NS = 3_000_000_000
    "No packet is that late for long, and none that early: the track's clock was reset."
    PROBE_NS = 1_000_000_000

    def __init__(self) -> None:
        self.value_ns = 0
        "The least delay; 0 before the first observation."
        self._current_ns: int | None = None
        self._last_ns = 0
        self._turn_ns = 0
        self._arrival_ns = 0
        self._glitch_ns: int | None = None
        self._probe: tuple[int, int, int] | None = None
        "End of looking, silence and least delay since, while the clock may have been reset or stood still."

    def observe(self, arrival_ns: int, delay_ns: int) -> int:
        """One frame, in order; returns the least delay including it."""
        current = self._current_ns
        if current is None:
            return self._restart(arrival_ns, delay_ns)
        above = delay_ns - self.value_ns
        if above < -self.JUMP_NS:
            return self._fall(arrival_ns, delay_ns)
        if self._probe is not None or above > FREEZE_NS:
            least = self._look(arrival_ns, delay_ns, above)
            if least is not None:
                return self._restart(arrival_ns, least)
        self._arrival_ns = arrival_ns
        if delay_ns < current:
            self._current_ns = current = delay_ns
            if above < 0:
                self.value_ns = delay_ns
        if arrival_ns >= self._turn_ns:
            self._last_ns = current
            self._current_ns = delay_ns
            self._turn_ns = arrival_ns + self.TURN_NS
            self.value_ns = current
        return self.value_ns

    def _restart(self, arrival_ns: int, delay_ns: int) -> int:
        self.value_ns = self._current_ns = self._last_ns = delay_ns
        self._turn_ns = arrival_ns + self.TURN_NS
        self._arrival_ns = arrival_ns
        self._glitch_ns = self._probe = None
        return delay_ns

    def _fall(self, arrival_ns: int, delay_ns: int) -> int:
        """A clock that is far ahead was reset if the next frame says so too; a single frame counts as just captured."""
        if self._glitch_ns is not None and abs(delay_ns - self._glitch_ns) < FREEZE_NS:
            return self._restart(arrival_ns, delay_ns)
        self._glitch_ns = delay_ns
        return delay_ns

    def _look(self, arrival_ns: int, delay_ns: int, above_ns: int) -> int | None:
        """Whether the clock was reset, or stood still in a silence: the delay since, once that is certain.

        A network that stood still catches up within a second; a clock that was reset does not.
        """
        if self._probe is None:
            silence = arrival_ns - self._arrival_ns
            if above_ns > self.JUMP_NS or (silence > FREEZE_NS and above_ns > silence // 2):
                self._probe = (arrival_ns + self.PROBE_NS, silence, delay_ns)
            return None
        until, silence, least = self._probe
        least = min(least, delay_ns)
        if arrival_ns - self._arrival_ns > FREEZE_NS:
            until = arrival_ns + self.PROBE_NS  # silent again: nothing is certain yet
        self._probe = (until, silence, least)
        if arrival_ns < until:
            return None
        self._probe = None
        moved = least - self.value_ns
        stood = silence > FREEZE_NS and stood_still(moved, silence)
        return least if stood or moved > self.JUMP_NS else None
