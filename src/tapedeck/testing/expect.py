"""What a finished film must hold: who sent what when, on the shared clock, and which spans of that clock were recorded.

Owns the words in which an expectation is put and the bars of design 12. Refuses to look at any film: `check` does.
"""

from __future__ import annotations

from dataclasses import dataclass

from tapedeck.sources.synthetic import Look

__all__ = ["Attendance", "Bars", "Edge", "Expectation", "Interval", "Recorded"]

_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """`start_ns <= t < end_ns` on the shared clock."""

    start_ns: int
    end_ns: int

    def covers(self, start_ns: int, end_ns: int, margin_ns: int = 0) -> bool:
        return self.start_ns + margin_ns <= start_ns and end_ns <= self.end_ns - margin_ns


@dataclass(frozen=True, slots=True)
class Attendance:
    """What one person really sent, from the first to the last frame of each stretch."""

    look: Look
    camera: tuple[Interval, ...] = ()
    microphone: tuple[Interval, ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """An instant known to lie between two: an API call was made at `earliest_ns` and answered at `latest_ns`.

    Both are equal where the media log tells it exactly.
    """

    earliest_ns: int
    latest_ns: int

    @property
    def middle_ns(self) -> int:
        return (self.earliest_ns + self.latest_ns) // 2

    def miss_ns(self, at_ns: int) -> int:
        """How far outside an instant lies; 0 inside."""
        return max(self.earliest_ns - at_ns, at_ns - self.latest_ns, 0)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One span of the shared clock that must be in the film, all of it and nothing around it."""

    start: Edge
    end: Edge


@dataclass(frozen=True, slots=True)
class Bars:
    """What a film must reach. The defaults are design 12's for a network without loss."""

    av_p95_ns: int = 20 * _MS
    presence: float = 0.99
    "Use 0.97 at 5 % loss."
    opening_ns: int = 300 * _MS
    "From where a span begins (or from a person's first picture in it) until they are seen: a key frame is asked for."
    way_ns: int = 10 * _MS
    "What the way from sender to recorder may add to where the film begins, is cut and ends, besides one picture."
    in_step: bool = False
    "Its cuts are at the pictures of another film: each pause may then leave up to a picture in it (`core/steps.py`)."
    skew_ns: int = 50 * _MS
    "Between people: ours, the design names none."
    fresh_ns: int = 100 * _MS
    "A picture older or newer than this is a frozen or wrong one and is not presence."
    linger_ns: int = 2_000 * _MS
    "How long a last picture may stay after its camera stopped (a receiver waits for packets); no new one may come."
    strange: float = 0.03


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a film must hold. `people` are in the order in which they joined."""

    people: tuple[Attendance, ...]
    recorded: tuple[Recorded, ...]
    bars: Bars = Bars()
    in_order: bool = True
    "Tiles must stand in the order of `people`, row by row."
    in_place: bool = True
    "No two people may change places. False for layouts in which who speaks moves."
