"""A running recording whose film the test makes, and the worker that streams it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.pace import eventually
from tests.service.world import World, make_world

from tapedeck.core.meeting import Meeting
from tapedeck.core.recording import Recording
from tapedeck.core.target import Target, TargetState
from tapedeck.service.recordings import Action
from tapedeck.workers.streams import StreamWorker

__all__ = ["Studio", "open_studio"]


class Studio:
    """Its streams, states and acts."""

    def __init__(self, world: World, root: Path, **settings: Any) -> None:
        self.world, self.streams_dir = world, root / "streams"
        self.worker = StreamWorker(
            targets=world.targets,
            ledger=world.ledger,
            streams_dir=self.streams_dir,
            delay_s=lambda failures: 0.2,
            first_delay_s=0.05,
            **{"allow_private": True} | settings,
        )

    async def capturing(self, meeting: Meeting | None = None, live_id: str = "") -> Recording:
        """One of a meeting of its own, or one more of the meeting."""
        world = self.world
        meeting = meeting or await world.meeting()
        live_id = live_id or await world.live(meeting)
        view = await world.recordings.start(world.app, world.backend, meeting.id, {}, allow_multiple=True)
        await world.sessions.on_capturing(view.recording.id, live_id, world.clock.now())
        recording = await world.now_of(view.recording)
        self.live_dir(recording).mkdir(parents=True, exist_ok=True)
        return recording

    def live_dir(self, recording: Recording) -> Path:
        return self.streams_dir / recording.id

    async def add(self, recording: Recording, url: str) -> str:
        return (await self.world.targets.add(self.world.app, recording.id, url)).id

    async def target(self, recording: Recording, target_id: str) -> Target:
        found = await self.world.targets.list(self.world.app, recording.id)
        return next(target for target in found if target.id == target_id)

    async def until(self, recording: Recording, target_id: str, state: TargetState) -> Target:
        """A target as it was when it was first seen in a state: the next attempt may be over a moment later."""
        found: Target | None = None

        async def holds() -> bool:
            nonlocal found
            found = await self.target(recording, target_id)
            return found.state is state

        await eventually(holds, 60)
        assert found is not None
        return found

    async def act(self, recording: Recording, action: Action) -> None:
        await self.world.recordings.control(self.world.app, self.world.backend, recording.id, action)


@asynccontextmanager
async def open_studio(root: Path, **settings: Any) -> AsyncIterator[Studio]:
    async with make_world(root) as world:
        studio = Studio(world, root, **settings)
        try:
            yield studio
        finally:
            await studio.worker.aclose()
