"""Recordings and the outbox as stored: nothing is lost on the way, no change is lost to another, indexes are used."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.dialects import sqlite
from tests.service.world import START, World, make_world

from tapedeck.core.caution import Caution
from tapedeck.core.errors import ConflictError
from tapedeck.core.happenings import recording_of
from tapedeck.core.meeting import Meeting, MeetingStatus
from tapedeck.core.paging import Listing, Page
from tapedeck.core.recording import (
    Caller,
    CallerKind,
    Dispatched,
    FilmFile,
    Recording,
    RecordingChanged,
    RecordingKind,
    RecordingOptions,
    RecordingState,
    StartCause,
    StopCause,
    advance,
    snapshot,
)
from tapedeck.db import listing as lists
from tapedeck.db import recordings as table
from tapedeck.db.listing import RecordingFilter, list_recordings
from tapedeck.db.models import RecordingRow
from tapedeck.service.recordings import Action


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with make_world(tmp_path) as made:
        yield made


async def full(world: World) -> Recording:
    """A recording with every field set to something that is not its default."""
    meeting = await world.meeting()
    session_id = await world.live(meeting)
    caller = Caller(CallerKind.PARTICIPANT, "p", "Zoë 😀")
    return Recording(
        id="r1",
        app_id=world.app.id,
        meeting_id=meeting.id,
        file_name="ü.mp4",
        invoked_at=START,
        kind=RecordingKind.TRACK,
        state=RecordingState.PAUSED,
        version=7,
        options=RecordingOptions(640, 480, 60, "x"),
        start_cause=StartCause.FIRST_JOIN,
        started_by=caller,
        session_id=session_id,
        started_at=START + timedelta(milliseconds=1),
        paused_at=START + timedelta(days=40_000),
        paused_ms=2**40,
        stopped_at=START,
        stop_cause=StopCause.SHUTDOWN,
        stopped_by=replace(caller, kind=CallerKind.APP),
        film_ms=2**41,
        files=(FilmFile("video", "a", 2**45, 3, "00ff00ff", "/x", None), FilmFile("audio", "b", 1, 2, "", None, "k")),
        size_bytes=2**45,
        expires_at=START,
        failure="because",
    )


async def test_every_field_comes_back_as_it_went_in(world: World) -> None:
    recording = await full(world)
    change = RecordingChanged("r1", 7, None, recording.state, START)
    async with world.db.write() as session:
        await table.add_recording(session, recording, change)
    async with world.db.read() as session:
        assert await table.find_recording(session, "r1") == recording
        (entry,) = await table.outbox(session)
    assert entry.change == change and entry.payload == snapshot(recording)


async def test_cautions_are_kept_beside_the_states(world: World) -> None:
    """One of each code, and no change of state that was read before takes one away."""
    meeting = await world.meeting()
    old = Recording("r1", world.app.id, meeting.id, "f", START)
    async with world.db.write() as session:
        await table.add_recording(session, old, RecordingChanged("r1", 1, None, old.state, START))
    await world.lifecycle.caution("r1", Caution("watermark", "first"))
    await world.lifecycle.caution("r1", Caution("watermark", "second"))
    await world.lifecycle.caution("r1", Caution("other", "third"))
    await world.lifecycle.caution("nobody", Caution("other", "third"))
    new, changes = advance(old, Dispatched(), START)
    async with world.db.write() as session:
        await table.save_recording(session, new, changes)
    async with world.db.read() as session:
        found = await table.find_recording(session, "r1")
    assert found is not None and found.state is RecordingState.STARTING
    assert found.cautions == (Caution("watermark", "first"), Caution("other", "third"))
    assert recording_of(json.loads(json.dumps(snapshot(found)))) == found


async def test_a_change_made_on_an_old_state_is_refused_whole(world: World) -> None:
    meeting = await world.meeting()
    old = Recording("r1", world.app.id, meeting.id, "f", START)
    async with world.db.write() as session:
        await table.add_recording(session, old, RecordingChanged("r1", 1, None, old.state, START))
    new, changes = advance(old, Dispatched(), START)
    async with world.db.write() as session:
        await table.save_recording(session, new, changes)
    with pytest.raises(ConflictError, match="another process"):
        async with world.db.write() as session:
            await table.save_recording(session, new, changes)
    assert [entry.change.seq for entry in await world.outbox()] == [1, 2]


async def test_the_outbox_is_read_on_from_any_row(world: World) -> None:
    for _ in range(3):
        await world.start(await world.meeting())
    async with world.db.read() as session:
        first = await table.outbox(session, limit=2)
        rest = await table.outbox(session, after=first[-1].id)
    assert [e.id for e in [*first, *rest]] == [1, 2, 3, 4, 5, 6]
    assert [(e.change.previous, e.change.state) for e in first] == [
        (None, RecordingState.REQUESTED),
        (RecordingState.REQUESTED, RecordingState.STARTING),
    ]


@pytest.mark.parametrize(
    "wanted",
    [
        RecordingFilter(),
        RecordingFilter(ascending=True),
        RecordingFilter(states=frozenset({RecordingState.DONE, RecordingState.FAILED})),
        RecordingFilter(start=START, end=START),
        RecordingFilter(expired=True),
        RecordingFilter(expired=False),
        RecordingFilter(expired=False, states=frozenset({RecordingState.DONE})),
        RecordingFilter(meeting_id="m"),
        RecordingFilter(meeting_id="m", states=frozenset({RecordingState.DONE})),
    ],
)
async def test_a_page_is_found_in_order_on_an_index_alone(world: World, wanted: RecordingFilter) -> None:
    """No sort and no reading of rows, or the list would slow down with its length."""
    values = wanted._values("a", START)
    query = lists._page_ids(frozenset(values), wanted.expired, wanted.ascending)
    filled = query.params(values | {"size": 20, "skip": 0})
    statement = filled.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    async with world.db.read() as session:
        plan = [row[3] for row in await session.execute(text(f"EXPLAIN QUERY PLAN {statement}"))]
    assert len(plan) == 1 and "USING COVERING INDEX" in plan[0], plan


async def listed(world: World, wanted: RecordingFilter, page: Page | None = None) -> Listing[tuple[Recording, Meeting]]:
    now = world.clock.now()
    return await world.db.ask_together(lambda ask: list_recordings(ask, world.app.id, wanted, page or Page(), now))


async def test_totals_are_right_after_any_history(world: World) -> None:
    """The kept counts against a count of the rows, for every filter that uses them."""
    meeting = await world.meeting()
    session_id = await world.live(meeting)
    for number in range(12):
        view = await world.recordings.start(world.app, world.backend, meeting.id, {}, allow_multiple=True)
        recording = view.recording
        if number % 2:
            await world.sessions.on_capturing(recording.id, session_id, world.clock.now())
        if number % 3:
            await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
        if number in (1, 5, 7):
            await world.finish(await world.now_of(recording))
        world.clock.move(86_400)
    seen = set()
    async with world.db.snapshot() as session:
        rows = (await session.execute(select(RecordingRow.state, RecordingRow.expires_at))).all()
    done = frozenset({RecordingState.DONE})
    for states in (None, done, frozenset(RecordingState) - done, frozenset[RecordingState]()):
        for expired in (None, True, False):
            listing = await listed(world, RecordingFilter(states=states, expired=expired))
            now = world.clock.now()
            right = [
                (state, expiry)
                for state, expiry in rows
                if (states is None or state in states)
                and (expired is None or expired is (expiry is not None and expiry <= now))
            ]
            assert listing.total_count == len(listing.items) == len(right), (states, expired)
            seen.add(len(right))
    assert len(seen) > 4  # the history was one that tells filters apart


async def test_every_page_is_the_same_from_either_end(world: World) -> None:
    meeting = await world.meeting()
    made = []
    for _ in range(11):
        view = await world.recordings.start(world.app, world.backend, meeting.id, {}, allow_multiple=True)
        made.append(view.recording.id)
        world.clock.move(1)
    for ascending in (True, False):
        order = made if ascending else made[::-1]
        for size in (1, 2, 3, 5, 11, 12):
            pages = []
            for number in range(1, 11 // size + 2):
                found = await listed(world, RecordingFilter(ascending=ascending), Page(number, size))
                pages += [recording.id for recording, _ in found.items]
                assert found.total_count == 11
            assert pages == order, (size, ascending)


async def test_titles_are_searched_literally(world: World) -> None:
    for title in ("100% sure", "100 percent", "under_score", "underXscore", "back\\slash"):
        await world.start(await world.meeting(title=title, status=MeetingStatus.ACTIVE))
    for search, count in (("0% S", 1), ("100", 2), ("r_s", 1), ("\\", 1), ("%", 1), ("_", 1), ("score", 2)):
        found = await listed(world, RecordingFilter(search=search))
        assert found.total_count == len(found.items) == count, search
