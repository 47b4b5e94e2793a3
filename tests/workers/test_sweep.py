"""What is done by the clock: deadlines, and freeing logs whose films are delivered."""

from __future__ import annotations

import asyncio
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.service.world import World, make_world

from tapedeck.core.errors import UnavailableError
from tapedeck.core.recording import Recording, RecordingState
from tapedeck.service.recordings import Action
from tapedeck.workers.sweep import LogKeeper, run_deadlines


def keeper(world: World, *, keep_days: int | None = None, in_use: tuple[str, ...] = ()) -> LogKeeper:
    return LogKeeper(
        lifecycle=world.lifecycle,
        clock=world.clock,
        captures_dir=world.root / "captures",
        keep_days=keep_days,
        in_use=lambda: in_use,
    )


async def recorded(world: World) -> Recording:
    """A recording that runs, with a log directory that has something in it."""
    meeting = await world.meeting()
    session_id = await world.live(meeting)
    (world.root / "captures" / session_id / "tracks").mkdir(parents=True)
    (world.root / "captures" / session_id / "tracks" / "v.log").write_bytes(b"media")
    return await world.capturing(meeting, session_id)


async def stop(world: World, recording: Recording) -> None:
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    await world.recordings.settle()


async def end_session(world: World, recording: Recording) -> None:
    assert recording.session_id is not None
    await world.sessions.on_session_ended(recording.meeting_id, recording.session_id, world.clock.now())
    await world.recordings.settle()


def logs(world: World) -> set[str]:
    return {path.name for path in (world.root / "captures").iterdir()}


async def test_a_log_is_freed_when_its_film_is_delivered_and_its_session_is_over(tmp_path: Path) -> None:
    async with make_world(tmp_path) as world:
        recording = await recorded(world)
        logs_keeper = keeper(world)
        assert await logs_keeper.free(world.clock.now()) == [], "it records"
        await stop(world, recording)
        assert await logs_keeper.free(world.clock.now()) == [], "its film is not made"
        await world.finish(recording)
        assert await logs_keeper.free(world.clock.now()) == [], "its session goes on: another recording may come"
        await end_session(world, recording)
        assert await logs_keeper.free(world.clock.now()) == [recording.session_id]
        assert logs(world) == set()


async def test_a_log_in_use_is_kept_whatever_the_records_say(tmp_path: Path) -> None:
    async with make_world(tmp_path) as world:
        recording = await recorded(world)
        await stop(world, recording)
        await world.finish(recording)
        await end_session(world, recording)
        assert await keeper(world, in_use=(str(recording.session_id),)).free(world.clock.now()) == []


async def test_every_film_of_a_session_must_be_delivered(tmp_path: Path) -> None:
    async with make_world(tmp_path) as world:
        first = await recorded(world)
        meeting = await world.meetings.get(world.app, first.meeting_id)
        started = await world.recordings.start(world.app, world.backend, meeting.id, {}, allow_multiple=True)
        second = started.recording
        assert first.session_id is not None
        await world.sessions.on_capturing(second.id, first.session_id, world.clock.now())
        await stop(world, first)
        await world.finish(first)
        await end_session(world, first)
        assert await keeper(world).free(world.clock.now()) == []
        await world.finish(second)
        later = world.clock.now() + timedelta(seconds=1)  # the second one began a millisecond after the first
        assert await keeper(world).free(later) == [first.session_id]


async def test_logs_are_kept_for_days_when_asked_for(tmp_path: Path) -> None:
    async with make_world(tmp_path) as world:
        recording = await recorded(world)
        await stop(world, recording)
        await world.finish(recording)
        await end_session(world, recording)
        logs_keeper = keeper(world, keep_days=2)
        assert await logs_keeper.free(world.clock.now() + timedelta(days=1, hours=23)) == []
        assert await logs_keeper.free(world.clock.now() + timedelta(days=2)) == [recording.session_id]


async def test_the_log_of_a_film_that_failed_is_kept_for_a_week(tmp_path: Path) -> None:
    async with make_world(tmp_path) as world:
        recording = await recorded(world)
        await stop(world, recording)
        await world.lifecycle.on_failed(recording.id, "no encoder")
        await end_session(world, recording)
        assert await keeper(world).free(world.clock.now() + timedelta(days=6)) == []
        assert await keeper(world).free(world.clock.now() + timedelta(days=7)) == [recording.session_id]


async def test_what_nobody_knows_is_not_deleted(tmp_path: Path) -> None:
    async with make_world(tmp_path) as world:
        assert await keeper(world).free(world.clock.now()) == [], "nothing was ever recorded"
        (tmp_path / "captures" / "of-another-database").mkdir(parents=True)
        (tmp_path / "captures" / "notes.txt").write_text("x")
        assert await keeper(world).free(world.clock.now() + timedelta(days=4000)) == []
        assert logs(world) == {"of-another-database", "notes.txt"}


async def test_a_log_that_cannot_be_deleted_does_not_keep_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_world(tmp_path) as world:
        names = []
        for _ in range(2):
            recording = await recorded(world)
            await stop(world, recording)
            await world.finish(recording)
            await end_session(world, recording)
            names.append(str(recording.session_id))
        stuck = min(names)
        remove = shutil.rmtree

        def refuse(path: Path, *args: Any, **kwargs: Any) -> None:
            if path.name == stuck:
                raise PermissionError(13, "Permission denied", str(path))
            remove(path, *args, **kwargs)

        monkeypatch.setattr(shutil, "rmtree", refuse)
        assert await keeper(world).free(world.clock.now()) == [max(names)]
        assert logs(world) == {stuck}


async def test_deadlines_go_on_after_any_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with make_world(tmp_path) as world:
        asked, again = 0, asyncio.Event()

        async def fail(now: datetime) -> datetime | None:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise RuntimeError("a bug")
            again.set()
            return None

        monkeypatch.setattr(world.lifecycle, "run_due", fail)
        task = asyncio.create_task(run_deadlines(world.lifecycle, world.clock))
        await asyncio.wait_for(again.wait(), 60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_one_recording_that_cannot_be_stopped_does_not_keep_the_others_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_world(tmp_path) as world:
        stuck, other = await recorded(world), await recorded(world)
        stop_it = world.recordings.stop

        async def refuse(recording_id: str, command: Any) -> Recording:
            if recording_id == stuck.id:
                raise UnavailableError("The database is locked")
            return await stop_it(recording_id, command)

        monkeypatch.setattr(world.recordings, "stop", refuse)
        assert [recording.id for recording in await world.lifecycle.shutdown()] == [other.id]
        assert (await world.now_of(stuck)).state is RecordingState.CAPTURING, "the next start takes it up"
