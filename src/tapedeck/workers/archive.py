"""What the clock does to libraries: moves that were left, restores that are waited for, retention, purges.

Owns no rule; each round is told its time.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path

import structlog

from tapedeck.core.recording import Recording
from tapedeck.core.retention import RetentionStep
from tapedeck.ports.clock import Clock
from tapedeck.service.archive import ArchiveService
from tapedeck.service.retention import RetentionService

__all__ = ["LibraryKeeper", "LocalFiles"]

log = structlog.get_logger(__name__)

_EVERY_S = 60.0


class LibraryKeeper:
    """Four chores, each once a minute: a move takes hours sometimes, and no other chore waits for it."""

    def __init__(self, archives: ArchiveService, retention: RetentionService, clock: Clock) -> None:
        self._clock = clock
        self._chores: tuple[Callable[[datetime], Awaitable[object]], ...] = (
            lambda _: archives.resume(),
            archives.poll,
            lambda now: retention.run(now, (RetentionStep.DELETE, RetentionStep.PURGE)),
            lambda now: retention.run(now, (RetentionStep.ARCHIVE,)),
        )

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as tasks:
            for chore in self._chores:
                tasks.create_task(self._repeat(chore))

    async def round(self, now: datetime) -> None:
        """Everything that is due at `now`, one chore after the other; a fault in one does not stop the others."""
        for chore in self._chores:
            await self._do(chore, now)

    async def _repeat(self, chore: Callable[[datetime], Awaitable[object]]) -> None:
        while True:
            await self._do(chore, self._clock.now())
            await asyncio.sleep(_EVERY_S)

    async def _do(self, chore: Callable[[datetime], Awaitable[object]], now: datetime) -> None:
        try:
            await chore(now)
        except Exception:
            log.exception("library.failed")


class LocalFiles:
    """Deletes what this machine has of a recording that is purged: `service.retention.FreeLocal`."""

    def __init__(self, captures_dir: Path, *films: Path) -> None:
        """`films`: directories that have one for each recording: of its files, its fragments, its streams."""
        self._films = films
        self._captures_dir = captures_dir

    async def __call__(self, recording: Recording, log_too: bool) -> None:
        """OSError when something does not go."""
        paths = [directory / recording.id for directory in self._films]
        if log_too and recording.session_id is not None:
            paths.append(self._captures_dir / recording.session_id)
        for path in paths:
            await asyncio.to_thread(_remove, path)


def _remove(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
