"""Processes that bring a film to a store and are killed at each step: `python -m tests.workers.killed FOLDER`.

Prints a line of JSON per step: which one, whether it was done when the process died, and what became of the film. Each
process is forked from this one, which runs nothing else: what they leave is what lies on the disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.workers.reels import MIB, Reel, Watched

from tapedeck.core.parts import aligned_part
from tapedeck.ports.storage import ObjectInfo, Part
from tapedeck.workers.transfer import Film, Transfer

__all__ = ["DAY", "STEPS"]

DAY = 26 << 30
STEPS = 7
"""A beginning, two parts while the film grows, three at a time when it is finished, and the completion."""


class Deadly(Watched):
    """A store that notes each call, of all processes, and ends the one that makes a certain call."""

    def __init__(self, root: Path, notes: Path, at: int, *, done: bool) -> None:
        """`done`: the call has its effect."""
        super().__init__(root)
        self._notes, self._at, self._done = notes, at, done

    def _step(self, text: str) -> bool:
        """Note a call; whether this process ends after it."""
        with self._notes.open("a") as file:
            file.write(f"{text}\n")
        is_mine = len(self._notes.read_text().splitlines()) - 1 == self._at
        if is_mine and not self._done:
            os.kill(os.getpid(), signal.SIGKILL)
        return is_mine

    async def begin(self, key: str, content_type: str, filename: str) -> str:
        is_mine = self._step("begin")
        token = await super().begin(key, content_type, filename)
        if is_mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return token

    async def put_part(self, key: str, token: str, number: int, data: bytes | memoryview, offset: int) -> Part:
        is_mine = self._step(f"part {number}")
        part = await super().put_part(key, token, number, data, offset)
        if is_mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return part

    async def complete(self, key: str, token: str, parts: Sequence[Part]) -> ObjectInfo:
        is_mine = self._step("complete")
        info = await super().complete(key, token, parts)
        if is_mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return info


def forked(work: Any) -> bool:
    """Whether a process that does this lived to its end."""
    pid = os.fork()
    if not pid:
        try:
            asyncio.run(work())
            os._exit(0)
        finally:
            os._exit(9)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "it failed by itself"
    return not os.WIFSIGNALED(status)


def story(folder: Path, at: int, *, done: bool) -> dict[str, Any]:
    """A film whose process is killed at a step, and taken over."""
    notes = folder / "notes"
    folder.mkdir(parents=True)
    notes.touch()

    def transfer() -> Transfer:
        store = Deadly(folder / "bucket", notes, at, done=done)
        return Transfer(store, "f.mp4", "video/mp4", "f.mp4", folder / "films" / "journal", most_film_bytes=DAY)

    reel = Reel(folder / "films", head_align=aligned_part(DAY))
    reel.grow(17 * MIB)

    async def follow() -> None:
        sending = transfer()
        while await sending.follow(reel.path):
            pass

    film: Film | None = None

    async def finish() -> None:
        assert film is not None
        await transfer().finish(film)

    lives = [forked(follow)]
    if not lives[0]:
        lives.append(forked(follow))
    film = reel.finish()
    lives.append(forked(finish))
    if not lives[-1]:
        lives.append(forked(finish))

    async def left() -> tuple[bool, int]:
        store = Watched(folder / "bucket")
        return await store.bytes_of("f.mp4") == film.path.read_bytes(), len(await store.unfinished(""))

    is_whole, orphans = asyncio.run(left())
    steps = notes.read_text().splitlines()
    return {"at": at, "done": done, "steps": steps, "deaths": lives.count(False), "whole": is_whole, "orphans": orphans}


if __name__ == "__main__":
    for at in range(STEPS):
        for done in (False, True):
            sys.stdout.write(json.dumps(story(Path(sys.argv[1]) / f"{at}-{done}", at, done=done)) + "\n")
            sys.stdout.flush()
