"""Real servers, one of each for the whole session, and each kind of storage over them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.servers import azurite as azure
from tests.servers import moto as s3
from tests.servers import radosgw as ceph
from tests.servers import sshd as ssh

from tapedeck.adapters.egress import Guard
from tapedeck.adapters.storage.factory import Store, make_store

__all__ = ["Place"]


@pytest.fixture(scope="session")
def moto_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3.moto(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture(scope="session")
def ceph_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ceph.radosgw(tmp_path_factory.mktemp("ceph")) as gateway:
        client(gateway.url, ceph.ACCESS_KEY, ceph.SECRET).create_bucket(Bucket="films")
        yield gateway.url


@pytest.fixture(scope="session")
def azurite_text(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with azure.azurite(tmp_path_factory.mktemp("azurite")) as text:
        yield text


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ssh.Sshd]:
    with ssh.sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="session")
def service_account() -> str:
    """Credentials of Google's kind. Its token address is where nobody must ever ask."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return json.dumps(
        {
            "type": "service_account",
            "client_email": "films@example.iam.gserviceaccount.com",
            "private_key": pem.decode(),
            "token_uri": "http://169.254.169.254/token",
        }
    )


def client(url: str, access_key: str, secret: str) -> Any:
    """boto3's own client, for what the tests do behind the store's back."""
    return boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=access_key, aws_secret_access_key=secret, region_name="us-east-1"
    )


@dataclass(frozen=True)
class Place:
    """A storage, in words as of `core.destination`, and the adapter that speaks to it."""

    kind: str
    storage: dict[str, Any]
    store: Store

    @property
    def has_links(self) -> bool:
        return not self.kind.startswith("sftp")


KINDS = ["ceph", "moto", "r2", "azure", "gcs", "sftp", "sftp-password"]


@pytest.fixture(params=KINDS)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Every kind in turn, with a bucket of its own where that costs nothing."""
    async for made in open_place(request.param, request, tmp_path):
        yield made


async def open_place(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """One kind."""
    acceptor = None
    bucket = f"films-{uuid4().hex[:8]}"
    match kind:
        case "ceph":
            storage = {
                "type": "aws",
                "access_key": ceph.ACCESS_KEY,
                "secret": ceph.SECRET,
                "bucket": "films",
                "region": "us-east-1",
                "endpoint": request.getfixturevalue("ceph_url"),
            }
        case "moto" | "r2":
            url = request.getfixturevalue("moto_url")
            client(url, "AK", "SK").create_bucket(Bucket=bucket)
            storage = {"type": "aws", "access_key": "AK", "secret": "SK", "bucket": bucket, "region": "us-east-1"}
            storage |= {"type": "cloudflare"} if kind == "r2" else {}
            storage["endpoint"] = url
        case "azure":
            text = request.getfixturevalue("azurite_text")
            from azure.storage.blob.aio import BlobServiceClient

            async with BlobServiceClient.from_connection_string(text) as service:
                await service.create_container(bucket)
            storage = {"type": "azure", "access_key": text, "secret": "", "bucket": bucket, "region": ""}
        case "gcs":
            url = request.getfixturevalue("moto_url")
            client(url, "AK", "SK").create_bucket(Bucket=bucket)
            credentials = request.getfixturevalue("service_account")
            storage = {"type": "gcs", "secret": credentials, "bucket": bucket, "region": "x", "endpoint": url}
        case "sftp" | "sftp-phrase":
            server = request.getfixturevalue("sshd")
            storage = {"type": "sftp", "host": "127.0.0.1", "port": server.port, "username": server.user}
            storage |= {"auth_method": "KEY", "private_key": server.plain_key}
            if kind == "sftp-phrase":
                storage |= {"private_key": server.locked_key, "password": ssh.PASSPHRASE}
        case _:
            (tmp_path / "home").mkdir()
            acceptor = await ssh.password_server(tmp_path / "home")
            storage = {"type": "sftp", "host": "127.0.0.1", "port": acceptor.get_port(), "username": "films"}
            storage |= {"auth_method": "PASSWORD", "password": ssh.PASSWORD}
    store = make_store(storage, Guard(allow_private=True))
    try:
        yield Place(kind, storage, store)
    finally:
        await store.aclose()
        if acceptor is not None:
            acceptor.close()
            await acceptor.wait_closed()
