"""Films made again by real child processes of a real log: what is in them, and that nothing ends them but an answer."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import pytest
from tests.pace import eventually
from tests.render.meetings import Meeting, S
from tests.service.world import World, make_world

from tapedeck.core.recording import Recording
from tapedeck.core.rerender import Rerender, RerenderState, RerenderWish
from tapedeck.service.recordings import Action
from tapedeck.workers.render import RenderHost
from tapedeck.workers.rerender import RerenderWorker


async def _is(value: bool) -> bool:
    return value


class Studio:
    """A world with a recording whose log is kept, and the worker that makes other films of it."""

    def __init__(self, world: World, recording: Recording) -> None:
        self.world = world
        self.recording = recording
        self.worker: RerenderWorker
        self._running: asyncio.Task[None] | None = None

    async def start(self, script: str | None = None) -> None:
        """The worker of a new process; `script` stands for the child."""

        def renders(*args: Any, **more: Any) -> RenderHost:
            if script is not None:
                more["command"] = (sys.executable, "-c", script)
            return RenderHost(*args, **more)

        self.worker = RerenderWorker(
            service=self.world.renders,
            store=self.world.store,
            clock=self.world.clock,
            captures_dir=self.world.root / "captures",
            renders_dir=self.world.root / "renders",
            retry_delays_s=(0.0, 0.0),
            renders=renders,
            first_delay_s=0.01,
        )
        self._running = asyncio.create_task(self.worker.run())

    async def end(self) -> None:
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self.worker.aclose()

    async def ask(self, **wish: Any) -> Rerender:
        return (await self.world.renders.ask(self.world.app, self.recording.id, RerenderWish(**wish))).render

    async def until(self, render: Rerender, state: RerenderState) -> Rerender:
        async def holds() -> bool:
            now = await self.now_of(render)
            assert now.state in (state, RerenderState.WAITING), now.failure
            return now.state is state

        await eventually(holds, 60)
        return await self.now_of(render)

    async def now_of(self, render: Rerender) -> Rerender:
        return (await self.world.renders.get(self.world.app, self.recording.id, render.id)).render

    async def stored(self, render: Rerender) -> Path:
        """A film, fetched from the bucket; beside it are its stills."""
        file, *stills = render.files
        assert [still.kind for still in stills] == ["poster", "sprite", "storyboard"]
        assert file.key is not None
        path = self.world.root / f"fetched-{render.id}.{file.name.rpartition('.')[2]}"
        path.write_bytes(b"".join([chunk async for chunk in self.world.store.read(file.key)]))
        assert path.stat().st_size == file.size_bytes
        return path


@asynccontextmanager
async def open_studio(root: Path) -> AsyncIterator[Studio]:
    async with make_world(root) as world:
        meeting = await world.meeting()
        session_id = await world.live(meeting)
        recording = await world.capturing(meeting, session_id)
        talk = Meeting()
        talk.record(0, 4 * S, recording.id)
        for who, hertz in (("ada", 440), ("bob", 1000)):
            await world.sessions.on_joined(session_id, who, f"{who}-peer", who.title(), world.clock.now())
            talk.join(who, 0)
            talk.camera(who, 0, 5 * S)
            talk.microphone(who, 0, 5 * S, hertz)
        talk.lay_down(root / "captures" / session_id, 6 * S)
        await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
        studio = Studio(world, await world.finish(await world.now_of(recording)))
        yield studio


async def test_films_in_another_shape_and_of_a_part_and_a_person(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        before = await studio.world.now_of(studio.recording)
        await studio.start()
        tall = await studio.ask(layout="speaker", width=90, height=160)
        part = await studio.ask(width=64, height=36, video_codec="vp8", only=("bob",), from_ns=S, to_ns=5 * S // 2)
        tall, part = [await studio.until(one, RerenderState.DONE) for one in (tall, part)]
        with av.open(str(await studio.stored(tall))) as film:
            picture = film.streams.video[0]
            assert (picture.codec_context.name, picture.width, picture.height) == ("h264", 90, 160)
            assert picture.frames == 120 and tall.film_ms == 4000
        with av.open(str(await studio.stored(part))) as film:
            assert film.streams.video[0].codec_context.name == "vp8"
            assert sum(1 for _ in film.decode(video=0)) == 45 and part.film_ms == 1500
        names = [file.name for one in (tall, part) for file in one.files]
        assert len(set(names)) == 8 and set(names).isdisjoint(f.name for f in before.files)
        board = await studio.world.renders.storyboard(studio.world.app, studio.recording.id, tall.id)
        assert board.count("#xywh=") == 2 and "#xywh=0,0,90,160" in board and "signature=" in board
        assert await studio.world.now_of(studio.recording) == before, "the recording is as it was"
        assert list((tmp_path / "renders").iterdir()) == []
        await studio.end()


_SLOW = """
import json, os, sys
job = json.loads(sys.stdin.readline())
with open(os.path.join(os.path.dirname(job["log_dir"]), "tries"), "a") as file:
    file.write(str(os.getpriority(os.PRIO_PROCESS, 0)) + " ")
print(json.dumps({"event": "progress", "film_ns": 5, "behind_ns": 0}), flush=True)
sys.stdin.readline()
"""


async def test_a_restart_takes_up_what_was_asked_for(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        await studio.start(_SLOW)
        first, second = await studio.ask(), await studio.ask()
        tries = tmp_path / "captures" / "tries"
        await eventually(lambda: _is(tries.exists()), 60)
        assert len(studio.worker.pids()) == 1, "one at a time"
        (tmp_path / "renders" / "left-over").mkdir(parents=True)
        await studio.end()
        assert {render.id for render in await studio.world.renders.waiting()} == {first.id, second.id}
        await studio.start()
        for render in (first, second):
            await studio.until(render, RerenderState.DONE)
        assert not (tmp_path / "renders" / "left-over").exists()
        await studio.end()


async def test_a_child_that_is_killed_is_started_again(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        await studio.start()
        render = await studio.ask(width=1280, height=720)
        await eventually(lambda: _is(bool(studio.worker.pids())), 60)
        pid = studio.worker.pids()[render.id]
        below = min(os.getpriority(os.PRIO_PROCESS, 0) + 15, 19)  # films that are waited for are at 10
        await eventually(lambda: _is(os.getpriority(os.PRIO_PROCESS, pid) == below), 60)
        os.kill(pid, signal.SIGKILL)
        done = await studio.until(render, RerenderState.DONE)
        with av.open(str(await studio.stored(done))) as film:
            assert film.streams.video[0].frames == 120
        await studio.end()


async def test_what_cannot_be_made_is_given_up_with_a_reason(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        await studio.start("import sys; sys.stdin.readline(); print('no luck', file=sys.stderr); sys.exit(3)")
        failed = await studio.until(await studio.ask(), RerenderState.FAILED)
        assert failed.failure is not None and "no luck" in failed.failure
        assert failed.files == () and not (tmp_path / "renders" / failed.id).exists()
        await studio.end()


async def test_a_log_that_is_gone_meanwhile_fails_at_once(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        render = await studio.ask()
        (tmp_path / "captures").rename(tmp_path / "elsewhere")
        await studio.start()
        assert (await studio.until(render, RerenderState.FAILED)).failure == "The media log of the recording is gone."
        await studio.end()


async def test_a_bucket_and_a_database_that_are_away_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_studio(tmp_path) as studio:
        left = [OSError("full"), RuntimeError("locked")]
        put, done = studio.world.store.put_file, studio.world.renders.on_done

        def flaky(real: Any) -> Any:
            async def call(*args: Any) -> Any:
                if left:
                    raise left.pop()
                return await real(*args)

            return call

        monkeypatch.setattr(studio.world.store, "put_file", flaky(put))
        monkeypatch.setattr(studio.world.renders, "on_done", flaky(done))
        await studio.start()
        await studio.until(await studio.ask(width=32, height=32), RerenderState.DONE)
        assert not left
        await studio.end()
