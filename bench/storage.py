"""Uploads to a local S3 server: from a stop, or the end of a film, to the store's confirmation; bytes, speed, memory.

A stop is that of `path.py`: a real server with its bucket in S3, from the call of the SDK until the API says UPLOADED,
after a minute and after an hour of log that was made here and that its live render has caught up with (the hour in
small pictures, so that it is made in minutes). To render eight hours takes too long for a bench: for those, for an hour
of 720p and for the bytes that are read, the end of the film is measured, and what a stop takes before that is added
from the minutes.

Those films are made of real packets (720p30 of x264 and AAC, ten seconds encoded once and repeated) by the muxer that
films are made with, much faster than real time; an upload follows them as it follows a live render. What such a hurry
leaves unwritten on the disk is written before the clock starts, as it is long before the end of a real meeting.

The peer of the speed is boto3's own `upload_file`, of the same file, to the same server, in turns; over plain HTTP and
over TLS, where it is told to sign what it sends, so that the server can check it as it checks ours.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiohttp
import av
import boto3
import google_crc32c
import numpy as np
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.servers.radosgw import ACCESS_KEY, SECRET, radosgw

from bench.path import Place, noise, stop_after
from bench.row import Row
from tapedeck.adapters.egress import Guard
from tapedeck.adapters.storage.s3 import S3Store
from tapedeck.core.output import AudioOutput, VideoOutput
from tapedeck.media.encode import PictureEncoder, SoundEncoder
from tapedeck.media.place import PartFile
from tapedeck.testing.recorder import make_sdk
from tapedeck.testing.serve import running_server
from tapedeck.workers.transfer import Film, Transfer

MIB = 1 << 20
BUCKET = "bench"
UNIT_S = 10
REAL = (("1 minute of 720p", 60, 4, (1280, 720)), ("1 hour of 360p", 3600, 1, (640, 360)))
LENGTHS = (("1 minute", 60, 5), ("1 hour", 3600, 3), ("8 hours", 8 * 3600, 2))
MOST_FILM_BYTES = 26 << 30
LARGE_MIB, TURNS = 160, 5
MARK_STOP_S, MARK_READ_MB, MARK_SPEED, MARK_MEMORY_MB = 3.0, 16.0, 0.9, 64.0


@dataclass(frozen=True)
class Unit:
    """Ten seconds of a meeting, encoded."""

    pictures: Sequence[tuple[bytes, int, int, bool]]
    "Bytes, presentation and decoding time (frames), key."
    sound: Sequence[bytes]


class Maker:
    """Writes one film of repeated packets."""

    def __init__(self, path: Path, unit: Unit) -> None:
        self.path = path.with_name(f".{path.name}.part")
        self._final, self._unit = path, unit
        self._file = PartFile(self.path)
        options = {"video_track_timescale": "30000", "movie_timescale": "48000"}
        layout = {"chunk_duration": "500000", "flush_packets": "0"}
        self._container = av.open(
            self._file, "w", "mp4", options=options, container_options=layout, buffer_size=1 << 16
        )
        PictureEncoder(self._container, VideoOutput(), 1)
        SoundEncoder(self._container, AudioOutput())
        self._samples = -1024

    def write(self, seconds: int) -> None:
        """All of the film but its end."""
        video, sound = self._container.streams.video[0], self._container.streams.audio[0]
        for turn in range(seconds // UNIT_S):
            at = turn * UNIT_S * 30
            for index, (data, pts, dts, key) in enumerate(self._unit.pictures):
                packet: Any = av.Packet(data)
                packet.stream, packet.time_base, packet.is_keyframe = video, Fraction(1, 30), key
                packet.pts, packet.dts = pts + at, dts + at
                self._container.mux(packet)
                while self._samples * 30 < (at + index) * 48_000:
                    packet = av.Packet(self._unit.sound[self._samples // 1024 % len(self._unit.sound)])
                    packet.stream, packet.time_base, packet.duration = sound, Fraction(1, 48_000), 1024
                    packet.pts = packet.dts = self._samples
                    self._samples += 1024
                    self._container.mux(packet)

    def finish(self) -> Film:
        """The index, to the front, durable."""
        self._container.close()
        return Film(self._final, *self._file.finish(self._final))


def encode_unit(directory: Path) -> Unit:
    """Half of the picture moves a little, the rest stands still; speech-like sound."""
    noise, video = np.random.default_rng(1), VideoOutput()
    with av.open(str(directory / "unit.mp4"), "w") as container:
        pictures, sound = PictureEncoder(container, video, 2), SoundEncoder(container, AudioOutput())
        packets: list[Any] = []
        still = noise.integers(60, 190, (90, 160), np.uint8).repeat(8, 0).repeat(8, 1)
        for index in range(UNIT_S * 30):
            frame = av.VideoFrame(1280, 720, "yuv420p")
            for plane in frame.planes:
                np.frombuffer(memoryview(plane), np.uint8)[:] = 128
            luma = np.frombuffer(memoryview(frame.planes[0]), np.uint8).reshape(720, -1)[:, :1280]
            luma[:] = still
            luma[:360, :640] = np.roll(still[:360, :640], index // 3, axis=1)
            packets += pictures.encode(frame, index)
        packets += pictures.flush()
        spoken = sound.encode(noise.standard_normal((2, UNIT_S * 48_000)).astype(np.float32) * 0.002)
        coded = sorted((bytes(p), p.pts or 0, p.dts or 0, p.is_keyframe) for p in packets)
    return Unit(sorted(coded, key=lambda packet: packet[2]), [bytes(p) for p in spoken])


def bytes_read() -> tuple[int, int]:
    """What this process has read so far: from the disk, and from files at all, most of which is in memory."""
    said = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(said["read_bytes"]), int(said["rchar"])


def settle(path: Path) -> None:
    """Have on disk what is written, and not in memory: hours later it is not there any more."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Stop:
    """The end of one film."""

    took_s: float
    "To its confirmation."
    disk_mb: float
    "Read from the disk in that time; what was written before the end is not in memory any more."
    read_mb: float
    "Read from files in that time, from memory or not."
    size_bytes: int


async def stop_once(store: S3Store, directory: Path, unit: Unit, seconds: int, key: str) -> Stop:
    """Make a film, and follow it up to its end."""
    directory.mkdir()
    transfer = Transfer(store, key, "video/mp4", key, directory / "journal", most_film_bytes=MOST_FILM_BYTES)
    maker = Maker(directory / key, unit)
    with ThreadPoolExecutor(1) as thread:
        writing = asyncio.get_running_loop().run_in_executor(thread, maker.write, seconds)
        while not writing.done():
            if not await transfer.follow(maker.path):
                await asyncio.sleep(0.02)
        while await transfer.follow(maker.path):
            pass
        await asyncio.to_thread(settle, maker.path)
        before, began = bytes_read(), time.perf_counter()
        film = await asyncio.get_running_loop().run_in_executor(thread, maker.finish)
        await transfer.finish(film)
        took = time.perf_counter() - began
        disk, read = (now - then for now, then in zip(bytes_read(), before, strict=True))
    film.path.unlink()
    await store.delete(key)
    return Stop(took, disk / 1e6, read / 1e6, film.size_bytes)


async def real_stops(url: str, directory: Path) -> tuple[list[Row], float]:
    """From the call of a stop to UPLOADED, in rows; and seconds for a minute, as a rule."""
    settings = {
        "TAPEDECK_BUCKET_URL": f"s3://{BUCKET}/real?endpoint={url}",
        "TAPEDECK_BUCKET_ACCESS_KEY": ACCESS_KEY,
        "TAPEDECK_BUCKET_SECRET": SECRET,
        "TAPEDECK_ALLOW_PRIVATE_URLS": "true",
        "TAPEDECK_EMPTY_MEETING_TIMEOUT_S": "3600",
        "TAPEDECK_LOG_LEVEL": "warning",
    }
    found: list[Row] = []
    pictures = noise()
    async with running_server(directory, settings) as server, make_sdk(server) as sdk, aiohttp.ClientSession() as http:
        await stop_after(Place(server, sdk, http), 10, pictures)  # the first one imports, and opens connections
        for name, seconds, turns, size in REAL:
            place = Place(server, sdk, http, size)
            runs = [await stop_after(place, seconds, pictures) for _ in range(turns)]
            times = sorted(took for took, _, _ in runs)
            if not found:
                usual = statistics.median(times)
            what = f"{name} ({runs[0][1]:.0f} MB): a stop called to UPLOADED in S3"
            took = f"p50 {statistics.median(times):.2f} s, slowest of {turns} {times[-1]:.2f} s"
            found.append(Row(what, took, "", f"p95 <= {MARK_STOP_S:.0f} s", times[-1] <= MARK_STOP_S))
    return found, usual


async def stops(store: S3Store, directory: Path, real_s: float) -> list[Row]:
    """A row per length. `real_s`: what a stop after a minute takes in all."""
    found: list[Row] = []
    unit, before_s = encode_unit(directory), 0.0
    await stop_once(
        store, directory / "first", unit, 60, "film.mp4"
    )  # the server makes its pools, the client its tables
    for name, seconds, turns in LENGTHS:
        runs = [await stop_once(store, directory / f"{seconds}-{i}", unit, seconds, "film.mp4") for i in range(turns)]
        times = sorted(run.took_s for run in runs)
        p95 = times[-1]
        if not found:
            before_s = max(real_s - statistics.median(times), 0.0)
        disk, read, size = max(run.disk_mb for run in runs), max(run.read_mb for run in runs), runs[0].size_bytes
        what = f"{name} of 720p film ({size / 1e6:.0f} MB): its end to the store's confirmation"
        slowest = f"p50 {statistics.median(times):.2f} s, slowest of {turns} {p95:.2f} s"
        known = f"{p95 + before_s:.2f} s with what a stop takes before that"
        found.append(Row(what, slowest, "", f"p95 <= {MARK_STOP_S:.0f} s", p95 + before_s <= MARK_STOP_S, known))
        mark = f"<= {MARK_READ_MB:.0f} MB"
        note = f"{read:.1f} MB with what is still in memory: the index, and of a short film its first 5 MiB"
        found.append(Row(f"{name}: read back from the disk", f"{disk:.1f} MB", "", mark, disk <= MARK_READ_MB, note))
    return found


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """MB that this process grew by at most in the block, in a list of one when it is over."""
    page, path = os.sysconf("SC_PAGE_SIZE"), Path("/proc/self/statm")

    def resident() -> int:
        return int(path.read_text().split()[1]) * page

    peak, base, over = [resident()], resident(), threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            peak[0] = max(peak[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    result: list[float] = []
    try:
        yield result
    finally:
        over.set()
        watcher.join()
        result.append((peak[0] - base) / 1e6)


async def speed(store: S3Store, raw: Any, directory: Path, over: str) -> list[Row]:
    """Ours against `upload_file`, in turns."""
    path, noise, crc = directory / "large.mp4", np.random.default_rng(2), 0
    with path.open("wb") as file:
        for _ in range(LARGE_MIB):
            chunk = noise.bytes(MIB)
            crc = google_crc32c.extend(crc, chunk)
            file.write(chunk)
    film = Film(path, LARGE_MIB * MIB, crc)
    config = TransferConfig(multipart_chunksize=8 * MIB, max_concurrency=4)
    ours, peers, memory = [], [], []
    for turn in range(TURNS + 1):  # the first one warms up
        transfer = Transfer(store, "o", "video/mp4", "o", directory / "o.journal", most_film_bytes=MOST_FILM_BYTES)
        began = time.perf_counter()
        with peak_memory() as grown:
            await transfer.finish(film)
        took = time.perf_counter() - began
        began = time.perf_counter()
        with peak_memory():  # which costs the one a little as well as the other
            await asyncio.to_thread(raw.upload_file, str(path), BUCKET, "p", Config=config)
        peer = time.perf_counter() - began
        for key in ("o", "p"):
            await store.delete(key)
        if turn:
            ours.append(LARGE_MIB / took)
            peers.append(LARGE_MIB / peer)
            memory.append(grown[0])
    mine, theirs, most = statistics.median(ours), statistics.median(peers), max(memory)
    ratio = mine / theirs
    return [
        Row(
            f"upload of {LARGE_MIB} MiB over {over}, journalled and proven",
            f"{mine:.0f} MiB/s",
            f"boto3 {theirs:.0f} MiB/s",
            f">= {MARK_SPEED} x",
            ratio >= MARK_SPEED,
            f"{ratio:.2f} x; both wait for the server",
        ),
        Row(
            f"memory that the upload over {over} takes, at most",
            f"{most:.0f} MB",
            "",
            f"<= {MARK_MEMORY_MB:.0f} MB",
            most <= MARK_MEMORY_MB,
            "parts in flight, whatever the file's size",
        ),
    ]


class TrustingStore(S3Store):
    """Believes the certificate of the bench."""

    def __init__(self, certificate: Path, **more: Any) -> None:
        super().__init__(**more)
        self._certificate = certificate

    def _make(self) -> Any:
        client = super()._make()
        client._endpoint.http_session._verify = str(self._certificate)
        return client


def make_certificate(directory: Path) -> Path:
    """A certificate of 127.0.0.1 with its key, signed by itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = directory / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(serialization.Encoding.PEM, *form)
    )
    return path


def raw_client(url: str, certificate: Path) -> Any:
    """boto3 as anybody would use it for this server."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
        verify=str(certificate),
        config=Config(
            s3={"addressing_style": "path", "payload_signing_enabled": True},
            request_checksum_calculation="when_required" if url.startswith("https:") else "when_supported",
        ),
    )


async def measure() -> list[Row]:
    """All rows."""
    with tempfile.TemporaryDirectory(prefix="tapedeck-bench-") as name:
        directory = Path(name)
        certificate = make_certificate(directory)
        with radosgw(directory, 6 << 30, certificate) as server:
            assert server.secure_url is not None
            raw_client(server.url, certificate).create_bucket(Bucket=BUCKET)
            found, real_s = await real_stops(server.url, directory / "house")
            for url, over in ((server.url, "HTTP"), (server.secure_url, "TLS")):
                keys = {"access_key": ACCESS_KEY, "secret": SECRET, "region": "us-east-1"}
                guard = Guard(allow_private=True)
                store = TrustingStore(certificate, bucket=BUCKET, endpoint=url, guard=guard, **keys)
                raw = raw_client(url, certificate)
                try:
                    if over == "HTTP":
                        found += await stops(store, directory, real_s)
                    found += await speed(store, raw, directory, over)
                finally:
                    await store.aclose()
                    raw.close()
            return found


def rows() -> list[Row]:
    """Stop to confirmation by length, bytes read back, speed and memory."""
    return asyncio.run(measure())
