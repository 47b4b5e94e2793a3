"""What a film shows at a moment: the Director turns the timeline into scenes, one after the other.

Owns who is present, under which name, with which camera or screen, who is speaking, and which of them a layout shows
(by `core/choose.py` and `core/focus.py`). Every decision depends on the
order of the timeline and on `Progress`, never on when events were read: an event counts from its own time, or from how
far the log was complete when it was written if that is later, because a live film may be as far as that. Refuses to
know pictures (`render/pictures.py`) and where tiles go (`core/layouts.py`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from tapedeck.core.choose import Person, Screen, Tile, TileKind, choose, person_key, screen_key
from tapedeck.core.focus import Focus
from tapedeck.core.frames import Kind, Origin, TrackInfo
from tapedeck.core.geometry import Size
from tapedeck.core.layouts import MAX_TILES, Layout, seats
from tapedeck.core.look import clean
from tapedeck.core.page import is_page
from tapedeck.core.speaker import SpeakerDetector
from tapedeck.core.timeline import (
    AudioLevel,
    NameChanged,
    Outage,
    ParticipantJoined,
    ParticipantLeft,
    Progress,
    TimelineEvent,
    TrackClosed,
    TrackMuted,
    TrackOpened,
    TrackUnmuted,
)

__all__ = ["OPENING_NS", "Director", "Scene"]

OPENING_NS = 500_000_000
"""How much earlier than it came a first picture may be shown, so that people do not flash up as initials first."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The tiles of a moment, in order. The same object as long as nothing changes."""

    tiles: tuple[Tile, ...]
    layout: Layout = Layout.GRID
    "As it is laid out: never AUTO. In SPEAKER and SIDEBAR the first tile is the large one."
    hides: bool = False
    "Whether somebody is there who has no tile."


@dataclass(slots=True)
class _Somebody:
    participant_id: str
    name: str
    peers: dict[str, Origin] = field(default_factory=dict)
    spoke_ns: int = -1


@dataclass(slots=True)
class _Track:
    info: TrackInfo
    is_muted: bool = False

    @property
    def is_voice(self) -> bool:
        """Whether it is somebody's microphone: what a shared screen sounds like is not them speaking."""
        return self.info.kind is Kind.AUDIO and self.info.origin is Origin.CAMERA


_CANVAS = Size(1280, 720)


class Director:
    """Feed events in log order, ask for scenes in order of time, never beyond `ready_until_ns`."""

    def __init__(
        self,
        layout: Layout = Layout.AUTO,
        canvas: Size = _CANVAS,
        focus: str | None = None,
        limit: int = MAX_TILES,
    ) -> None:
        """`canvas` decides how many tiles a layout has. `focus`: the participant who is large in SPEAKER while they
        are there, in SIDEBAR while they are and nobody shares, and the only one ever seen in SINGLE.
        """
        self._layout = layout
        self._canvas = canvas
        self._pinned = focus
        self._limit = limit
        self._focus = Focus()
        self._until_ns = 0
        self._at_ns = 0
        self._count = 0
        self._waiting: list[tuple[int, int, TimelineEvent]] = []
        self._joined_at: dict[str, int] = {}
        self._people: dict[str, _Somebody] = {}
        "In order of their first join; those who left keep their place."
        self._tracks: dict[str, _Track] = {}
        self._speakers = SpeakerDetector()
        self._seated: frozenset[str] = frozenset()
        self._scene = Scene(())
        self._is_stale = False

    @property
    def ready_until_ns(self) -> int:
        """Capture time up to which scenes are final."""
        return self._until_ns - OPENING_NS

    def feed(self, events: Iterable[TimelineEvent]) -> None:
        """Take further events in log order."""
        for event in events:
            at_ns = max(event.at_ns, self._until_ns)
            if isinstance(event, Progress):
                self._until_ns = max(self._until_ns, event.until_ns)
                continue
            if isinstance(event, ParticipantJoined):
                self._joined_at.setdefault(event.peer_id, at_ns)
            elif isinstance(event, TrackOpened):
                joined_ns = self._joined_at.get(event.track.peer_id, at_ns)
                at_ns = min(at_ns, max(joined_ns, at_ns - OPENING_NS))
            self._count += 1
            heapq.heappush(self._waiting, (at_ns, self._count, event))

    def scene_at(self, t_ns: int) -> Scene:
        """The scene at a capture time, which must not be before the last one asked for."""
        while self._waiting and self._waiting[0][0] <= t_ns:
            at_ns, _, event = heapq.heappop(self._waiting)
            self._apply(event, at_ns)
        self._at_ns = max(self._at_ns, t_ns)
        if self._speakers.advance(t_ns) or (self._focus.due_ns is not None and self._focus.due_ns <= t_ns):
            self._is_stale = True
        if self._is_stale:
            self._is_stale = False
            scene = self._compose(*self._present())
            if scene != self._scene:
                self._scene = scene
                self._seated = frozenset(t.participant_id for t in scene.tiles if t.kind is TileKind.PERSON)
        return self._scene

    def _apply(self, event: TimelineEvent, at_ns: int) -> None:
        if isinstance(event, AudioLevel):
            track = self._tracks.get(event.track_id)
            if track is not None and track.is_voice:
                self._is_stale |= self._speakers.level(track.info.participant_id, at_ns, event.dbov)
            return
        self._is_stale = True
        if isinstance(event, ParticipantJoined):
            body = self._people.setdefault(event.participant_id, _Somebody(event.participant_id, event.name))
            if event.name:
                body.name = event.name
            body.peers[event.peer_id] = event.origin
        elif isinstance(event, ParticipantLeft):
            leaver = self._people.get(event.participant_id)
            if leaver is not None:
                leaver.peers.pop(event.peer_id, None)
            self._drop_tracks({event.peer_id})
        elif isinstance(event, NameChanged):
            if event.participant_id in self._people:
                self._people[event.participant_id].name = event.name
        elif isinstance(event, TrackOpened):
            self._tracks[event.track.track_id] = _Track(event.track)
        elif isinstance(event, TrackClosed):
            self._tracks.pop(event.track_id, None)
        elif isinstance(event, TrackMuted | TrackUnmuted):
            if event.track_id in self._tracks:
                self._tracks[event.track_id].is_muted = isinstance(event, TrackMuted)
        elif isinstance(event, Outage):
            self._clear()

    def _clear(self) -> None:
        """The recorder was down: whoever is there now joins again."""
        for body in self._people.values():
            body.peers.clear()
        self._tracks.clear()

    def _drop_tracks(self, peers: set[str]) -> None:
        for track_id in [key for key, track in self._tracks.items() if track.info.peer_id in peers]:
            del self._tracks[track_id]

    def _present(self) -> tuple[list[Person], list[Screen]]:
        """Who is there, in order of their first join, and what they share, in order of the beginning."""
        cameras: dict[str, str] = {}
        screens: list[Screen] = []
        heard: set[str] = set()
        for track_id, track in self._tracks.items():
            info = track.info
            body = self._people.get(info.participant_id)
            if track.is_muted or body is None or info.peer_id not in body.peers:
                continue
            if track.is_voice:
                heard.add(info.participant_id)
            elif info.kind is not Kind.VIDEO:
                continue
            elif info.origin is Origin.SCREEN:
                name = None if is_page(info.participant_id) else clean(body.name)
                screens.append(Screen(info.participant_id, name, track_id))
            else:
                cameras[info.participant_id] = track_id
        people = []
        for body in self._people.values():
            if not body.peers or is_page(body.participant_id):
                continue
            if all(o is Origin.SCREEN for o in body.peers.values()) and self._shares(body, screens):
                continue
            key = body.participant_id
            speaking = self._speakers.is_speaking(key)
            if speaking:
                body.spoke_ns = self._at_ns
            name, camera, is_muted = clean(body.name), cameras.get(key), key not in heard
            people.append(Person(key, name, camera, speaking, body.spoke_ns, is_muted))
        return people, screens

    def _compose(self, people: list[Person], screens: list[Screen]) -> Scene:
        layout = self._layout
        if layout is Layout.AUTO:
            layout = Layout.SIDEBAR if screens else Layout.GRID
        there = len(people) + len(screens)
        if layout is Layout.SINGLE and self._pinned is not None:
            people = [p for p in people if p.participant_id == self._pinned]
            screens = [s for s in screens if s.participant_id == self._pinned]
        lead = None if layout is Layout.GRID else self._lead(layout, people, screens)
        tiles = choose(people, screens, self._seated, min(self._limit, seats(layout, self._canvas)), lead)
        return Scene(tiles, layout, sum(tile.kind is not TileKind.MORE for tile in tiles) < there)

    def _lead(self, layout: Layout, people: list[Person], screens: list[Screen]) -> str | None:
        """The key of the large tile."""
        if self._layout is Layout.AUTO:
            return screen_key(screens[-1].track_id)
        pinned = self._pinned if any(p.participant_id == self._pinned for p in people) else None
        leads = bool(screens) and (pinned is None or layout is Layout.SIDEBAR)
        who = self._focus.update(self._at_ns, people, is_seen=not leads)
        if leads:
            return screen_key(screens[-1].track_id)
        who = who if pinned is None else pinned
        return None if who is None else person_key(who)

    @staticmethod
    def _shares(body: _Somebody, screens: list[Screen]) -> bool:
        """Whether somebody who is there with a screen only needs no tile of their own."""
        return any(screen.participant_id == body.participant_id for screen in screens)
