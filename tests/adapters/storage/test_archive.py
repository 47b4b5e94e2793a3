"""One proven copy from the bucket to the archive, where the store can copy by itself and where it cannot."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import google_crc32c
import pytest
from tests.adapters.storage.conftest import client
from tests.servers.radosgw import ACCESS_KEY, SECRET

from tapedeck.adapters.egress import Guard
from tapedeck.adapters.storage.archive import ColdStore, S3Archive, make_archive
from tapedeck.adapters.storage.factory import PrefixedStore, make_store
from tapedeck.adapters.storage.local import LocalStore
from tapedeck.core.archive import ArchivedFile, StorageClass
from tapedeck.core.errors import DestinationError, InternalError
from tapedeck.ports.storage import Part
from tapedeck.service.freight import copy_of, prove

MIB = 1 << 20
FILM = bytes(range(256)) * (20 * MIB // 256) + b"end"
"""Three parts."""


@dataclass
class Pair:
    """A bucket and an archive of one owner in one store."""

    hot: PrefixedStore
    cold: S3Archive
    raw: Any
    bucket: str
    sent: list[int]
    "Numbers of the parts that went through us."

    def film(self, content: bytes = FILM) -> ArchivedFile:
        crc = f"{google_crc32c.value(content):08x}"
        return ArchivedFile("video", "film.mp4", "a/film.mp4", "a/film.mp4", "video/mp4", len(content), crc)

    async def move(self, film: ArchivedFile, hot: Any = None) -> ArchivedFile:
        async def note(_: ArchivedFile) -> None:
            return

        copied = await copy_of(hot or self.hot, self.cold, film, note)
        await prove(self.cold, copied)
        return copied

    def stored(self) -> bytes:
        content: bytes = self.raw.get_object(Bucket=f"{self.bucket}-cold", Key="old/a/film.mp4")["Body"].read()
        return content


@pytest.fixture(params=["moto", "ceph"])
async def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    url, bucket = request.getfixturevalue(f"{request.param}_url"), f"pair-{uuid4().hex[:8]}"
    raw, sent = client(url, ACCESS_KEY, SECRET), list[int]()
    storage = {"type": "aws", "access_key": ACCESS_KEY, "secret": SECRET, "region": "us-east-1", "endpoint": url}
    guard = Guard(allow_private=True)
    for name in ("hot", "cold"):
        raw.create_bucket(Bucket=f"{bucket}-{name}")
    hot = make_store(storage | {"bucket": f"{bucket}-hot"}, guard)
    cold = make_archive(storage | {"bucket": f"{bucket}-cold", "path": "old"}, StorageClass.GLACIER, guard)
    cold._cold.storage_class = "STANDARD"  # so that it can be read back; the gateway knows no other
    raw.put_object(Bucket=f"{bucket}-hot", Key="new/a/film.mp4", Body=FILM)
    real = cold.put_part

    async def count(key: str, token: str, number: int, data: bytes, offset: int) -> Part:
        sent.append(number)
        return await real(key, token, number, data, offset)

    monkeypatch.setattr(cold, "put_part", count)
    yield Pair(PrefixedStore(hot, "new"), cold, raw, bucket, sent)
    for name, key in (("hot", "new/a/film.mp4"), ("cold", "old/a/film.mp4")):
        raw.delete_object(Bucket=f"{bucket}-{name}", Key=key)
    await hot.aclose()
    await cold.aclose()


async def test_the_store_copies_by_itself_and_every_byte_is_compared(pair: Pair) -> None:
    copied = await pair.move(pair.film())
    assert pair.sent == [] and pair.stored() == FILM
    parts = [FILM[begin : begin + 8 * MIB] for begin in range(0, len(FILM), 8 * MIB)]
    digests = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
    assert copied.tag == f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-3"


async def test_what_the_store_copies_is_not_the_film_that_was_delivered(pair: Pair) -> None:
    """The checksum is the film's, not that of whatever lies in the bucket."""
    pair.raw.put_object(Bucket=f"{pair.bucket}-hot", Key="new/a/film.mp4", Body=FILM[:-1] + b"!")
    with pytest.raises(InternalError, match="not the file that was delivered"):
        await pair.move(pair.film())


async def test_a_part_that_the_store_copies_wrong_is_sent(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ColdStore.copy_part

    async def shifted(self: ColdStore, *given: Any) -> Part:
        number, start, end = given[-3:]
        shift = int(number == 2)
        moved: Any = (*given[:-2], start - shift, end - shift)
        return await real(self, *moved)

    monkeypatch.setattr(ColdStore, "copy_part", shifted)
    await pair.move(pair.film())
    assert pair.sent == [2] and pair.stored() == FILM


async def test_a_store_that_refuses_to_copy_gets_the_bytes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def refuse(self: ColdStore, *given: Any) -> Part:
        asked.append(given)
        raise DestinationError("The storage does not know this.")

    monkeypatch.setattr(ColdStore, "copy_part", refuse)
    await pair.move(pair.film())
    assert sorted(pair.sent) == [1, 2, 3] and pair.stored() == FILM and asked


async def test_what_is_small_or_of_another_owner_goes_through_us(pair: Pair, tmp_path: Path) -> None:
    pair.raw.put_object(Bucket=f"{pair.bucket}-hot", Key="new/a/film.mp4", Body=b"small")
    await pair.move(pair.film(b"small"))
    assert pair.sent == [1] and pair.stored() == b"small"
    local = LocalStore(tmp_path / "bucket", "http://test", b"key" * 11)
    (tmp_path / "film.mp4").write_bytes(FILM)
    await local.put_file("a/film.mp4", tmp_path / "film.mp4", "video/mp4", "film.mp4")
    assert not pair.cold.reaches(local) and pair.cold.reaches(pair.hot)
    pair.sent.clear()
    await pair.move(pair.film(), local)
    assert sorted(pair.sent) == [1, 2, 3] and pair.stored() == FILM
