"""A process that sends a film to an S3 server, to be killed: `python -m tests.workers.sender JOB`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tapedeck.adapters.egress import Guard
from tapedeck.adapters.storage.s3 import S3Store
from tapedeck.workers.transfer import Film, Transfer

__all__ = ["CONTENT_TYPE", "DAY", "make_store"]

CONTENT_TYPE = "video/mp4"
DAY = 26 << 30


def make_store(url: str, bucket: str, *, equal: bool = False, read_timeout_s: float = 60.0) -> S3Store:
    """A bucket of a server of the tests."""
    return S3Store(
        bucket=bucket,
        access_key="test",
        secret="testtest",
        region="us-east-1",
        endpoint=url,
        guard=Guard(allow_private=True),
        equal=equal,
        read_timeout_s=read_timeout_s,
    )


async def _send(job: dict[str, str]) -> None:
    transfer = Transfer(
        make_store(job["url"], job["bucket"]),
        "film.mp4",
        CONTENT_TYPE,
        "film.mp4",
        Path(job["journal"]),
        most_film_bytes=DAY,
    )
    await transfer.finish(Film(Path(job["film"]), int(job["size"]), int(job["crc"])))


if __name__ == "__main__":
    asyncio.run(_send(json.loads(sys.argv[1])))
