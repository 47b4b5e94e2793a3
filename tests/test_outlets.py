"""The stores of a node: its own bucket may be anywhere, a customer's only where the guard lets it be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.service.world import START, World, make_world

from tapedeck.adapters.sealer import AesSealer
from tapedeck.adapters.storage.local import LocalStore
from tapedeck.config import load_settings
from tapedeck.core.destination import Destination, DestinationKind, split_storage
from tapedeck.core.egress import RefusedTargetError, UnreachableError
from tapedeck.core.errors import DestinationError
from tapedeck.outlets import Outlets
from tapedeck.service.vault import Vault

SEALER = AesSealer(["a secret of the tests, long enough"])
NOWHERE = "http://127.0.0.1:1"
AWS = {"type": "aws", "access_key": "AK", "secret": "SK", "bucket": "b", "region": "", "endpoint": NOWHERE}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with make_world(tmp_path) as made:
        yield made


def external() -> Destination:
    shown, secrets = split_storage(AWS)
    return Destination("d", "r", DestinationKind.EXTERNAL, START, shown, SEALER.seal(secrets))


async def test_the_directory_is_linked_into_and_others_are_sent_to(world: World, tmp_path: Path) -> None:
    vault = Vault(world.db, SEALER)
    outlets = Outlets(load_settings(data_dir=tmp_path), "http://x", b"key")
    bucket = await outlets.open(Destination("d", "r", DestinationKind.BUCKET, START), vault)
    assert isinstance(bucket.store, LocalStore) and bucket.links
    theirs = await outlets.open(external(), vault)
    assert not theirs.links and (await outlets.open(external(), vault)).store is theirs.store
    with pytest.raises(RefusedTargetError):
        await theirs.store.head("x")
    with pytest.raises(DestinationError, match="FALLBACK_BUCKET_URL"):
        await outlets.open(Destination("d", "r", DestinationKind.FALLBACK, START), vault)
    await outlets.aclose()


async def test_our_own_buckets_may_be_private_and_a_setting_lets_customers_too(world: World, tmp_path: Path) -> None:
    settings = load_settings(
        data_dir=tmp_path,
        bucket_url=f"s3://b/deep?endpoint={NOWHERE}",
        bucket_access_key="AK",
        bucket_secret="SK",
        fallback_bucket_url=f"s3://f?endpoint={NOWHERE}",
        fallback_access_key="AK",
        fallback_secret="SK",
        allow_private_urls=True,
    )
    outlets = Outlets(settings, "http://x", b"key")
    for kind in (DestinationKind.BUCKET, DestinationKind.FALLBACK):
        own = await outlets.open(Destination("d", "r", kind, START), Vault(world.db, SEALER))
        assert not own.links
        with pytest.raises(UnreachableError):
            await own.store.head("x")
    theirs = await outlets.open(external(), Vault(world.db, SEALER))
    with pytest.raises(UnreachableError):
        await theirs.store.head("x")
    await outlets.aclose()
