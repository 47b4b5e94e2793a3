"""Tries a store with a small object: write, read back, link, delete; says in words what went wrong."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from yarl import URL

from tapedeck.adapters.outbound import Outbound, mapped
from tapedeck.core.errors import DestinationError, NotFoundError, TapedeckError
from tapedeck.ports.storage import ObjectStore

__all__ = ["probe"]

_TIMEOUT_S = 60.0
_LINK_S = 20.0


async def probe(store: ObjectStore, key: str, *, links: bool) -> str:
    """What was done, as a sentence; nothing is left there. `links`: whether links are for everybody to open.

    TapedeckError with one sentence to the owner of the storage.
    """
    content = uuid4().hex.encode()
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await _put(store, key, content)
            try:
                return await _look(store, key, content, links)
            finally:
                with contextlib.suppress(TapedeckError):
                    await store.delete(key)
    except TimeoutError:
        raise DestinationError(f"The storage did not answer within {_TIMEOUT_S:g} s.") from None


async def _put(store: ObjectStore, key: str, content: bytes) -> None:
    def write(directory: str) -> Path:
        path = Path(directory) / "probe"
        path.write_bytes(content)
        return path

    with tempfile.TemporaryDirectory(prefix="tapedeck-") as directory:
        path = await asyncio.to_thread(write, directory)
        try:
            await store.put_file(key, path, "text/plain", "tapedeck-probe.txt")
        except NotFoundError as exc:
            raise DestinationError("The bucket does not exist: check its name.") from exc


async def _look(store: ObjectStore, key: str, content: bytes, links: bool) -> str:
    if await _first(store.read(key), len(content) + 1) != content:
        raise DestinationError("The storage gave back other bytes than it was given.")
    linked = ""
    if links:
        url = await store.presign(key, "tapedeck-probe.txt", datetime.now(UTC) + timedelta(minutes=5))
        if await _fetch(url, len(content) + 1) != (200, content):
            raise DestinationError("The storage took the object, but its own link to it does not open.")
        linked = "opened by its link, "
    await store.delete(key)
    with contextlib.suppress(NotFoundError):
        await store.head(key)
        raise DestinationError("The storage kept an object that it was told to delete.")
    return f"a small object was written, read back, {linked}and deleted"


async def _fetch(url: str, most: int) -> tuple[int, bytes]:
    out = Outbound(allow_private=True, timeout_s=_LINK_S)
    try:
        with mapped(_LINK_S):
            async with out.open().get(URL(url, encoded=True), allow_redirects=False) as said:
                return said.status, await _first(said.content.iter_any(), most)
    finally:
        await out.aclose()


async def _first(pieces: AsyncIterator[bytes], most: int) -> bytes:
    """So many bytes at most: it is not known yet whether what answers is a storage, and it may never end."""
    found = b""
    async for piece in pieces:
        found += piece
        if len(found) >= most:
            break
    return found[:most]
