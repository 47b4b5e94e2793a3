"""The key of credentials can be changed: what the old one sealed is sealed again, what nobody can open is counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.service.world import World, make_world

from tapedeck.adapters.sealer import AesSealer
from tapedeck.core.errors import InvalidError, UnavailableError
from tapedeck.core.target import TargetState
from tapedeck.db import destinations
from tapedeck.service.vault import Renewed, Vault

OLD, NEW = "the first secret of all", "the second secret of all"
AWS = {"type": "aws", "access_key": "AK", "secret": "SK", "bucket": "rec", "region": "r", "path": ""}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with make_world(tmp_path, secrets=[OLD]) as made:
        yield made


async def test_after_a_rotation_everything_is_sealed_with_the_new_key(world: World) -> None:
    meeting = await world.meeting(recording_config={"storage_config": AWS, "max_seconds": 60})
    await world.meeting(recording_config={"storage_config": None})
    await world.configs.change(world.app, {"recording_config": {"storage_config": AWS}})
    recording = await world.start(meeting)
    assert await Vault(world.db, AesSealer([OLD])).renew() == Renewed(0, 0)
    assert await Vault(world.db, AesSealer([NEW])).renew() == Renewed(0, 3)
    assert await Vault(world.db, AesSealer([NEW, OLD])).renew() == Renewed(3, 0)
    later = Vault(world.db, AesSealer([NEW]))
    assert await later.renew() == Renewed(0, 0)
    async with world.db.read() as session:
        (place,) = [d for d in await destinations.of_recording(session, recording.id) if d.sealed]
    assert later.unseal_storage(place) == AWS
    kept = (await world.meetings.get(world.app, meeting.id)).recording_config
    assert kept is not None and kept["max_seconds"] == 60
    with pytest.raises(UnavailableError, match="SECRET_KEY_PREVIOUS"):
        Vault(world.db, AesSealer([OLD])).unseal_storage(place)


async def test_a_server_that_streams_nothing_takes_no_address_and_ends_what_was_wanted_before(world: World) -> None:
    wanted = {"live_streaming_config": {"rtmp_url": "rtmp://live.example.com/app/key"}}
    still = Vault(world.db, AesSealer([OLD]), streams=False)
    for pointer, field in (("", "/rtmp_out_config"), ("/recording_config", "/recording_config/live_streaming_config")):
        with pytest.raises(InvalidError, match="makes films after the meeting") as refused:
            still.seal(wanted, pointer)
        assert [problem.pointer for problem in refused.value.problems] == [field]
    recording = await world.start(await world.meeting())
    (target,) = still.targets(recording, world.vault.seal(wanted))
    assert target.state is TargetState.ENDED and "makes films after the meeting" in str(target.reason)
    (live,) = world.vault.targets(recording, world.vault.seal(wanted))
    assert live.state is TargetState.CONNECTING


async def test_an_r2_bucket_without_an_account_is_where_our_own_is(world: World) -> None:
    r2 = {"type": "cloudflare", "access_key": "AK", "secret": "SK", "bucket": "b"}
    sealer = AesSealer([OLD])
    sealed = Vault(world.db, sealer, "https://x.r2.cloudflarestorage.com").seal({"storage_config": r2})
    assert sealed["storage_config"]["endpoint"] == "https://x.r2.cloudflarestorage.com"
    with pytest.raises(InvalidError, match="account_id"):
        Vault(world.db, sealer).seal({"storage_config": r2})
    given = Vault(world.db, sealer).seal({"storage_config": r2 | {"account_id": "a"}})
    assert given["storage_config"]["account_id"] == "a"
    assert Vault(world.db, sealer).seal(given) == given
