"""The loop around the looks at other recorders: nothing that is told is slept through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.pace import eventually
from tests.service.far import Near, far_server, make_near

from tapedeck.core.errors import UnavailableError
from tapedeck.core.recording import Recording
from tapedeck.core.remote import RemoteRecording
from tapedeck.db.remote import Origin


@pytest.fixture
async def near(tmp_path: Path) -> AsyncIterator[Near]:
    async with far_server(tmp_path / "far") as far, make_near(tmp_path / "near", far) as made:
        yield made


@asynccontextmanager
async def running(near: Near) -> AsyncIterator[None]:
    """The loop around the looks."""
    task = asyncio.create_task(near.worker.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_started_is_followed_by_a_worker_that_had_nothing_to_do(near: Near) -> None:
    looked = asyncio.Event()
    unfinished = near.remote.unfinished

    async def look() -> Sequence[Origin]:
        found = await unfinished()
        looked.set()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near.remote, "unfinished", look)
        async with running(near):
            await looked.wait()
            recording = await near.remote.start(near.app, near.room.id, {}, False, None)

            async def is_followed() -> bool:
                return recording.id in near.worker.turns()

            await eventually(is_followed)


async def test_what_is_told_while_the_worker_looks_is_looked_at_next(
    near: Near, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished = near.remote.unfinished
    started = list[str]()

    async def look() -> Sequence[Origin]:
        found = await unfinished()
        if not started:
            started.append((await near.remote.start(near.app, near.room.id, {}, False, None)).id)
        return found

    async def is_followed() -> bool:
        return list(near.worker.turns()) == started != []

    monkeypatch.setattr(near.remote, "unfinished", look)
    async with running(near):
        await eventually(is_followed)


async def test_a_look_that_failed_is_repeated(near: Near, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was told before it is not forgotten."""
    recording = await near.remote.start(near.app, near.room.id, {}, False, None)
    await near.turn()
    near.remote.recover(recording)
    unfinished, asked, ask = near.remote.unfinished, list[str](), near.remote.ask
    faults = [UnavailableError("The database is locked")]

    async def look() -> Sequence[Origin]:
        if faults:
            raise faults.pop()
        return await unfinished()

    async def note(recording_id: str) -> tuple[Recording, RemoteRecording | None]:
        asked.append(recording_id)
        return await ask(recording_id)

    async def was_asked() -> bool:
        return asked == [recording.id]

    monkeypatch.setattr("tapedeck.workers.remote._TICK_S", 0.01)
    monkeypatch.setattr(near.remote, "unfinished", look)
    monkeypatch.setattr(near.remote, "ask", note)
    async with running(near):
        await eventually(was_asked)
