"""Archiving between two buckets of a local S3 server: speed and memory of a proven move.

The peer is what the store's own client takes to bring the same object from the one bucket to the other: boto3's
`get_object` into its `upload_fileobj`, in turns with ours, the same server, the same size of parts. The move has the
checksum of every byte compared on top of that.
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
from tapedeck.service.freight import copy_of, prove

__all__ = ["rows"]

MIB = 1 << 20
SIZE_MIB, TURNS = 160, 3
MARK_SPEED, MARK_MEMORY_MB = 0.8, 64.0


def rows() -> list[Row]:
    """One line for speed, one for memory."""
    with tempfile.TemporaryDirectory() as directory, radosgw(Path(directory)) as gateway:
        return asyncio.run(_rows(gateway.url))


async def _rows(url: str) -> list[Row]:
    client: Any = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    for bucket in ("hot", "cold"):
        client.create_bucket(Bucket=bucket)
    content = np.random.default_rng(1).bytes(SIZE_MIB * MIB)
    client.put_object(Bucket="hot", Key="film.mp4", Body=content)
    crc = f"{google_crc32c.value(content):08x}"
    del content
    storage = {"type": "aws", "access_key": ACCESS_KEY, "secret": SECRET, "region": "us-east-1", "endpoint": url}
    hot = make_store(storage | {"bucket": "hot"}, Guard(allow_private=True))
    cold = make_archive(storage | {"bucket": "cold"}, StorageClass.GLACIER, Guard(allow_private=True))
    film = ArchivedFile("video", "film.mp4", "film.mp4", "ours.mp4", "video/mp4", SIZE_MIB * MIB, crc)
    cold._cold.storage_class = "STANDARD"  # this gateway would have to be taught others; the bytes are the same
    try:
        ours, theirs, memory = [], [], list[float]()
        await _move(hot, cold, replace(film, key="warm.mp4"))
        _copy(client)
        for _ in range(TURNS):
            with peak_memory() as grown:
                ours.append(await _move(hot, cold, film))
            memory.append(grown[0])
            theirs.append(await asyncio.to_thread(_copy, client))
    finally:
        await hot.aclose()
        await cold.aclose()
    most = max(memory)
    mine, peer = (SIZE_MIB / statistics.median(times) for times in (ours, theirs))
    return [
        Row(
            f"archive a film of {SIZE_MIB} MiB, S3 to S3, proven",
            f"{mine:.0f} MiB/s",
            f"{peer:.0f} MiB/s boto3 get and upload",
            f">= {MARK_SPEED} x",
            mine >= MARK_SPEED * peer,
            f"{mine / peer:.2f} x",
        ),
        Row(
            "memory of parts in a move",
            f"{most:.0f} MB",
            "",
            f"<= {MARK_MEMORY_MB:.0f} MB",
            most <= MARK_MEMORY_MB,
            "highest of a move, from its beginning",
        ),
    ]


async def _move(hot: Store, cold: S3Archive, film: ArchivedFile) -> float:
    """Seconds."""

    async def note(_: ArchivedFile) -> None:
        return

    begin = time.perf_counter()
    await prove(cold, await copy_of(hot, cold, film, note))
    return time.perf_counter() - begin


def _copy(client: Any) -> float:
    """Seconds of boto3."""
    begin = time.perf_counter()
    config = TransferConfig(multipart_chunksize=8 * MIB, max_concurrency=3)
    body = client.get_object(Bucket="hot", Key="film.mp4")["Body"]
    client.upload_fileobj(body, "cold", "theirs.mp4", Config=config, ExtraArgs={"StorageClass": "STANDARD"})
    return time.perf_counter() - begin
