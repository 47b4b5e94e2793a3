"""What the outbox says of sessions and people: each comes once and goes once, whatever their connections do."""

from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.service.world import World

from tapedeck.core.happenings import Happening, HappeningKind
from tapedeck.db import outbox


async def told(world: World, meeting_id: str) -> list[Happening]:
    async with world.db.read() as session:
        found = await outbox.happenings(session, 0, 1000)
    return [happening for happening in found if happening.meeting.id == meeting_id]


async def test_a_session_from_first_join_to_end(world: World) -> None:
    meeting = await world.meeting()
    ada = await world.person(meeting)
    session_id = str(uuid4())
    await world.sessions.on_session_started(meeting.id, session_id, world.clock.now())
    await world.sessions.on_session_started(meeting.id, session_id, world.clock.now())
    joined_at = world.clock.now()
    for peer in ("camera", "screen", "camera"):
        await world.sessions.on_joined(session_id, ada.id, peer, "Ada", world.clock.now())
    await world.sessions.on_left(session_id, "camera", world.clock.move(5))
    left_at = world.clock.move(5)
    await world.sessions.on_left(session_id, "screen", left_at)
    await world.sessions.on_left(session_id, "screen", world.clock.move(1))
    await world.sessions.on_session_ended(meeting.id, session_id, world.clock.move(60))
    await world.sessions.on_session_ended(meeting.id, session_id, world.clock.move(60))
    found = await told(world, meeting.id)
    kinds = [HappeningKind.SESSION_STARTED, HappeningKind.JOINED, HappeningKind.LEFT, HappeningKind.SESSION_ENDED]
    assert [happening.kind for happening in found] == kinds
    guest = found[2].guest
    assert guest is not None
    assert (guest.peer_id, guest.name, guest.custom_id) == ("camera", "Ada", ada.custom_id)
    assert (guest.joined_at, guest.left_at) == (joined_at, left_at)
    assert found[3].session is not None and found[3].session.ended_at is not None
    assert {happening.key for happening in found} == {session_id}


async def test_hidden_people_are_not_spoken_of(world: World) -> None:
    meeting = await world.meeting()
    session_id = await world.live(meeting, people=0)
    ghost = await world.person(meeting, "recorder_preset_v2")
    await world.sessions.on_joined(session_id, ghost.id, "ghost", "Ghost", world.clock.now())
    await world.sessions.on_left(session_id, "ghost", world.clock.now())
    assert [h.kind for h in await told(world, meeting.id)] == [HappeningKind.SESSION_STARTED]


async def test_the_end_of_a_session_and_a_crash_see_everybody_out(world: World) -> None:
    meeting = await world.meeting()
    session_id = await world.live(meeting, people=2)
    await world.lifecycle.recover({})
    await world.sessions.on_joined(session_id, (await world.person(meeting)).id, "new", "New", world.clock.now())
    await world.sessions.on_session_ended(meeting.id, session_id, world.clock.move(1))
    kinds = [h.kind for h in await told(world, meeting.id)]
    j, left = HappeningKind.JOINED, HappeningKind.LEFT
    assert kinds == [HappeningKind.SESSION_STARTED, j, j, left, left, j, left, HappeningKind.SESSION_ENDED]


async def test_who_was_deleted_leaves_under_the_name_they_came_with(world: World) -> None:
    meeting = await world.meeting()
    session_id = await world.live(meeting, people=0)
    ada = await world.person(meeting)
    await world.sessions.on_joined(session_id, ada.id, "a", "Ada", world.clock.now())
    await world.meetings.delete_participant(world.app, meeting.id, ada.id)
    await world.sessions.on_left(session_id, "a", world.clock.now())
    last = (await told(world, meeting.id))[-1]
    assert last.guest is not None and last.guest.custom_id == ada.custom_id


@pytest.mark.parametrize("seed", range(3))
async def test_comings_and_goings_alternate(world: World, seed: int) -> None:
    meeting = await world.meeting()
    session_id = await world.live(meeting, people=0)
    people = [await world.person(meeting, name=f"P{n}") for n in range(2)]
    steps: list[tuple[bool, int, int]] = []

    @settings(max_examples=1, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 1), st.integers(0, 2)), min_size=30, max_size=40))
    def choose(chosen: list[tuple[bool, int, int]]) -> None:
        steps[:] = chosen

    choose()
    names: dict[tuple[int, int], str] = {}
    for comes, who, which in steps:
        if comes:
            peer = names.setdefault((who, which), str(uuid4()))
            await world.sessions.on_joined(session_id, people[who].id, peer, "P", world.clock.now())
        elif (who, which) in names:
            await world.sessions.on_left(session_id, names.pop((who, which)), world.clock.now())
    await world.sessions.on_session_ended(meeting.id, session_id, world.clock.now())
    for person in people:
        found = await told(world, meeting.id)
        kinds = [h.kind for h in found if h.guest is not None and h.guest.participant_id == person.id]
        assert kinds == [HappeningKind.JOINED, HappeningKind.LEFT] * (len(kinds) // 2)
