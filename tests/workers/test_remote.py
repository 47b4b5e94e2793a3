"""Files that another recorder has finished come to this machine whole, whatever breaks off on the way."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import google_crc32c
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.pace import eventually
from tests.service.far import Far, Near, far_server, make_near

from tapedeck.adapters.signer import RsaSigner
from tapedeck.core.delivery import Patience
from tapedeck.core.destination import Destination
from tapedeck.core.errors import NotFoundError, UnauthenticatedError
from tapedeck.core.recording import FINAL, Recording, RecordingState
from tapedeck.db import remote as table
from tapedeck.service.recordings import Action
from tapedeck.service.uploads import UploadService
from tapedeck.workers.films import FilmWorker
from tapedeck.workers.remote import RemoteWorker
from tapedeck.workers.upload import Bucket, UploadWorker

FILM = bytes(range(256)) * 8192
"""2 MiB."""


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[Far]:
    async with far_server(tmp_path / "far") as made:
        yield made


@pytest.fixture
async def near(tmp_path: Path, far: Far) -> AsyncIterator[Near]:
    async with make_near(tmp_path / "near", far) as made:
        made.world.clock.move(60)
        yield made


async def taken(near: Near) -> Recording:
    """The only recording that a sync brings."""
    ((recording_id, _),) = await near.sync()
    return await near.world.now_of_id(recording_id)


def whole(recording: Recording) -> bool:
    """Whether the file of a recording is on this machine, as it was there."""
    (film,) = recording.files
    assert film.local_path is not None and film.crc32c == f"{google_crc32c.value(FILM):08x}"
    return film.size_bytes == len(FILM) and Path(film.local_path).read_bytes() == FILM


async def test_a_finished_film_is_copied_whole_and_goes_on_to_the_bucket(far: Far, near: Near) -> None:
    await far.film(near.far_room, FILM)
    recording = await taken(near)
    assert recording.state is RecordingState.RENDERING
    await near.turn()
    recording = await near.world.now_of(recording)
    assert recording.state is RecordingState.UPLOADING and whole(recording)
    assert recording.film_ms == 4_000


async def test_a_copy_that_breaks_off_goes_on_where_it_ended_in_another_process(far: Far, near: Near) -> None:
    await far.film(near.far_room, FILM)
    recording = await taken(near)
    far.door.cut = 1_000_000
    await near.turn()
    assert (await near.world.now_of(recording)).state is RecordingState.RENDERING
    (part,) = (near.world.root / "films" / recording.id).glob("*.part")
    begun = part.stat().st_size
    assert 0 < begun <= 1_000_000
    far.door.ranges.clear()
    near.world.clock.move(10)
    again = RemoteWorker(near.remote, near.world.root / "films", near.world.clock)
    await again.tick(near.world.clock.now())
    await again.settle()
    assert far.door.ranges == [f"bytes={begun}-"]
    assert whole(await near.world.now_of(recording))


async def test_a_file_that_is_another_one_meanwhile_is_copied_from_its_start(far: Far, near: Near) -> None:
    """Two halves of two films are none, whatever their size says."""
    there = await far.film(near.far_room, FILM[::-1])
    recording = await taken(near)
    far.door.cut = 1_000_000
    await near.turn()
    path = far.site.world.root / "anew.mp4"
    path.write_bytes(FILM)
    (file,) = there.files
    assert file.key is not None
    await far.site.world.store.put_file(file.key, path, "video/mp4", file.name)
    far.door.ranges.clear()
    near.world.clock.move(10)
    await near.turn()
    assert len(far.door.ranges) == 1, "it asked for the rest, and got all of it"
    assert whole(await near.world.now_of(recording))
    assert [left.suffix for left in (near.world.root / "films" / recording.id).iterdir()] == [".mp4"]


async def test_a_recorder_that_sends_more_than_it_says_does_not_fill_the_disk(
    far: Far, near: Near, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = list[int]()
    monkeypatch.setattr("tapedeck.workers.remote.os.fsync", lambda fd: sizes.append(os.fstat(fd).st_size))
    await far.film(near.far_room, FILM)
    recording = await taken(near)
    far.door.cut = 1_000_000
    await near.turn()
    far.door.more = 20
    near.world.clock.move(10)
    await near.turn()
    assert sizes and max(sizes) <= len(FILM)
    assert not list((near.world.root / "films" / recording.id).glob("*.part"))
    far.door.more = 0
    near.world.clock.move(20)
    await near.turn()
    assert whole(await near.world.now_of(recording))


async def test_a_copy_is_tried_again_later_and_later(far: Far, near: Near) -> None:
    await far.film(near.far_room, FILM)
    recording = await taken(near)

    async def fail(path: str) -> None:
        if path.startswith("/files"):
            raise RuntimeError("out of order")

    far.door.before = fail
    waits = []
    for _ in range(3):
        await near.turn()
        at = near.worker.turns()[recording.id]
        waits.append(at - near.world.clock.now())
        near.world.clock.move(waits[-1].total_seconds())
    assert waits[0] < waits[1] < waits[2]
    far.door.before = None
    await near.turn()
    assert whole(await near.world.now_of(recording))


async def test_files_that_ended_with_their_links_fail_the_recording_with_the_reason(far: Far, near: Near) -> None:
    await far.film(near.far_room, FILM)
    recording = await taken(near)
    for world in (far.site.world, near.world):
        world.clock.move(timedelta(days=8).total_seconds())
    await near.turn()
    failed = await near.world.now_of(recording)
    assert failed.state is RecordingState.FAILED and "ended with their links" in str(failed.failure)


@asynccontextmanager
async def node(near: Near) -> AsyncIterator[FilmWorker]:
    """What brings films from this machine to the bucket."""
    world = near.world

    async def open_bucket(destination: Destination) -> Bucket:
        return Bucket(world.store, links=True)

    uploads = UploadWorker(
        service=UploadService(world.db, world.clock, world.ledger, world.lifecycle),
        open_bucket=open_bucket,
        films_dir=world.root / "films",
        clock=world.clock,
        patience=Patience(first_s=0.0),
    )
    films = FilmWorker(
        lifecycle=world.lifecycle,
        ledger=world.ledger,
        uploads=uploads,
        captures_dir=world.root / "captures",
        films_dir=world.root / "films",
        concurrency=1,
        live=True,
    )
    worker = RemoteWorker(near.remote, world.root / "films", world.clock, uploads=uploads)
    films.elsewhere = worker.again
    try:
        yield films
    finally:
        await films.aclose(0)
        await worker.aclose()


async def vanished(near: Near) -> Recording:
    """A recording that was copied, and whose copy is gone before a store had it."""
    recording = await taken(near)
    await near.turn()
    shutil.rmtree(near.world.root / "films" / recording.id)
    recording = await near.world.now_of(recording)
    assert recording.state is RecordingState.UPLOADING
    return recording


async def ended(near: Near, recording: Recording) -> Recording:
    async def is_over() -> bool:
        return (await near.world.now_of(recording)).state in FINAL

    await eventually(is_over)
    return await near.world.now_of(recording)


async def test_a_copy_that_vanished_is_fetched_again_by_recover(far: Far, near: Near) -> None:
    await far.film(near.far_room, FILM)
    recording = await vanished(near)
    async with node(near) as films:
        films.again(recording)
        done = await ended(near, recording)
        (film,) = done.files
        assert done.state is RecordingState.DONE and film.key is not None
        assert b"".join([chunk async for chunk in near.world.store.read(film.key)]) == FILM


async def test_a_copy_that_vanished_here_and_there_fails_with_the_reason(far: Far, near: Near) -> None:
    """Only then: while the recorder cannot be asked, it is asked again."""
    await far.film(near.far_room, FILM)
    recording = await vanished(near)
    far.door.gone = await near.remote_id(recording.id)
    async with node(near) as films:
        films.again(recording)
        failed = await ended(near, recording)
    assert failed.state is RecordingState.FAILED and "no such recording any more" in str(failed.failure)


async def test_another_public_address_is_told_to_the_recorder(far: Far, near: Near) -> None:
    world = near.world
    await near.remote.start(near.app, near.room.id, {}, False, None)
    near.remote._public_url = "https://moved.example.org"
    for _ in range(2):
        await near.sync()
    urls = [webhook.url for webhook in await far.site.world.webhooks.list(far.site.world.app)]
    assert sorted(urls) == [
        f"{address}/api/v1/hooks/cloudflare/{world.app.id}"
        for address in ("http://127.0.0.1:1", "https://moved.example.org")
    ]


async def test_what_runs_there_is_asked_for_when_nobody_tells(far: Far, near: Near) -> None:
    """And by a process that has just begun at once: it may have missed what was told."""
    await near.turn()
    recording = await near.remote.start(near.app, near.room.id, {}, False, None)
    world = far.site.world
    theirs = await near.remote_id(recording.id)
    live = await world.live(await world.meetings.get(world.app, near.far_room))
    await world.sessions.on_capturing(theirs, live, world.clock.now())
    await near.turn()
    assert (await near.world.now_of(recording)).state is RecordingState.STARTING
    near.world.clock.move(31)
    await near.turn()
    assert (await near.world.now_of(recording)).state is RecordingState.CAPTURING
    ended = await world.recordings.control(world.app, world.backend, theirs, Action.STOP)
    assert ended.recording.stopped_at is not None
    next_process = RemoteWorker(near.remote, near.world.root / "films", near.world.clock)
    await next_process.tick(near.world.clock.now())
    await next_process.settle()
    assert (await near.world.now_of(recording)).stopped_at == ended.recording.stopped_at


async def test_a_recording_that_is_gone_there_fails(far: Far, near: Near) -> None:
    recording = await near.remote.start(near.app, near.room.id, {}, False, None)

    def vanish(path: str) -> None:
        if near_id in path:
            raise RuntimeError("nothing")

    near_id = await near.remote_id(recording.id)
    far.door.before = vanish
    near.world.clock.move(31)
    await near.turn()
    assert (await near.world.now_of(recording)).state is RecordingState.STARTING, "a fault is no absence"
    far.door.gone = near_id
    far.door.before = None
    near.world.clock.move(31)
    await near.turn()
    failed = await near.world.now_of(recording)
    assert failed.state is RecordingState.FAILED and "no such recording" in str(failed.failure)


async def hook(near: Near) -> dict[str, str]:
    """Headers of the webhook that was registered, without a signature."""
    async with near.world.db.read() as session:
        settings, _ = await table.settings_of(session, near.app.id)
    return {"rtk-webhook-id": settings["webhook"]}


def event(recording_id: str) -> bytes:
    said = {"event": "recording.statusUpdate", "recording": {"id": recording_id, "status": "RECORDING"}}
    return json.dumps(said).encode()


async def test_a_signed_webhook_is_a_reason_to_ask_at_once(far: Far, near: Near) -> None:
    recording = await near.remote.start(near.app, near.room.id, {}, False, None)
    await near.turn()
    world = far.site.world
    theirs = await near.remote_id(recording.id)
    live = await world.live(await world.meetings.get(world.app, near.far_room))
    await world.sessions.on_capturing(theirs, live, world.clock.now())
    (registered,) = await world.webhooks.list(world.app)
    assert registered.url == f"http://127.0.0.1:1/api/v1/hooks/cloudflare/{near.app.id}"
    body = event(theirs)
    signature = base64.b64encode(world.signer.sign(body)).decode()
    await near.remote.heard(near.app.id, await hook(near) | {"rtk-signature": signature}, body)
    await near.turn()
    assert (await near.world.now_of(recording)).state is RecordingState.CAPTURING


async def test_webhooks_that_the_recorder_did_not_sign_are_refused(far: Far, near: Near) -> None:
    recording = await near.remote.start(near.app, near.room.id, {}, False, None)
    await near.turn()
    body = event(await near.remote_id(recording.id))
    stranger = RsaSigner(rsa.generate_private_key(public_exponent=65_537, key_size=2048))
    good = base64.b64encode(far.site.world.signer.sign(body)).decode()
    headers = await hook(near)
    for signature, sent in (
        (base64.b64encode(stranger.sign(body)).decode(), body),
        (good, body + b" "),
        ("", body),
        ("not base64!", body),
    ):
        with pytest.raises(UnauthenticatedError):
            await near.remote.heard(near.app.id, headers | {"rtk-signature": signature}, sent)
    with pytest.raises(UnauthenticatedError):
        await near.remote.heard(near.app.id, {"rtk-signature": good, "rtk-webhook-id": "another"}, body)
    with pytest.raises(NotFoundError):
        await near.remote.heard("nobody", headers | {"rtk-signature": good}, body)
    assert near.remote.hints() == frozenset()
    keys = [path for path in far.door.paths if "well-known" in path]
    assert len(keys) == 1, "whoever sends nonsense does not make us ask for the key each time"
