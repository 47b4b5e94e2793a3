"""A local file as an upload in parts: what every remote store's `put_file` does with a large one."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tapedeck.core.parts import plan_whole
from tapedeck.ports.storage import MultipartStore, ObjectInfo, Part

__all__ = ["put_in_parts"]

_AT_ONCE = 4


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


def _read(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)
