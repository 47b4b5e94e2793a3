"""A bad network in process: loses, delays and reorders datagrams the same way each time.

Owns what happens to datagrams on their way; refuses to look into them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

__all__ = ["BadLink"]


class BadLink:
    """One direction of a network path, as a `DatagramHook` of a publisher or receiver.

    Each datagram is lost with probability `loss`, else passed on after `delay_s` plus up to `jitter_s` more; whoever is
    overtaken by a later one arrives out of order.
    """

    def __init__(self, seed: int, *, loss: float = 0.05, delay_s: float = 0.08, jitter_s: float = 0.02) -> None:
        self._random = random.Random(seed)
        self._loss, self._delay_s, self._jitter_s = loss, delay_s, jitter_s
        self.passed = 0
        self.lost = 0

    def __call__(self, datagram: bytes, pass_on: Callable[[bytes], None]) -> None:
        chance, extra = self._random.random(), self._random.random()
        if chance < self._loss:
            self.lost += 1
            return
        self.passed += 1
        asyncio.get_running_loop().call_later(self._delay_s + extra * self._jitter_s, pass_on, datagram)
