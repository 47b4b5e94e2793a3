"""What a browser says, in pieces and in any length."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from tapedeck.adapters.browser.devtools import DevTools


async def test_a_message_that_is_too_long_is_passed_over_and_the_next_is_heard() -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    def on_event(method: str, said: dict[str, Any], session: str) -> None:
        heard.put_nowait(method)

    ours, theirs = socket.socketpair()
    devtools = DevTools(on_event)
    await devtools.open(ours)
    _, writer = await asyncio.open_unix_connection(sock=theirs)
    try:
        for name, size in (("a", 1), ("b", 40 << 20), ("c", 9 << 20), ("d", 7 << 20)):
            writer.write(b'{"method": "%s", "params": {"x": "%s"}}\0' % (name.encode(), b"x" * size))
            await writer.drain()
        async with asyncio.timeout(30):
            assert [await heard.get() for _ in range(2)] == ["a", "d"]
        assert not devtools.gone.is_set()
    finally:
        writer.close()
        await devtools.aclose()
