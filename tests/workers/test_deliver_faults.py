"""What happened is told also when it has no words yet, and when what it follows from is long forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.service.world import World, make_world
from tests.workers.test_deliver import Endpoint, deliveries, hook, rest, sending

from tapedeck.core.happenings import Message
from tapedeck.db import outbox
from tapedeck.service.deliveries import SAY_LIMIT


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with make_world(tmp_path) as made:
        yield made


@pytest.mark.parametrize("for_good", [False, True])
async def test_a_happening_without_words_is_waited_for_and_silences_nobody_for_ever(
    for_good: bool, world: World
) -> None:
    webhook = await hook(world)
    compose, first, is_broken = world.deliveries._compose, set[int](), True

    async def fragile(happening: Any) -> Message | None:
        first.add(happening.id)
        if is_broken and happening.id == min(first):
            raise RuntimeError("no words")
        return await compose(happening)

    world.deliveries._compose = fragile
    await world.start(await world.meeting())
    await world.start(await world.meeting())
    async with sending(world, Endpoint()) as worker:
        await rest(worker, world)
        assert await deliveries(world, webhook) == [], "what follows waits"
        is_broken = for_good
        world.clock.move(SAY_LIMIT.total_seconds())
        await rest(worker, world)
    assert len(await deliveries(world, webhook)) == (1 if for_good else 2)


async def test_whoever_came_a_month_ago_is_told_to_have_gone(world: World) -> None:
    webhook = await hook(world, events=("meeting.participantJoined", "meeting.participantLeft"))
    meeting = await world.meeting()
    live = await world.live(meeting)
    async with sending(world, Endpoint()) as worker:
        await rest(worker, world)
        (came,) = await deliveries(world, webhook)
        world.clock.move(31 * 86_400)
        await world.deliveries.forget()
        assert await deliveries(world, webhook) == [], "what was sent then is forgotten"
        await world.sessions.on_left(live, f"{live}/0", world.clock.now())
        await rest(worker, world)
    (gone,) = await deliveries(world, webhook)
    assert (came.event, gone.event) == ("meeting.participantJoined", "meeting.participantLeft")
    world.clock.move(31 * 86_400)
    await world.deliveries.forget()
    async with world.db.read() as session:
        assert await outbox.happenings(session, 0) == [], "and now all of it"
