"""A place in one log file: reads whole records from there on, over damage, up to a torn or still growing end.

Owns the rule of what counts as damage. Bytes that are no record are damage only if a whole record comes after them;
else they are the end of the log, torn or still being written, and are read again when the file has grown. Refuses to
write and to know what is in the records.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tapedeck.core.errors import UnavailableError
from tapedeck.medialog.format import (
    FILE_HEADER_SIZE,
    RECORD_HEADER_SIZE,
    LogKind,
    Record,
    Stop,
    candidates,
    parse,
    record_size,
)

__all__ = ["Cursor", "Damage", "Tail", "find_tail", "reading"]

CHUNK_BYTES = 256 * 1024
"""Read at once. A reader of 64 tracks holds 16 MiB; larger chunks were not faster."""

_TAIL_BYTES = 2 * 1024 * 1024
"""Looked at first to find the end of a file: more than a second of any meeting track."""


@dataclass(slots=True)
class Damage:
    """What was skipped: stretches of bytes inside the file that are no records."""

    regions: int = 0
    size_bytes: int = 0

    def __bool__(self) -> bool:
        return self.regions > 0


@contextmanager
def reading() -> Iterator[None]:
    """Maps errors of the disk, in the body, to UnavailableError."""
    try:
        yield
    except OSError as exc:
        raise UnavailableError(f"The media log cannot be read: {exc.strerror or exc}.") from exc


class Cursor:
    """Position in an open log file. `damage` counts what was skipped since the cursor was made."""

    def __init__(self, fd: int, salt: int, kind: LogKind, position: int = FILE_HEADER_SIZE) -> None:
        self.position = position
        self.damage = Damage()
        self._fd = fd
        self._salt = salt
        self._kind = kind
        self._buffer = b""
        self._at = 0
        self._searched_to = 0

    def read(self, max_records: int = 256, max_bytes: int = CHUNK_BYTES) -> tuple[list[Record], bool]:
        """The next whole records, and whether a damaged stretch was skipped right before the first of them.

        An empty list means that there is no more for now; a list shorter than asked for means nothing.
        UnavailableError: the disk cannot be read.
        """
        with reading():
            records = self._read_here(max_records, max_bytes)
            if records:
                self._searched_to = 0
                return records, False
            found = self._search(self.position)
            if found is None:
                return [], False
            skipped = found - self.position
            if skipped:
                self.damage.regions += 1
                self.damage.size_bytes += skipped
            self.move(found)
            return self._read_here(max_records, max_bytes), skipped > 0

    def find(self, position: int) -> Record | None:
        """The first whole record that begins at `position` or later; the cursor moves before it, or stays.

        UnavailableError: the disk cannot be read.
        """
        with reading():
            self._searched_to = 0
            found = self._search(position)
            self._searched_to = 0
            if found is None:
                return None
            self.move(found)
            records = self._read_here(1, 1)
            self.move(found)
            return records[0] if records else None

    def move(self, position: int) -> None:
        """Go on reading at `position`, where a record must begin."""
        self.position = position
        self._buffer = b""
        self._at = 0
        self._searched_to = 0

    def _read_here(self, max_records: int, max_bytes: int) -> list[Record]:
        """Whole records at the position, without looking beyond what is not one."""
        records: list[Record] = []
        asked = 0  # bytes asked for when the buffer was filled in this call
        while True:
            got, at, stop = parse(
                self._buffer,
                self._salt,
                self._at,
                max_records - len(records),
                max_bytes,
                self.position - self._at,
            )
            if got:
                records += got
                max_bytes -= sum(len(record.payload) for record in got)
                self.position += at - self._at
                self._at = at
            if stop is Stop.LIMIT:
                return records
            if asked and self._at == 0 and (stop is Stop.BAD or len(self._buffer) < asked):
                # Read from the disk just now, from this very position, and still no record: a buffer kept from an
                # earlier call may be from before a restart of the recorder, which cuts a torn end off and writes over
                # it.
                self._buffer = b""
                return records
            asked = max(CHUNK_BYTES, (record_size(self._buffer, self._at) or 0) if stop is Stop.SHORT else 0)
            self._buffer = os.pread(self._fd, asked, self.position)
            self._at = 0

    def _search(self, position: int) -> int | None:
        """Where the first whole record at or after `position` begins; remembers up to where there surely is none."""
        end = os.fstat(self._fd).st_size
        base = max(position, self._searched_to) if self._searched_to <= end else position
        unsure: int | None = None
        while base + RECORD_HEADER_SIZE <= end:
            buffer = os.pread(self._fd, CHUNK_BYTES, base)
            for start in candidates(buffer, 0, self._kind):
                size = record_size(buffer, start) or 0
                if base + start + size > end:
                    unsure = base + start if unsure is None else unsure
                    continue
                whole = buffer[start : start + size]
                if len(whole) < size:
                    whole = os.pread(self._fd, size, base + start)
                if parse(whole, self._salt, 0, 1, 1)[0]:
                    return base + start
            if len(buffer) < RECORD_HEADER_SIZE:
                break
            base += len(buffer) - RECORD_HEADER_SIZE + 1
        self._searched_to = base if unsure is None else unsure
        return None


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a log file: where its last whole record ends, and the latest time near the end."""

    end: int
    last_ns: int | None
    "Latest `at_ns` of the records near the end (the order of arrival is not strict); None when there are none."


def find_tail(fd: int, salt: int, kind: LogKind) -> Tail:
    """Find the end of an open log file by reading its last few MiB only. UnavailableError: the disk cannot be read."""
    with reading():
        size = os.fstat(fd).st_size
    window = _TAIL_BYTES
    while True:
        start = max(FILE_HEADER_SIZE, size - window)
        cursor = Cursor(fd, salt, kind, start)
        end, last_ns = FILE_HEADER_SIZE, None
        while records := cursor.read()[0]:
            end = cursor.position
            last_ns = max(last_ns or 0, max(record.at_ns for record in records))
        if last_ns is not None or start == FILE_HEADER_SIZE:
            return Tail(end, last_ns)
        window *= 8
