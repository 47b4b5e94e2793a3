"""Files of the built-in bucket are deleted when their links end; the row stays, and its link answers 403."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.api.kit import Site, make_site

from tapedeck.core.errors import NotFoundError, UnavailableError
from tapedeck.core.recording import Recording
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


async def test_what_lies_with_the_customer_alone_never_expires(site: Site) -> None:
    world = site.world
    meeting = await world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    done = await world.finish_outside(recording)
    assert done.expires_at is None
    assert await keeper(site).free(world.clock.now() + timedelta(days=4000)) == 0
