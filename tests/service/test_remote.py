"""Rooms that another recorder records. The recorder is a second Tapedeck behind its own API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import delete
from tests.api.kit import make_site
from tests.service.far import Far, Near, account_of, far_server, make_near
from tests.service.world import START

from tapedeck.core.access import AppPrincipal, TokenScope
from tapedeck.core.errors import ConflictError, DestinationError, NotFoundError, UnavailableError
from tapedeck.core.library import LibraryStatus, Span
from tapedeck.core.meeting import Meeting
from tapedeck.core.recording import RecordingState
from tapedeck.core.remote import RemoteAccount
from tapedeck.db import rooms
from tapedeck.db.library_lists import LibraryFilter
from tapedeck.db.models import LibraryRow, OutboxRow, RecordingRow
from tapedeck.service.recordings import Action


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[Far]:
    async with far_server(tmp_path / "far") as made:
        yield made


@pytest.fixture
async def near(tmp_path: Path, far: Far) -> AsyncIterator[Near]:
    async with make_near(tmp_path / "near", far) as made:
        yield made


async def forget(far: Far, recording_id: str) -> None:
    """Let a recording vanish from the recorder."""
    async with far.site.world.db.write() as session:
        await session.execute(delete(OutboxRow).where(OutboxRow.recording_id == recording_id))
        await session.execute(delete(LibraryRow).where(LibraryRow.recording_id == recording_id))
        await session.execute(delete(RecordingRow).where(RecordingRow.id == recording_id))


async def test_250_recordings_over_several_pages_are_taken_over_once(far: Far, near: Near) -> None:
    there = await far.films(near.far_room, 250)
    taken = await near.sync()
    assert len(taken) == 250
    assert {status for _, status in taken} == {LibraryStatus.PROCESSING}
    assert {await near.remote_id(recording_id) for recording_id, _ in taken} == {recording.id for recording in there}
    pages = [path for path in far.door.paths if "/recordings?" in path]
    assert len(pages) == 3 and all(f"meeting_id={near.far_room}" in page for page in pages)
    assert await near.sync() == []
    await far.films(near.far_room, 2)
    assert len(await near.sync()) == 2


async def test_sync_at_the_same_time_as_itself_takes_each_recording_once(far: Far, near: Near) -> None:
    await far.films(near.far_room, 120)
    both = await asyncio.gather(near.sync(), near.sync(), near.sync())
    assert sum(len(taken) for taken in both) == 120
    assert len({recording_id for taken in both for recording_id, _ in taken}) == 120


async def test_a_recording_that_vanishes_midway_neither_comes_nor_hides_its_neighbour(far: Far, near: Near) -> None:
    there = await far.films(near.far_room, 250)
    vanished = False

    async def vanish(path: str) -> None:
        nonlocal vanished
        if "page_no=2" in path and not vanished:
            vanished = True
            await forget(far, there[0].id)

    far.door.before = vanish
    taken = await near.sync()
    assert {await near.remote_id(recording_id) for recording_id, _ in taken} == {r.id for r in there[1:]}


async def test_nothing_is_taken_while_the_recorder_is_down(far: Far, near: Near) -> None:
    await far.films(near.far_room, 3)
    up = account_of(far)
    await near.remote.set_account(near.app, RemoteAccount("http://127.0.0.1:9/x", up.account_id, up.app_id, up.token))
    with pytest.raises(UnavailableError, match="Connection refused") as told:
        await near.sync()
    assert up.token not in str(told.value) and "127.0.0.1" not in str(told.value)
    await near.remote.set_account(near.app, up)
    await near.remote.bind(near.app, near.room.id, near.far_room)
    assert len(await near.sync()) == 3


async def test_a_recorder_that_fails_in_the_middle_of_its_pages_leaves_the_count_right(far: Far, near: Near) -> None:
    await far.films(near.far_room, 250)

    async def fail(path: str) -> None:
        if "page_no=3" in path:
            raise RuntimeError("out of order")

    far.door.before = fail
    with pytest.raises(UnavailableError):
        await near.sync()
    far.door.before = None
    assert len(await near.sync()) == 250


async def test_a_token_that_the_recorder_refuses_is_said_and_not_shown(far: Far, near: Near) -> None:
    await near.remote.set_account(near.app, account_of(far, token="a-token-that-is-void"))
    with pytest.raises(DestinationError) as told:
        await near.sync()
    assert "status 401" in str(told.value) or "status 403" in str(told.value)
    assert "a-token-that-is-void" not in str(told.value)
    assert "a-token-that-is-void" not in repr(await near.remote.account(near.app.id))


async def test_a_token_is_sealed_in_the_database(far: Far, near: Near) -> None:
    raw = b"".join(path.read_bytes() for path in near.world.root.glob("tapedeck.db*"))
    assert far.url.encode() in raw and far.site.world.token.encode() not in raw


async def test_start_and_stop_are_done_by_the_recorder(far: Far, near: Near) -> None:
    recording = await near.remote.start(near.app, near.room.id, {"max_seconds": 600}, False, None)
    assert recording.state is RecordingState.STARTING and recording.started_by is None
    theirs = await far.site.world.now_of_id(await near.remote_id(recording.id))
    assert theirs.meeting_id == near.far_room and theirs.options.max_seconds == 600
    with pytest.raises(ConflictError):
        await near.remote.start(near.app, near.room.id, {}, False, None)
    session = await far.site.world.live(await far.site.world.meetings.get(far.site.world.app, near.far_room))
    await far.site.world.sessions.on_capturing(theirs.id, session, far.site.world.clock.now())
    stopped = await near.remote.stop((await near.remote.ask(recording.id))[0])
    assert stopped.state is RecordingState.CLOSING and stopped.stopped_at is not None
    assert (await far.site.world.now_of_id(theirs.id)).stopped_at == stopped.stopped_at
    assert await near.sync() == []


async def test_a_room_becomes_a_meeting_there_when_it_is_needed_first(far: Far, near: Near) -> None:
    room = await near.world.meeting(title="Chemistry")
    both = await asyncio.gather(near.remote.sync(near.app, room.id), near.remote.sync(near.app, room.id))
    assert [len(taken) for taken in both] == [0, 0]
    made = [path for path in far.door.paths if path.endswith("/meetings?")]
    assert len(made) == 1


async def test_two_tenants_with_recorders_of_their_own_never_mix(tmp_path: Path, far: Far, near: Near) -> None:
    async with far_server(tmp_path / "other") as other_far:
        world = near.world
        other = await world.access.create_app(world.account_id, "Other")
        await near.remote.set_account(other, account_of(other_far))
        theirs = Meeting("11111111-2222-4333-8444-555555555555", other.id, START, START)
        async with world.db.write() as session:
            await rooms.add_meeting(session, theirs)
        far_room = await other_far.meeting()
        await near.remote.bind(other, theirs.id, far_room.id)
        await far.films(near.far_room, 3)
        await other_far.films(far_room.id, 5)
        ours, others = await asyncio.gather(near.sync(), near.remote.sync(other, theirs.id))
        assert len(ours) == 3 and len(others) == 5
        for app, room in ((near.app, theirs.id), (other, near.room.id)):
            with pytest.raises(NotFoundError):
                await near.remote.sync(app, room)
            with pytest.raises(NotFoundError):
                await near.remote.start(app, room, {}, False, None)
        listed, total = await world.library.list(other, LibraryFilter(), Span())
        assert total == len(listed) == 5
        for recording_id, _ in ours:
            with pytest.raises(NotFoundError):
                await world.library.get(other, recording_id)


async def test_the_rooms_api_starts_syncs_and_stops_at_the_recorder(far: Far, near: Near) -> None:
    world, library = near.world, near.world.library
    text, token = await world.access.issue_token(world.account_id, near.app.id, "school", TokenScope.ROOMS)
    principal = AppPrincipal(token)
    view = await library.start(near.app, principal, near.room.id, {})
    theirs = await far.site.world.now_of_id(await near.remote_id(view.recording.id))
    with pytest.raises(ConflictError, match="already being recorded"):
        await library.start(near.app, principal, near.room.id, {})
    with pytest.raises(ConflictError, match="another recorder"):
        await world.recordings.control(near.app, world.backend, view.recording.id, Action.PAUSE)
    assert await library.sync(near.app, principal, near.room.id) == []
    (film,) = await far.films(near.far_room, 1)
    ((imported, _),) = await library.sync(near.app, principal, near.room.id)
    assert await near.remote_id(imported) == film.id
    live = await far.site.world.live(await far.site.world.meetings.get(far.site.world.app, near.far_room))
    await far.site.world.sessions.on_capturing(theirs.id, live, far.site.world.clock.now())
    stopped = await library.stop(near.app, principal, near.room.id)
    assert stopped.recording.state is RecordingState.CLOSING
    near.remote.hints()
    await library.recover(near.app, principal, imported)
    assert near.remote.hints() == {imported}
    assert not world.capture.calls, "this server records nothing of it"
    assert text not in repr(await near.remote.account(near.app.id))


async def test_nobody_is_invited_here_to_a_room_that_is_held_elsewhere(far: Far, near: Near) -> None:
    """Who joined here would be in no film of it."""
    world = near.world
    await near.remote.set_account(near.app, None)
    person, _ = await world.rooms.invite(near.app, near.room.id, "Ada", "host", None)
    await near.remote.set_account(near.app, account_of(far))
    for asked in (
        world.rooms.invite(near.app, near.room.id, "Bob", "host", None),
        world.rooms.token(near.app, near.room.id, person.id),
    ):
        with pytest.raises(ConflictError, match="recorder of your own"):
            await asked
    assert (await world.rooms.people(near.app, near.room.id, Span(10, 0)))[1] == 1


async def test_what_runs_elsewhere_has_no_deadlines_here_and_outlives_this_server(far: Far, near: Near) -> None:
    recording = await near.remote.start(near.app, near.room.id, {}, False, None)
    near.world.clock.move(100_000)
    assert await near.world.lifecycle.deadlines() == []
    await near.world.lifecycle.recover({})
    assert await near.world.lifecycle.shutdown() == []
    assert (await near.world.now_of(recording)).state is RecordingState.STARTING


async def test_over_http_a_recorder_that_refuses_is_said_in_the_words_of_the_library(tmp_path: Path, far: Far) -> None:
    """A void token is nobody's request that is wrong (500), options that it refuses are (400), silence is no error of
    anybody (503); an unknown room there is as unknown here."""
    async with make_site(tmp_path / "near") as site:
        world = site.world
        key, _ = await world.access.issue_token(world.account_id, world.app.id, "school", TokenScope.ROOMS)
        room = await world.meeting()

        async def start(account: RemoteAccount, **body: object) -> tuple[int, str, str]:
            await world.remote.set_account(world.app, account)
            path = f"/api/v1/rooms/room_{room.id}/recordings/start"
            answer = await site.http.post(path, headers={"x-api-key": key}, json=body)
            said = answer.json()
            return answer.status_code, said.get("code", ""), said.get("error", "")

        up = account_of(far)
        status, code, said = await start(account_of(far, token="void"))
        assert (status, code) == (500, "INTERNAL") and "status 401" in said
        assert "eeting" not in said and "void" not in said
        down = RemoteAccount("http://127.0.0.1:9/x", up.account_id, up.app_id, up.token)
        status, code, _ = await start(down)
        assert (status, code) == (503, "UNAVAILABLE")
        far.door.refuses = {"success": False, "errors": [{"code": 422, "message": "max_seconds is too long for us"}]}
        status, code, said = await start(up)
        assert (status, code) == (400, "BAD_REQUEST") and "max_seconds is too long for us" in said
        far.door.refuses = None
        assert (await start(up))[0] == 200
