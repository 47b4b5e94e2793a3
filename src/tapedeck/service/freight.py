"""Moves an object from one store to another in parts, and proves the copy: size, and the checksum of every byte.

Where the archive can reach the bucket, the store itself copies each part while we read it: what it made is held
against what was read, and a part that cannot be is sent. Owns no decision about when, and deletes nothing. Memory is a
few parts, whatever the size of the object.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

import google_crc32c

from tapedeck.core.archive import ArchivedFile
from tapedeck.core.crc32c import combine
from tapedeck.core.errors import InternalError, NotFoundError
from tapedeck.core.parts import PlannedPart, plan_whole
from tapedeck.ports.archive import ArchiveStore
from tapedeck.ports.storage import ObjectStore, Part

__all__ = ["copy_of", "discard", "prove"]

_AT_ONCE = 3
"""Parts in memory; of 8 MiB each up to 80 GB."""
_COPIES = 4
"""Parts that are read at once; of those that the archive makes by itself, or has, a few chunks are in memory."""
_HELD = 2
"""Chunks that are summed in one go."""
_MD5 = re.compile(r"[0-9a-f]{32}")


async def copy_of(
    hot: ObjectStore, archive: ArchiveStore, file: ArchivedFile, note: Callable[[ArchivedFile], Awaitable[None]]
) -> ArchivedFile:
    """Copy a file to the archive; what is returned has the tag of the copy.

    An upload that was begun before (`file.token`) goes on where it stopped: parts that the archive has are read and
    compared, not sent. `note` is told of the upload's token before the first part. InternalError when the bytes are
    not those that the recording was delivered with; TapedeckError of either store. Cancelled, it can be continued.
    """
    plan = plan_whole(archive.rule, file.size_bytes)
    there = await _known(archive, file)
    if there is None:
        token = await archive.begin(file.key, file.content_type, file.name)
        file, there = replace(file, token=token, tag=None), []
        await note(file)
    assert file.token is not None
    copied = await _send(hot, archive, file, file.token, plan, {part.number: part for part in there})
    crc = 0
    for _, _, part_crc, size in copied:
        crc = combine(crc, part_crc, size)
    if f"{crc:08x}" != file.crc32c:
        raise InternalError(f"{file.name} in the bucket is not the file that was delivered there")
    await archive.complete(file.key, file.token, [part for part, _, _, _ in copied])
    tag = await archive.tag(file.key)
    wanted = _tag([digest for _, digest, _, _ in copied])
    if "-" in tag and _MD5.fullmatch(tag.partition("-")[0]) and all(_is_md5(part) for part, *_ in copied):
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
    await archive.delete(file.key)


async def _known(archive: ArchiveStore, file: ArchivedFile) -> Sequence[Part] | None:
    """The parts of the upload that was begun before; None if there is none any more."""
    if file.token is None:
        return None
    try:
        return await archive.parts(file.key, file.token)
    except NotFoundError:
        return None


async def _send(
    hot: ObjectStore,
    archive: ArchiveStore,
    file: ArchivedFile,
    token: str,
    plan: Sequence[PlannedPart],
    there: dict[int, Part],
) -> Sequence[tuple[Part, bytes, int, int]]:
    """Each part with its MD5, its CRC-32C and its size, in order."""
    places, in_memory = asyncio.Semaphore(_COPIES), asyncio.Semaphore(_AT_ONCE)
    reaches = len(plan) > 1 and archive.reaches(hot)  # a store copies no span of a small object

    async def copied(piece: PlannedPart) -> Part | None:
        """The part as the archive has it already, or makes it by itself."""
        nonlocal reaches
        part = there.get(piece.number)
        if part is None and reaches:
            span = (piece.number, piece.start, piece.end)
            part = await archive.copy_part(hot, file.hot_key, file.key, token, *span)
            reaches = part is not None
        return part

    async def send(piece: PlannedPart) -> tuple[Part, bytes, int, int]:
        async with places:
            if piece.number in there or reaches:
                making = asyncio.create_task(copied(piece))
                try:
                    digest, crc, size = await _sums(hot.read(file.hot_key, piece.start, piece.end))
                    part = await making
                finally:
                    making.cancel()
                    await asyncio.gather(making, return_exceptions=True)
                if part is not None and part.size_bytes == piece.size == size and _plain(part) == digest.hex():
                    return part, digest, crc, size
        async with in_memory:
            data = b"".join([chunk async for chunk in hot.read(file.hot_key, piece.start, piece.end)])
            if len(data) != piece.size:
                raise InternalError(f"{file.name} in the bucket is shorter than it was")
            digest, crc, _ = await _sums(_once(data))
            part = await archive.put_part(file.key, token, piece.number, data, piece.start)
            _check(not _is_md5(part) or _plain(part) == digest.hex(), file)
            return part, digest, crc, piece.size

    tasks = [asyncio.create_task(send(piece)) for piece in plan]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _sums(chunks: AsyncIterator[bytes]) -> tuple[bytes, int, int]:
    """MD5, CRC-32C and size; nothing is kept."""
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
    return md5.digest(), crc, size


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _tag(digests: Sequence[bytes]) -> str:
    """The entity tag that S3 gives an object of parts: the MD5 of their MD5s, and how many they are."""
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"


def _plain(part: Part) -> str:
    return part.tag.strip('"')


def _is_md5(part: Part) -> bool:
    """Not where the store encrypts with keys of its own: there only the store can compare."""
    return _MD5.fullmatch(_plain(part)) is not None


def _check(same: bool, file: ArchivedFile) -> None:
    if not same:
        raise InternalError(f"The copy of {file.name} in the archive is not the file")
