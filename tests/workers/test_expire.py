"""Files of the built-in bucket are deleted when their links end; the row stays, and its link answers 403."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.api.kit import Site, make_site

from tapedeck.core.errors import DestinationError, NotFoundError, UnavailableError
from tapedeck.core.recording import Recording
from tapedeck.db.audit import SERVER
from tapedeck.service.expiry import ExpiryService
from tapedeck.service.recordings import Action
from tapedeck.workers.expire import FileKeeper


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with make_site(tmp_path) as made:
        yield made


def keeper(site: Site) -> FileKeeper:
    return FileKeeper(ExpiryService(site.world.db), site.world.store, site.world.clock)


async def delivered(site: Site) -> Recording:
    world = site.world
    meeting = await world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    return await world.finish(recording)


async def test_a_file_goes_when_its_link_ends_and_the_link_says_so(site: Site) -> None:
    """[35]"""
    clock = site.world.clock
    first = await delivered(site)
    clock.move(3600)
    second = await delivered(site)
    (key,) = [file.key for file in first.files]
    assert key is not None and first.expires_at is not None
    sweeper = keeper(site)
    assert await sweeper.free(first.expires_at - timedelta(seconds=1)) == 0
    assert (await site.world.store.head(key)).size_bytes == 4
    clock.move((first.expires_at - clock.now()).total_seconds())
    assert await sweeper.free(clock.now()) == 1
    assert await sweeper.free(clock.now()) == 0
    with pytest.raises(NotFoundError):
        await site.world.store.head(key)
    (item,) = (await site.ask("GET", "recordings?expired=true")).json()["data"]
    assert item["id"] == first.id
    assert (await site.http.get(item["download_url"])).status_code == 403
    (other,) = (await site.ask("GET", "recordings?expired=false")).json()["data"]
    assert other["id"] == second.id and (await site.http.get(other["download_url"])).status_code == 200


async def test_where_the_bucket_refuses_it_comes_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = await delivered(site)
    assert recording.expires_at is not None
    real, refusals = site.world.store.delete, [UnavailableError("later")]

    async def delete(key: str) -> None:
        if refusals:
            raise refusals.pop()
        await real(key)

    monkeypatch.setattr(site.world.store, "delete", delete)
    assert await keeper(site).free(recording.expires_at) == 0
    assert await keeper(site).free(recording.expires_at) == 1
    assert await keeper(site).free(recording.expires_at) == 0


async def test_one_file_that_the_bucket_keeps_holds_up_no_other(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that a legal hold of the store's own lies on."""
    clock, recordings = site.world.clock, []
    for _ in range(3):
        recordings.append(await delivered(site))
        clock.move(60)
    kept, end = recordings[0].files[0].key, recordings[2].expires_at
    assert end is not None
    real, asked = site.world.store.delete, []

    async def delete(key: str) -> None:
        asked.append(key)
        if key == kept:
            raise DestinationError("The storage does not allow this key to do it.")
        await real(key)

    monkeypatch.setattr(site.world.store, "delete", delete)
    sweeper = keeper(site)
    assert await sweeper.free(end) == 2
    assert await sweeper.free(end) == 0 and asked[3:] == [kept], "the others are not asked for again"
    kept = None
    assert await keeper(site).free(end) == 3, "a new process begins with what was left"
    assert await keeper(site).free(end) == 0


async def test_a_bucket_that_refuses_everything_is_left_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, recordings = site.world.clock, []
    for _ in range(5):
        recordings.append(await delivered(site))
        clock.move(60)
    end, asked, real = recordings[-1].expires_at, [], site.world.store.delete
    assert end is not None

    async def delete(key: str) -> None:
        asked.append(key)
        raise UnavailableError("later")

    monkeypatch.setattr(site.world.store, "delete", delete)
    sweeper = keeper(site)
    assert await sweeper.free(end) == 0 and len(asked) == 3
    assert await sweeper.free(end) == 0 and len(asked) == 6
    monkeypatch.setattr(site.world.store, "delete", real)
    assert await sweeper.free(end) == 5
    assert await sweeper.free(end) == 0


async def test_what_is_held_by_then_is_not_deleted_late(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    world, recording = site.world, await delivered(site)
    real, end = world.store.delete, recording.expires_at
    assert end is not None

    async def delete(key: str) -> None:
        raise UnavailableError("later")

    monkeypatch.setattr(world.store, "delete", delete)
    sweeper = keeper(site)
    assert await sweeper.free(end) == 0
    monkeypatch.setattr(world.store, "delete", real)
    await world.retention.hold(world.app, SERVER, recording.id, True)
    assert await sweeper.free(end) == 0
    assert (await world.store.head(str(recording.files[0].key))).size_bytes == 4


async def test_what_lies_with_the_customer_alone_never_expires(site: Site) -> None:
    world = site.world
    meeting = await world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    done = await world.finish_outside(recording)
    assert done.expires_at is None
    assert await keeper(site).free(world.clock.now() + timedelta(days=4000)) == 0
