"""Archiving between two buckets of a local S3 server: speed and memory of a proven move.

Where both buckets are of one owner the store copies by itself, and tags prove the copy; the peer is boto3's own `copy`,
which has the store copy the same parts, as many at once, and compares nothing. Where they are not, the bytes go through
us; the peer is boto3's `get_object` into its `upload_fileobj`. In turns, the same server, parts of the same size.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import google_crc32c
import numpy as np
from boto3.s3.transfer import TransferConfig
from tests.servers.radosgw import ACCESS_KEY, SECRET, radosgw

from bench.row import Row
from bench.storage import peak_memory
from tapedeck.adapters.egress import Guard
from tapedeck.adapters.storage.archive import S3Archive, make_archive
from tapedeck.adapters.storage.factory import Store, make_store
from tapedeck.core.archive import ArchivedFile, StorageClass
from tapedeck.core.assembly import Assembly
from tapedeck.core.parts import plan_whole
from tapedeck.ports.storage import Part
from tapedeck.service.freight import copy_of, prove

__all__ = ["rows"]

MIB = 1 << 20
SIZE_MIB, TURNS = 160, 3
MARK_SPEED, MARK_MEMORY_MB = 0.8, 64.0
_ROOM = 4 << 30
"""Of the server, which frees what was deleted later."""
_CONFIG = TransferConfig(multipart_chunksize=8 * MIB, max_concurrency=4)


def rows() -> list[Row]:
    """Two lines for speed, one for memory."""
    with tempfile.TemporaryDirectory() as directory, radosgw(Path(directory), _ROOM) as gateway:
        return asyncio.run(_rows(gateway.url))


async def _rows(url: str) -> list[Row]:
    client: Any = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    for bucket in ("hot", "cold"):
        client.create_bucket(Bucket=bucket)
    storage = {"type": "aws", "access_key": ACCESS_KEY, "secret": SECRET, "region": "us-east-1", "endpoint": url}
    hot = make_store(storage | {"bucket": "hot"}, Guard(allow_private=True))
    far = make_store(storage | {"bucket": "hot", "region": "elsewhere"}, Guard(allow_private=True))
    cold = make_archive(storage | {"bucket": "cold"}, StorageClass.GLACIER, Guard(allow_private=True))
    film = await _deliver(hot)
    cold._cold.storage_class = "STANDARD"  # this gateway would have to be taught others; the bytes are the same
    found, memory = [], list[float]()
    try:
        for what, source, peer, name in (
            ("the store copies", hot, _copied, "boto3 copy"),
            ("through us", far, _carried, "boto3 get and upload"),
        ):
            ours, theirs = [], []
            for turn in range(TURNS + 1):  # the first is for warming up
                with peak_memory() as grown:
                    took = await _move(source, cold, film)
                other = await asyncio.to_thread(peer, client)
                for key in ("ours.mp4", "theirs.mp4"):
                    client.delete_object(Bucket="cold", Key=key)
                if turn:
                    ours.append(took)
                    theirs.append(other)
                    memory.append(grown[0])
            found.append(_speed(what, name, statistics.median(ours), statistics.median(theirs)))
    finally:
        for store in (hot, far, cold):
            await store.aclose()
    most = max(memory)
    note = "highest of a move, from its beginning"
    ok = most <= MARK_MEMORY_MB
    return [*found, Row("memory of parts in a move", f"{most:.0f} MB", "", f"<= {MARK_MEMORY_MB:.0f} MB", ok, note)]


async def _deliver(hot: Store) -> ArchivedFile:
    """A film in the bucket, in parts, with what a delivery notes of them."""
    content = np.random.default_rng(1).bytes(SIZE_MIB * MIB)
    token, parts = await hot.begin("film.mp4", "video/mp4", "film.mp4"), list[Part]()
    for piece in plan_whole(hot.rule, len(content)):
        data = content[piece.start : piece.end]
        parts.append(await hot.put_part("film.mp4", token, piece.number, data, piece.start))
    await hot.complete("film.mp4", token, parts)
    made = Assembly.of([(part.size_bytes, part.tag) for part in parts])
    crc = f"{google_crc32c.value(content):08x}"
    film = ArchivedFile("video", "film.mp4", "film.mp4", "ours.mp4", "video/mp4", len(content), crc)
    return replace(film, assembly=str(made))


def _speed(what: str, name: str, ours_s: float, theirs_s: float) -> Row:
    mine, peer = SIZE_MIB / ours_s, SIZE_MIB / theirs_s
    return Row(
        f"archive a film of {SIZE_MIB} MiB, S3 to S3, proven: {what}",
        f"{mine:.0f} MiB/s",
        f"{peer:.0f} MiB/s {name}",
        f">= {MARK_SPEED} x",
        mine >= MARK_SPEED * peer,
        f"{mine / peer:.2f} x",
    )


async def _move(hot: Store, cold: S3Archive, film: ArchivedFile) -> float:
    """Seconds."""

    async def note(_: ArchivedFile) -> None:
        return

    begin = time.perf_counter()
    await prove(cold, await copy_of(hot, cold, film, note))
    return time.perf_counter() - begin


def _copied(client: Any) -> float:
    """Seconds of boto3, that has the store copy."""
    begin = time.perf_counter()
    client.copy({"Bucket": "hot", "Key": "film.mp4"}, "cold", "theirs.mp4", Config=_CONFIG)
    return time.perf_counter() - begin


def _carried(client: Any) -> float:
    """Seconds of boto3, that reads and sends."""
    begin = time.perf_counter()
    body = client.get_object(Bucket="hot", Key="film.mp4")["Body"]
    client.upload_fileobj(body, "cold", "theirs.mp4", Config=_CONFIG)
    return time.perf_counter() - begin
