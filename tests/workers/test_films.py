"""From a closed log to a delivered film, with children that are scripts and everything else real."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.pace import beat, eventually
from tests.service.world import World, make_world

from tapedeck.core.delivery import Patience
from tapedeck.core.destination import Destination, DestinationState
from tapedeck.core.errors import UnavailableError
from tapedeck.core.naming import object_key
from tapedeck.core.recording import FilmFile, Recording, RecordingState
from tapedeck.service.lifecycle import Recovery
from tapedeck.service.recordings import Action
from tapedeck.service.uploads import UploadService
from tapedeck.workers.films import FilmWorker
from tapedeck.workers.render import RenderHost
from tapedeck.workers.upload import Bucket, UploadWorker

R = RecordingState

_CHILD = """
import json, os, sys
job = json.loads(sys.stdin.readline())
def make(content=b"a film"):
    os.makedirs(job["out_dir"], exist_ok=True)
    path = os.path.join(job["out_dir"], job["outputs"][0]["file_name"])
    with open(path, "wb") as file:
        file.write(content)
    with open(os.path.join(job["log_dir"], "made"), "a") as file:
        file.write("live " if job["live"] else "later ")
    about = {"kind": "video", "path": path, "size_bytes": len(content), "duration_ns": 10**9, "checksum": "00c0ffee"}
    print(json.dumps({"event": "done", "files": [about]}), flush=True)
"""


Prepare = Callable[[Recording], Awaitable[None]]


class Studio:
    """A world whose films are made by a script."""

    def __init__(self, world: World, root: Path, script: str, prepare: Prepare | None = None) -> None:
        self.world = world
        self._prepare = prepare
        self.patience = Patience(first_s=0.0)
        self.captures, self.films_dir = root / "captures", root / "films"
        self._changed = asyncio.Event()
        world.ledger.subscribe(lambda *_: self._changed.set())
        self.films = self._worker(script)

    def _worker(self, script: str) -> FilmWorker:
        def renders(concurrency: int, *on: Any) -> RenderHost:
            done, failed = on
            command = (sys.executable, "-c", _CHILD + script)
            return RenderHost(concurrency, done, failed, retry_delays_s=(0.0, 0.0), command=command)

        async def open_bucket(destination: Destination) -> Bucket:
            return Bucket(self.world.store, links=True)

        world = self.world
        uploads = UploadWorker(
            service=UploadService(world.db, world.clock, world.ledger, world.lifecycle),
            open_bucket=open_bucket,
            films_dir=self.films_dir,
            clock=world.clock,
            patience=self.patience,
        )
        return FilmWorker(
            lifecycle=self.world.lifecycle,
            ledger=self.world.ledger,
            uploads=uploads,
            captures_dir=self.captures,
            films_dir=self.films_dir,
            concurrency=2,
            live=True,
            prepare=self._prepare,
            renders=renders,
            first_delay_s=0.0,
        )

    async def restart(self, script: str = "make()") -> None:
        """The worker of the next process."""
        await self.films.aclose(0)
        self.films = self._worker(script)

    async def capturing(self, **values: Any) -> Recording:
        meeting = await self.world.meeting(**values)
        session_id = await self.world.live(meeting)
        (self.captures / session_id).mkdir(parents=True)
        return await self.world.capturing(meeting, session_id)

    async def stop(self, recording: Recording) -> None:
        await self.world.recordings.control(self.world.app, self.world.backend, recording.id, Action.STOP)

    async def until(self, recording: Recording, *states: RecordingState) -> Recording:
        async with asyncio.timeout(60):
            while True:
                self._changed.clear()
                found = await self.world.now_of(recording)
                if found.state in states:
                    return found
                await self._changed.wait()

    def made(self, recording: Recording) -> list[str]:
        """How the films of a recording were made."""
        path = self.captures / str(recording.session_id) / "made"
        return path.read_text().split() if path.exists() else []


@asynccontextmanager
async def open_studio(root: Path, script: str = "make()") -> AsyncIterator[Studio]:
    async with make_world(root) as world:
        studio = Studio(world, root, script)
        try:
            yield studio
        finally:
            await world.recordings.settle()
            await studio.films.aclose(0)


def empty() -> dict[RecordingState, list[Recording]]:
    return {state: [] for state in R if state not in (R.DONE, R.FAILED)}


_LIVE = "sys.stdin.readline() if job['live'] else make()"
"""Follows until it is ended."""


async def test_a_film_is_made_stored_and_gone_from_where_it_was_made(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        recording = await studio.capturing()
        await studio.stop(recording)
        done = await studio.until(recording, R.DONE)
        (file,) = done.files
        assert file.key is not None and file.local_path is None
        assert [chunk async for chunk in studio.world.store.read(file.key)] == [b"a film"]
        assert done.film_ms == 1000
        await studio.films.aclose(5)
        assert list(studio.films_dir.iterdir()) == [], "the bucket has it; a second copy would stay for ever"


async def test_a_database_that_is_locked_when_a_film_is_done_does_not_lose_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_studio(tmp_path) as studio:
        left = {"on_rendered": 2, "on_uploaded": 2}

        def flaky(name: str) -> Any:
            real = getattr(studio.world.lifecycle, name)

            async def report(*args: Any) -> Recording:
                if left[name]:
                    left[name] -= 1
                    raise UnavailableError("The database is locked")
                result: Recording = await real(*args)
                return result

            return report

        for name in left:
            monkeypatch.setattr(studio.world.lifecycle, name, flaky(name))
        recording = await studio.capturing()
        await studio.stop(recording)
        await studio.until(recording, R.DONE)
        assert left == {"on_rendered": 0, "on_uploaded": 0}
        assert len(studio.made(recording)) == 1, "what is made is not made again"


async def test_a_recording_without_a_log_fails_at_once(tmp_path: Path) -> None:
    async with open_studio(tmp_path, "sys.stdin.readline()") as studio:
        recording = await studio.capturing()
        await studio.stop(recording)
        await studio.until(recording, R.RENDERING)
        await studio.restart()
        (tmp_path / "captures" / str(recording.session_id)).rmdir()
        studio.films.recover(Recovery({**empty(), R.RENDERING: [recording]}, []))
        failed = await studio.until(recording, R.FAILED)
        assert failed.failure == "The media log of the recording is gone."


async def test_a_bucket_that_refuses_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_studio(tmp_path) as studio:
        real, refusals = studio.world.store.put_file, [UnavailableError("full"), OSError("gone"), RuntimeError("?")]

        async def put(*args: Any) -> Any:
            if refusals:
                raise refusals.pop()
            return await real(*args)

        monkeypatch.setattr(studio.world.store, "put_file", put)
        recording = await studio.capturing()
        await studio.stop(recording)
        await studio.until(recording, R.DONE)
        assert not refusals


async def test_recover_asks_a_bucket_again_that_would_have_been_asked_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_studio(tmp_path) as studio:
        real, refusals, refused = studio.world.store.put_file, [UnavailableError("full")], asyncio.Event()

        async def put(*args: Any) -> Any:
            if refusals:
                refused.set()
                raise refusals.pop()
            return await real(*args)

        monkeypatch.setattr(studio.world.store, "put_file", put)
        studio.patience = Patience(first_s=1000.0, longest_s=1000.0)
        await studio.restart()
        recording = await studio.capturing()
        await studio.stop(recording)
        await asyncio.wait_for(refused.wait(), 30)
        uploading = await studio.until(recording, R.UPLOADING)

        async def is_done() -> bool:
            studio.films.again(uploading)  # as often as somebody is impatient
            return (await studio.world.now_of(recording)).state is R.DONE

        await eventually(is_done, 30)
        assert studio.made(recording) == ["live"]


async def test_a_film_that_vanished_before_the_bucket_had_it_is_made_again(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        recording = await studio.capturing()
        await studio.films.aclose(0)  # the process dies here
        await studio.stop(recording)
        await studio.world.recordings.settle()
        lost = FilmFile("video", recording.file_name, 99, 1000, "00", local_path=str(tmp_path / "films/lost.mp4"))
        uploading = await studio.world.lifecycle.on_rendered(recording.id, [lost])
        await studio.restart()
        studio.films.recover(Recovery({**empty(), R.UPLOADING: [uploading]}, []))
        done = await studio.until(recording, R.DONE)
        assert done.size_bytes == len(b"a film"), "of the film that there is"


async def lost(studio: Studio) -> tuple[Recording, UploadService]:
    """A recording that somebody has, one of whose destinations still waits for a film that is not here any more."""
    world = studio.world
    recording = await studio.capturing()
    await studio.films.aclose(0)
    await studio.stop(recording)
    await world.recordings.settle()
    gone = FilmFile("video", recording.file_name, 99, 1000, "00", local_path=str(studio.films_dir / "lost.mp4"))
    await world.lifecycle.on_rendered(recording.id, [gone])
    done = await world.lifecycle.on_uploaded(recording.id, [gone])
    return done, UploadService(world.db, world.clock, world.ledger, world.lifecycle)


async def place_of(service: UploadService, recording: Recording) -> Destination:
    async def is_over() -> bool:
        return (await service.destinations(recording))[0].state is not DestinationState.WAITING

    await eventually(is_over)
    return (await service.destinations(recording))[0]


async def test_a_film_that_vanished_is_made_again_for_who_still_waits_for_it(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        recording, service = await lost(studio)
        await studio.restart()
        studio.films.recover(Recovery(empty(), []), await service.unfinished())
        assert (await place_of(service, recording)).state is DestinationState.DONE
        assert studio.made(recording) == ["later"]


@pytest.mark.parametrize("has_log", [True, False])
async def test_who_waits_for_a_film_that_cannot_be_made_again_is_told(tmp_path: Path, has_log: bool) -> None:
    script = "print(json.dumps({'event': 'failed', 'error': 'It is a test.', 'final': True}), flush=True)"
    async with open_studio(tmp_path) as studio:
        recording, service = await lost(studio)
        if not has_log:
            shutil.rmtree(studio.captures / str(recording.session_id))
        await studio.restart(script)
        studio.films.recover(Recovery(empty(), []), await service.unfinished())
        place = await place_of(service, recording)
        assert place.state is DestinationState.FAILED and place.error
        assert ("It is a test." in place.error) is has_log
        assert (await studio.world.now_of(recording)).state is R.DONE


async def test_what_was_made_of_a_film_that_failed_is_swept(tmp_path: Path) -> None:
    async with open_studio(tmp_path, _LIVE) as studio:
        recording = await studio.capturing()
        await studio.films.aclose(0)
        await studio.world.lifecycle.on_failed(recording.id, "It is a test.")
        await studio.world.recordings.settle()
        (studio.films_dir / recording.id).mkdir(parents=True, exist_ok=True)
        await studio.restart(_LIVE)
        world = studio.world
        service = UploadService(world.db, world.clock, world.ledger, world.lifecycle)
        studio.films.recover(Recovery(empty(), []), await service.unfinished())
        await asyncio.gather(*studio.films._tasks.values())

        async def is_swept() -> bool:
            return list(studio.films_dir.iterdir()) == []

        await eventually(is_swept)
        assert await service.unfinished() == [], "nobody waits for it any more"


async def test_a_film_that_was_stored_before_the_crash_is_not_stored_again(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        recording = await studio.capturing()
        await studio.films.aclose(0)
        await studio.stop(recording)
        await studio.world.recordings.settle()
        film = tmp_path / "film.mp4"
        film.write_bytes(b"stored")
        file = FilmFile("video", recording.file_name, 6, 1000, "00", local_path=str(film))
        uploading = await studio.world.lifecycle.on_rendered(recording.id, [file])
        await studio.world.store.put_file(
            object_key(recording.id, recording.invoked_at, file.name), film, "video/mp4", file.name
        )
        film.unlink()
        await studio.restart()
        studio.films.recover(Recovery({**empty(), R.UPLOADING: [uploading]}, []))
        assert (await studio.until(recording, R.DONE)).size_bytes == 6
        assert studio.made(recording) == []


async def test_a_film_that_is_about_to_be_begun_when_the_node_ends_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_known = asyncio.Event()

    async def head_rule(worker: UploadWorker, recording: Recording) -> tuple[int, bool]:
        await is_known.wait()
        return 1, False

    monkeypatch.setattr(UploadWorker, "head_rule", head_rule)
    async with open_studio(tmp_path) as studio:
        recording = await studio.capturing()
        await studio.stop(recording)
        await studio.until(recording, R.RENDERING)
        ending = asyncio.create_task(studio.films.aclose(60))
        await beat(0.01)
        is_known.set()
        await ending
        assert (await studio.world.now_of(recording)).state is R.DONE


async def test_recovery_follows_what_still_records_and_finishes_what_does_not(tmp_path: Path) -> None:
    async with open_studio(tmp_path, _LIVE) as studio:
        going, over = await studio.capturing(), await studio.capturing()
        await studio.films.aclose(0)
        await studio.stop(over)
        await studio.world.recordings.settle()
        over = await studio.world.now_of(over)
        assert over.state is R.RENDERING
        await studio.restart(_LIVE)
        studio.films.recover(Recovery({**empty(), R.CAPTURING: [going], R.RENDERING: [over]}, []))
        await studio.until(over, R.DONE)
        assert studio.made(over) == ["later"]
        assert studio.films.renders.progress(going.id) is not None, "it is followed"
        assert studio.films.renders.progress(over.id) is None
        assert studio.made(going) == []


async def test_what_a_dead_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    async with open_studio(tmp_path, _LIVE) as studio:
        recording = await studio.capturing()
        for name in ("a-film-that-was-delivered", recording.id):
            (studio.films_dir / name).mkdir(parents=True)
            (studio.films_dir / name / ".film.mp4.part").write_bytes(b"x")
        studio.films.recover(Recovery({**empty(), R.CAPTURING: [recording]}, []))
        await asyncio.gather(*studio.films._tasks.values())
        assert [path.name for path in studio.films_dir.iterdir()] == [recording.id]


async def test_a_recording_that_ended_between_stocktaking_and_recovery_is_not_followed(tmp_path: Path) -> None:
    async with open_studio(tmp_path, _LIVE) as studio:
        recording = await studio.capturing()
        await studio.films.renders.drain(0)
        await studio.restart(_LIVE)
        await studio.stop(recording)
        await studio.until(recording, R.DONE)
        studio.films.recover(Recovery({**empty(), R.CAPTURING: [recording]}, []))
        assert studio.films.renders.pids() == {}
        assert studio.films.renders.progress(recording.id) is None
