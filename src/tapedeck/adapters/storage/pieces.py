"""Uploads in parts: what several stores do in the same way."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tapedeck.core.errors import NotFoundError, UnavailableError
from tapedeck.core.parts import plan_whole
from tapedeck.ports.storage import MultipartStore, ObjectInfo, ObjectStore, Part

__all__ = ["ViewFile", "put_in_parts", "same_size", "stored"]

_AT_ONCE = 4


class ViewFile(io.RawIOBase):
    """Bytes as a file to read from; unlike `BytesIO` it copies no view."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as there is something."""
        piece = self._data[self._at : self._at + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move."""
        self._at = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._data)}[whence] + offset
        return self._at

    def tell(self) -> int:
        """Where it is."""
        return self._at


async def put_in_parts(
    store: MultipartStore, key: str, path: Path, content_type: str, filename: str, at_once: int = _AT_ONCE
) -> ObjectInfo:
    """Store a file, whole or not at all: an upload that fails or is cancelled is aborted."""
    plan = plan_whole(store.rule, (await asyncio.to_thread(path.stat)).st_size)
    token = await store.begin(key, content_type, filename)
    places = asyncio.Semaphore(at_once)

    async def send(number: int, start: int, size: int) -> Part:
        async with places:
            data = await asyncio.to_thread(_read, path, start, size)
            return await store.put_part(key, token, number, data, start)

    tasks = [asyncio.create_task(send(piece.number, piece.start, piece.size)) for piece in plan]
    try:
        return await store.complete(key, token, await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.shield(store.abort(key, token))
        raise


async def same_size(store: ObjectStore, key: str, parts: Sequence[Part]) -> ObjectInfo | None:
    """The object under a key, if it is as long as these parts."""
    try:
        info = await store.head(key)
    except NotFoundError:
        return None
    return info if info.size_bytes == sum(part.size_bytes for part in parts) else None


async def stored(store: ObjectStore, key: str, size_bytes: int) -> ObjectInfo:
    """The object that was just stored. UnavailableError when the store holds less, or more, of it."""
    info = await store.head(key)
    if info.size_bytes != size_bytes:
        raise UnavailableError(f"The storage holds {info.size_bytes} of {size_bytes} bytes of {key}")
    return info


def _read(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)
