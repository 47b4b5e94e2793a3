"""FFmpeg publishes by its WHIP muxer: a DTLS server, with H264 and Opus and without header extensions."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import av
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.sources.ffmpeg_whip import FRAMES
from tests.sources.kit import Studio, studio

from tapedeck.core.frames import Codec


def write_certificate(folder: Path) -> tuple[str, str]:
    """A self-signed P-256 certificate; paths of it and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "publisher")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(pem))
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(secret)
    return str(folder / "cert.pem"), str(folder / "key.pem")


@asynccontextmanager
async def whip_door(place: Studio) -> AsyncIterator[str]:
    """Just enough HTTP for one publisher; its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next((int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:")), 0)
        body = (await reader.readexactly(length)).decode()
        if head.startswith("post"):
            answer = await place.poster()(body)
            session = place.answers[-1].session_id
            writer.write(f"HTTP/1.1 201 Created\r\nLocation: {url}/{session}\r\n".encode())
            writer.write(f"Content-Type: application/sdp\r\nContent-Length: {len(answer)}\r\n\r\n{answer}".encode())
        else:
            assert head.startswith("delete")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/whip"
    async with server:
        yield url


async def test_ffmpeg_publishes_and_every_frame_decodes(tmp_path: Path) -> None:
    script = str(Path(__file__).with_name("ffmpeg_whip.py"))
    async with studio() as place, whip_door(place) as url:
        process = await asyncio.create_subprocess_exec(sys.executable, script, url, *write_certificate(tmp_path))
        assert await process.wait() == 0
        await place.until(lambda: bool(place.ingest.peers) and place.peer.closed)
        video, audio = place.peer.video, place.peer.audio
        assert (video.info.codec, audio.info.codec) == (Codec.H264, Codec.OPUS)
        assert video.breaks == audio.breaks == []
        assert [i for i, frame in enumerate(video.frames) if frame.is_key] == [0, 30, 60]
        decoder: Any = av.CodecContext.create("h264", "r")
        pictures = [picture for frame in video.frames for picture in decoder.decode(av.Packet(frame.payload))]
        assert len(pictures) + len(decoder.decode(None)) == len(video.frames) >= FRAMES - 1
        assert len(audio.frames) >= 148
        assert video.reports and audio.reports
