"""A bad network in one process: seeded loss, delay, jitter, reordering and duplication.

`Impairment` decides the fate of each packet from a seed and nothing else, so that a failing test can be run again.
`HookedLink` applies it to the datagrams of a publisher (its `send_hook` or `receive_hook`) on the running event loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["HookedLink", "Impairment"]


@dataclass(frozen=True, slots=True)
class Impairment:
    """What a network does to packets. Times in ms; shares from 0 to 1."""

    loss: float = 0.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    "Each packet is late by up to this much more, so packets closer together than that change places."
    reorder: float = 0.0
    "Share of packets held back by another `reorder_ms`."
    reorder_ms: float = 30.0
    duplicate: float = 0.0

    def fates(self, seed: int) -> Callable[[], tuple[float, ...]]:
        """A function that tells of one packet after another when copies of it arrive, in ms from now; () is lost."""
        source = random.Random(seed)

        def fate() -> tuple[float, ...]:
            lost = source.random() < self.loss
            delay = self.delay_ms + source.random() * self.jitter_ms
            if source.random() < self.reorder:
                delay += self.reorder_ms
            twice = source.random() < self.duplicate
            if lost:
                return ()
            return (delay, delay + 1.0) if twice else (delay,)

        return fate


class HookedLink:
    """An impairment between a publisher and its sockets."""

    def __init__(self, impairment: Impairment, seed: int) -> None:
        self.passed = 0
        self.lost = 0
        self.active = True
        "While false, everything passes at once."
        self._fate = impairment.fates(seed)
        self._pending: set[asyncio.TimerHandle] = set()

    def __call__(self, data: bytes, send: Callable[[bytes], None]) -> None:
        """A `DatagramHook`."""
        times = self._fate() if self.active else (0.0,)
        if not times:
            self.lost += 1
        for delay_ms in times:
            self.passed += 1
            if delay_ms <= 0:
                send(data)
            else:
                self._send_later(data, send, delay_ms)

    def _send_later(self, data: bytes, send: Callable[[bytes], None], delay_ms: float) -> None:
        def fire() -> None:
            self._pending.discard(handle)
            send(data)

        handle = asyncio.get_running_loop().call_later(delay_ms / 1000, fire)
        self._pending.add(handle)

    def close(self) -> None:
        """Lose what is still on its way."""
        for handle in self._pending:
            handle.cancel()
        self._pending.clear()
