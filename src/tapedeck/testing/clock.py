"""The clock that all synthetic people of a meeting share, and that their films are checked against.

It is the monotonic clock counted from an epoch; beats are its full seconds. Nothing sleeps for "a frame": whoever waits
waits for an instant, so that lateness never adds up.
"""

from __future__ import annotations

import asyncio
import time

__all__ = ["SharedClock"]

_NTP_OFFSET_NS = 2_208_988_800_000_000_000


class SharedClock:
    """Nanoseconds since an epoch, all times of a test meeting are told in."""

    def __init__(self, epoch_ns: int | None = None) -> None:
        """`epoch_ns`: a reading of `time.monotonic_ns` that is to be zero; default now."""
        self.begin(epoch_ns)

    def begin(self, epoch_ns: int | None = None) -> None:
        """Make this instant zero: only before anybody has looked at the clock."""
        self.epoch_ns = time.monotonic_ns() if epoch_ns is None else epoch_ns
        self.origin_ns = time.time_ns() + _NTP_OFFSET_NS - (time.monotonic_ns() - self.epoch_ns)
        "What the wall clock (ns since 1900) read at the epoch; it is not asked again, so it never jumps."

    def now_ns(self) -> int:
        """Nanoseconds since the epoch."""
        return time.monotonic_ns() - self.epoch_ns

    def wallclock_ns(self) -> int:
        """The sender's wall clock as ns since 1900, for sender reports: this clock, moved."""
        return self.origin_ns + self.now_ns()

    def at(self, monotonic_ns: int) -> int:
        """A `time.monotonic_ns` reading on this clock."""
        return monotonic_ns - self.epoch_ns

    async def until(self, at_ns: int) -> None:
        """Wait for an instant, which may be past; the event loop's timer may be early by its resolution."""
        await asyncio.sleep(max(0, at_ns - self.now_ns()) / 1e9)
