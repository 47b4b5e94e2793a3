"""Archive and restore against a real S3 server that knows storage classes; the bucket is a directory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import google_crc32c
import httpx
import pytest
from tests.pace import eventually
from tests.servers.moto import moto
from tests.service.world import START, World

from tapedeck.adapters.egress import Guard
from tapedeck.adapters.storage.archive import S3Archive, make_archive
from tapedeck.core.access import AppPrincipal
from tapedeck.core.archive import ArchiveState, StorageClass, Tier
from tapedeck.core.errors import InternalError, InvalidError, NotFoundError, UnavailableError
from tapedeck.core.library import LibraryStatus, Span
from tapedeck.core.meeting import App
from tapedeck.core.naming import object_key
from tapedeck.core.recording import FilmFile, Recording
from tapedeck.db import archive as places
from tapedeck.db.archive import Place
from tapedeck.service.archive import ArchiveService
from tapedeck.service.recordings import Action
from tapedeck.service.retention import RetentionService
from tapedeck.workers.archive import LibraryKeeper, LocalFiles

ME = {"kind": "key", "id": "k1", "name": "Ada"}
MIB = 1 << 20
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def moto_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto(tmp_path_factory.mktemp("moto")) as url:
        yield url


@dataclass
class Vaulted:
    """A world with an archive."""

    world: World
    store: S3Archive
    s3: Any
    bucket: str
    archives: ArchiveService
    retention: RetentionService
    keeper: LibraryKeeper

    async def ready(self, content: bytes = b"film" * 1000, app: App | None = None) -> Recording:
        """A delivered recording with a film and a poster in the bucket."""
        world = self.world
        mine, world.app = world.app, app or world.app
        try:
            meeting = await world.meeting()
            recording = await world.capturing(meeting, await world.live(meeting))
            await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
        finally:
            world.app = mine
        await world.recordings.settle()
        path = world.root / f"{recording.id}.mp4"
        path.write_bytes(content)
        crc = f"{google_crc32c.value(content):08x}"
        film = FilmFile("video", recording.file_name, len(content), 4_000, crc, local_path=str(path))
        await world.lifecycle.on_rendered(recording.id, [film])
        key = object_key(recording.id, recording.invoked_at, film.name)
        await world.store.put_file(key, path, "video/mp4", film.name)
        poster = FilmFile("poster", "poster.jpg", 4, 0, "00000000", key=f"{key}.jpg")
        await world.store.put_file(f"{key}.jpg", path, "image/jpeg", "poster.jpg")
        stored = replace(film, local_path=None, key=key)
        uploaded = await world.lifecycle.on_uploaded(recording.id, [stored, poster])
        await world.delivered(recording)
        return uploaded

    async def place(self, recording: Recording) -> Place:
        async with self.world.db.read() as session:
            found = await places.find_place(session, recording.id)
        assert found is not None
        return found

    async def undelete(self, recording: Recording) -> None:
        """As the tenant of the world."""
        world = self.world
        assert isinstance(world.backend, AppPrincipal)
        await world.library.undelete(world.app, world.backend, recording.id)

    def cold(self) -> list[str]:
        return [item["Key"] for item in self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", ())]

    def uploads(self) -> list[str]:
        return [item["Key"] for item in self.s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", ())]

    def anew(self) -> None:
        """Another process: nothing is remembered but what is stored."""
        world = self.world
        self.archives = ArchiveService(world.db, world.clock, world.store, self.store)
        local = LocalFiles(world.root / "captures", *(world.root / name for name in ("films", "hls", "streams")))
        self.retention = RetentionService(world.db, world.clock, world.store, world.store, self.archives, local)
        self.keeper = LibraryKeeper(self.archives, self.retention, world.clock)

    async def trail(self, app: App | None = None) -> list[str]:
        deeds, _ = await self.world.library.trail(app or self.world.app, Span(100, 0))
        return [deed.action for deed in reversed(deeds)]


@pytest.fixture
async def vault(world: World, moto_url: str) -> AsyncIterator[Vaulted]:
    bucket = f"cold-{uuid4().hex[:8]}"
    s3 = boto3.client(
        "s3", endpoint_url=moto_url, aws_access_key_id="AK", aws_secret_access_key="SK", region_name="us-east-1"
    )
    s3.create_bucket(Bucket=bucket)
    storage = {"type": "aws", "access_key": "AK", "secret": "SK", "bucket": bucket, "endpoint": moto_url, "path": "old"}
    store = make_archive(storage, StorageClass.GLACIER, Guard(allow_private=True))
    made = Vaulted(world, store, s3, bucket, None, None, None)  # type: ignore[arg-type]
    made.anew()
    yield made
    await made.archives.aclose()
    await store.aclose()


async def hot(vault: Vaulted, recording: Recording) -> list[str]:
    """Which of its files the bucket still has."""
    found = []
    for file in recording.files:
        try:
            assert file.key is not None
            await vault.world.store.head(file.key)
            found.append(file.kind)
        except NotFoundError:
            pass
    return found


async def test_a_film_moves_and_comes_back(vault: Vaulted) -> None:
    world = vault.world
    content = bytes(range(256)) * (70 * MIB // 1024)  # three parts
    recording = await vault.ready(content)
    place = await vault.archives.archive(world.app, ME, recording.id)
    assert (place.status, place.state, place.archived_at) == ("archived", ArchiveState.ARCHIVED, world.clock.now())
    assert await hot(vault, recording) == ["poster"]
    (key,) = vault.cold()
    assert key == f"old/{recording.files[0].key}"
    assert vault.s3.head_object(Bucket=vault.bucket, Key=key)["StorageClass"] == "GLACIER"
    with pytest.raises(vault.s3.exceptions.ClientError, match="InvalidObjectState"):
        vault.s3.get_object(Bucket=vault.bucket, Key=key)
    view = await world.recordings.get(world.app, recording.id)
    assert (view.recording.state, view.video_url) == ("done", None)
    assert (await vault.place(recording)).note.freed

    with pytest.raises(InvalidError, match="archived already"):
        await vault.archives.archive(world.app, ME, recording.id)
    assert await vault.archives.links(place, world.clock.now() + timedelta(hours=1)) == ()
    asked = await vault.archives.restore(world.app, ME, recording.id, Tier.STANDARD, 3)
    assert (asked.state, asked.status) == (ArchiveState.RESTORING, LibraryStatus.ARCHIVED)
    assert await vault.archives.restore(world.app, ME, recording.id, Tier.BULK, 9) == await vault.place(recording)
    await vault.archives.poll(world.clock.now())
    place = await vault.place(recording)
    assert place.state is ArchiveState.RESTORED
    assert place.note.restored_until == world.clock.now() + timedelta(days=3)
    ((name, url),) = await vault.archives.links(place, world.clock.now() + timedelta(hours=1))
    async with httpx.AsyncClient(timeout=300) as client:
        answer = await client.get(url)
    assert answer.content == content and name in answer.headers["content-disposition"]

    world.clock.move(3 * 86_400)
    assert await vault.archives.links(place, world.clock.now() + timedelta(hours=1)) == ()
    await vault.archives.poll(world.clock.now())
    assert (await vault.place(recording)).state is ArchiveState.ARCHIVED
    assert await vault.trail() == ["recording.archive", "recording.restore"]


async def test_what_is_not_ready_or_not_in_our_bucket_stays(vault: Vaulted) -> None:
    world = vault.world
    meeting = await world.meeting()
    running = await world.capturing(meeting, await world.live(meeting))
    with pytest.raises(InvalidError, match="ready"):
        await vault.archives.archive(world.app, ME, running.id)
    await world.recordings.control(world.app, world.backend, running.id, Action.STOP)
    outside = await world.finish_outside(running)
    with pytest.raises(InvalidError, match="no file in this server's bucket"):
        await vault.archives.archive(world.app, ME, outside.id)
    with pytest.raises(InvalidError, match="Only an archived"):
        await vault.archives.restore(world.app, ME, outside.id, Tier.STANDARD, 1)
    recording = await vault.ready()
    with pytest.raises(InvalidError, match="ARCHIVE_BUCKET_URL"):
        await ArchiveService(world.db, world.clock, world.store, None).archive(world.app, ME, recording.id)
    assert (await vault.place(recording)).state is None


@pytest.mark.parametrize("step", ["begin", "put_part", "complete", "tag", "head"])
async def test_a_copy_that_fails_leaves_everything_ready(
    vault: Vaulted, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure of copy or verify: 500, still ready, nothing left over; the next time it works."""
    recording = await vault.ready()

    async def fail(*_: object, **__: object) -> None:
        raise UnavailableError("The storage cannot do it now (503).")

    with monkeypatch.context() as patch:
        patch.setattr(vault.store, step, fail)
        with pytest.raises(InternalError, match=r"stays ready.*503"):
            await vault.archives.archive(vault.world.app, ME, recording.id)
    place = await vault.place(recording)
    assert (place.state, place.status, place.archived_at) == (None, LibraryStatus.READY, None)
    assert vault.cold() == [] and vault.uploads() == []
    assert await hot(vault, recording) == ["video", "poster"]
    await vault.archives.archive(vault.world.app, ME, recording.id)
    assert len(vault.cold()) == 1 and await hot(vault, recording) == ["poster"]


async def test_a_damaged_file_is_not_archived(vault: Vaulted, tmp_path: Path) -> None:
    """The checksum is that of the film that was delivered, not of whatever lies in the bucket."""
    recording = await vault.ready(b"film" * 1000)
    (tmp_path / "other").write_bytes(b"FILM" * 1000)
    assert recording.files[0].key is not None
    await vault.world.store.put_file(recording.files[0].key, tmp_path / "other", "video/mp4", "x.mp4")
    with pytest.raises(InternalError, match="not the file that was delivered"):
        await vault.archives.archive(vault.world.app, ME, recording.id)
    assert vault.cold() == [] and (await vault.place(recording)).status is LibraryStatus.READY


async def test_a_bucket_that_does_not_delete_is_asked_again(vault: Vaulted, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = await vault.ready()

    async def refuse(key: str) -> None:
        raise UnavailableError("later")

    with monkeypatch.context() as patch:
        patch.setattr(vault.world.store, "delete", refuse)
        place = await vault.archives.archive(vault.world.app, ME, recording.id)
        assert place.status is LibraryStatus.ARCHIVED
        await vault.archives.resume()
        assert await hot(vault, recording) == ["video", "poster"]
    vault.anew()
    await vault.archives.resume()
    assert await hot(vault, recording) == ["poster"] and (await vault.place(recording)).note.freed


@pytest.mark.parametrize("step", ["put_part", "complete", "tag", "head", "delete"])
async def test_a_crash_at_any_step_is_gone_on_with(vault: Vaulted, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends right after a step was done and before anybody noted it."""
    content = bytes(range(256)) * (70 * MIB // 1024)
    recording = await vault.ready(content)
    owner: Any = vault.world.store if step == "delete" else vault.store
    real, sent, done = getattr(owner, step), [], asyncio.Event()

    begun: list[Any] = []

    async def then_hang(*given: Any) -> Any:
        begun.append(given)
        if step == "put_part" and len(begun) > 2:
            await asyncio.Event().wait()
        result = await real(*given)
        sent.append(given)
        if step != "put_part" or len(sent) == 2:
            done.set()
            await asyncio.Event().wait()
        return result

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, then_hang)
        asking = asyncio.create_task(vault.archives.archive(vault.world.app, ME, recording.id))
        await asyncio.wait_for(done.wait(), 600)
        await vault.archives.aclose()
        with pytest.raises(asyncio.CancelledError):
            await asking
    vault.anew()
    sent.clear()

    async def count(*given: Any) -> Any:
        sent.append(given)
        return await real(*given)

    monkeypatch.setattr(owner, step, count)
    await vault.keeper.round(vault.world.clock.now())
    place = await vault.place(recording)
    assert (place.status, place.state) == (LibraryStatus.ARCHIVED, ArchiveState.ARCHIVED)
    if step == "put_part":
        assert len(sent) == 1, "two of three parts were there"
    assert await hot(vault, recording) == ["poster"]
    (key,) = vault.cold()
    assert vault.s3.head_object(Bucket=vault.bucket, Key=key)["ContentLength"] == len(content)
    assert vault.uploads() == [] and await vault.trail() == ["recording.archive"]


async def test_a_move_goes_on_without_whoever_asked_and_is_waited_for_by_others(vault: Vaulted) -> None:
    recording = await vault.ready()
    first = asyncio.create_task(vault.archives.archive(vault.world.app, ME, recording.id))

    async def begun() -> bool:
        return (await vault.place(recording)).state is ArchiveState.ARCHIVING

    await eventually(begun)
    first.cancel()
    place = await vault.archives.archive(vault.world.app, ME, recording.id)
    assert place.status is LibraryStatus.ARCHIVED
    assert await vault.trail() == ["recording.archive"]


async def test_a_deletion_meanwhile_wins(vault: Vaulted, monkeypatch: pytest.MonkeyPatch) -> None:
    """archive x delete: it is deleted, and no copy is left."""
    recording = await vault.ready()
    real = vault.store.head

    async def head(key: str) -> Any:
        async with vault.world.db.write() as session:
            place = await vault.place(recording)
            await places.save_place(
                session, replace(place, deleted_at=vault.world.clock.now()), vault.world.clock.now()
            )
        return await real(key)

    monkeypatch.setattr(vault.store, "head", head)
    with pytest.raises(NotFoundError):
        await vault.archives.archive(vault.world.app, ME, recording.id)
    assert vault.cold() == [] and await hot(vault, recording) == ["video", "poster"]
    await vault.undelete(recording)
    place = await vault.place(recording)
    assert (place.state, place.status, place.deleted_at) == (None, LibraryStatus.READY, None)


async def test_what_can_be_read_at_once_is_restored_at_once_whatever_the_setting_is_now(
    vault: Vaulted, moto_url: str
) -> None:
    """GLACIER_IR waits for nobody; an object keeps the class that it was archived with."""
    world = vault.world
    storage = {"type": "aws", "access_key": "AK", "secret": "SK", "bucket": vault.bucket, "endpoint": moto_url}
    instant = make_archive(storage | {"path": "old"}, StorageClass.GLACIER_IR, Guard(allow_private=True))
    archives = ArchiveService(world.db, world.clock, world.store, instant)
    slow, quick = await vault.ready(), await vault.ready()
    try:
        await vault.archives.archive(world.app, ME, slow.id)
        await archives.archive(world.app, ME, quick.id)
        place = await archives.restore(world.app, ME, quick.id, Tier.STANDARD, 2)
        assert place.state is ArchiveState.RESTORED and len(await archives.links(place, START + 9 * DAY)) == 1
        for asked, recording in ((archives, slow), (vault.archives, quick)):
            place = await asked.restore(world.app, ME, recording.id, Tier.STANDARD, 3)
            await asked.poll(world.clock.now())
            place = await vault.place(recording)
            assert place.state is ArchiveState.RESTORED, place.note.storage_class
            assert place.note.restored_until == world.clock.now() + 3 * DAY
    finally:
        await instant.aclose()


async def test_deep_archive_knows_no_hurry(vault: Vaulted, moto_url: str) -> None:
    world = vault.world
    storage = {"type": "aws", "access_key": "AK", "secret": "SK", "bucket": vault.bucket, "endpoint": moto_url}
    deep = make_archive(storage | {"path": ""}, StorageClass.DEEP_ARCHIVE, Guard(allow_private=True))
    archives = ArchiveService(world.db, world.clock, world.store, deep)
    recording = await vault.ready()
    try:
        await archives.archive(world.app, ME, recording.id)
        (key,) = vault.cold()
        assert vault.s3.head_object(Bucket=vault.bucket, Key=key)["StorageClass"] == "DEEP_ARCHIVE"
        with pytest.raises(InvalidError, match="DEEP_ARCHIVE"):
            await archives.restore(world.app, ME, recording.id, Tier.EXPEDITED, 1)
        assert (await vault.place(recording)).state is ArchiveState.ARCHIVED
        assert (await archives.restore(world.app, ME, recording.id, Tier.BULK, 1)).state is ArchiveState.RESTORING
    finally:
        await deep.aclose()


async def test_a_restore_that_is_there_can_be_prolonged_without_an_interruption(vault: Vaulted) -> None:
    world = vault.world
    recording = await vault.ready()
    await vault.archives.archive(world.app, ME, recording.id)
    await vault.archives.restore(world.app, ME, recording.id, Tier.STANDARD, 1)
    await vault.archives.poll(world.clock.now())
    world.clock.move(80_000)
    place = await vault.archives.restore(world.app, ME, recording.id, Tier.STANDARD, 4)
    assert place.state is ArchiveState.RESTORED and place.note.restored_until == world.clock.now() + 4 * DAY
    assert len(await vault.archives.links(place, world.clock.now() + DAY)) == 1


async def test_a_restore_that_a_crash_came_before_is_asked_for(vault: Vaulted, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = await vault.ready()
    await vault.archives.archive(vault.world.app, ME, recording.id)

    async def lost(*_: object) -> None:
        return

    with monkeypatch.context() as patch:
        patch.setattr(vault.store, "restore", lost)
        await vault.archives.restore(vault.world.app, ME, recording.id, Tier.BULK, 2)
    vault.anew()
    await vault.archives.poll(vault.world.clock.now())
    assert (await vault.place(recording)).state is ArchiveState.RESTORING
    await vault.archives.poll(vault.world.clock.now())
    assert (await vault.place(recording)).state is ArchiveState.RESTORED


async def test_a_restore_that_is_refused_changes_nothing(vault: Vaulted, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = await vault.ready()
    before = await vault.archives.archive(vault.world.app, ME, recording.id)

    async def refuse(*_: object) -> None:
        raise UnavailableError("later")

    monkeypatch.setattr(vault.store, "restore", refuse)
    with pytest.raises(InternalError, match="later"):
        await vault.archives.restore(vault.world.app, ME, recording.id, Tier.BULK, 2)
    place = await vault.place(recording)
    assert (place.state, place.note.tier) == (ArchiveState.ARCHIVED, before.note.tier)
