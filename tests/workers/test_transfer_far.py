"""A film beyond 4 GiB goes up in parts: what the store puts together is read by ffprobe, offsets of 64 bits and all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import google_crc32c
import pytest
from tests.media.far import decoded_md5, frame_counts, make_far_film
from tests.workers.reels import MIB, Watched

from tapedeck.core.crc32c import combine
from tapedeck.core.parts import PartRule
from tapedeck.ports.storage import ObjectInfo, Part
from tapedeck.workers.transfer import Film, Transfer

_NOTHING = bytes(8 * MIB)


class Hollow(Watched):
    """A store of S3's rules: parts in the order of their numbers. What is all zeros takes no room on its disk."""

    rule = PartRule(least_bytes=5 * MIB, most_bytes=512 * MIB, most_parts=10_000, equal=False)

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.object = root / "object"
        self._kept: dict[int, bytes] = {}

    async def put_part(self, key: str, token: str, number: int, data: bytes | memoryview, offset: int) -> Part:
        self.sent.append((number, len(data)))
        if data != _NOTHING:
            self._kept[number] = bytes(data)
        return Part(number, len(data), str(number))

    async def complete(self, key: str, token: str, parts: Sequence[Part]) -> ObjectInfo:
        with self.object.open("wb") as file:
            for part in sorted(parts, key=lambda part: part.number):
                if part.number in self._kept:
                    file.write(self._kept[part.number])
                else:
                    file.seek(part.size_bytes, os.SEEK_CUR)
        return ObjectInfo(key, self.object.stat().st_size, "video/mp4", datetime.now(UTC))


def _sum(path: Path, front: int, end: int) -> int:
    """CRC-32C of a file that is zeros between its first `front` and its last `end` bytes."""
    with path.open("rb") as file:
        crc, left = google_crc32c.value(file.read(front)), path.stat().st_size - front - end
        nothing, size = google_crc32c.value(b"\0"), 1
        while left:
            if left & size:
                crc, left = combine(crc, nothing, size), left - size
            nothing, size = combine(nothing, nothing, size), 2 * size
        file.seek(-end, os.SEEK_END)
        return int(google_crc32c.extend(crc, file.read()))


@pytest.mark.timeout(300)
async def test_a_film_beyond_4_gib_arrives_as_it_is(tmp_path: Path) -> None:
    small, sparse, head = make_far_film(tmp_path, (1 << 32) - 500, b"stco")
    assert b"co64" in head
    film, store = (
        Film(sparse, sparse.stat().st_size, _sum(sparse, len(head) + 16, small.stat().st_size)),
        Hollow(tmp_path / "store"),
    )
    transfer = Transfer(store, "f.mp4", "video/mp4", "f.mp4", tmp_path / "journal", most_film_bytes=6 << 30)
    info = await transfer.finish(film)
    assert info.size_bytes == film.size_bytes > 1 << 32
    assert len(store.sent) > 500
    assert frame_counts(store.object) == frame_counts(small)
    assert decoded_md5(store.object) == decoded_md5(small)
