"""What is in a log directory: its tracks with sizes and times, without reading all of it; and one track counted
through.

Owns the list of tracks, from the timeline and the files together: a track whose opening did not reach the disk still
counts by its file, and one whose file is missing by its opening. Refuses to interpret what happened in the meeting.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tapedeck.core.frames import Codec, TrackInfo
from tapedeck.core.timeline import TimelineEvent, TrackClosed, TrackOpened
from tapedeck.medialog.cursor import Damage, find_tail, reading
from tapedeck.medialog.format import LogKind, salt_of
from tapedeck.medialog.meta import META_NAME, Meta, timeline_path, track_ids, track_path
from tapedeck.medialog.reader import LogReader

__all__ = ["Catalog", "TrackEntry", "TrackTally", "read_catalog", "tally_track"]


@dataclass(frozen=True, slots=True)
class TrackEntry:
    """One track of a log."""

    track_id: str
    codec: Codec | None
    "Negotiated first; None when neither timeline nor file header tell."
    size_bytes: int
    "Of the file; 0 when there is none."
    first_ns: int | None
    "Arrival of the first frame; None when there are no frames."
    last_ns: int | None
    "Latest arrival; None when there are no frames."
    info: TrackInfo | None
    "None when the timeline does not know the track."
    opened_ns: int | None
    closed_ns: int | None
    "None when it was open at the end of the log."


@dataclass(frozen=True, slots=True)
class Catalog:
    """A log directory at a glance. Tracks are in the order of their opening, those the timeline does not know come
    last."""

    meta: Meta
    events: tuple[TimelineEvent, ...]
    tracks: tuple[TrackEntry, ...]
    size_bytes: int
    "Of all files."
    duration_ns: int
    "The latest time in the log; 0 when it is empty."
    timeline_damage: Damage


@dataclass(frozen=True, slots=True)
class TrackTally:
    """One track, read through and checked."""

    frames: int
    keys: int
    discontinuities: int
    payload_bytes: int
    damage: Damage


def read_catalog(root: Path) -> Catalog:
    """Look at a log directory.

    NotFoundError: there is no log; InvalidError: its meta.json is damaged or of another version; UnavailableError:
    the disk cannot be read.
    """
    log = LogReader(root)
    with log.timeline() as timeline:
        events = timeline.poll()
        damage = timeline.damage
    opened = {event.track.track_id: event for event in events if isinstance(event, TrackOpened)}
    closed = {event.track_id: event.at_ns for event in events if isinstance(event, TrackClosed)}
    with reading():
        names = [*opened, *(name for name in track_ids(root) if name not in opened)]
        tracks = tuple(_look_at(log, name, opened.get(name), closed.get(name)) for name in names)
        size = sum(_size(root / name) for name in (META_NAME, timeline_path(root).name))
    return Catalog(
        meta=log.meta,
        events=tuple(events),
        tracks=tracks,
        size_bytes=size + sum(track.size_bytes for track in tracks),
        duration_ns=_latest(events, tracks),
        timeline_damage=damage,
    )


def tally_track(log: LogReader, track_id: str) -> TrackTally:
    """Read a track to its end and count. UnavailableError: the disk cannot be read."""
    frames = keys = discontinuities = payload_bytes = 0
    with log.track(track_id) as track:
        while batch := track.poll():
            frames += len(batch)
            for frame in batch:
                keys += frame.flags & 1
                discontinuities += frame.flags >> 1 & 1
                payload_bytes += len(frame.payload)
        return TrackTally(frames, keys, discontinuities, payload_bytes, track.damage)


def _look_at(log: LogReader, track_id: str, opened: TrackOpened | None, closed_ns: int | None) -> TrackEntry:
    path = track_path(log.root, track_id)
    first_ns = last_ns = None
    with log.track(track_id) as track:
        first = track.poll(max_records=1)
        header = track.header
    if first:
        first_ns = first[0].arrival_ns
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            last_ns = find_tail(fd, salt_of(log.meta.session_id, track_id), LogKind.TRACK).last_ns
        finally:
            os.close(fd)
    codec = opened.track.codec if opened is not None else header.codec if header is not None else None
    return TrackEntry(
        track_id=track_id,
        codec=codec,
        size_bytes=_size(path),
        first_ns=first_ns,
        last_ns=last_ns,
        info=None if opened is None else opened.track,
        opened_ns=None if opened is None else opened.at_ns,
        closed_ns=closed_ns,
    )


def _latest(events: Iterable[TimelineEvent], tracks: Iterable[TrackEntry]) -> int:
    return max(
        max((event.at_ns for event in events), default=0),
        max((track.last_ns for track in tracks if track.last_ns is not None), default=0),
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
