"""Scripted meetings as media logs, written whole or bit by bit, and a sink that remembers a film.

Pictures say which they are by their brightness; what arrives when is decided by a seed. Everything is laid down in the
order in which capture would have written it, Progress included.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.media.cameras import film_of
from tests.medialog.logs import SESSION, lay_down

from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags, Kind, Origin, TrackInfo
from tapedeck.core.layouts import Layout
from tapedeck.core.output import VideoOutput
from tapedeck.core.timeline import (
    Outage,
    ParticipantJoined,
    ParticipantLeft,
    Progress,
    RecordingStarted,
    RecordingStopped,
    TimelineEvent,
    TrackClosed,
    TrackOpened,
)
from tapedeck.media.camera import OPUS_PACKET, MicrophoneEncoder
from tapedeck.medialog.format import pack_event, pack_frame, pack_timeline_header, pack_track_header, salt_of
from tapedeck.medialog.meta import timeline_path, track_path
from tapedeck.medialog.reader import LogReader
from tapedeck.render.film import Film, Shown

S = 1_000_000_000
MS = 1_000_000
FPS = 30
SMALL = VideoOutput(width=160, height=90, fps=FPS)
DELAY_NS = 20 * MS
"""Least network delay: what the capture clock cannot know is later by this much."""


@cache
def clip(codec: Codec, count: int, width: int, height: int, key_every: int) -> tuple[EncodedFrame, ...]:
    """Pictures of changing brightness at 30 per second."""
    lumas = [40 + (n * 37) % 170 for n in range(count)]
    keys = tuple(range(0, count, key_every))
    return tuple(film_of(lumas, codec=codec, width=width, height=height, keys=keys))


@cache
def tone(count: int, hertz: int) -> tuple[bytes, ...]:
    """Packets of 20 ms of a tone."""
    encoder = MicrophoneEncoder()
    samples = np.sin(2 * np.pi * hertz * np.arange(count * OPUS_PACKET) / 48_000).astype(np.float32) * np.float32(0.4)
    return tuple(encoder.encode(samples[n * OPUS_PACKET : (n + 1) * OPUS_PACKET]) for n in range(count))


@dataclass(frozen=True)
class _Entry:
    written_ns: int
    order: int
    track_id: str | None
    item: EncodedFrame | TimelineEvent


@dataclass
class Meeting:
    """Collect what happens, then lay it down."""

    seed: int = 1
    jitter_ns: int = 8 * MS
    tracks: dict[str, TrackInfo] = field(default_factory=dict)
    entries: list[_Entry] = field(default_factory=list)

    def event(self, event: TimelineEvent, written_ns: int | None = None) -> None:
        """Something happens, and is written then (or later)."""
        at = event.at_ns if written_ns is None else written_ns
        self.entries.append(_Entry(at, len(self.entries), None, event))

    def record(self, start_ns: int, end_ns: int | None, recording_id: str = "r") -> None:
        """A recording without pauses."""
        self.event(RecordingStarted(start_ns, recording_id))
        if end_ns is not None:
            self.event(RecordingStopped(end_ns, recording_id))

    def join(
        self, who: str, at_ns: int, until_ns: int | None = None, peer: str = "", origin: Origin = Origin.CAMERA
    ) -> str:
        """Somebody joins, and leaves; their peer id."""
        peer = peer or f"{who}-peer"
        self.event(ParticipantJoined(at_ns, who, peer, who.title(), origin=origin))
        if until_ns is not None:
            self.event(ParticipantLeft(until_ns, who, peer))
        return peer

    def open(self, track_id: str, who: str, peer: str, codec: Codec, origin: Origin, at_ns: int) -> None:
        """A track is open."""
        channels = 0 if codec.kind is Kind.VIDEO else 1
        info = TrackInfo(track_id, peer, who, codec.kind, codec, origin, channels)
        self.tracks[track_id] = info
        self.event(TrackOpened(at_ns, info))

    def camera(
        self,
        who: str,
        start_ns: int,
        end_ns: int,
        *,
        peer: str = "",
        track_id: str = "",
        codec: Codec = Codec.H264,
        size: tuple[int, int] = (64, 36),
        origin: Origin = Origin.CAMERA,
        key_every: int = 30,
        close: bool = True,
        opened_ns: int | None = None,
    ) -> str:
        """Pictures at 30 per second, captured from `start_ns` to `end_ns`; the track's id."""
        track_id = track_id or f"{who}-{origin}".replace(":", "-")
        if track_id not in self.tracks:
            self.open(track_id, who, peer or f"{who}-peer", codec, origin, start_ns if opened_ns is None else opened_ns)
        count = (end_ns - start_ns) * FPS // S
        self.frames(track_id, start_ns, clip(codec, max(count, 1), *size, key_every))
        if close:
            self.event(TrackClosed(end_ns + 60 * MS, track_id))
        return track_id

    def frames(self, track_id: str, start_ns: int, frames: tuple[EncodedFrame, ...]) -> None:
        """Frames whose media time is that of the capture clock, with network delay."""
        luck = random.Random(f"{self.seed} {track_id} {start_ns}")
        written_ns = 0
        for frame in frames:
            at_ns = start_ns + frame.media_time * S // 90_000
            arrival_ns = at_ns + DELAY_NS + luck.choice((0, luck.randrange(self.jitter_ns + 1)))
            written_ns = max(written_ns, arrival_ns)
            media_time = start_ns * 90_000 // S + frame.media_time + 90_000
            moved = replace(frame, media_time=media_time, arrival_ns=arrival_ns)
            self.entries.append(_Entry(written_ns, len(self.entries), track_id, moved))

    def screen(self, who: str, start_ns: int, end_ns: int, **kwargs: Any) -> str:
        """A shared screen."""
        return self.camera(who, start_ns, end_ns, origin=Origin.SCREEN, **kwargs)

    def microphone(self, who: str, start_ns: int, end_ns: int, hertz: int = 440, peer: str = "") -> str:
        """A tone."""
        track_id = f"{who}-mic".replace(":", "-")
        if track_id not in self.tracks:
            self.open(track_id, who, peer or f"{who}-peer", Codec.OPUS, Origin.CAMERA, start_ns)
        luck = random.Random(f"{self.seed} {track_id} {start_ns}")
        for number, payload in enumerate(tone((end_ns - start_ns) // (20 * MS), hertz)):
            at_ns = start_ns + number * 20 * MS
            arrival_ns = at_ns + DELAY_NS + luck.choice((0, luck.randrange(self.jitter_ns + 1)))
            frame = EncodedFrame(at_ns * 48_000 // S + 48_000, arrival_ns, payload, Codec.OPUS, FrameFlags.KEY)
            self.entries.append(_Entry(arrival_ns, len(self.entries), track_id, frame))
        return track_id

    def packets(self, track_id: str, packets: Iterable[tuple[int, bytes]]) -> None:
        """Packets of sound, each with when it was captured; without jitter."""
        for at_ns, payload in packets:
            frame = EncodedFrame(at_ns * 48_000 // S + 48_000, at_ns + DELAY_NS, payload, Codec.OPUS, FrameFlags.KEY)
            self.entries.append(_Entry(at_ns + DELAY_NS, len(self.entries), track_id, frame))

    def drop(self, track_id: str, start_ns: int, end_ns: int, *, mark: bool = True) -> None:
        """Frames captured in between are lost; the next one is marked."""
        kept: list[_Entry] = []
        is_open = False
        for entry in sorted(self.entries, key=lambda e: (e.written_ns, e.order)):
            frame = entry.item
            if entry.track_id == track_id and isinstance(frame, EncodedFrame):
                at_ns = self.captured_ns(track_id, frame.media_time)
                if start_ns <= at_ns < end_ns:
                    is_open = True
                    continue
                if is_open and mark:
                    entry = replace(entry, item=replace(frame, flags=frame.flags | FrameFlags.DISCONTINUITY))
                is_open = False
            kept.append(entry)
        self.entries = kept

    def spoil(self, track_id: str, start_ns: int, end_ns: int) -> None:
        """Frames written in between are garbage."""
        for index, entry in enumerate(self.entries):
            frame = entry.item
            if entry.track_id == track_id and start_ns < entry.written_ns < end_ns and isinstance(frame, EncodedFrame):
                broken = replace(frame, payload=b"\x00\x00\x00\x01\x65\xff\xff\xff")
                self.entries[index] = replace(entry, item=broken)

    def delay(self, track_id: str, start_ns: int, end_ns: int, by_ns: int) -> None:
        """Frames captured in between arrive later than they would have."""
        for index, entry in enumerate(self.entries):
            frame = entry.item
            if (
                entry.track_id == track_id
                and isinstance(frame, EncodedFrame)
                and start_ns <= self.captured_ns(track_id, frame.media_time) < end_ns
            ):
                late = replace(frame, arrival_ns=frame.arrival_ns + by_ns)
                self.entries[index] = replace(entry, item=late, written_ns=entry.written_ns + by_ns)

    def captured_ns(self, track_id: str, media_time: int) -> int:
        """When a frame was captured, by its media time."""
        rate = self.tracks[track_id].clock_rate
        return (media_time - rate) * S // rate

    def log(self, until_ns: int, progress_ns: int = 250 * MS) -> list[tuple[str | None, bytes]]:
        """Records in the order of writing: (track or None, bytes), with Progress in between."""
        entries = sorted(self.entries, key=lambda e: (e.written_ns, e.order))
        down = [(e.item.from_ns, e.item.at_ns) for e in entries if isinstance(e.item, Outage)]
        marks = [
            _Entry(at, -1, None, Progress(at, self._complete_until(entries, at)))
            for at in range(progress_ns, until_ns + 1, progress_ns)
            if not any(start < at <= end for start, end in down)
        ]
        records: list[tuple[str | None, bytes]] = []
        for entry in sorted([*entries, *marks], key=lambda e: (e.written_ns, e.order)):
            if isinstance(entry.item, EncodedFrame):
                assert entry.track_id is not None
                packed = pack_frame(salt_of(SESSION, entry.track_id), entry.item) + entry.item.payload
                records.append((entry.track_id, packed))
            else:
                records.append((None, pack_event(salt_of(SESSION, SESSION), entry.item)))
        return records

    def _complete_until(self, entries: list[_Entry], at_ns: int) -> int:
        until = at_ns - 10 * MS
        for entry in entries:
            frame = entry.item
            if entry.written_ns >= at_ns and isinstance(frame, EncodedFrame) and entry.track_id is not None:
                until = min(until, self.captured_ns(entry.track_id, frame.media_time))
        return max(until, 0)

    def lay_down(self, root: Path, until_ns: int) -> LogReader:
        """The whole log at once."""
        grower = GrowingLog(self, root, until_ns)
        while grower.grow(1000):
            pass
        return LogReader(root)


class GrowingLog:
    """A log that is written bit by bit, at any pace."""

    def __init__(self, meeting: Meeting, root: Path, until_ns: int) -> None:
        self._root = root
        self._records: Iterator[tuple[str | None, bytes]] = iter(meeting.log(until_ns))
        headers = {track_id: pack_track_header(SESSION, info) for track_id, info in meeting.tracks.items()}
        lay_down(root, headers, pack_timeline_header(SESSION))

    def grow(self, count: int) -> bool:
        """Write some records; False when there are none left."""
        for _ in range(count):
            record = next(self._records, None)
            if record is None:
                return False
            track_id, data = record
            path = timeline_path(self._root) if track_id is None else track_path(self._root, track_id)
            with path.open("ab") as file:
                file.write(data)
        return True

    def tail(self, count: int) -> Event:
        """A stop that is never set; while a render waits on it, so many more records are written."""
        grow = self.grow

        class Tail(Event):
            def wait(self, timeout: float | None = None) -> bool:
                grow(count)
                return False

        return Tail()


class Reel:
    """A sink that remembers: brightness of each picture at some points, and all sound."""

    def __init__(self, points: tuple[tuple[int, int], ...] = ()) -> None:
        self.points = points
        self.pictures: list[tuple[int, ...]] = []
        self.shown: list[Shown] = []
        self.texts: list[tuple[int, int, str]] = []
        "How many pictures came before each text, its film time, and the text."
        self._sound: list[NDArray[np.float32]] = []

    def write_picture(self, frame: Any, index: int) -> None:
        assert index == len(self.pictures)
        plane = frame.planes[0]
        luma = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        self.pictures.append(tuple(int(luma[y, x]) for x, y in self.points))

    def write_sound(self, samples: NDArray[np.float32]) -> None:
        self._sound.append(samples)

    def write_text(self, film_ns: int, text: str) -> None:
        self.texts.append((len(self.pictures), film_ns, text))

    @property
    def sound(self) -> NDArray[np.float32]:
        """All sound, (2, n)."""
        return np.concatenate(self._sound, axis=1) if self._sound else np.zeros((2, 0), np.float32)

    def media_times(self, key: str) -> list[int | None]:
        """What a tile showed in each picture in which it was there."""
        return [media_time for _, tile, media_time in self.shown if tile == key]

    def tiles(self, index: int) -> list[str]:
        """The tiles of one picture."""
        return [tile for frame, tile, _ in self.shown if frame == index]


def make(
    log: LogReader,
    recording_id: str | None = "r",
    video: VideoOutput | None = SMALL,
    reel: Reel | None = None,
    layout: Layout = Layout.AUTO,
    focus: str | None = None,
) -> Reel:
    """The film of a complete log."""
    reel = Reel() if reel is None else reel
    film = Film(log, recording_id, video, reel, layout=layout, focus=focus, on_shown=reel.shown.append)
    try:
        while not film.is_done:
            if not film.work():
                film.finish()
    finally:
        film.close()
    return reel
