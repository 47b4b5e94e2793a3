"""One film to one store: in parts while it is made, the front last, and proof that the store holds every byte.

Owns the order of things: what is up is journalled and not sent again, also by the next process; the checksums of all
parts, joined, must be the film's own before the store is asked to make the object. Refuses to wait between attempts, to
judge whether an error is for good (`core/delivery.py`), and to know whose store it is.
"""

from __future__ import annotations

import asyncio
import mmap
import os
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

import google_crc32c

from tapedeck.core.assembly import Assembly
from tapedeck.core.crc32c import combine
from tapedeck.core.errors import NotFoundError, UnavailableError
from tapedeck.core.mp4index import scan_boxes
from tapedeck.core.parts import LivePlan, PlannedPart, plan_whole
from tapedeck.media.growing import GrowingFilm, is_archive
from tapedeck.ports.storage import MultipartStore, ObjectInfo, ObjectStore, Part
from tapedeck.workers.journal import Journal, SentPart

__all__ = ["Film", "FilmGoneError", "PartStore", "Transfer"]

_T = TypeVar("_T")
_IN_FLIGHT_BYTES = 48 << 20
_IN_FLIGHT = 6
_PIECE = 1 << 18
_ANSWER_S = 30.0
_SLOWEST_BPS = 64 << 10
"""A store that takes bytes more slowly than this (bytes per second) hangs."""


class FilmGoneError(NotFoundError):
    """The film on this machine is gone, or is not the one that was made."""


class PartStore(ObjectStore, MultipartStore, Protocol):
    """A bucket that takes objects whole and in parts."""


@dataclass(frozen=True, slots=True)
class Film:
    """A finished file of a recording on this machine."""

    path: Path
    size_bytes: int
    crc32c: int
    head: bytes | mmap.mmap = field(default=b"", repr=False, compare=False)
    "Its first bytes, if they are in memory."


class Transfer:
    """One object on its way. A call that fails with what the store says may be made again; never two at once."""

    def __init__(
        self,
        store: PartStore,
        key: str,
        content_type: str,
        filename: str,
        journal: Path,
        *,
        most_film_bytes: int,
        answer_s: float = _ANSWER_S,
    ) -> None:
        """`journal` is where to note what is up; `answer_s` how long the store may be silent."""
        self._store, self._key = store, key
        self._content_type, self._filename = content_type, filename
        self._journal = Journal(journal)
        self.sent = 0
        "Parts that the store took from this process."
        self.assembly: Assembly | None = None
        "Of which parts the finished object is made, where the store's tags prove bytes."
        self._most_film_bytes = most_film_bytes
        self._answer_s = answer_s
        self._known = not self._journal.parts
        "Whether the journal was held against what the store has; what this process sent itself needs no such look."
        self._growing: GrowingFilm | None = None
        self._plan: LivePlan | None = None
        self._next = 0
        "Live parts that are up."
        self._pending = b""
        "The bytes of the next live part that are read already."
        self._parts: Sequence[PlannedPart] = ()
        "Of the finished film."

    # While the film is made

    async def follow(self, path: Path) -> bool:
        """Send what is new of the film that grows at `path`; whether there may be more at once.

        A film that was begun anew is compared from its start: parts that are the same are not sent again.
        """
        try:
            return await self._follow(path)
        except NotFoundError as exc:
            self.reset()  # the next call begins another upload
            raise UnavailableError("The storage lost what was sent; it is sent again.") from exc

    async def _follow(self, path: Path) -> bool:
        growing = self._open(path)
        grown = growing.look() if growing is not None else None
        if growing is None or grown is None:
            return False
        if not grown.media_at and self._store.rule.by_offset:
            return False  # room is kept there for an index in front, which a tar has not
        if self._plan is None or (self._plan.room and self._plan.room != (grown.room or self._plan.part_bytes)):
            # The second: its index outgrew the room that was kept for it, and all of it lies elsewhere in the store.
            self._plan = LivePlan.of(self._store.rule, grown.media_at, self._most_film_bytes, grown.room)
            self._next, self._pending = 0, b""
        plan = self._plan
        if plan is None or grown.until < plan.begin_at or self._next > plan.last:
            return False
        part = plan.part(self._next)
        at = part.start + len(self._pending)
        if at < min(part.end, grown.until):
            read = await asyncio.to_thread(growing.read, at, min(part.end, grown.until) - at)
            if read is None:
                return False
            self._pending = self._pending + read if self._pending else read
        if len(self._pending) < part.size:
            return False
        data = self._pending
        crc = google_crc32c.value(data)
        before = self._journal.parts.get(part.number)
        noted = (self._journal.media_at, self._journal.room or (plan.part_bytes if plan.room else 0))
        if noted != (plan.media_at, plan.room) or self._journal.completing is not None:
            await self._begin(plan.media_at, plan.room)
            before = None
        if before is None or not before.live or (before.size, before.crc32c) != (part.size, crc):
            await self._put(part, data, crc, live=True, offset=plan.offset(part))
        self._next += 1
        self._pending = b""
        return True

    # When it is finished

    async def finish(self, film: Film) -> ObjectInfo:
        """Send what is missing and make the object. FilmGoneError: it is not here any more.

        What was done stays noted until `forget`: called again, also by the next process, it only looks.
        """
        if (found := await self._made(film)) is not None:
            return found
        try:
            return await self._finish(film)
        except FilmGoneError:
            raise
        except NotFoundError:
            if (found := await self._made(film)) is not None:
                return found  # it was done, and told to nobody
            self.reset()  # the store has lost the upload: somebody aborted it
            return await self._finish(film)

    def forget(self) -> None:
        """The object is made, and the records have it."""
        self._journal.forget()

    async def abort(self) -> None:
        """Drop what is up."""
        if self._journal.token is not None:
            await self._ask(self._store.abort(self._key, self._journal.token))
        self.reset()

    def reset(self) -> None:
        """Believe nothing that was noted."""
        self._journal.forget()
        self._known = True
        self._close()

    async def _finish(self, film: Film) -> ObjectInfo:
        if not self._known:
            await self._compare()
        if not await self._send(film):
            # What was sent is not what is here: a film made anew, or bytes that changed on the way.
            await self.abort()
            if not await self._send(replace(film, head=b"")):
                raise FilmGoneError("The film on this machine is not the one that was made: its checksum differs.")
        token = self._token()
        self._journal.complete(film.crc32c, [part.number for part in self._parts])
        sent = [Part(part.number, part.size, self._journal.parts[part.number].tag) for part in self._parts]
        info = await self._ask(self._store.complete(self._key, token, sent), film.size_bytes)
        if info.size_bytes != film.size_bytes:
            self._journal.forget()
            raise UnavailableError(f"The store holds {info.size_bytes} of {film.size_bytes} bytes.")
        self._close()
        self.assembly = _assembly(sent)
        return info

    async def _send(self, film: Film) -> bool:
        """Send what is missing; whether all that is up is the film."""
        found = await asyncio.to_thread(self._live_parts, film)
        if found is None and (self._journal.token is None or self._journal.media_at is not None):
            await self._begin(None)
        self._parts, shift = found or (plan_whole(self._store.rule, film.size_bytes), 0)
        await self._fill(film, self._parts, shift)
        crc = 0
        for part in self._parts:
            sent = self._journal.parts[part.number]
            crc = combine(crc, sent.crc32c, sent.size)
        return crc == film.crc32c

    def _live_parts(self, film: Film) -> tuple[Sequence[PlannedPart], int] | None:
        """The parts of the film and how far its media moved, if what went up while it grew can be kept."""
        media_at = self._journal.media_at
        live = [part.number for part in self._journal.parts.values() if part.live]
        if media_at is None or not live:
            return None
        plan = LivePlan.of(self._store.rule, media_at, self._most_film_bytes, self._journal.room)
        if plan is None:
            return None
        shift = _media_at(film.path) - media_at
        parts = plan.finished(max(live) - plan.part(0).number + 1, shift, film.size_bytes)
        return None if parts is None else (parts, shift)

    async def _fill(self, film: Film, plan: Sequence[PlannedPart], shift: int) -> None:
        """Send the parts of the plan that are not up, some at a time."""
        missing = [part for part in plan if not self._is_up(part, shift)]
        largest = max((part.size for part in missing), default=1)
        free: list[mmap.mmap] = []
        slots = asyncio.Semaphore(max(1, min(_IN_FLIGHT, _IN_FLIGHT_BYTES // max(largest, 1))))
        pending, self._pending = self._pending, b""
        pending_at = self._plan.part(self._next).start + shift if pending and self._plan is not None else -1

        async def send(part: PlannedPart) -> None:
            async with slots:
                known = pending if part.start == pending_at and len(pending) <= part.size else b""
                buffer = free.pop() if free else _buffer(largest)
                data = memoryview(buffer)[: part.size]
                crc = await asyncio.to_thread(_load, film, part, known, data)
                await self._put(part, data, crc, live=False, offset=part.start)
                free.append(buffer)  # not after a failure: a call that was left alone may still read it

        tasks = [asyncio.create_task(send(part), name=f"part {part.number}") for part in missing]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _is_up(self, part: PlannedPart, shift: int) -> bool:
        sent = self._journal.parts.get(part.number)
        if sent is None:
            return False
        start = sent.start + shift if sent.live else sent.start
        return (start, sent.size) == (part.start, part.size)

    async def _compare(self) -> None:
        """Hold what an earlier process noted against what the store has; NotFoundError if the upload is gone."""
        there = {part.number: part for part in await self._ask(self._store.parts(self._key, self._token()))}
        for number, sent in list(self._journal.parts.items()):
            part = there.get(number)
            if part is None or part.size_bytes != sent.size:
                del self._journal.parts[number]
        self._known = True

    async def _made(self, film: Film) -> ObjectInfo | None:
        """The object, if the store was asked for it and made it, and we did not hear of it."""
        known, token = self._journal.parts, self._journal.token
        if self._journal.completing != film.crc32c or any(number not in known for number in self._journal.numbers):
            return None
        if token is None:  # a disk may lose any line of the journal
            return None
        parts = [Part(number, known[number].size, known[number].tag) for number in self._journal.numbers]
        if sum(part.size_bytes for part in parts) != film.size_bytes:
            return None
        made = await self._ask(self._store.made(self._key, token, parts))
        self.assembly = None if made is None else _assembly(parts)
        return made

    async def _begin(self, media_at: int | None, room: int = 0) -> None:
        if self._journal.token is not None:
            await self._ask(self._store.abort(self._key, self._journal.token))
        token = await self._ask(self._store.begin(self._key, self._content_type, self._filename))
        await asyncio.to_thread(self._journal.begin, token, media_at, room)  # it waits for the disk
        self._known = True

    async def _put(self, part: PlannedPart, data: bytes | memoryview, crc: int, *, live: bool, offset: int) -> None:
        done = await self._ask(self._store.put_part(self._key, self._token(), part.number, data, offset), len(data))
        if done.size_bytes != len(data):
            raise UnavailableError(f"The store took {done.size_bytes} of {len(data)} bytes.")
        self.sent += 1
        note = SentPart(part.number, part.start, part.size, live, crc, done.tag)
        self._journal.sent(note)

    async def _ask(self, answer: Awaitable[_T], size: int = 0) -> _T:
        """What the store answers. UnavailableError if it does not, in a time that is fair for `size` bytes."""
        try:
            async with asyncio.timeout(self._answer_s + size / _SLOWEST_BPS):
                return await answer
        except TimeoutError:
            raise UnavailableError("The store does not answer.") from None

    def _token(self) -> str:
        if self._journal.token is None:
            raise NotFoundError("No upload was begun.")
        return self._journal.token

    def _open(self, path: Path) -> GrowingFilm | None:
        """The film that grows at `path`; None while there is none."""
        if self._growing is not None and self._growing.is_current():
            return self._growing
        try:
            opened = GrowingFilm(path)
        except FileNotFoundError:
            return None  # finished, or not begun anew yet
        self._close()
        self._growing = opened
        return opened

    def _close(self) -> None:
        if self._growing is not None:
            self._growing.close()
        self._growing, self._plan, self._next, self._pending = None, None, 0, b""


def _assembly(parts: Sequence[Part]) -> Assembly | None:
    return Assembly.of([(part.size_bytes, part.tag) for part in parts])


@contextmanager
def _here(path: Path) -> Iterator[int]:
    """Descriptor of a film. FilmGoneError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise FilmGoneError("The film is not on this machine any more.") from None
    try:
        yield fd
    finally:
        os.close(fd)


def _media_at(path: Path) -> int:
    """Where the contents of `mdat` begin in a finished film, 0 in a tar; -1 if it is no such film."""
    with _here(path) as fd:
        if is_archive(os.pread(fd, 512, 0)):
            return 0
        try:
            boxes = scan_boxes(lambda at, n: os.pread(fd, n, at), os.fstat(fd).st_size)
        except ValueError:
            return -1
    return next((box.offset + box.header for box in boxes if box.kind == b"mdat"), -1)


def _buffer(size: int) -> mmap.mmap:
    """Memory for parts, one after the other: to get it from the system anew for each costs as much as to sign it."""
    made = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError, AttributeError):
        made.madvise(mmap.MADV_HUGEPAGE)
    return made


def _load(film: Film, part: PlannedPart, known: bytes, into: memoryview) -> int:
    """Read a part, of which the `known` bytes are read already; its CRC-32C."""
    into[: len(known)] = known
    crc, at = google_crc32c.value(known), len(known)
    while at < part.size:
        piece = _read(film, part.start + at, min(_PIECE, part.size - at))
        into[at : at + len(piece)] = piece
        crc, at = google_crc32c.extend(crc, piece), at + len(piece)
    return int(crc)


def _read(film: Film, start: int, size: int) -> bytes:
    """So many bytes of it, from memory where they are there."""
    data: bytes = film.head[start : start + size]
    if len(data) == size:
        return data
    with _here(film.path) as fd:
        while len(data) < size:
            more = os.pread(fd, size - len(data), start + len(data))
            if not more:
                raise FilmGoneError("The film on this machine is shorter than it was.")
            data += more
    return data
