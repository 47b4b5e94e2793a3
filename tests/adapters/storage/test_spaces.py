"""DigitalOcean's type, whose endpoint follows from its region: over TLS, to Ceph behind a certificate of that name.

TLS ends in the test, so that a byte can be changed behind it: each part is held against its SHA-256.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.servers import radosgw as ceph

from tapedeck.adapters.egress import Guard
from tapedeck.adapters.storage.factory import make_store
from tapedeck.adapters.storage.s3 import S3Store
from tapedeck.core.egress import UnreachableError
from tapedeck.core.errors import UnavailableError

pytestmark = pytest.mark.server
MIB = 1 << 20
HOST = "nyc3.digitaloceanspaces.com"
STORAGE = {"type": "digitalocean", "access_key": ceph.ACCESS_KEY, "secret": ceph.SECRET, "bucket": "films"}


class Spaces:
    """What answers under the name: TLS, and behind it the gateway."""

    def __init__(self, certificate: Path, gateway: tuple[str, int]) -> None:
        self.certificate, self._gateway = certificate, gateway
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.port = 0
        self.spoil = False
        "Whether a byte in the middle of the next large piece is changed."

    async def up(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        there, back = await asyncio.open_connection(*self._gateway)
        try:
            with suppress(ConnectionError, ssl.SSLError):
                await asyncio.gather(self._carry(reader, back, spoil=True), self._carry(there, writer))
        finally:
            for end in (writer, back):
                end.close()
                with suppress(ConnectionError, ssl.SSLError):
                    await end.wait_closed()

    async def _carry(self, source: asyncio.StreamReader, to: asyncio.StreamWriter, *, spoil: bool = False) -> None:
        while data := await source.read(1 << 16):
            if spoil and self.spoil and len(data) > 16_000:
                self.spoil = False
                data = data[:8000] + bytes([data[8000] ^ 1]) + data[8001:]
            to.write(data)
            await to.drain()
        to.close()


class Detour(Guard):
    """Connects to the test instead of to DigitalOcean."""

    def __init__(self, port: int) -> None:
        super().__init__(allow_private=True)
        self._port = port
        self.asked: set[tuple[str, int]] = set()

    def connect(self, host: str, port: int, timeout_s: float) -> socket.socket:
        self.asked.add((host, port))
        return super().connect("127.0.0.1", self._port, timeout_s)


def make_certificate(directory: Path) -> Path:
    """Of the name, signed by itself, with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = directory / "certificate.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(*form))
    return path


@asynccontextmanager
async def spaces(ceph_url: str, directory: Path) -> AsyncIterator[tuple[Spaces, S3Store, Detour]]:
    there = urlsplit(ceph_url)
    assert there.hostname is not None and there.port is not None
    server = Spaces(make_certificate(directory), (there.hostname, there.port))
    await server.up()
    guard = Detour(server.port)
    store = make_store(STORAGE | {"region": "nyc3"}, guard)
    assert isinstance(store, S3Store)
    try:
        yield server, store, guard
    finally:
        await store.aclose()
        await server.down()


async def test_a_film_goes_to_a_space_and_each_part_is_proven(ceph_url: str, tmp_path: Path) -> None:
    async with spaces(ceph_url, tmp_path) as (server, store, guard):
        (await store._open())._endpoint.http_session._verify = str(server.certificate)
        key, halves = f"tests/{uuid4().hex}/ß.mp4", (b"1" * 6 * MIB, b"2" * MIB)
        token = await store.begin(key, "video/mp4", "ß.mp4")
        server.spoil = True
        with pytest.raises(UnavailableError, match="cannot do it now"):
            await store.put_part(key, token, 1, halves[0], 0)
        assert not server.spoil
        parts = [await store.put_part(key, token, n + 1, half, 0) for n, half in enumerate(halves)]
        info = await store.complete(key, token, parts)
        assert info.size_bytes == 7 * MIB
        assert await store.made(key, token, parts) == info
        assert b"".join([chunk async for chunk in store.read(key)]) == b"".join(halves)
        small = tmp_path / "small"
        small.write_bytes(b"small")
        await store.put_file(key, small, "video/mp4", "ß.mp4")
        assert (await store.head(key)).size_bytes == 5
        await store.delete(key)
        assert guard.asked == {(HOST, 443)}


async def test_a_server_that_cannot_prove_its_name_gets_nothing(ceph_url: str, tmp_path: Path) -> None:
    async with spaces(ceph_url, tmp_path) as (_, store, _):
        with pytest.raises(UnreachableError, match="cannot prove who it is"):
            await store.head("film.mp4")
