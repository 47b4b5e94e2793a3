"""The plan of an upload in parts: which bytes of a film go up under which number, also before the film has an end.

A film grows as `ftyp`, `free`, `mdat`; when it is finished its index goes in front and the media behind it moves by one
distance (`core/mp4index.py`). So the first bytes of the media are held back, what follows them goes up as it is made
under numbers that leave room, and in the end the head and what was held back go up under the lowest numbers. Stores
differ in what they take (`PartRule`). Owns that arithmetic; knows no store and moves no byte.

Two coordinates: *growing*, an offset in the file as it is written, and *finished*, an offset in the film with its index
in front. Finished is growing plus `shift`, for every byte of media.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["LivePlan", "PartRule", "PlannedPart", "aligned_part", "head_align", "head_room", "keeps_room", "plan_whole"]

_MIB = 1 << 20
_PART = 8 * _MIB
_GROWTH = ((1000, 8 * _MIB), (10_000, 16 * _MIB))
"""Parts before this index have this size: memory stays small, and 150 GB fit into 10 000, a day at 14 Mbit/s."""
_ALIGNED_PART = 5 * _MIB
_MOST_PARTS = 10_000
_ROOM_STEP = 4
_ROOM = 32
"""Lower numbers are for the front: with parts of 5 MiB it may have 155, the index of four days."""


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
    """How a film goes up while it grows. The same arguments give the same plan, so a restart finds its parts again.

    Where parts may differ, the media that is held back goes up at once too, as `part(0)` and just large enough to be a
    part: the index of a long film is large enough without it, and nothing of the media has to be read a second time.
    """

    rule: PartRule
    media_at: int
    "Where the media begins, growing."
    part_bytes: int
    "Size of every part where the media moves by whole parts, else of the first ones."
    room: int = 0
    "How far the media will move, where a store must know that from the first part on."

    @classmethod
    def of(cls, rule: PartRule, media_at: int, most_film_bytes: int, room: int = 0) -> LivePlan | None:
        """The plan for a film of at most `most_film_bytes`; None if such a store cannot take it while it grows.

        `room`: what the film says of it (`head_room`), 0 if nothing.
        """
        size = (
            aligned_part(most_film_bytes) if _is_aligned(rule) else min(max(_PART, rule.least_bytes), rule.most_bytes)
        )
        if not rule.least_bytes <= size <= rule.most_bytes or media_at > size or rule.most_parts <= _ROOM:
            return None
        return cls(rule, media_at, size, (room or size) if rule.by_offset else 0)

    @property
    def align(self) -> int:
        """What `shift` must be a multiple of; where a store writes by offset, what it must be."""
        return self.room or (self.part_bytes if _is_aligned(self.rule) else 1)

    @property
    def begin_at(self) -> int:
        """A film that is not longer than this (growing) is better sent when it is finished."""
        return 2 * self.part_bytes if _is_aligned(self.rule) else self.part(1).end

    @property
    def last(self) -> int:
        """The highest index of a part."""
        return self.rule.most_parts - _ROOM

    def part(self, index: int) -> PlannedPart:
        """The part `index` (0, 1, ...) of the media (growing). ValueError beyond the last number."""
        number = _ROOM + index
        if number > self.rule.most_parts:
            raise ValueError(f"the store takes no part {number}")
        if _is_aligned(self.rule):
            return PlannedPart(number, (index + 1) * self.part_bytes, self.part_bytes)
        start, before = self.media_at, 0
        for until, wanted in ((1, self.rule.least_bytes), *_GROWTH):
            size = min(max(wanted, self.rule.least_bytes), self.rule.most_bytes)
            if index < until:
                return PlannedPart(number, start + (index - before) * size, size)
            start, before = start + (until - before) * size, until
        size = min(max(_GROWTH[-1][1], self.rule.least_bytes), self.rule.most_bytes)
        return PlannedPart(number, start + (index - before) * size, size)

    def offset(self, part: PlannedPart) -> int:
        """Where a part that goes up now will be in the finished film, if the store must know."""
        return part.start + self.room

    def finished(self, sent: int, shift: int, film_bytes: int) -> Sequence[PlannedPart] | None:
        """All parts of the finished film, in order (finished coordinates). Those of `part(0)` to `part(sent - 1)` are
        among them, moved by `shift`, but for `part(0)` where the index is too small for a part of its own.

        None if it cannot end so: a front too long for its room, a film too long for the store, or one that is shorter
        than what was sent of it.
        """
        if shift < 0 or shift % self.align or not sent or (self.room and shift != self.room):
            return None
        index = 0
        front, last = self.part(0).start + shift, _ROOM - 1
        if front < self.rule.least_bytes:
            index, front, last = 1, self.part(0).end + shift, _ROOM
        pieces = max(front // self.part_bytes, 1)
        edges = [front * i // pieces for i in range(pieces + 1)]
        if pieces > last or front > film_bytes or any(b - a > self.rule.most_bytes for a, b in pairwise(edges)):
            return None
        parts = [PlannedPart(last - pieces + 1 + i, a, b - a) for i, (a, b) in enumerate(pairwise(edges))]
        while parts[-1].end < film_bytes:
            if _ROOM + index > self.rule.most_parts:
                return None
            part = self.part(index)
            size = min(part.size, film_bytes - part.start - shift)
            if index < sent and size < part.size:
                return None
            parts.append(PlannedPart(part.number, part.start + shift, size))
            index += 1
        return parts if index >= sent else None


def aligned_part(most_film_bytes: int) -> int:
    """Size of the parts of such a film for stores that want them equal, or want to know their place when they come."""
    return max(_ALIGNED_PART, _round_up(-(-most_film_bytes // (_MOST_PARTS - _ROOM)), _MIB))


def head_align(rules: Iterable[PartRule], most_film_bytes: int) -> int:
    """What the media of a film that goes to stores of these rules has to move by (`media/place.py`)."""
    return aligned_part(most_film_bytes) if any(_is_aligned(rule) for rule in rules) else 1


def keeps_room(rules: Iterable[PartRule]) -> bool:
    """Whether one of the stores must know how far the media moves while the film grows."""
    return any(rule.by_offset for rule in rules)


def head_room(index_bytes: int, align: int) -> int:
    """How far the media of a film moves whose index may be so long by now: few steps, each far from the last one,
    since what is up has to be sent anew with each."""
    room = align
    while room < index_bytes:
        room *= _ROOM_STEP
    return room


def _is_aligned(rule: PartRule) -> bool:
    return rule.equal or rule.by_offset


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
