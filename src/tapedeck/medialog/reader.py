"""Reads a media log: the timeline and each track, from the start, from a key frame, or along the growing tail.

Owns turning records into frames and events, and seeking. Never waits: `poll` gives what is there now, and can be
called again when the log has grown. A torn end gives a clean prefix; damage in the middle is stepped over, counted,
and marked on the next frame. Needs no index: the checksum makes a record recognisable from any place in a file, so a
seek is a bisection.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tapedeck.core.errors import InvalidError
from tapedeck.core.frames import EncodedFrame, FrameFlags
from tapedeck.core.timeline import TimelineEvent
from tapedeck.medialog.cursor import Cursor, Damage, reading
from tapedeck.medialog.format import (
    FILE_HEADER_SIZE,
    FileHeader,
    LogKind,
    event_of,
    frame_of,
    parse_file_header,
    salt_of,
)
from tapedeck.medialog.meta import Meta, read_meta, timeline_path, track_path

__all__ = ["LogReader", "TimelineReader", "TrackReader"]

_DISORDER_NS = 4_000_000_000
"""Frames are stored in media order; one that had to be asked for again (for 2 s at most) arrives after its
successors."""

_WALK_BYTES = 1024 * 1024
"""A bisection ends here: from then on records are looked at one by one."""

_DISCONTINUITY = int(FrameFlags.DISCONTINUITY)


class _FileReader:
    """A log file that may not be there yet."""

    kind: LogKind

    def __init__(self, path: Path, salt: int) -> None:
        self._path = path
        self._salt = salt
        self._fd: int | None = None
        self._cursor: Cursor | None = None
        self.header: FileHeader | None = None
        "The file header; None before the first poll that found the file, or when it is damaged."

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def damage(self) -> Damage:
        """What had to be skipped since the start or the last seek."""
        return self._cursor.damage if self._cursor is not None else Damage()

    def close(self) -> None:
        """Give the file back. Polling again opens it from the start."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None
        self._cursor = None

    def _open(self) -> Cursor | None:
        """The cursor; None while the file or its header is not there yet."""
        if self._cursor is None:
            with reading():
                if self._fd is None:
                    try:
                        self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
                    except FileNotFoundError:
                        return None
                head = os.pread(self._fd, FILE_HEADER_SIZE, 0)
            if len(head) < FILE_HEADER_SIZE:
                return None
            self.header = parse_file_header(head)
            if self.header is not None:
                self._salt = self.header.salt
            self._cursor = Cursor(self._fd, self._salt, self.kind)
        return self._cursor


class TimelineReader(_FileReader):
    """The events of a session in the order they were written. Give it back with `close` or `with`."""

    kind = LogKind.TIMELINE

    def __init__(self, path: Path, salt: int) -> None:
        super().__init__(path, salt)
        self.malformed = 0
        "Records whose checksum is right and whose content is not: left out."

    def poll(self, max_events: int | None = None) -> list[TimelineEvent]:
        """The events that were added since the last call, at most `max_events`: the rest comes with the next calls.

        An empty list means that there is nothing more now. UnavailableError: the disk cannot be read.
        """
        events: list[TimelineEvent] = []
        cursor = self._open()
        if cursor is None:
            return events
        while records := cursor.read(256 if max_events is None else min(256, max_events - len(events)))[0]:
            for record in records:
                try:
                    event = event_of(record)
                except ValueError:
                    self.malformed += 1
                    continue
                if event is not None:
                    events.append(event)
            if max_events is not None and len(events) >= max_events:
                break
        return events


class TrackReader(_FileReader):
    """The frames of one track in media order. Give it back with `close` or `with`."""

    kind = LogKind.TRACK

    def __init__(self, path: Path, salt: int) -> None:
        super().__init__(path, salt)
        self.unknown = 0
        "Records of a newer version of Tapedeck that this one cannot read: left out."
        self._extra_flags = 0

    def poll(self, max_records: int = 256, max_bytes: int = 8 * 1024 * 1024) -> list[EncodedFrame]:
        """The next frames: at most `max_records`, and no more once they sum up to `max_bytes`.

        An empty list means that there is nothing more now; it may come later. UnavailableError: the disk cannot be
        read.
        """
        frames: list[EncodedFrame] = []
        cursor = self._open()
        if cursor is None:
            return frames
        while len(frames) < max_records and max_bytes > 0:
            records, skipped = cursor.read(max_records - len(frames), max_bytes)
            if not records:
                break
            if skipped:
                self._extra_flags = _DISCONTINUITY
            for record in records:
                max_bytes -= len(record.payload)
                frame = frame_of(record, self._extra_flags)
                if frame is None:
                    self.unknown += 1
                    self._extra_flags = _DISCONTINUITY
                    continue
                self._extra_flags = 0
                frames.append(frame)
        return frames

    def seek_key(self, arrival_ns: int) -> int | None:
        """Go to the last key frame that arrived at or before `arrival_ns`, else to the start; its arrival, or None.

        For sound, where every frame is a key frame, that is the last frame before. UnavailableError: the disk cannot
        be read.
        """
        cursor = self._open()
        if cursor is None or self._fd is None:
            return None
        with reading():
            size = os.fstat(self._fd).st_size
        lower = self._bisect(self._fd, size, arrival_ns)
        found = self._last_key(self._fd, lower, size, arrival_ns)
        end, width = lower, _WALK_BYTES
        while found is None and end > FILE_HEADER_SIZE:
            start = max(FILE_HEADER_SIZE, end - width)
            found = self._last_key(self._fd, start, end, arrival_ns)
            end, width = start, width * 2
        self._cursor = Cursor(self._fd, self._salt, self.kind, FILE_HEADER_SIZE if found is None else found[0])
        self._extra_flags = 0
        return None if found is None else found[1]

    def frames(self, from_ns: int = 0, until_ns: int | None = None) -> Iterator[EncodedFrame]:
        """All frames that are there now with `from_ns <= arrival_ns < until_ns`, in media order. Moves this reader.

        UnavailableError: the disk cannot be read.
        """
        self.seek_key(from_ns - _DISORDER_NS)
        while batch := self.poll():
            for frame in batch:
                if until_ns is not None and frame.arrival_ns >= until_ns + _DISORDER_NS:
                    return
                if frame.arrival_ns >= from_ns and (until_ns is None or frame.arrival_ns < until_ns):
                    yield frame

    def _bisect(self, fd: int, size: int, at_ns: int) -> int:
        """Where a record begins that arrived at or before `at_ns`, with later ones not far behind; else the start."""
        cursor = Cursor(fd, self._salt, self.kind)
        low, high = FILE_HEADER_SIZE, size
        while high - low > _WALK_BYTES:
            middle = (low + high) // 2
            record = cursor.find(middle)
            if record is None or record.offset >= high or record.at_ns > at_ns:
                high = middle
            else:
                low = record.offset
        return low

    def _last_key(self, fd: int, start: int, end: int, arrival_ns: int) -> tuple[int, int] | None:
        """Place and arrival of the last key frame not after `arrival_ns` among the records that begin in
        `start..end`."""
        cursor = Cursor(fd, self._salt, self.kind, start)
        found: tuple[int, int] | None = None
        while records := cursor.read()[0]:
            for record in records:
                if record.offset >= end or record.at_ns > arrival_ns + _DISORDER_NS:
                    return found
                if record.flags & FrameFlags.KEY and record.at_ns <= arrival_ns:
                    found = (record.offset, record.at_ns)
        return found


class LogReader:
    """A log directory, of a recording that runs or of one that is over.

    NotFoundError: there is no log; InvalidError: its meta.json is damaged or of another version.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.meta: Meta = read_meta(root)

    def timeline(self) -> TimelineReader:
        """A new reader of the timeline, at its start."""
        session_id = self.meta.session_id
        return TimelineReader(timeline_path(self.root), salt_of(session_id, session_id))

    def track(self, track_id: str) -> TrackReader:
        """A new reader of a track, at its start; the file may come later. InvalidError: no track can have such an
        id."""
        try:
            path = track_path(self.root, track_id)
        except ValueError as exc:
            raise InvalidError(f"No track can be called that: {exc}.") from exc
        return TrackReader(path, salt_of(self.meta.session_id, track_id))
