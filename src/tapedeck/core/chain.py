"""A stretch of a track's media with one clock: where its frames are on the capture clock.

Owns the knots of the mapping and what lies between and beyond them. Refuses why a knot is where it is (`core/sync.py`).
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

from tapedeck.core.delay import BIN_NS, DelayFloor

__all__ = ["KNOT_NS", "SILENCE_NS", "Chain"]

KNOT_NS = 4 * BIN_NS
"""One knot per so much capture time."""

SILENCE_NS = 5_000_000_000
"""After so long without a frame a track's chain ends; the next frame begins another."""


@dataclass(slots=True)
class Chain:
    """A stretch of one track's media with one clock and without long silence."""

    start_ns: int
    "Arrival of its first frame."
    holds_from_ns: int
    "Arrival from which frames are placed by it: earlier than its start once it goes on with the chain before."
    first_x: int
    "Media time of the first frame in ns."
    suspected: bool
    "The clock may have been reset before it: decided at the first knot."
    frozen_ns: int
    "Silence before it during which the clock stood still or was slower, if that is the suspicion."
    slip: bool
    "The suspicion is that the sender lost sound in a gap before it: its media times go on."
    first_knot_ns: int
    floor: DelayFloor
    xs: list[int] = field(default_factory=list)
    "Media time of the knots in ns, rising."
    ats: list[int] = field(default_factory=list)
    "Capture time of the knots, rising."
    offset_ns: int = 0
    "Capture time minus media time at the last knot."
    last_arrival_ns: int = 0
    last_x: int = 0
    least_at_ns: int = 0
    "Where the chain before this one ended on the capture clock: nothing is placed before it."
    ended_ns: int | None = None
    "Arrival from which the next chain takes over."

    @property
    def next_knot_ns(self) -> int:
        """Capture time of the knot to be made next."""
        return self.ats[-1] + KNOT_NS if self.ats else self.first_knot_ns

    @property
    def until_ns(self) -> int:
        """Knots are made up to here; there is at least one."""
        until = self.last_arrival_ns + SILENCE_NS
        return max(self.first_knot_ns, until if self.ended_ns is None else min(until, self.ended_ns))

    def at(self, x: int) -> int:
        """Capture time of a media time, straight on beyond the ends."""
        xs, ats = self.xs, self.ats
        index = bisect.bisect_right(xs, x)
        if index == 0:
            return ats[0] + x - xs[0]
        if index == len(xs):
            return ats[-1] + x - xs[-1]
        x0, at0 = xs[index - 1], ats[index - 1]
        return at0 + (x - x0) * (ats[index] - at0) // (xs[index] - x0)

    def go_on(self, before: Chain, final_ns: int) -> None:
        """Nothing happened before it: take over what `before` places. Call it before the first knot.

        What `before` placed before `final_ns`, straight on beyond its last knot, is final: there it ends with a knot.
        """
        self.xs, self.ats = before.xs, before.ats
        further_ns = max(before.at(before.last_x), final_ns) - self.ats[-1]
        if further_ns > 0:
            self.xs.append(self.xs[-1] + further_ns)
            self.ats.append(self.ats[-1] + further_ns)
        self.holds_from_ns, self.first_x, self.slip = before.holds_from_ns, before.first_x, before.slip
