"""Storage of the customer through the API: taken at every level, never shown, never inherited against a `null`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.api.kit import Site, make_site, sdk, serve
from tests.shapes.test_storage import WHOLE

from tapedeck.core.destination import DestinationKind, DestinationState
from tapedeck.db import destinations

SECRETS = ("AKIA-FINDME", "sk-findme/+=", "passfindme", "-----BEGIN FINDME")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with make_site(tmp_path) as made:
        yield made


def findable(kind: str) -> dict[str, Any]:
    """The storage with secrets that can be searched for."""
    storage = dict(WHOLE[kind])
    if kind in ("aws", "digitalocean", "cloudflare"):
        storage |= {"access_key": SECRETS[0], "secret": SECRETS[1]}
    if kind == "cloudflare":
        storage["account_id"] = "0123abcd"
    if kind == "azure":
        storage["access_key"] = "AccountName=films;AccountKey=FINDMEqq"
    if kind == "gcs":
        storage["secret"] = storage["secret"].replace("-----BEGIN", SECRETS[3])
    if kind.startswith("sftp"):
        storage |= {"password": SECRETS[2]} | ({"private_key": SECRETS[3]} if kind == "sftp-key" else {})
    return storage


def shown(storage: dict[str, Any]) -> dict[str, Any]:
    secret = ("access_key", "secret", "password", "private_key")
    return {name: value for name, value in storage.items() if name not in secret}


async def test_the_sdk_shows_the_type_even_of_one_it_does_not_know(tmp_path: Path) -> None:
    """[18] [20]"""
    async with serve(tmp_path) as (site, url), sdk(site, url) as client:
        kit = client.realtime_kit
        for kind in ("azure", "cloudflare"):
            meeting = await site.world.meeting()
            started = await kit.recordings.start_recordings(
                site.world.app.id,
                account_id=site.world.account_id,
                meeting_id=meeting.id,
                storage_config=findable(kind),  # type: ignore[arg-type] # the SDK has no such type
            )
            assert started.data is not None and started.data.storage_config is not None
            assert started.data.storage_config.type == kind


async def test_a_recording_goes_where_the_strongest_level_says(site: Site) -> None:
    """[21]"""
    config = {"storage_config": findable("gcs"), "realtimekit_bucket_config": {"enabled": False}}
    meeting = (await site.ask("POST", "meetings", json={"recording_config": config})).json()["data"]["id"]

    async def start(**more: Any) -> Any:
        body = {"meeting_id": meeting, "allow_multiple_recordings": True} | more
        return await site.ask("POST", "recordings", json=body)

    async def places(answer: Any) -> list[tuple[str, str | None]]:
        async with site.world.db.read() as session:
            found = await destinations.of_recording(session, answer.json()["data"]["id"])
        return [(place.kind, place.storage.get("type")) for place in found]

    assert await places(await start()) == [("external", "gcs")]
    assert await places(await start(storage_config=findable("aws"))) == [("external", "aws")]
    both = await start(realtimekit_bucket_config={"enabled": True})
    assert await places(both) == [("bucket", None), ("external", "gcs")]
    alone = await start(storage_config=None, realtimekit_bucket_config={"enabled": True})
    assert await places(alone) == [("bucket", None)]
    assert alone.json()["data"]["storage_config"] is None
    nowhere = await start(storage_config=None)
    assert nowhere.status_code == 422


async def test_without_the_bucket_there_are_no_links(site: Site) -> None:
    """[12]"""
    body = {"storage_config": findable("aws"), "realtimekit_bucket_config": {"enabled": False}}
    meeting = await site.world.meeting()
    started = (await site.ask("POST", "recordings", json={"meeting_id": meeting.id} | body)).json()["data"]
    recording = await site.world.now_of_id(started["id"])
    assert not recording.options.bucket
    session_id = await site.world.live(meeting)
    await site.world.sessions.on_capturing(recording.id, session_id, site.world.clock.now())
    await site.ask("PUT", f"recordings/{recording.id}", json={"action": "stop"})
    await site.world.finish_outside(recording)
    done = (await site.ask("GET", f"recordings/{recording.id}")).json()["data"]
    assert done["status"] == "UPLOADED" and done["file_size"] == 4
    assert done["download_url"] is done["audio_download_url"] is done["download_url_expiry"] is None


async def test_what_a_storage_refuses_is_said_to_its_owner_until_it_is_mended(site: Site) -> None:
    meeting = await site.world.meeting()
    body = {"meeting_id": meeting.id, "storage_config": findable("aws")}
    recording_id = (await site.ask("POST", "recordings", json=body)).json()["data"]["id"]

    async def errors() -> Any:
        item = (await site.ask("GET", f"recordings/{recording_id}")).json()["data"]
        (listed,) = (await site.ask("GET", "recordings")).json()["data"]
        assert listed.get("storage_errors") == item.get("storage_errors")
        return item.get("storage_errors")

    assert await errors() is None
    await site.world.say_of_storage(recording_id, DestinationState.WAITING, "The bucket does not exist")
    assert await errors() == [{"type": "aws", "message": "The bucket does not exist", "final": False}]
    await site.world.say_of_storage(recording_id, DestinationState.DONE, "The bucket does not exist")
    assert await errors() is None


async def test_an_r2_bucket_without_an_account_is_asked_for_it(site: Site) -> None:
    storage = WHOLE["cloudflare"]
    meeting = await site.world.meeting()
    answer = await site.ask("POST", "recordings", json={"meeting_id": meeting.id, "storage_config": storage})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["source"]["pointer"] == "/storage_config/account_id"
    answer = await site.ask("POST", "meetings", json={"recording_config": {"storage_config": storage}})
    assert answer.json()["errors"][0]["source"]["pointer"] == "/recording_config/storage_config/account_id"


async def test_a_meeting_that_would_be_recorded_to_nowhere_is_joined_and_not_recorded(site: Site) -> None:
    meeting = await site.world.meeting(
        record_on_start=True,
        recording_config={"realtimekit_bucket_config": {"enabled": False}},
    )
    await site.world.live(meeting)
    await site.world.sessions.settle()
    assert (await site.ask("GET", "recordings")).json()["data"] == []


def test_kinds_sort_with_the_bucket_first() -> None:
    assert sorted(DestinationKind)[0] is DestinationKind.BUCKET
