"""Customers' storages end to end: S3, Azure and SFTP by the official SDK, keys that are wrong, and a server that is
killed while it uploads, and started again with another SECRET_KEY.

One server and one meeting with a recording per storage; then another meeting whose film is on its way to S3, over a
slow wire, when the server dies.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from azure.storage.blob.aio import BlobServiceClient
from tests.e2e.kit import SMALL, House, Recording, Take, open_house, together, told
from tests.pace import eventually
from tests.servers.azurite import ACCOUNT_KEY, azurite
from tests.servers.moto import moto
from tests.servers.proxy import Wire, open_wire
from tests.servers.sshd import Sshd, sshd

from tapedeck.adapters.egress import Guard
from tapedeck.adapters.storage.factory import make_store
from tapedeck.core.errors import NotFoundError
from tapedeck.core.naming import object_key
from tapedeck.sources.synthetic import CAST
from tapedeck.testing.people import Act, Cue, Person

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(300)]

PATH = "/Aufnahmen ß/録音/"
WRONG_AZURE_KEY = "ZmluZG1lLXdyb25nLWtleS1vZi1henVyZQ=="


@dataclass(frozen=True)
class Delivered:
    """What became of one recording."""

    recording: Recording
    ours: bytes
    "The film behind its link."
    theirs: bytes
    "The object in the customer's storage, or where its key was wrong in the fallback bucket."
    mine: Mapping[str, Any]
    "What was asked for."

    @property
    def errors(self) -> Any:
        return (self.recording.model_extra or {}).get("storage_errors")


@dataclass(frozen=True)
class Survived:
    """An upload whose server was killed."""

    before: str
    "Status of the recording when the server died."
    sent_before: int
    "Objects in the storage at that time."
    recording: Recording
    ours: bytes
    versions: list[bytes]
    "Of the object: each time it was made is one."
    keys: set[str]
    "Of all objects there."


@dataclass(frozen=True)
class Servers:
    """Storages of customers."""

    s3: Any
    wire: Wire
    azure: str
    ssh: Sshd

    def storages(self) -> dict[str, dict[str, Any]]:
        """A `storage_config` of each type, and two whose keys are wrong."""
        sftp = {"type": "sftp", "host": "127.0.0.1", "port": self.ssh.port, "username": self.ssh.user}
        sftp |= {"auth_method": "KEY", "private_key": self.ssh.plain_key, "host_key": self.ssh.host_key}
        azure = {"type": "azure", "access_key": self.azure, "secret": "", "bucket": "films", "region": ""}
        return {
            "aws": self.aws(),
            "azure": azure,
            "sftp": sftp,
            "azure, wrong key": azure | {"access_key": self.azure.replace(ACCOUNT_KEY, WRONG_AZURE_KEY)},
            "sftp, wrong key": sftp | {"private_key": self.ssh.other_key},
        }

    def aws(self) -> dict[str, Any]:
        """The S3 server at the other end of the wire."""
        keys = {"access_key": "findme-access", "secret": "findme-secret"}
        return {"type": "aws", "bucket": "films", "region": "us-east-1", "endpoint": self.wire.url} | keys


@asynccontextmanager
async def open_servers(folder: Path) -> AsyncIterator[Servers]:
    """Each with an empty bucket."""
    (folder / "ssh").mkdir(parents=True)
    with moto(folder) as url, azurite(folder) as text, sshd(folder / "ssh") as ssh:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
        s3 = boto3.client("s3", endpoint_url=url, **keys)
        for bucket in ("films", "fallback"):
            await asyncio.to_thread(s3.create_bucket, Bucket=bucket)
        await asyncio.to_thread(s3.put_bucket_versioning, Bucket="films", VersioningConfiguration={"Status": "Enabled"})
        async with BlobServiceClient.from_connection_string(text) as service:
            await service.create_container("films")
        async with open_wire("127.0.0.1", int(url.rpartition(":")[2])) as wire:
            yield Servers(s3, wire, text, ssh)
        s3.close()


async def settled(house: House, servers: Servers, take: Take, asked: Mapping[str, Any]) -> Delivered:
    """A recording, when it is UPLOADED and its storage has it, or the fallback bucket what its storage refused."""
    recording, storage = await take.until("UPLOADED", limit_s=60), asked
    name = str(recording.output_file_name)
    if "wrong" in name:
        storage = servers.aws() | {"bucket": "fallback"}
        name = object_key(recording.id, recording.invoked_time, name)
    key = f"{PATH.strip('/')}/{name}"
    store = make_store(storage, Guard(allow_private=True))

    async def is_there() -> bool:
        try:
            await store.head(key)
        except NotFoundError:
            return False
        return True

    try:
        await eventually(is_there, 60)
        theirs = b"".join([chunk async for chunk in store.read(key)])
    finally:
        await store.aclose()
    assert recording.download_url is not None
    return Delivered(await take.get(), await house.fetch(recording.download_url), theirs, asked)


async def everywhere(house: House, servers: Servers) -> dict[str, Delivered]:
    """One meeting, a recording for each storage."""
    room = await house.room([Person(CAST[0], (Cue(0.0, Act.JOIN), Cue(120.0, Act.LEAVE)), size=(320, 180), fps=20)])
    playing = asyncio.create_task(room.play())
    await room.at(0.8)
    storages = servers.storages()
    takes = {}
    for name, storage in storages.items():
        options = {"storage_config": {**storage, "path": PATH}, "allow_multiple_recordings": True, **SMALL}
        takes[name] = await room.start(file_name_prefix=name.replace(", ", "_").replace(" ", "_"), **options)
    for take in takes.values():
        await take.until("RECORDING")
    await room.at(5.0)
    await asyncio.gather(*(take.act("stop") for take in takes.values()))
    playing.cancel()
    await asyncio.gather(playing, return_exceptions=True)
    return {name: await settled(house, servers, takes[name], storage) for name, storage in storages.items()}


async def killed(house: House, servers: Servers) -> Survived:
    """The server dies when the storage has begun to take the film, and the film is not there yet."""
    room = await house.room([Person(CAST[1], (Cue(0.0, Act.JOIN), Cue(5.0, Act.VANISH)), size=(320, 180), fps=20)])
    s3, wire = servers.s3, servers.wire
    playing = asyncio.create_task(room.play())
    await room.at(0.8)
    take = await room.start(storage_config={**servers.aws(), "path": "killed"}, **SMALL)
    await take.until("RECORDING")
    await room.at(4.0)
    wire.pause_s = 0.3
    await take.act("stop")

    async def uploads() -> list[Any]:
        said = await asyncio.to_thread(s3.list_multipart_uploads, Bucket="films", Prefix="killed/")
        return said.get("Uploads") or []

    async def objects() -> list[Any]:
        said = await asyncio.to_thread(s3.list_object_versions, Bucket="films", Prefix="killed/")
        return said.get("Versions") or []

    async def has_begun() -> bool:
        return bool(await uploads())

    await eventually(has_begun, 60)
    wire.flowing.clear()
    before, sent_before = (await take.get()).status, len(await objects())
    await house.server.kill()
    wire.pause_s = 0.0
    wire.flowing.set()
    former = (house.server.data_dir / "secret.key").read_text().strip()
    keys = {"TAPEDECK_SECRET_KEY": "another key of this server", "TAPEDECK_SECRET_KEY_PREVIOUS": former}
    house.server.env = {**house.server.env, **keys}
    await house.server.start()
    await playing
    recording = await take.until("UPLOADED", limit_s=60)

    async def is_tidy() -> bool:
        return bool(await objects()) and not await uploads()

    await eventually(is_tidy, 60)
    assert recording.download_url is not None
    ours = await house.fetch(recording.download_url)
    found = await objects()
    versions = [await _read(s3, version) for version in found]
    return Survived(before, sent_before, recording, ours, versions, {version["Key"] for version in found})


async def _read(s3: Any, version: Mapping[str, Any]) -> bytes:
    def get() -> bytes:
        said = s3.get_object(Bucket="films", Key=version["Key"], VersionId=version["VersionId"])
        return bytes(said["Body"].read())

    return await asyncio.to_thread(get)


async def play(folder: Path) -> dict[str, Any]:
    async with open_servers(folder / "servers") as servers:
        env = {
            "TAPEDECK_ALLOW_PRIVATE_URLS": "true",
            "TAPEDECK_UPLOAD_REFUSED_S": "1",
            "TAPEDECK_FALLBACK_BUCKET_URL": f"s3://fallback{quote(PATH)}?endpoint={servers.wire.url}",
            "TAPEDECK_FALLBACK_ACCESS_KEY": "findme-fallback-access",
            "TAPEDECK_FALLBACK_SECRET": "findme-fallback-secret",
        }
        async with open_house(folder / "house", env) as house:
            found = await together(everywhere=everywhere(house, servers))
            found |= await together(killed=killed(house, servers))
            said = house.server.log_path.read_text("utf-8")
        secrets = {s["private_key"][40:80] for s in servers.storages().values() if "private_key" in s}
        files = {path: path.read_bytes() for path in (folder / "house").rglob("*") if path.is_file()}
        return found | {"log": said, "files": files, "secrets": [*secrets, "findme", ACCOUNT_KEY, WRONG_AZURE_KEY]}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return asyncio.run(play(tmp_path_factory.mktemp("storages")))


@pytest.mark.parametrize("kind", ["aws", "azure", "sftp"])
def test_each_storage_gets_the_bytes_of_the_built_in_copy(kind: str, played: dict[str, Any]) -> None:
    """Under `path/output_file_name`, which is where they were looked for."""
    one: Delivered = told(played, "everywhere", dict)[kind]
    assert one.recording.output_file_name.startswith(kind)
    assert len(one.ours) == one.recording.file_size
    assert one.theirs == one.ours
    assert one.errors is None


def test_what_was_asked_for_is_shown_without_its_secrets(played: dict[str, Any]) -> None:
    for one in told(played, "everywhere", dict).values():
        shown = one.recording.storage_config.model_dump(exclude_unset=True)
        assert shown["type"] == one.mine["type"]
        assert not {"access_key", "secret", "password", "private_key"} & {
            name for name, value in shown.items() if value
        }


@pytest.mark.parametrize(
    ("kind", "said"),
    [("azure, wrong key", "does not allow this key"), ("sftp, wrong key", "check username and private_key")],
)
def test_a_wrong_key_is_told_to_its_owner_and_the_fallback_takes_the_film(
    kind: str, said: str, played: dict[str, Any]
) -> None:
    one: Delivered = told(played, "everywhere", dict)[kind]
    assert one.recording.status == "UPLOADED", "the built-in bucket has it"
    (error,) = one.errors
    assert error["type"] == kind.partition(",")[0]
    assert error["final"]
    assert one.theirs == one.ours
    assert said in error["message"]
    assert not any(secret in str(one.recording) for secret in played["secrets"])


def test_a_server_killed_while_it_uploads_delivers_once_and_leaves_nothing(played: dict[str, Any]) -> None:
    one = told(played, "killed", Survived)
    assert (one.before, one.sent_before) == ("UPLOADING", 0)
    assert len(one.ours) == one.recording.file_size
    assert one.versions == [one.ours]
    assert one.keys == {f"killed/{one.recording.output_file_name}"}


def test_a_new_key_of_the_server_opens_what_the_former_one_sealed(played: dict[str, Any]) -> None:
    """The server that was killed had sealed the credentials with the key of its directory."""
    assert len(told(played, "killed", Survived).versions) == 1
    assert "stored credentials were sealed again" in played["log"] and "lost=0" in played["log"]


def test_no_secret_of_a_storage_is_in_the_log_or_any_file_of_the_server(played: dict[str, Any]) -> None:
    """Database with its journal, captures, what renders are told, journals of uploads."""
    told(played, "killed", Survived)
    assert any(path.name == "tapedeck.db" for path in played["files"])
    for secret in played["secrets"]:
        assert secret not in played["log"]
        assert not [path for path, content in played["files"].items() if secret.encode() in content]
