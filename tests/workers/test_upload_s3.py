"""Films to a real S3 server over a wire that is cut, slow, silent or gone: delivered once, whole, no orphan left."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.pace import eventually
from tests.servers.proxy import Wire, open_wire
from tests.workers.post import Post, open_post
from tests.workers.reels import MIB, Reel
from tests.workers.s3server import MotoServer, running_moto
from tests.workers.sender import CONTENT_TYPE, DAY, make_store

from tapedeck.adapters.egress import Guard
from tapedeck.adapters.storage.archive import make_archive
from tapedeck.adapters.storage.s3 import S3Store
from tapedeck.core.archive import StorageClass
from tapedeck.core.delivery import Patience
from tapedeck.core.destination import DestinationKind
from tapedeck.core.recording import RecordingState
from tapedeck.service.archive import ArchiveService
from tapedeck.workers.transfer import Transfer

K, R = DestinationKind, RecordingState


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    with running_moto() as server:
        yield server


@asynccontextmanager
async def bucket(
    moto: MotoServer, *, equal: bool = False, read_timeout_s: float = 60.0
) -> AsyncIterator[tuple[Wire, S3Store]]:
    """A fresh bucket behind a wire."""
    name = f"films-{uuid4().hex[:12]}"
    await asyncio.to_thread(moto.make_bucket, name)
    async with open_wire("127.0.0.1", moto.port) as wire:
        store = make_store(wire.url, name, equal=equal, read_timeout_s=read_timeout_s)
        try:
            yield wire, store
        finally:
            await store.aclose()


@pytest.mark.parametrize("equal", [False, True])
async def test_a_film_is_up_before_it_is_finished(equal: bool, moto: MotoServer, tmp_path: Path) -> None:
    async with bucket(moto, equal=equal) as (_, store), open_post(tmp_path, outside=store) as post:
        recording = await post.recording(K.BUCKET, K.EXTERNAL)
        reel = post.reel(recording)
        post.worker.follow(recording)
        for _ in range(4):
            reel.grow(8 * MIB)

        async def is_up() -> bool:
            return post.noted(recording) >= (5 if equal else 4)

        await eventually(is_up)
        (upload,) = await store.unfinished(recording.file_name)
        assert len(await store.parts(upload.key, upload.token)) == (5 if equal else 4)
        film = reel.finish(index_bytes=6 * MIB if equal else 4000)
        content = film.path.read_bytes()
        await post.stop(recording, film)
        await post.until(recording, R.DONE)
        await post.over(recording)
        assert await post.external(recording) == content
        assert not await store.unfinished("")


async def test_a_film_that_went_up_in_parts_is_archived_in_the_same(
    moto: MotoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is noted of the delivery is enough for the store to copy by itself and for us to believe it."""
    async with bucket(moto) as (wire, store), open_post(tmp_path, inside=store) as post:
        recording = await post.recording(K.BUCKET)
        reel = post.reel(recording)
        post.worker.follow(recording)
        for _ in range(3):
            reel.grow(8 * MIB)

        async def is_up() -> bool:
            return post.noted(recording) >= 2

        await eventually(is_up)
        film = reel.finish()
        content = film.path.read_bytes()
        await post.stop(recording, film)
        await post.until(recording, R.DONE)
        await post.over(recording)
        await asyncio.to_thread(moto.make_bucket, f"{store._bucket}-cold")
        there = {"type": "aws", "access_key": "test", "secret": "testtest", "region": "us-east-1"}
        there |= {"bucket": f"{store._bucket}-cold", "endpoint": wire.url}
        cold = make_archive(there, StorageClass.GLACIER_IR, Guard(allow_private=True))
        world, asked = post.world, list[str]()
        archives = ArchiveService(world.db, world.clock, store, cold)
        real = S3Store._do

        async def watch(self: S3Store, what: str, operation: str, **more: Any) -> Any:
            asked.append(operation)
            return await real(self, what, operation, **more)

        try:
            monkeypatch.setattr(S3Store, "_do", watch)
            await archives.archive(world.app, {"kind": "key"}, recording.id)
            assert [kept.key for kept in (await world.now_of(recording)).files] == [None]
            assert asked.count("upload_part_copy") > 3
            assert not {"get_object", "upload_part", "put_object"} & set(asked)
            (file,) = (await archives.place(world.app, recording.id)).note.files
            assert b"".join([chunk async for chunk in cold.read(file.key)]) == content
        finally:
            await archives.aclose()
            await cold.aclose()


async def test_a_store_down_for_ten_minutes_in_the_middle(moto: MotoServer, tmp_path: Path) -> None:
    async with bucket(moto) as (wire, store):
        async with open_post(tmp_path, outside=store, patience=Patience(first_s=120.0)) as post:
            recording = await post.recording(K.BUCKET, K.EXTERNAL)
            reel = post.reel(recording)
            reel.grow(24 * MIB)
            post.worker.follow(recording)

            async def is_up() -> bool:
                return bool(await store.unfinished(recording.file_name))

            await eventually(is_up)
            down = post.world.clock.now()
            await wire.down()

            async def on_pause() -> None:
                if post.world.clock.now() - down >= timedelta(minutes=10) and wire.is_down:
                    await wire.up()

            post.on_pause = on_pause
            film = reel.finish()
            content = film.path.read_bytes()
            await post.stop(recording, film)
            await eventually(lambda: _over(post, recording.id), 60)
            assert post.world.clock.now() - down >= timedelta(minutes=10)
            assert await post.external(recording) == content
            assert not await store.unfinished("")


async def test_every_connection_is_cut_in_its_part(moto: MotoServer, tmp_path: Path) -> None:
    async with bucket(moto) as (wire, store), open_post(tmp_path, outside=store) as post:
        wire.cuts = [MIB, 3 * MIB, 7 * MIB, 200, MIB, 2 * MIB, MIB, 300_000]
        recording, content = await post.film(K.EXTERNAL, size=30 * MIB)
        await eventually(lambda: _over(post, recording.id), 60)
        assert not wire.cuts, "all of them happened"
        assert await post.external(recording) == content
        assert not await store.unfinished("")


async def test_a_store_that_hangs_and_one_that_is_slow(moto: MotoServer, tmp_path: Path) -> None:
    async with bucket(moto, read_timeout_s=1.0) as (wire, store):
        async with open_post(tmp_path, outside=store, answer_s=0.5, patience=Patience(first_s=1e-3)) as post:
            wire.flowing.clear()
            stuck, content = await post.film(K.EXTERNAL)
            other, _ = await post.film(K.BUCKET)
            await post.until(other, R.DONE)

            async def complains() -> bool:
                return (await post.places(stuck))[K.EXTERNAL].error is not None

            await eventually(complains)
            wire.pause_s = 0.01
            wire.flowing.set()
            await eventually(lambda: _over(post, stuck.id), 60)
            assert await post.external(stuck) == content


async def test_a_server_that_forgot_everything_gets_everything(tmp_path: Path) -> None:
    with running_moto() as moto:
        async with bucket(moto) as (_, store), open_post(tmp_path, outside=store) as post:
            recording = await post.recording(K.EXTERNAL)
            reel = post.reel(recording)
            reel.grow(24 * MIB)
            post.worker.follow(recording)

            async def is_up() -> bool:
                return bool(await store.unfinished(recording.file_name))

            await eventually(is_up)
            await asyncio.to_thread(moto.restart)
            await asyncio.to_thread(moto.make_bucket, store._bucket)
            film = reel.finish()
            content = film.path.read_bytes()
            await post.stop(recording, film)
            await eventually(lambda: _over(post, recording.id), 60)
            assert await post.external(recording) == content
            assert not await store.unfinished("")


async def test_a_process_that_is_killed_is_taken_over(moto: MotoServer, tmp_path: Path) -> None:
    async with bucket(moto) as (wire, store):
        reel = Reel(tmp_path / "films")
        reel.grow(48 * MIB)
        film = reel.finish()
        content = film.path.read_bytes()
        journal = tmp_path / "journal"
        wire.pause_s = 0.005
        job = {"url": wire.url, "bucket": store._bucket, "film": str(film.path), "journal": str(journal)}
        job |= {"size": str(film.size_bytes), "crc": str(film.crc32c)}
        sender = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.workers.sender", json.dumps(job))

        async def some_are_noted() -> bool:
            return journal.exists() and journal.read_text().count('"number"') >= 2

        await eventually(some_are_noted, 60)
        sender.send_signal(signal.SIGKILL)
        await sender.wait()
        wire.pause_s = 0
        (left,) = await store.unfinished("film.mp4")
        there = {part.number for part in await store.parts(left.key, left.token)}
        second = Transfer(store, "film.mp4", CONTENT_TYPE, "film.mp4", journal, most_film_bytes=DAY)
        await second.finish(film)
        assert b"".join([chunk async for chunk in store.read("film.mp4")]) == content
        assert not await store.unfinished("")
        assert len(there) >= 2
        assert second.sent <= 7 - 2, "what the first one had noted was not sent again"


async def _over(post: Post, recording_id: str) -> bool:
    return not post.worker.is_needed(recording_id) and not (post.films / recording_id).exists()
