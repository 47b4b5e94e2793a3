"""The plan of an upload in parts: which bytes of a film go up under which number, also before the film has an end.

A film grows as `ftyp`, `free`, `mdat`; when it is finished its index goes in front and the media behind it moves by one
distance (`core/mp4index.py`). So the first bytes of the media are held back, what follows them goes up as it is made
under numbers that leave room, and in the end the head and what was held back go up under the lowest numbers. Stores
differ in what they take (`PartRule`). Owns that arithmetic; knows no store and moves no byte.

Two coordinates: *growing*, an offset in the file as it is written, and *finished*, an offset in the film with its index
in front. Finished is growing plus `shift`, for every byte of media.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["LivePlan", "PartRule", "PlannedPart", "plan_whole"]

_MIB = 1 << 20
_PART = 8 * _MIB
_GROWTH = ((1000, 8 * _MIB), (4000, 16 * _MIB), (10_000, 32 * _MIB))
"""Parts before this index have this size: little is lost when one fails early, and a day of 4K fits into 10 000."""
_ROOM = 16
"""Numbers kept free for the front where parts may differ: 128 MiB of it, the index of two days."""
_EQUAL_ROOM = 32
"""Where they may not, and are 5 MiB: 160 MiB."""


@dataclass(frozen=True, slots=True)
class PartRule:
    """What a store wants of parts: sizes in bytes (the last may be smaller), how many, and whether all of one size."""

    least_bytes: int
    most_bytes: int
    most_parts: int
    equal: bool
    by_offset: bool = False
    "The store writes each part at its `offset` at once, so it must be the final one; elsewhere numbers give the order."


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """`size` bytes from `start`, under `number` (1 and up)."""

    number: int
    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class LivePlan:
    """How a film goes up while it grows. The same arguments give the same plan, so a restart finds its parts again."""

    rule: PartRule
    media_at: int
    "Where the media begins, growing."
    part_bytes: int
    "Size of every part where they are equal, else of the first ones."

    @classmethod
    def of(cls, rule: PartRule, media_at: int, most_film_bytes: int) -> LivePlan | None:
        """The plan for a film of at most `most_film_bytes`; None if such a store cannot take it while it grows."""
        if not rule.equal:
            size = min(max(_PART, rule.least_bytes), rule.most_bytes)
        else:
            parts = rule.most_parts - _EQUAL_ROOM
            if parts <= 0:
                return None
            size = max(rule.least_bytes, _round_up(-(-most_film_bytes // parts), _MIB))
        plan = cls(rule, media_at, size)
        fits = rule.least_bytes <= size <= rule.most_bytes and media_at <= size and rule.most_parts > plan.room
        return plan if fits else None

    @property
    def room(self) -> int:
        """Numbers kept free for the front."""
        return _EQUAL_ROOM if self.rule.equal else _ROOM

    @property
    def align(self) -> int:
        """What `shift` must be a multiple of."""
        return self.part_bytes if self.rule.equal else 1

    @property
    def held_until(self) -> int:
        """Media before this is held back (growing)."""
        return self.part_bytes if self.rule.equal else self.media_at + self.rule.least_bytes

    def part(self, index: int) -> PlannedPart:
        """The part `index` (0, 1, ...) of what is not held back (growing). ValueError beyond the last number."""
        number = self.room + 1 + index
        if number > self.rule.most_parts:
            raise ValueError(f"the store takes no part {number}")
        if self.rule.equal:
            return PlannedPart(number, self.held_until + index * self.part_bytes, self.part_bytes)
        start, before = self.held_until, 0
        for until, size in _GROWTH:
            if index < until or until == _GROWTH[-1][0]:
                return PlannedPart(number, start + (index - before) * self._allowed(size), self._allowed(size))
            start, before = start + (until - before) * self._allowed(size), until
        raise AssertionError("unreachable")

    def finished(self, sent: int, shift: int, film_bytes: int) -> Sequence[PlannedPart] | None:
        """All parts of the finished film, in order (finished coordinates); those of `part(0)` to `part(sent - 1)` among
        them, moved by `shift`. None if it cannot end so: the front is too long for its room, or the film for the store.
        """
        front = self.held_until + shift
        if shift < 0 or shift % self.align or not sent or front > film_bytes:
            return None
        if self.rule.equal:
            pieces = front // self.part_bytes
        else:
            pieces = max(front // self.part_bytes, 1)
        if pieces > self.room:
            return None
        edges = [front * i // pieces for i in range(pieces + 1)]
        if any(b - a > self.rule.most_bytes for a, b in pairwise(edges)):
            return None
        parts = [PlannedPart(self.room - pieces + 1 + i, edges[i], edges[i + 1] - edges[i]) for i in range(pieces)]
        index = 0
        while parts[-1].end < film_bytes:
            if self.room + 1 + index > self.rule.most_parts:
                return None
            part = self.part(index)
            start = part.start + shift
            size = min(part.size, film_bytes - start)
            if index < sent and size < part.size:
                return None  # the film is shorter than what was sent of it
            parts.append(PlannedPart(part.number, start, size))
            index += 1
        return parts if index >= sent else None

    def _allowed(self, size: int) -> int:
        return min(max(size, self.rule.least_bytes), self.rule.most_bytes)


def plan_whole(rule: PartRule, film_bytes: int) -> Sequence[PlannedPart]:
    """The parts of a film that is finished. ValueError if it is too large for the store."""
    size = min(max(_PART, rule.least_bytes), rule.most_bytes)
    size = max(size, _round_up(-(-film_bytes // rule.most_parts), _MIB))
    if size > rule.most_bytes:
        raise ValueError(f"the store takes {rule.most_parts} parts of {rule.most_bytes} bytes at most")
    starts = range(0, max(film_bytes, 1), size)
    return [PlannedPart(i + 1, start, min(size, film_bytes - start)) for i, start in enumerate(starts)]


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
