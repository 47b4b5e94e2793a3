"""One proven copy from the bucket to the archive, where the store can copy by itself and where it cannot."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
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
from tapedeck.core.assembly import Assembly
from tapedeck.core.errors import DestinationError, InternalError, UnavailableError
from tapedeck.ports.storage import Part
from tapedeck.service.freight import copy_of, discard, prove

MIB = 1 << 20
_COPY = ColdStore.copy_part
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
    read: list[int]
    "Where reading began in the bucket."

    def film(self, content: bytes = FILM) -> ArchivedFile:
        crc = f"{google_crc32c.value(content):08x}"
        return ArchivedFile("video", "film.mp4", "a/film.mp4", "a/film.mp4", "video/mp4", len(content), crc)

    async def delivered(self, sizes: list[int], content: bytes = FILM) -> ArchivedFile:
        """A film that went up in such parts."""
        token, parts, at = await self.hot.begin("a/film.mp4", "video/mp4", "film.mp4"), list[Part](), 0
        for number, size in enumerate(sizes, 3):  # numbers give the order, no more
            parts.append(await self.hot.put_part("a/film.mp4", token, number, content[at : at + size], at))
            at += size
        await self.hot.complete("a/film.mp4", token, parts)
        assembly = Assembly.of([(part.size_bytes, part.tag) for part in parts])
        return replace(self.film(content), assembly=str(assembly))

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
    beside, begins = PrefixedStore(hot, "new"), list[int]()
    reading = beside.read

    def read(key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        begins.append(start)
        return reading(key, start, end)

    monkeypatch.setattr(beside, "read", read)
    yield Pair(beside, cold, raw, bucket, sent, begins)
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


@pytest.mark.parametrize("body", [FILM[:-1] + b"!", FILM[: 7 * MIB]], ids=["other", "cut"])
async def test_what_the_store_copies_is_not_the_film_that_was_delivered(pair: Pair, body: bytes) -> None:
    """The checksum is the film's, not that of whatever lies in the bucket, and of which not every part is there."""
    pair.raw.put_object(Bucket=f"{pair.bucket}-hot", Key="new/a/film.mp4", Body=body)
    with pytest.raises(InternalError, match=r"not the file that was delivered|is shorter than"):
        await pair.move(pair.film())


async def test_a_part_that_the_store_copies_wrong_is_sent(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ColdStore, "copy_part", _shifted)
    await pair.move(pair.film())
    assert pair.sent == [2] and pair.stored() == FILM


async def test_what_is_known_of_its_parts_is_copied_and_no_byte_comes_here(pair: Pair) -> None:
    """The film as it went up while it was made: parts of several sizes. Equal tags are equal bytes."""
    film = await pair.delivered([5 * MIB + 1, 6 * MIB, 8 * MIB, len(FILM) - 19 * MIB - 1])
    copied = await pair.move(film)
    assert pair.sent == [] and pair.read == [] and pair.stored() == FILM
    assert copied.tag == str(film.assembly).split()[0] and copied.token is None
    assert pair.raw.list_multipart_uploads(Bucket=f"{pair.bucket}-cold").get("Uploads", []) == []


async def test_a_small_film_is_one_part_and_copied_whole(pair: Pair) -> None:
    film = await pair.delivered([1000], FILM[:1000])
    await pair.move(film)
    assert pair.sent == [] and pair.read == [] and pair.stored() == FILM[:1000]


async def test_a_wrong_copy_is_seen_by_its_tag(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store copies other bytes: the tags differ, so all is read and compared, and the wrong part is sent."""
    film = await pair.delivered([8 * MIB, 8 * MIB, len(FILM) - 16 * MIB])
    monkeypatch.setattr(ColdStore, "copy_part", _shifted)
    await pair.move(film)
    assert pair.sent == [2] and len(pair.read) == 4 and pair.stored() == FILM


@pytest.mark.parametrize("at", [8 * MIB - 1, 8 * MIB])
async def test_another_object_under_the_films_key_is_not_archived(pair: Pair, at: int) -> None:
    """Somebody wrote over it, in the same parts, a byte at an edge of a part being another one."""
    film = await pair.delivered([8 * MIB, 8 * MIB, len(FILM) - 16 * MIB])
    other = bytearray(FILM)
    other[at] ^= 1
    await pair.delivered([8 * MIB, 8 * MIB, len(FILM) - 16 * MIB], bytes(other))
    with pytest.raises(InternalError, match="not the file that was delivered"):
        await pair.move(film)


async def test_parts_of_other_sizes_are_compared(pair: Pair) -> None:
    """What is noted of the parts is not what the bucket has: as good a film, proven by its bytes."""
    film = await pair.delivered([8 * MIB, 8 * MIB, len(FILM) - 16 * MIB])
    pair.raw.put_object(Bucket=f"{pair.bucket}-hot", Key="new/a/film.mp4", Body=FILM)
    known = str(film.assembly).split()[0]
    await pair.move(replace(film, assembly=f"{known} {6 * MIB} {8 * MIB} {len(FILM) - 14 * MIB}"))
    assert pair.sent == [] and len(pair.read) == 3 and pair.stored() == FILM


async def test_a_copy_that_broke_off_goes_on(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that the archive has are proven by their tags like the others, and not made again."""
    film = await pair.delivered([5 * MIB, 5 * MIB, len(FILM) - 10 * MIB])
    made, noted, is_up = list[int](), list[ArchivedFile](), asyncio.Event()
    real = ColdStore.copy_part

    async def only_one(self: ColdStore, *given: Any, **more: Any) -> Part:
        if given[4].number > 1:
            await is_up.wait()
            raise UnavailableError("The storage cannot do it now (503).")
        part = await real(self, *given, **more)
        made.append(1)
        is_up.set()
        return part

    async def note(changed: ArchivedFile) -> None:
        noted.append(changed)

    with monkeypatch.context() as patch:
        patch.setattr(ColdStore, "copy_part", only_one)
        with pytest.raises(UnavailableError):
            await copy_of(pair.hot, pair.cold, film, note)
    (begun,) = noted

    async def count(self: ColdStore, *given: Any, **more: Any) -> Part:
        made.append(given[4].number)
        return await real(self, *given, **more)

    monkeypatch.setattr(ColdStore, "copy_part", count)
    await pair.move(begun)
    assert sorted(made) == [1, 2, 3] and pair.read == [] and pair.stored() == FILM


async def test_nothing_is_under_way_any_more_when_a_copy_has_failed(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload is aborted then; what a store still makes of it may stay there for ever."""
    film = await pair.delivered([5 * MIB] * 3 + [len(FILM) - 15 * MIB])
    under_way, begun, real = set[int](), asyncio.Event(), ColdStore.copy_part

    async def fail_first(self: ColdStore, *given: Any, **more: Any) -> Part:
        number: int = given[4].number
        if number == 1:
            await begun.wait()
            raise UnavailableError("The storage cannot do it now (503).")
        under_way.add(number)
        begun.set()
        part = await real(self, *given, **more)
        under_way.remove(number)
        return part

    monkeypatch.setattr(ColdStore, "copy_part", fail_first)
    with pytest.raises(UnavailableError):
        await pair.move(film)
    assert begun.is_set() and not under_way
    await discard(pair.cold, film)
    assert await pair.cold.unfinished("") == []


async def test_a_store_that_encrypts_with_keys_of_its_own_gets_the_bytes(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Amazon's tags are no MD5s then, but look so. No server to be had answers so: these words are ours."""
    real = ColdStore._do

    async def sealed(self: ColdStore, what: str, operation: str, **asked: Any) -> Any:
        if operation == "complete_multipart_upload":
            for part in asked["MultipartUpload"]["Parts"]:
                part["ETag"] = tags[part["ETag"]]
        said = await real(self, what, operation, **asked)
        if operation in ("upload_part", "upload_part_copy"):
            found = said.get("CopyPartResult", said)
            tag = f'"{uuid4().hex}"'
            tags[tag], found["ETag"] = found["ETag"], tag
            said["ServerSideEncryption"] = "aws:kms"
        return said

    tags = dict[str, str]()
    film = await pair.delivered([8 * MIB, 8 * MIB, len(FILM) - 16 * MIB])
    monkeypatch.setattr(ColdStore, "_do", sealed)
    await pair.move(film)
    assert sorted(pair.sent) == [1, 2, 3] and pair.stored() == FILM


async def test_uploads_that_nobody_knows_of_are_dropped(pair: Pair) -> None:
    """A process died between the beginning of an upload and its note; or the copy is given up."""
    film = pair.film()
    await pair.cold.begin(film.key, film.content_type, film.name)
    neighbour = await pair.cold.begin(f"{film.key}.jpg", "image/jpeg", "film.jpg")
    await pair.move(film)
    assert [left.token for left in await pair.cold.unfinished("")] == [neighbour]
    await pair.cold.begin(film.key, film.content_type, film.name)
    await discard(pair.cold, film)
    assert [left.token for left in await pair.cold.unfinished("")] == [neighbour]


async def _shifted(self: ColdStore, *given: Any, is_all: bool) -> Part:
    """As `ColdStore.copy_part`, but the second part begins a byte too early."""
    *before, piece = given
    asked: Any = (*before, replace(piece, start=piece.start - int(piece.number == 2)))
    return await _COPY(self, *asked, is_all=is_all)


async def test_a_store_that_refuses_to_copy_gets_the_bytes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def refuse(self: ColdStore, *given: Any, **more: Any) -> Part:
        asked.append(given)
        raise DestinationError("The storage does not know this.")

    monkeypatch.setattr(ColdStore, "copy_part", refuse)
    await pair.move(await pair.delivered([8 * MIB, 8 * MIB, len(FILM) - 16 * MIB]))
    assert sorted(pair.sent) == [1, 2, 3] and pair.stored() == FILM and asked


async def test_what_is_of_another_owner_goes_through_us(pair: Pair, tmp_path: Path) -> None:
    local = LocalStore(tmp_path / "bucket", "http://test", b"key" * 11)
    (tmp_path / "film.mp4").write_bytes(FILM)
    await local.put_file("a/film.mp4", tmp_path / "film.mp4", "video/mp4", "film.mp4")
    assert not pair.cold.reaches(local) and pair.cold.reaches(pair.hot)
    pair.sent.clear()
    await pair.move(pair.film(), local)
    assert sorted(pair.sent) == [1, 2, 3] and pair.stored() == FILM
