"""What is done by the clock: recordings that are due to end, media logs that may be freed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from tapedeck.ports.clock import Clock
from tapedeck.service.lifecycle import LifecycleService

__all__ = ["LogKeeper", "run_deadlines"]

log = structlog.get_logger(__name__)

_LONGEST_WAIT_S = 0.5
"""People leave and recordings start at any moment, so that new deadlines appear: look at least this often."""
_FREE_EVERY_S = 30.0
_FAILED_KEEP = timedelta(days=7)
"""Logs of recordings that failed are kept this long: their films can still be made by hand."""


async def run_deadlines(lifecycle: LifecycleService, clock: Clock) -> None:
    """Stop recordings when they are due, for ever. A fault is logged and does not end it."""
    while True:
        wait_s = _LONGEST_WAIT_S
        try:
            upcoming = await lifecycle.run_due(clock.now())
            if upcoming is not None:
                wait_s = min(max((upcoming - clock.now()).total_seconds(), 0.005), wait_s)
        except Exception:
            log.exception("deadlines.failed")
        await asyncio.sleep(wait_s)


class LogKeeper:
    """Frees media logs whose films are delivered.

    `keep_days` None frees a log as soon as every recording of its session is delivered and the session is over.
    """

    def __init__(
        self,
        *,
        lifecycle: LifecycleService,
        clock: Clock,
        captures_dir: Path,
        keep_days: int | None,
        in_use: Callable[[], Iterable[str]],
    ) -> None:
        self._lifecycle = lifecycle
        self._clock = clock
        self._captures_dir = captures_dir
        self._keep = timedelta(days=keep_days) if keep_days is not None else timedelta(0)
        self._in_use = in_use

    async def run(self) -> None:
        """Free what may be freed, for ever."""
        while True:
            await asyncio.sleep(_FREE_EVERY_S)
            try:
                await self.free(self._clock.now())
            except Exception:
                log.exception("logs.failed")

    async def free(self, now: datetime) -> list[str]:
        """Free what may be freed at `now`; returns the session ids."""
        freed = []
        for path in await asyncio.to_thread(_directories, self._captures_dir):
            if path.name in self._in_use():
                continue
            needed = await self._lifecycle.log_needed_until(path.name, self._keep, _FAILED_KEEP)
            if needed is not None and needed <= now and path.name not in self._in_use():
                try:
                    await asyncio.to_thread(shutil.rmtree, path)
                except OSError as exc:  # the others can still be freed
                    log.error("logs.not_freed", session_id=path.name, reason=str(exc))
                    continue
                log.info("logs.freed", session_id=path.name)
                freed.append(path.name)
        return freed


def _directories(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
