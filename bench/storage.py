"""Uploads to a local S3 server: from the call of a stop to UPLOADED; bytes that are read after it, speed, memory.

A stop is that of a real server with its bucket in S3: from the call of the SDK until the API says UPLOADED, after a
minute, an hour and eight hours of 720p film. Nobody waits for those: the film begins with so much media, made of real
packets (`bench/long`: ten seconds of x264 and AAC, encoded once and repeated), and what is recorded follows it; it goes
up while it is made, as any film does. What such a hurry leaves unwritten on the disk is written before the clock
starts, as it is long before the end of a real meeting, and not in memory any more. What is read after the call is all
that the server and its render read, of files, pipes and connections, from memory or not.

The peer of the speed is boto3's own `upload_file` as it comes (ten threads, parts of 8 MiB), of the same file, to the
same server; over plain HTTP and over TLS, where it is told to sign what it sends, so that the server can check it as it
checks ours. Both are measured in pairs, each as often first as second; what counts is the median of the ratios.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import google_crc32c
import numpy as np
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.servers.radosgw import ACCESS_KEY, SECRET, radosgw

from bench.long.media import Order, Unit, encode_unit
from bench.path import Place, S, stay
from bench.row import Row
from tapedeck.adapters.egress import Guard
from tapedeck.adapters.storage.s3 import S3Store
from tapedeck.heap import give_back_large_blocks
from tapedeck.sources.synthetic import CAST
from tapedeck.testing.clock import SharedClock
from tapedeck.testing.recorder import make_sdk
from tapedeck.testing.serve import running_server
from tapedeck.workers.transfer import Film, Transfer

MIB = 1 << 20
BUCKET = "bench"
LENGTHS = (("1 minute", 60, 3), ("1 hour", 3600, 3), ("8 hours", 8 * 3600, 2))
MOST_FILM_BYTES = 26 << 30
LARGE_MIB, TURNS = 160, 8
MARK_STOP_S, MARK_READ_MB, MARK_SPEED, MARK_MEMORY_MB = 3.0, 16.0, 0.9, 64.0
ROOT = Path(__file__).resolve().parents[1]


# stop


class Reads:
    """What a process and its children read while the block runs, in bytes: of files, pipes and connections."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._first: dict[int, tuple[int, int]] = {}
        self._last: dict[int, tuple[int, int]] = {}

    def __enter__(self) -> Reads:
        self._first = self._look()
        return self

    def __exit__(self, *_: object) -> None:
        self._last = self._look()

    @property
    def total(self) -> tuple[int, int]:
        """All of it, and what of it came from a disk."""
        return self._sum(self._last, 0) - self._sum(self._first, 0), self._sum(self._last, 1) - self._sum(
            self._first, 1
        )

    @staticmethod
    def _sum(seen: dict[int, tuple[int, int]], column: int) -> int:
        return sum(counts[column] for counts in seen.values())

    def _look(self) -> dict[int, tuple[int, int]]:
        """What a child read in all its life counts as its parent's when it has ended: the sum goes on."""
        found: dict[int, tuple[int, int]] = {}
        for pid in (self._pid, *_children(self._pid)):
            with suppress(OSError):
                said = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
                found[pid] = int(said["rchar"]), int(said["read_bytes"])
        return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def settle(path: Path) -> None:
    """Have on disk what is written, and not in memory: hours later it is not there any more."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _left(films: Path) -> int:
    """Bytes of the film in the making that are not up."""
    (part,) = films.glob(".*.mp4.part")
    size, sent = part.stat().st_size, 0
    for journal in films.glob(".*.journal"):
        lines = [json.loads(line) for line in journal.read_text().splitlines(keepends=True) if line.endswith("\n")]
        sent = sum(line["part"]["size"] for line in lines if "part" in line)
    return size - sent


@dataclass(frozen=True)
class Stop:
    """One stop."""

    took_s: float
    "From its call to UPLOADED."
    size_bytes: int
    read: tuple[int, int]


async def stop_once(place: Place, unit: Unit, seconds: int) -> Stop:
    """Record a little behind so much film, and stop."""
    server, clock = place.server, SharedClock()
    Order(unit, seconds).write(server.folder)
    meeting_id, (first, later) = await place.meeting([stay(CAST[0], 0.1, 2.0), stay(CAST[1], 0.1, 600.0)], clock)
    playing = asyncio.create_task(first.run())
    await clock.until(S)
    recording_id = await place.start(meeting_id)
    await playing
    films = server.data_dir / "films" / recording_id
    while not Order.is_done(server.folder) or _left(films) > 14 * MIB:
        await clock.until(clock.now_ns() + S // 10)
    playing = asyncio.create_task(later.run())
    await clock.until(clock.now_ns() + 4 * S)
    part, before = next(films.glob(".*.mp4.part")), 0
    while (size := part.stat().st_size) - before > MIB // 2:  # the render is still catching up
        before = size
        await clock.until(clock.now_ns() + S // 2)
    await asyncio.to_thread(settle, part)
    with Reads(server.pid) as reads:
        began = time.perf_counter()
        await place.stop(recording_id)
        recording = await place.until(recording_id, "UPLOADED")
        took = time.perf_counter() - began
    playing.cancel()
    await asyncio.gather(playing, return_exceptions=True)
    return Stop(took, recording.file_size, reads.total)


async def stops(url: str, raw: Any, directory: Path) -> AsyncIterator[Row]:
    """Rows per length."""
    settings = {
        "TAPEDECK_BUCKET_URL": f"s3://{BUCKET}/real?endpoint={url}",
        "TAPEDECK_BUCKET_ACCESS_KEY": ACCESS_KEY,
        "TAPEDECK_BUCKET_SECRET": SECRET,
        "TAPEDECK_ALLOW_PRIVATE_URLS": "true",
        "TAPEDECK_EMPTY_MEETING_TIMEOUT_S": "3600",
        "TAPEDECK_LOG_LEVEL": "warning",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
    }
    unit = await asyncio.to_thread(encode_unit, directory)
    async with (
        running_server(directory / "house", settings, "bench.long") as server,
        make_sdk(server) as sdk,
        aiohttp.ClientSession() as http,
    ):
        place = Place(server, sdk, http, (1280, 720))
        await stop_once(place, unit, 10)  # the first one imports, opens connections, and the server makes its pools
        for name, seconds, turns in LENGTHS:
            runs: list[Stop] = []
            for _ in range(turns):
                runs.append(await stop_once(place, unit, seconds))
                await asyncio.to_thread(empty, raw)
            times = sorted(run.took_s for run in runs)
            yield Row(
                f"{name} of 720p film ({runs[0].size_bytes / 1e6:.0f} MB): a stop called to UPLOADED in S3",
                f"p50 {statistics.median(times):.2f} s, slowest of {turns} {times[-1]:.2f} s",
                "",
                f"p95 <= {MARK_STOP_S:.0f} s",
                times[-1] <= MARK_STOP_S,
            )
            read, disk = (max(column) / 1e6 for column in zip(*(run.read for run in runs), strict=True))
            yield Row(
                f"{name}: read after the stop, from memory or not",
                f"{read:.1f} MB",
                "",
                f"<= {MARK_READ_MB:.0f} MB",
                read <= MARK_READ_MB,
                f"from the disk {disk:.1f} MB; of a film whose index is small its first 5 MiB",
            )


def empty(raw: Any) -> None:
    """Delete what is in the bucket: the store keeps it in memory."""
    for page in raw.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for found in page.get("Contents", ()):
            raw.delete_object(Bucket=BUCKET, Key=found["Key"])


# speed


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def peak_memory(base: int | None = None) -> Iterator[list[float]]:
    """MB that this process grew by at most in the block, or beyond `base`, in a list of one when it is over."""
    peak, over = [resident()], threading.Event()
    base = peak[0] if base is None else base

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


def cpu_s() -> float:
    """Of this process, until now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def make_film(directory: Path) -> Film:
    """Noise, which nothing on the way can make smaller."""
    path, noise, crc = directory / "large.mp4", np.random.default_rng(2), 0
    with path.open("wb") as file:
        for _ in range(LARGE_MIB):
            chunk = noise.bytes(MIB)
            crc = google_crc32c.extend(crc, chunk)
            file.write(chunk)
    return Film(path, LARGE_MIB * MIB, crc)


async def upload(store: S3Store, film: Film) -> None:
    """As a lane does it."""
    journal = film.path.with_suffix(".journal")
    transfer = Transfer(store, "o", "video/mp4", "o", journal, most_film_bytes=MOST_FILM_BYTES)
    await transfer.finish(film)
    transfer.forget()


@dataclass(frozen=True)
class Run:
    """One upload."""

    took_s: float
    cpu_s: float


async def timed(work: Any) -> Run:
    began, used = time.perf_counter(), cpu_s()
    await work()
    return Run(time.perf_counter() - began, cpu_s() - used)


async def speed(store: S3Store, raw: Any, film: Film, over: str) -> Row:
    """Ours against `upload_file`, in pairs."""

    async def ours() -> None:
        await upload(store, film)

    async def theirs() -> None:
        await asyncio.to_thread(raw.upload_file, str(film.path), BUCKET, "p")

    pairs: list[tuple[Run, Run]] = []
    for turn in range(TURNS + 2):  # the first pair warms up
        if turn % 2:
            peer = await timed(theirs)
            mine = await timed(ours)
        else:
            mine = await timed(ours)
            peer = await timed(theirs)
        await asyncio.to_thread(empty, raw)
        if turn > 1:
            pairs.append((mine, peer))
    ratio = statistics.median(peer.took_s / mine.took_s for mine, peer in pairs)
    rates = [LARGE_MIB / statistics.median(run.took_s for run in runs) for runs in zip(*pairs, strict=True)]
    used = [statistics.median(run.cpu_s for run in runs) / LARGE_MIB * 1024 for runs in zip(*pairs, strict=True)]
    return Row(
        f"upload of {LARGE_MIB} MiB over {over}, journalled and proven",
        f"{rates[0]:.0f} MiB/s",
        f"boto3 {rates[1]:.0f} MiB/s",
        f">= {MARK_SPEED} x",
        ratio >= MARK_SPEED,
        f"{ratio:.2f} x, median of {TURNS} pairs; CPU per GiB {used[0]:.2f} s, boto3 {used[1]:.2f} s",
    )


async def memory(url: str, certificate: Path, film: Film, over: str) -> Row:
    """Of a process that does nothing else, beyond what it is before its first film."""
    asked = json.dumps([url, str(certificate), str(film.path), film.size_bytes, film.crc32c])
    command = (sys.executable, "-c", "import sys; from bench.storage import alone; alone(*sys.argv[1:])", asked)
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    grown = [float(word) for word in (await process.communicate())[0].split()]
    return Row(
        f"memory that uploads over {over} take, at most",
        f"{max(grown):.0f} MB",
        "",
        f"<= {MARK_MEMORY_MB:.0f} MB",
        max(grown) <= MARK_MEMORY_MB,
        f"of {len(grown)} one after the other: {', '.join(f'{one:.0f}' for one in grown)} MB",
    )


def alone(asked: str) -> None:
    """Upload a film some times and print by how many MB the process was larger than before the first, at most."""
    url, certificate, path, size, crc = json.loads(asked)

    async def work() -> None:
        give_back_large_blocks()  # as the server does
        store, film = open_store(url, Path(certificate)), Film(Path(path), size, crc)
        small = film.path.with_name("small.mp4")
        small.write_bytes(b"small")
        try:
            await store.put_file("small", small, "video/mp4", "small")
            base = resident()
            for _ in range(3):
                with peak_memory(base) as grown:
                    await upload(store, film)
                print(grown[0])
        finally:
            await store.aclose()

    asyncio.run(work())


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


def open_store(url: str, certificate: Path) -> S3Store:
    """Ours."""
    keys = {"access_key": ACCESS_KEY, "secret": SECRET, "region": "us-east-1"}
    return TrustingStore(certificate, bucket=BUCKET, endpoint=url, guard=Guard(allow_private=True), **keys)


async def measure() -> AsyncIterator[Row]:
    """All rows, each as soon as it is known."""
    give_back_large_blocks()
    with tempfile.TemporaryDirectory(prefix="tapedeck-bench-") as name:
        directory = Path(name)
        certificate = make_certificate(directory)
        with radosgw(directory, 6 << 30, certificate) as server:
            assert server.secure_url is not None
            raw = raw_client(server.url, certificate)
            raw.create_bucket(Bucket=BUCKET)
            film = make_film(directory)
            for url, over in ((server.url, "HTTP"), (server.secure_url, "TLS")):
                store, peer = open_store(url, certificate), raw_client(url, certificate)
                try:
                    yield await speed(store, peer, film, over)
                finally:
                    await store.aclose()
                    peer.close()
                yield await memory(url, certificate, film, over)
            async for row in stops(server.url, raw, directory):
                yield row
            raw.close()


def rows() -> Iterator[Row]:
    """Speed and memory, stop to UPLOADED by length, bytes read after it."""
    with asyncio.Runner() as runner:
        found = measure()

        async def following() -> Row | None:
            return await anext(found, None)

        while (row := runner.run(following())) is not None:
            yield row
