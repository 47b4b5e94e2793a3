"""Targets of a running recording against a real RTMP server: frozen, killed, removed, paused. The film never waits."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.media.live import shooting
from tests.pace import beat, eventually
from tests.rtmpserver import RtmpServer, rtmp_server
from tests.workers.studio import Studio, open_studio

from tapedeck.core.errors import UnavailableError
from tapedeck.core.recording import Recording
from tapedeck.core.target import MOST_TARGETS, Target, TargetState
from tapedeck.service.recordings import Action

pytestmark = pytest.mark.timeout(300)

T = TargetState


async def until_recorded(server: RtmpServer, streams: int) -> None:
    """A server has so many streams, and media of each."""

    async def holds() -> bool:
        return len(server.recorded()) >= streams

    await eventually(holds, 60)


async def test_a_frozen_server_is_left_and_found_again_and_the_film_does_not_notice(tmp_path: Path) -> None:
    with rtmp_server(tmp_path / "rtmp") as server:
        async with open_studio(tmp_path, stall_s=1.5) as studio:
            recording = await studio.capturing()
            with shooting(tmp_path, studio.live_dir(recording)) as shoot:
                target_id = await studio.add(recording, server.url())
                await studio.until(recording, target_id, T.LIVE)
                frozen_at = time.monotonic()
                server.send(signal.SIGSTOP)
                target = await studio.until(recording, target_id, T.RETRYING)
                assert target.reason == "the server took nothing for 2 s"
                frozen_s = time.monotonic() - frozen_at
                server.send(signal.SIGCONT)
                target = await studio.until(recording, target_id, T.LIVE)
                assert target.reason is None
                assert target.failures >= 1
                assert shoot.slowest_s < frozen_s / 2, "the film did not wait for it"


async def test_a_process_that_is_stuck_or_killed_is_replaced(tmp_path: Path) -> None:
    with rtmp_server(tmp_path / "rtmp") as server:
        async with open_studio(tmp_path, silence_s=5.0) as studio:
            recording = await studio.capturing()
            with shooting(tmp_path, studio.live_dir(recording)):
                target_id = await studio.add(recording, server.url())
                await studio.until(recording, target_id, T.LIVE)
                for number, words in ((signal.SIGKILL, "ended"), (signal.SIGSTOP, "stuck")):
                    pid = studio.worker.pids()[target_id]
                    os.kill(pid, number)
                    target = await studio.until(recording, target_id, T.RETRYING)
                    assert target.reason == f"the process that sends the stream {words}".replace(" stuck", " was stuck")
                    await studio.until(recording, target_id, T.LIVE)
                    assert studio.worker.pids()[target_id] != pid


async def test_a_server_that_is_killed_is_found_again_and_a_removed_target_is_left_at_once(tmp_path: Path) -> None:
    with rtmp_server(tmp_path / "rtmp") as server, rtmp_server(tmp_path / "other") as other:
        async with open_studio(tmp_path) as studio:
            recording = await studio.capturing()
            with shooting(tmp_path, studio.live_dir(recording)):
                mortal = await studio.add(recording, server.url())
                steady = await studio.add(recording, other.url())
                await studio.until(recording, mortal, T.LIVE)
                await studio.until(recording, steady, T.LIVE)
                pid = studio.worker.pids()[steady]
                await until_recorded(server, 1)
                server.kill()
                target = await studio.until(recording, mortal, T.RETRYING)
                assert target.reason in ("the server closed the connection", "it cannot be reached: connection refused")
                server.start()
                await studio.until(recording, mortal, T.LIVE)
                await until_recorded(server, 2)
                assert studio.worker.pids()[steady] == pid, "one target's fault is nobody else's"
                for target_id in (mortal, steady):
                    await studio.world.targets.remove(studio.world.app, recording.id, target_id)

                async def nobody() -> bool:
                    return not studio.worker.pids() and not (studio.live_dir(recording) / "wanted").exists()

                await eventually(nobody)


async def test_a_pause_keeps_the_connection_and_a_closed_one_is_asked_for_on_resume(tmp_path: Path) -> None:
    with rtmp_server(tmp_path / "rtmp") as server:
        async with open_studio(tmp_path) as studio:
            recording = await studio.capturing()
            target_id = await _shown(studio, recording, server, tmp_path)
            await studio.act(recording, Action.PAUSE)
            assert (await studio.target(recording, target_id)).state is T.LIVE
            server.kill()
            await studio.until(recording, target_id, T.RETRYING)
            server.start()
            with pytest.raises(TimeoutError):
                await eventually(lambda: _has_process(studio), 1.0)
            await studio.act(recording, Action.RESUME)
            await studio.until(recording, target_id, T.LIVE)


async def _shown(studio: Studio, recording: Recording, server: RtmpServer, root: Path) -> str:
    """A target that is live, of a film that was made for a while and then stands still."""
    with shooting(root, studio.live_dir(recording)) as shoot:
        target_id = await studio.add(recording, server.url())
        await studio.until(recording, target_id, T.LIVE)
        shoot.pause()
    return target_id


async def _has_process(studio: Studio) -> bool:
    return bool(studio.worker.pids())


async def test_the_end_of_the_film_is_the_end_of_the_stream(tmp_path: Path) -> None:
    with rtmp_server(tmp_path / "rtmp") as server:
        async with open_studio(tmp_path) as studio:
            recording = await studio.capturing()
            with shooting(tmp_path, studio.live_dir(recording)) as shoot:
                target_id = await studio.add(recording, server.url())
                await studio.until(recording, target_id, T.LIVE)
                shoot.stop()
            target = await studio.until(recording, target_id, T.ENDED)
            assert target.reason is None
            assert not studio.worker.pids()
            await studio.act(recording, Action.STOP)
            await studio.world.finish(await studio.world.now_of(recording))

            async def is_gone() -> bool:
                return not studio.live_dir(recording).exists()

            await eventually(is_gone)


async def test_another_recording_of_the_meeting_takes_the_place_over(tmp_path: Path) -> None:
    """A server has one stream of a key at a time."""
    with rtmp_server(tmp_path / "rtmp") as server:
        async with open_studio(tmp_path) as studio:
            world = studio.world
            meeting = await world.meeting(recording_config={"live_streaming_config": {"rtmp_url": server.url()}})
            live_id = await world.live(meeting)
            first, second = [await studio.capturing(meeting, live_id) for _ in range(2)]
            (place,), (waits,) = [await world.targets.open_of(one.id) for one in (first, second)]
            folders = [tmp_path / "first", tmp_path / "second"]
            for folder in folders:
                folder.mkdir()
            with shooting(folders[0], studio.live_dir(first)) as shoot:
                with shooting(folders[1], studio.live_dir(second)):
                    await studio.until(first, place.id, T.LIVE)
                    await until_recorded(server, 1)
                    assert (await studio.target(second, waits.id)).state is T.WAITING
                    assert set(studio.worker.pids()) == {place.id}
                    shoot.stop()
                    await studio.act(first, Action.STOP)
                    await world.finish(await world.now_of(first))
                    await studio.until(second, waits.id, T.LIVE)
                    assert (await studio.target(first, place.id)).state is T.ENDED
                    assert set(studio.worker.pids()) == {waits.id}
                    assert server.publications() >= 2


async def test_a_place_that_came_free_before_a_restart_is_taken_over_at_it(tmp_path: Path) -> None:
    takes = 'read body; echo \'{"event": "live"}\'; cat'
    async with open_studio(tmp_path, command=("sh", "-c", takes)) as studio:
        world = studio.world
        url = "rtmp://127.0.0.1:9/live/key"
        meeting = await world.meeting(recording_config={"live_streaming_config": {"rtmp_url": url}})
        live_id = await world.live(meeting)
        first, second = [await studio.capturing(meeting, live_id) for _ in range(2)]
        (waits,) = await world.targets.open_of(second.id)
        await studio.worker.aclose()
        await studio.act(first, Action.STOP)
        await world.finish(await world.now_of(first))
        assert (await studio.target(second, waits.id)).state is T.WAITING
        studio.worker = Studio(world, tmp_path, command=("sh", "-c", takes)).worker
        await studio.worker.recover(await world.lifecycle.recover({}))
        await studio.until(second, waits.id, T.LIVE)


async def test_a_private_address_is_refused_for_good_where_it_is_dialled(tmp_path: Path) -> None:
    with rtmp_server(tmp_path / "rtmp") as server:
        async with open_studio(tmp_path, allow_private=False) as studio:
            recording = await studio.capturing()
            for url in (server.url(), server.url().replace("127.0.0.1", "localhost")):
                target = await studio.until(recording, await studio.add(recording, url), T.ENDED)
                assert target.reason == "the address is private, and this server is not allowed to connect there"
        seen = (server.folder / "error.log").read_text().count("client connected")
        assert seen == 1, "nobody was there but who waited for its start"


async def test_a_restart_takes_up_the_streams_of_recordings_that_run_and_ends_the_others(tmp_path: Path) -> None:
    with rtmp_server(tmp_path / "rtmp") as server:
        async with open_studio(tmp_path) as studio:
            world = studio.world
            running, over = await studio.capturing(), await studio.capturing()
            await studio.worker.aclose()
            kept, lost = await studio.add(running, server.url()), await studio.add(over, server.url())
            await studio.act(over, Action.STOP)
            await world.finish(await world.now_of(over))
            studio.worker = Studio(world, tmp_path).worker
            with shooting(tmp_path, studio.live_dir(running)):
                await studio.worker.recover(await world.lifecycle.recover({}))
                await studio.until(running, kept, T.LIVE)
            assert (await studio.target(over, lost)).state is T.ENDED
            assert not studio.live_dir(over).exists()


@pytest.mark.parametrize("state", [T.LIVE, T.RETRYING])
async def test_a_state_that_could_not_be_written_is_written_later_and_the_stream_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: TargetState
) -> None:
    with rtmp_server(tmp_path / "rtmp") as server:
        async with open_studio(tmp_path) as studio:
            refused = _refuse(studio, monkeypatch, state, 3)
            recording = await studio.capturing()
            with shooting(tmp_path, studio.live_dir(recording)):
                target_id = await studio.add(recording, server.url())
                await studio.until(recording, target_id, T.LIVE)
                server.kill()
                target = await studio.until(recording, target_id, T.RETRYING)
                assert target.reason
                server.start()
                await studio.until(recording, target_id, T.LIVE)
            assert len(refused) == 3


async def test_targets_whose_end_could_not_be_written_are_ended_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_studio(tmp_path, allow_private=False) as studio:
        refused = _refuse(studio, monkeypatch, T.ENDED, 3)
        recording = await studio.capturing()
        target_id = await studio.add(recording, "rtmp://127.0.0.1:9/live/key")
        target = await studio.until(recording, target_id, T.ENDED)
        assert target.reason == "the address is private, and this server is not allowed to connect there"
        assert len(refused) == 3


async def test_a_target_is_sought_until_the_database_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rtmp_server(tmp_path / "rtmp") as server:
        async with open_studio(tmp_path) as studio:
            recording = await studio.capturing()
            read, refused = studio.world.targets.open_of, list[str]()

            async def open_of(recording_id: str) -> Sequence[Target]:
                if len(refused) < 3:
                    refused.append(recording_id)
                    raise UnavailableError("The database is locked")
                return await read(recording_id)

            monkeypatch.setattr(studio.world.targets, "open_of", open_of)
            with shooting(tmp_path, studio.live_dir(recording)):
                await studio.until(recording, await studio.add(recording, server.url()), T.LIVE)


async def test_what_nobody_thought_of_is_a_failure_like_others(tmp_path: Path) -> None:
    noisy = (sys.executable, "-c", "import sys; sys.stdin.readline(); print('x' * (1 << 20), flush=True)")
    async with open_studio(tmp_path, command=noisy) as studio:
        recording = await studio.capturing()
        target_id = await studio.add(recording, "rtmp://127.0.0.1:9/live/key")

        async def twice() -> bool:
            return (await studio.target(recording, target_id)).failures >= 2

        await eventually(twice, 60)
        assert (await studio.target(recording, target_id)).state is T.RETRYING


@asynccontextmanager
async def _deaf(root: Path) -> AsyncIterator[tuple[Studio, Recording, str]]:
    """A target that is live, and whose process does not go when it is asked to."""
    talks = 'import sys, signal; sys.stdin.readline(); print(\'{"event": "live"}\', flush=True); signal.pause()'
    async with open_studio(root, command=(sys.executable, "-c", talks)) as studio:
        recording = await studio.capturing()
        target_id = await studio.add(recording, "rtmp://127.0.0.1:9/live/key")
        await studio.until(recording, target_id, T.LIVE)
        yield studio, recording, target_id


@pytest.mark.parametrize("action", ["remove", "over"])
async def test_no_process_is_left_when_the_node_ends_whatever_else_ends_then(
    tmp_path: Path, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that does not go when it is asked to, and is being asked."""
    monkeypatch.setattr("tapedeck.workers.streams._FAREWELL_S", 1.0)
    async with _deaf(tmp_path) as (studio, recording, target_id):
        pid = studio.worker.pids()[target_id]
        if action == "remove":
            await studio.world.targets.remove(studio.world.app, recording.id, target_id)
        elif action == "over":
            await studio.act(recording, Action.STOP)
            await studio.world.finish(await studio.world.now_of(recording))
        for _ in range(20):
            await beat(0.005)  # until it is asked
    assert not studio.worker.pids()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_node_that_ends_when_a_process_has_just_been_killed_waits_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, kill = asyncio.Event(), asyncio.subprocess.Process.kill

    def note(process: asyncio.subprocess.Process) -> None:
        kill(process)
        killed.set()

    monkeypatch.setattr(asyncio.subprocess.Process, "kill", note)
    monkeypatch.setattr("tapedeck.workers.streams._FAREWELL_S", 0.01)
    async with _deaf(tmp_path) as (studio, recording, target_id):
        pid = studio.worker.pids()[target_id]
        await studio.world.targets.remove(studio.world.app, recording.id, target_id)
        await asyncio.wait_for(killed.wait(), 60)
    assert not studio.worker.pids()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.timeout(90)
async def test_a_node_ends_in_whatever_moment_of_its_processes(tmp_path: Path) -> None:
    """Cancelled when a line has just come, too: each speaks all the time for a while."""
    talks = 'read body; yes {} | head -20000; echo \'{"event": "live"}\'; cat'
    async with open_studio(tmp_path, command=("sh", "-c", talks)) as studio:
        recording = await studio.capturing()
        for number in range(MOST_TARGETS):
            await studio.add(recording, f"rtmp://127.0.0.1:9/live/{number}")

        async def one_has_said_all() -> bool:
            found = await studio.world.targets.list(studio.world.app, recording.id)
            return any(target.state is T.LIVE for target in found)

        await eventually(one_has_said_all)
        pids = list(studio.worker.pids().values())
    assert not studio.worker.pids()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def _refuse(studio: Studio, monkeypatch: pytest.MonkeyPatch, state: TargetState, times: int) -> list[str]:
    """The database takes a state only at a later attempt; what was refused."""
    note, refused = studio.world.targets.note, list[str]()

    async def refuse(target_id: str, wanted: TargetState, reason: str | None = None) -> None:
        if wanted is state and len(refused) < times:
            refused.append(target_id)
            raise UnavailableError("The database is locked")
        await note(target_id, wanted, reason)

    monkeypatch.setattr(studio.world.targets, "note", refuse)
    return refused
