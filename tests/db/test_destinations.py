"""Destinations and uploads as stored: nothing is lost on the way, what is due is found, oldest first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.service.world import START, World, make_world

from tapedeck.core.destination import Destination, DestinationKind, DestinationState, Upload
from tapedeck.db import destinations as table
from tapedeck.service.recordings import Action

LATER = START + timedelta(minutes=1)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with make_world(tmp_path) as made:
        yield made


async def recorded(world: World) -> str:
    view = await world.recordings.start(world.app, world.backend, (await world.meeting()).id, {})
    await world.recordings.control(world.app, world.backend, view.recording.id, Action.STOP)
    return view.recording.id


def external(recording_id: str, id_: str = "d1") -> Destination:
    storage = {"type": "aws", "bucket": "Aufnahmen", "path": "2026/três"}
    return Destination(id_, recording_id, DestinationKind.EXTERNAL, START, storage, "v1.x", layer="default")


async def test_every_field_comes_back_as_it_went_in(world: World) -> None:
    recording_id = await recorded(world)
    whole = replace(
        external(recording_id),
        state=DestinationState.FAILED,
        error="The bucket does not exist",
        attempts=7,
        next_at=LATER,
        finished_at=LATER,
    )
    upload = Upload("d1", "film.mp4", "video", "2026/três/film.mp4", "video/mp4", 2**41, "00ff00ff", "t", START, LATER)
    async with world.db.write() as session:
        await table.add_destination(session, whole)
        await table.save_upload(session, replace(upload, token=None, size_bytes=None, done_at=None))
        await table.save_upload(session, upload)
    async with world.db.read() as session:
        assert await table.find_destination(session, "d1") == whole
        assert await table.uploads_of(session, "d1") == [upload]
        assert await table.find_destination(session, "d2") is None
    assert "v1.x" not in repr(whole)


async def test_the_built_in_bucket_comes_first(world: World) -> None:
    recording_id = await recorded(world)
    async with world.db.write() as session:
        await table.add_destination(session, external(recording_id, "a"))
        await table.add_destination(session, Destination("b", recording_id, DestinationKind.BUCKET, START))
    async with world.db.read() as session:
        found = [d for d in await table.of_recording(session, recording_id) if d.id in ("a", "b")]
        assert [d.kind for d in found] == [DestinationKind.BUCKET, DestinationKind.EXTERNAL]
        assert await table.of_recordings(session, ["nobody"]) == {}
        long_way = await table.of_recordings(session, ["nobody", recording_id])
    wanted = ["nobody", recording_id]
    assert await world.db.ask_together(lambda ask: table.of_listed(ask, wanted)) == long_way
    assert await world.db.ask_together(lambda ask: table.of_listed(ask, [])) == {}


async def test_what_is_due_is_found_and_what_was_done_is_kept(world: World) -> None:
    recording_id = await recorded(world)
    waiting, later, done = (external(recording_id, id_) for id_ in ("d1", "d2", "d3"))
    async with world.db.write() as session:
        for destination in (waiting, later, done):
            await table.add_destination(session, destination)
        await table.save_destination(session, replace(later, attempts=1, error="no route", next_at=LATER))
        await table.save_destination(session, replace(done, state=DestinationState.DONE, finished_at=LATER))
    async with world.db.read() as session:
        assert "d1" in [d.id for d in await table.due_destinations(session, START)]
        assert {"d1", "d2"} <= {d.id for d in await table.due_destinations(session, LATER)}
        assert "d3" not in {d.id for d in await table.due_destinations(session)}
        assert await table.find_destination(session, "d2") == replace(
            later, attempts=1, error="no route", next_at=LATER
        )


async def test_sealed_texts_can_be_renewed(world: World) -> None:
    recording_id = await recorded(world)
    async with world.db.write() as session:
        await table.add_destination(session, external(recording_id))
        await table.add_destination(session, Destination("b", recording_id, DestinationKind.BUCKET, START))
        assert await table.sealed_rows(session) == [("d1", "v1.x")]
        await table.save_sealed(session, "d1", "v1.y")
    async with world.db.read() as session:
        assert await table.sealed_rows(session) == [("d1", "v1.y")]


@pytest.mark.parametrize("state", [DestinationState.DONE, DestinationState.FAILED])
async def test_a_destination_that_is_over_keeps_no_credentials(world: World, state: DestinationState) -> None:
    recording_id = await recorded(world)
    async with world.db.write() as session:
        await table.add_destination(session, external(recording_id))
        await table.save_destination(session, replace(external(recording_id), error="no route", attempts=1))
        assert await table.sealed_rows(session) == [("d1", "v1.x")]
        await table.save_destination(session, replace(external(recording_id), state=state))
    async with world.db.read() as session:
        left = await table.find_destination(session, "d1")
    assert left == replace(external(recording_id), state=state, sealed=None)
