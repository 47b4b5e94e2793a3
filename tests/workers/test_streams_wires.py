"""What is between a running recording and its servers: certificates, and wires that carry nothing any more."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.media.live import shooting
from tests.pace import eventually
from tests.rtmpserver import rtmp_server
from tests.servers.proxy import open_wire
from tests.srtserver import srt_server
from tests.workers.studio import open_studio

from tapedeck.core.target import TargetState

pytestmark = pytest.mark.timeout(150)

T = TargetState
_SHAKE = b"\x03" + bytes(3072)
_PING = bytes.fromhex("02 000000 000006 04 00000000 0006 00000000")


def write_certificate(path: Path, host: str, days: int) -> Path:
    """A key and a certificate that vouches for itself, good until so many days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    body = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    path.write_bytes(body)
    return path


async def test_an_encrypted_stream_arrives_where_the_certificate_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = write_certificate(tmp_path / "one.pem", "localhost", 30)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with rtmp_server(tmp_path / "rtmp", pem) as server:
        async with open_studio(tmp_path) as studio:
            recording = await studio.capturing()
            with shooting(tmp_path, studio.live_dir(recording)) as shoot:
                target_id = await studio.add(recording, server.tls_url())
                await studio.until(recording, target_id, T.LIVE)

                async def arrived() -> bool:
                    return any(path.stat().st_size > 100_000 for path in server.recorded())

                await eventually(arrived, 60)
                shoot.stop()
            assert (await studio.until(recording, target_id, T.ENDED)).reason is None


@pytest.mark.parametrize(
    ("host", "days", "trusted", "reason"),
    [
        ("localhost", 30, False, "its certificate was made by nobody that this server trusts"),
        ("other.example", 30, True, "its certificate is for another name"),
        ("localhost", -1, True, "its certificate has expired"),
    ],
)
async def test_a_certificate_that_does_not_hold_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, days: int, trusted: bool, reason: str
) -> None:
    pem = write_certificate(tmp_path / "one.pem", host, days)
    known = pem if trusted else write_certificate(tmp_path / "other.pem", host, days)
    monkeypatch.setenv("SSL_CERT_FILE", str(known))
    assert ssl.create_default_context().cert_store_stats()["x509"] == 1
    with rtmp_server(tmp_path / "rtmp", pem) as server:
        async with open_studio(tmp_path) as studio:
            recording = await studio.capturing()
            target_id = await studio.add(recording, server.tls_url())
            assert (await studio.until(recording, target_id, T.RETRYING)).reason == reason


async def test_a_wire_that_carries_nothing_any_more_is_left_and_found_again(tmp_path: Path) -> None:
    with rtmp_server(tmp_path / "rtmp") as server:
        async with open_wire("127.0.0.1", server.port) as wire, open_studio(tmp_path, stall_s=1.5) as studio:
            recording = await studio.capturing()
            with shooting(tmp_path, studio.live_dir(recording)):
                target_id = await studio.add(recording, server.url().replace(str(server.port), str(wire.port)))
                await studio.until(recording, target_id, T.LIVE)
                wire.flowing.clear()
                target = await studio.until(recording, target_id, T.RETRYING)
                assert target.reason == "the server took nothing for 2 s"
                wire.flowing.set()
                await studio.until(recording, target_id, T.LIVE)


@pytest.mark.parametrize(
    ("says", "stall_s", "reason"),
    [
        (b"", 1.0, "the server did not take the stream within 1 s"),
        (_SHAKE + _PING, 20.0, "the server asks for more than it takes"),
    ],
    ids=["nothing", "pings"],
)
async def test_who_takes_a_connection_and_no_stream_is_left(
    tmp_path: Path, says: bytes, stall_s: float, reason: str
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        with contextlib.suppress(ConnectionError):
            while await reader.read(1 << 12):
                writer.write(says[len(_SHAKE) :] * (1 << 15))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, open_studio(tmp_path, stall_s=stall_s) as studio:
        port = server.sockets[0].getsockname()[1]
        recording = await studio.capturing()
        target_id = await studio.add(recording, f"rtmp://127.0.0.1:{port}/live/key")
        target = await studio.until(recording, target_id, T.RETRYING)
        assert target.reason == reason


class _Lossy(asyncio.DatagramProtocol):
    """Hands datagrams between one caller and a server, until it drops them all."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.drops = False
        self.dropped = 0
        self._server = server
        self._caller: tuple[str, int] | None = None
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        if self.drops:
            self.dropped += 1
            return
        if addr != self._server:
            self._caller = addr
        to = self._caller if addr == self._server else self._server
        if to is not None:
            self._transport.sendto(data, to)


@asynccontextmanager
async def lossy_wire(port: int) -> AsyncIterator[tuple[_Lossy, int]]:
    """Before a server on a UDP port; with the port to call."""
    loop = asyncio.get_running_loop()
    transport, wire = await loop.create_datagram_endpoint(
        lambda: _Lossy(("127.0.0.1", port)), local_addr=("127.0.0.1", 0)
    )
    try:
        yield wire, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


async def test_a_server_whose_packets_are_dropped_is_left_and_found_again(tmp_path: Path) -> None:
    with srt_server(tmp_path / "srt") as server:
        async with lossy_wire(server.port) as (wire, port), open_studio(tmp_path, stall_s=3.0) as studio:
            recording = await studio.capturing()
            with shooting(tmp_path, studio.live_dir(recording)):
                target_id = await studio.add(recording, server.url().replace(str(server.port), str(port)))
                await studio.until(recording, target_id, T.LIVE)
                wire.drops = True
                target = await studio.until(recording, target_id, T.RETRYING)
                assert target.reason == "the server took nothing for 3 s"
                assert wire.dropped
                wire.drops = False
                server.kill()  # it takes one caller in its life
                server.start()
                await studio.until(recording, target_id, T.LIVE)
