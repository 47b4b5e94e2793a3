"""Sync with another recorder: 1 000 recordings of a room there, listed over HTTP and taken into the library here.

The peer is the list alone: the same pages, read by the same SDK, and thrown away.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from tests.service.far import account_of, far_server, make_near

from bench.row import Row
from tapedeck.adapters.provider.cloudflare import CloudflareProviders

MANY, MARK_S = 1000, 10.0


async def _measure(root: Path) -> tuple[float, float, float]:
    """Seconds of the list, of a first sync and of a second one."""
    async with far_server(root / "far") as far, make_near(root / "near", far) as near:
        await far.films(near.far_room, MANY)
        providers = CloudflareProviders(allow_private=True)
        begin = time.perf_counter()
        listed = await providers.connect(account_of(far)).recordings(near.far_room)
        listing = time.perf_counter() - begin
        await providers.aclose()
        begin = time.perf_counter()
        taken = await near.sync()
        first = time.perf_counter() - begin
        begin = time.perf_counter()
        again = await near.sync()
        second = time.perf_counter() - begin
        assert len(listed) == len(taken) == MANY and not again
        return listing, first, second


def rows() -> list[Row]:
    """One row."""
    with tempfile.TemporaryDirectory() as directory:
        listing, first, second = asyncio.run(_measure(Path(directory)))
    note = f"again, with nothing new: {second:.1f} s"
    what = f"sync of {MANY} recordings of another recorder"
    return [Row(what, f"{first:.1f} s", f"{listing:.1f} s (list alone)", f"<= {MARK_S:g} s", first <= MARK_S, note)]
