"""Moves an object from one store to another in parts, and proves the copy: size, and the checksum of every byte.

Where the archive can reach the bucket, the store itself copies each part. Where it is known of which parts the object
was made when it was delivered, the copy is made of the same, and equal tags prove it: no byte comes here. Elsewhere
we read while the store copies and hold what it made against what was read; a part that cannot be copied, or was copied
wrong, is sent. Owns no decision about when, and deletes nothing. Memory is a few parts, whatever the object's size.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

import google_crc32c

from tapedeck.core.archive import ArchivedFile
from tapedeck.core.assembly import Assembly, is_md5, parts_tag
from tapedeck.core.crc32c import combine
from tapedeck.core.errors import DestinationError, InternalError, NotFoundError
from tapedeck.core.parts import PlannedPart, plan_whole
from tapedeck.ports.archive import ArchiveStore
from tapedeck.ports.storage import ObjectStore, Part

__all__ = ["copy_of", "discard", "prove"]

T = TypeVar("T")
_log = logging.getLogger(__name__)
_IN_MEMORY = 40 << 20
"""Bytes of parts that are sent at once: four of 8 MiB, two of 16."""
_COPIES = 4
"""Parts that the store copies at once; of those that are read beside it a few chunks are in memory."""
_HELD = 2
"""Chunks that are summed in one go."""


async def copy_of(
    hot: ObjectStore, archive: ArchiveStore, file: ArchivedFile, note: Callable[[ArchivedFile], Awaitable[None]]
) -> ArchivedFile:
    """Copy a file to the archive; what is returned has the tag of the copy.

    An upload that was begun before (`file.token`) goes on where it stopped: parts that the archive has are compared,
    not sent. `note` is told of the upload's token before the first part. InternalError when the bytes are not those
    that the recording was delivered with; TapedeckError of either store. Cancelled, it can be continued.
    """
    there = await _known(archive, file)
    if there is None:
        await _drop_left(archive, file)
        token = await archive.begin(file.key, file.content_type, file.name)
        file, there = replace(file, token=token, tag=None), []
        await note(file)
    assert file.token is not None
    assembly = None if file.assembly is None else Assembly.parse(file.assembly)
    same = None if assembly is None else assembly.plan(archive.rule, file.size_bytes)
    plan = plan_whole(archive.rule, file.size_bytes) if same is None else same
    sizes = {piece.number: piece.size for piece in plan}
    have = {part.number: part for part in there if sizes.get(part.number) == part.size_bytes}
    job = _Job(hot, archive, file, file.token, plan, have, archive.reaches(hot))
    parts = None if assembly is None or same is None else await job.copy(assembly)
    if parts is None:
        parts = await job.compare()
    await archive.complete(file.key, file.token, parts)
    tag = await archive.tag(file.key)
    wanted = None if any(part.is_sealed for part in parts) else parts_tag([part.tag for part in parts])
    if wanted is not None and "-" in tag and is_md5(tag.partition("-")[0]):
        _check(tag == wanted, file)
    return replace(file, token=None, tag=tag)


async def prove(archive: ArchiveStore, file: ArchivedFile) -> None:
    """Pass if the archive has the copy, whole and as it was made; InternalError."""
    info = await archive.head(file.key)
    _check(info.size_bytes == file.size_bytes and file.tag == await archive.tag(file.key), file)


async def discard(archive: ArchiveStore, file: ArchivedFile) -> None:
    """Drop a copy, finished or not."""
    if file.token is not None:
        await archive.abort(file.key, file.token)
    await _drop_left(archive, file)
    await archive.delete(file.key)


async def _known(archive: ArchiveStore, file: ArchivedFile) -> Sequence[Part] | None:
    """The parts of the upload that was begun before; None if there is none any more."""
    if file.token is None:
        return None
    try:
        return await archive.parts(file.key, file.token)
    except NotFoundError:
        return None


async def _drop_left(archive: ArchiveStore, file: ArchivedFile) -> None:
    """Abort uploads that nobody knows the token of: a process died, or an answer was lost, right after they began."""
    with suppress(DestinationError):  # not every account may list
        for left in await archive.unfinished(file.key):
            if left.key == file.key:
                await archive.abort(left.key, left.token)


@dataclass(slots=True)
class _Job:
    """One upload to the archive."""

    hot: ObjectStore
    archive: ArchiveStore
    file: ArchivedFile
    token: str
    plan: Sequence[PlannedPart]
    there: dict[int, Part]
    "Parts of the plan that the archive has, by number."
    reaches: bool
    "Whether its store makes parts by itself whose tags prove something."

    async def copy(self, assembly: Assembly) -> Sequence[Part] | None:
        """The parts as the store copied them, proven by their tags; None where it does not, or they prove nothing."""
        parts = [part for part in await _all(self._made, self.plan) if part is not None]
        if len(parts) == len(self.plan) and parts_tag([part.tag for part in parts]) == assembly.tag:
            return parts
        _log.info("the store's copy is not proven by its tag", extra={"action": "archive_compared"})
        return None

    async def compare(self) -> Sequence[Part]:
        """The parts, each held against the bytes of the bucket. InternalError unless those are the film's."""
        largest = max(piece.size for piece in self.plan)
        in_memory = asyncio.Semaphore(max(1, _IN_MEMORY // max(largest, 1)))

        async def make(piece: PlannedPart) -> tuple[Part, int, int]:
            if (found := await self._held_against(piece)) is not None:
                return found
            async with in_memory:
                return await self._send(piece)

        compared = await _all(make, self.plan)
        crc = 0
        for _, part_crc, size in compared:
            crc = combine(crc, part_crc, size)
        if f"{crc:08x}" != self.file.crc32c:
            raise InternalError(f"{self.file.name} in the bucket is not the file that was delivered there")
        return [part for part, _, _ in compared]

    async def _held_against(self, piece: PlannedPart) -> tuple[Part, int, int] | None:
        """The part that the archive has or makes, with CRC-32C and size of the same bytes as they were read.

        None where it makes none, or another one.
        """
        if not self.reaches and piece.number not in self.there:
            return None
        making = asyncio.create_task(self._made(piece))
        try:
            digest, crc, size = await _sums(self.hot.read(self.file.hot_key, piece.start, piece.end))
            part = await making
        finally:
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)
        if part is None or part.size_bytes != size or _plain(part) != digest:
            return None
        return part, crc, size

    async def _send(self, piece: PlannedPart) -> tuple[Part, int, int]:
        """The part, made of what was read, with its CRC-32C and size."""
        file = self.file
        data = b"".join([chunk async for chunk in self.hot.read(file.hot_key, piece.start, piece.end)])
        if len(data) != piece.size:
            raise InternalError(f"{file.name} in the bucket is shorter than it was")
        digest, crc, _ = await _sums(_once(data))
        part = await self.archive.put_part(file.key, self.token, piece.number, data, piece.start)
        _check(part.is_sealed or not is_md5(part.tag) or _plain(part) == digest, file)
        return part, crc, piece.size

    async def _made(self, piece: PlannedPart) -> Part | None:
        """The part as the archive has it, or as its store makes it by itself now."""
        if (part := self.there.get(piece.number)) is not None or not self.reaches:
            return part
        hot, file, is_all = self.hot, self.file, len(self.plan) == 1
        part = await self.archive.copy_part(hot, file.hot_key, file.key, self.token, piece, is_all=is_all)
        if part is None or part.is_sealed:
            self.reaches = False
            return None
        self.there[piece.number] = part
        return part


async def _all(make: Callable[[PlannedPart], Awaitable[T]], plan: Sequence[PlannedPart]) -> list[T]:
    """What is made of all parts, in order, some at a time.

    When one fails no other is begun, and those under way are waited for: a part that a store makes of an upload which
    is aborted meanwhile may stay there for ever. Cancelled, it ends at once.
    """
    places, failed = asyncio.Semaphore(_COPIES), list[Exception]()

    async def one(piece: PlannedPart) -> list[T]:
        async with places:
            try:
                return [] if failed else [await make(piece)]
            except Exception as exc:
                failed.append(exc)
                return []

    tasks = [asyncio.create_task(one(piece)) for piece in plan]
    try:
        made = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if failed:
        raise failed[0]
    return [part for (part,) in made]


async def _sums(chunks: AsyncIterator[bytes]) -> tuple[str, int, int]:
    """MD5 in hex, CRC-32C and size; nothing is kept."""
    md5, crc, size = hashlib.md5(usedforsecurity=False), 0, 0

    def take(held: Sequence[bytes]) -> None:
        nonlocal crc, size
        for chunk in held:
            md5.update(chunk)
            crc = google_crc32c.extend(crc, chunk)
            size += len(chunk)

    held: list[bytes] = []
    async for chunk in chunks:
        held.append(chunk)
        if len(held) == _HELD:
            await asyncio.to_thread(take, held)
            held = []
    await asyncio.to_thread(take, held)
    return md5.hexdigest(), crc, size


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _plain(part: Part) -> str:
    return part.tag.strip('"')


def _check(same: bool, file: ArchivedFile) -> None:
    if not same:
        raise InternalError(f"The copy of {file.name} in the archive is not the file")
