"""Time in tests that need some: the rate of media that is really sent, and what another process or thread will do soon.

Everything else gets its time as an argument.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

__all__ = ["beat", "eventually"]


async def beat(interval_s: float) -> None:
    """One interval of a sender: media has a rate, and a receiver of real packets must be sent them at theirs."""
    loop = asyncio.get_running_loop()
    due = loop.create_future()
    timer = loop.call_later(interval_s, due.set_result, None)
    try:
        await due
    finally:
        timer.cancel()


async def eventually(holds: Callable[[], Awaitable[bool]], within_s: float = 120.0) -> None:
    """Return when `holds` does; for what nobody announces. TimeoutError after `within_s`: generous, for only where a
    test fails is it waited for, and machines may be busy."""
    async with asyncio.timeout(within_s):
        while not await holds():
            await beat(0.005)
