"""Who gets a tile, and in which order.

Shared screens come first, then people in the order in which they first joined, so that nobody's tile moves because
somebody else speaks. Beyond the limit, those who do not fit stand behind one "+N" tile; whoever speaks is brought in
for the one who has been silent longest. In a layout with a large tile its `lead` comes before all others and is always
there. Refuses to know where tiles go (`core/layouts.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tapedeck.core.layouts import MAX_TILES

__all__ = ["Person", "Screen", "Tile", "TileKind", "choose", "person_key", "screen_key"]


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
    is_muted: bool = False
    "Whether they cannot be heard: no microphone, or it is muted."


@dataclass(frozen=True, slots=True)
class Screen:
    """A shared screen."""

    participant_id: str
    name: str | None
    "Of who shares it; None: it is a picture of its own, without any label."
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
    is_muted: bool = False
    "A person who cannot be heard."


def person_key(participant_id: str) -> str:
    """The key of a person's tile."""
    return f"person:{participant_id}"


def screen_key(track_id: str) -> str:
    """The key of a shared screen's tile."""
    return f"screen:{track_id}"


def choose(
    people: Sequence[Person],
    screens: Sequence[Screen],
    seated: frozenset[str] = frozenset(),
    limit: int = MAX_TILES,
    lead: str | None = None,
) -> tuple[Tile, ...]:
    """The tiles, at most `limit`. `people` and `screens` are in order; `seated` had a tile in the scene before.

    `lead`: key of the tile that comes first, if there is one of that key.
    """
    first = [_screen(s) for s in screens if screen_key(s.track_id) == lead]
    first += [_person(p) for p in people if person_key(p.participant_id) == lead]
    screens = [s for s in screens if screen_key(s.track_id) != lead]
    people = [p for p in people if person_key(p.participant_id) != lead]
    limit -= len(first)
    tiles = [_screen(s) for s in screens[: max(1, limit // 3) if people else limit]] if limit > 0 else []
    room = limit - len(tiles)
    keep = {p.participant_id for p in people} if len(people) <= room else _seats(people, seated, room - 1)
    tiles += [_person(p) for p in people if p.participant_id in keep]
    hidden = len(people) - len(keep)
    if hidden and len(tiles) < limit:
        tiles.append(Tile(TileKind.MORE, "more", f"+{hidden}"))
    return (*first, *tiles)


def _screen(screen: Screen) -> Tile:
    return Tile(
        TileKind.SCREEN,
        screen_key(screen.track_id),
        _screen_label(screen.name),
        screen.participant_id,
        screen.track_id,
    )


def _person(person: Person) -> Tile:
    key = person_key(person.participant_id)
    return Tile(
        TileKind.PERSON, key, person.name, person.participant_id, person.camera, person.speaking, person.is_muted
    )


def _screen_label(name: str | None) -> str:
    if name is None:
        return ""
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
