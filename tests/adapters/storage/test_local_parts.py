"""The directory takes an object in parts: any order, again, after a restart; nothing shows before it is whole."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tapedeck.adapters.storage.local import LocalStore
from tapedeck.core.errors import InvalidError, NotFoundError
from tapedeck.ports.storage import MultipartStore, ObjectStore, Part

KEY = "recordings/2026-03-02/r1/film.mp4"
SIZE = 70_000
CONTENT = bytes(range(256)) * 1000
PIECES = [CONTENT[start : start + SIZE] for start in range(0, len(CONTENT), SIZE)]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "bucket", "http://films", b"k" * 32)


async def put(store: MultipartStore, token: str, number: int, data: bytes | None = None) -> Part:
    return await store.put_part(KEY, token, number, data or PIECES[number - 1], (number - 1) * SIZE)


async def content(store: ObjectStore) -> bytes:
    return b"".join([chunk async for chunk in store.read(KEY)])


async def test_parts_in_any_order_and_sent_again_make_the_object(store: LocalStore, tmp_path: Path) -> None:
    token = await store.begin(KEY, "video/mp4", "film.mp4")
    await put(store, token, 1, b"x" * SIZE)
    parts = await asyncio.gather(*(put(store, token, number) for number in (4, 3, 2, 1)))
    with pytest.raises(NotFoundError):
        await store.head(KEY)
    assert {part.number: part.tag for part in parts} == {
        number: hashlib.md5(piece).hexdigest() for number, piece in enumerate(PIECES, 1)
    }
    info = await store.complete(KEY, token, parts)
    assert (info.size_bytes, info.content_type) == (len(CONTENT), "video/mp4")
    assert await content(store) == CONTENT
    assert await store.unfinished("") == []
    assert not [path for path in (tmp_path / "bucket").rglob("*") if token in path.name]
    with pytest.raises(NotFoundError):
        await store.complete(KEY, token, parts)


async def test_another_process_continues_with_the_parts_that_are_there(store: LocalStore, tmp_path: Path) -> None:
    token = await store.begin(KEY, "video/mp4", "film.mp4")
    first = [await put(store, token, 3), await put(store, token, 1)]
    journal = next((tmp_path / "bucket").rglob("journal"))
    with journal.open("a") as file:
        file.write("2 70000 70")  # cut by the end of the process
    again = LocalStore(tmp_path / "bucket", "http://films", b"k" * 32)
    assert list(await again.parts(KEY, token)) == sorted(first, key=lambda part: part.number)


async def test_a_part_that_is_missing_or_misplaced_is_refused_and_can_be_mended(store: LocalStore) -> None:
    token = await store.begin(KEY, "video/mp4", "film.mp4")
    parts = [await put(store, token, number) for number in (1, 2, 4)]
    with pytest.raises(InvalidError, match="Part 4"):
        await store.complete(KEY, token, parts)
    third = await store.put_part(KEY, token, 3, PIECES[2], SIZE)
    with pytest.raises(InvalidError, match="Part 3"):
        await store.complete(KEY, token, [*parts, third])
    # That one lay over the second, so both come again.
    parts = [await put(store, token, number) for number in (1, 2, 3, 4)]
    await store.complete(KEY, token, parts)
    assert await content(store) == CONTENT


async def test_an_aborted_upload_is_gone_and_the_object_before_it_stays(store: LocalStore, tmp_path: Path) -> None:
    film = tmp_path / "film"
    film.write_bytes(b"before")
    await store.put_file(KEY, film, "video/mp4", "film.mp4")
    token = await store.begin(KEY, "video/mp4", "film.mp4")
    await put(store, token, 1)
    await store.abort(KEY, token)
    await store.abort(KEY, token)
    assert await content(store) == b"before"
    for question in (put(store, token, 1), store.parts(KEY, token), store.complete(KEY, token, [])):
        with pytest.raises(NotFoundError):
            await question


async def test_uploads_that_were_begun_are_listed_by_prefix(store: LocalStore) -> None:
    token = await store.begin(KEY, "video/mp4", "film.mp4")
    await store.begin("other/film.mp4", "video/mp4", "film.mp4")
    (found,) = await store.unfinished("recordings/")
    assert (found.key, found.token) == (KEY, token)
    assert abs(datetime.now(UTC) - found.started) < timedelta(minutes=1)
    assert len(await store.unfinished("")) == 2


@pytest.mark.parametrize("token", ["", "../../film", "0" * 32])
async def test_a_token_that_was_never_given_opens_nothing(store: LocalStore, token: str) -> None:
    with pytest.raises(NotFoundError):
        await store.put_part(KEY, token, 1, b"x", 0)
    with pytest.raises(NotFoundError):
        await store.parts(KEY, token)


async def test_a_token_opens_its_own_key_only(store: LocalStore) -> None:
    token = await store.begin(KEY, "video/mp4", "film.mp4")
    part = await put(store, token, 1)
    with pytest.raises(NotFoundError):
        await store.complete("recordings/other.mp4", token, [part])
    with pytest.raises(InvalidError):
        await store.begin("../film", "video/mp4", "film.mp4")
