"""Who gets a tile, and in which order.

Shared screens come first, then people in the order in which they first joined, so that nobody's tile moves because
somebody else speaks. Beyond the limit, those who do not fit stand behind one "+N" tile; whoever speaks is brought in
for the one who has been silent longest. Refuses to know where tiles go (`core/layouts.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tapedeck.core.layouts import MAX_TILES

__all__ = ["Person", "Screen", "Tile", "TileKind", "choose"]


class TileKind(StrEnum):
    """What a tile shows."""

    PERSON = "person"
    SCREEN = "screen"
    MORE = "more"


@dataclass(frozen=True, slots=True)
class Person:
    """A participant who is present."""

    participant_id: str
    name: str
    camera: str | None
    "Track of the camera; None when it is off."
    speaking: bool = False
    spoke_ns: int = -1
    "When they last spoke; -1 for never."


@dataclass(frozen=True, slots=True)
class Screen:
    """A shared screen."""

    participant_id: str
    name: str
    track_id: str


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile of a scene. Tiles of different scenes with the same `key` show the same thing."""

    kind: TileKind
    key: str
    label: str
    participant_id: str = ""
    track_id: str | None = None
    "Video track; None for a camera that is off."
    speaking: bool = False


def choose(
    people: Sequence[Person],
    screens: Sequence[Screen],
    seated: frozenset[str] = frozenset(),
    limit: int = MAX_TILES,
) -> tuple[Tile, ...]:
    """The tiles, at most `limit`. `people` and `screens` are in order; `seated` had a tile in the scene before."""
    tiles = [
        Tile(TileKind.SCREEN, f"screen:{s.track_id}", _screen_label(s.name), s.participant_id, s.track_id)
        for s in screens[: max(1, limit // 3) if people else limit]
    ]
    room = limit - len(tiles)
    keep = {p.participant_id for p in people} if len(people) <= room else _seats(people, seated, room - 1)
    tiles += [
        Tile(TileKind.PERSON, f"person:{p.participant_id}", p.name, p.participant_id, p.camera, p.speaking)
        for p in people
        if p.participant_id in keep
    ]
    hidden = len(people) - len(keep)
    if hidden and len(tiles) < limit:
        tiles.append(Tile(TileKind.MORE, "more", f"+{hidden}"))
    return tuple(tiles)


def _screen_label(name: str) -> str:
    return f"{name}'s screen" if name else "Screen"


def _seats(people: Sequence[Person], seated: frozenset[str], room: int) -> set[str]:
    """Who of `people` sits in the front when there is `room` for fewer than all."""
    front = [p for p in people if p.participant_id in seated][: max(room, 0)]
    front += [p for p in people if p.participant_id not in seated][: max(room - len(front), 0)]
    inside = {p.participant_id for p in front}
    for person in people:
        if not person.speaking or person.participant_id in inside:
            continue
        silent = [p for p in front if not p.speaking]
        if not silent:
            break
        leaver = min(silent, key=lambda p: (p.spoke_ns, -people.index(p)))
        front[front.index(leaver)] = person
        inside = {p.participant_id for p in front}
    return inside
