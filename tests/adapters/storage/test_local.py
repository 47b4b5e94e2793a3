"""The directory as a bucket: whole or not at all, nothing outside, errors in words."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tapedeck.adapters.storage.local import LocalStore
from tapedeck.core.errors import DestinationError, InvalidError, NotFoundError, UnavailableError
from tapedeck.core.signing import verify_link

KEY = "recordings/2026-03-02/r1/film.mp4"
LINK_KEY = b"k" * 32
CONTENT = bytes(range(256)) * 3000


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "bucket", "https://films.example.org/", LINK_KEY)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film"
    path.write_bytes(CONTENT)
    return path


async def content(store: LocalStore, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.read(key, start, end)])


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def test_what_is_put_is_there_whole_with_its_type(store: LocalStore, film: Path) -> None:
    info = await store.put_file(KEY, film, "video/mp4", "film.mp4")
    assert (info.key, info.size_bytes, info.content_type) == (KEY, len(CONTENT), "video/mp4")
    assert info.modified.tzinfo is UTC
    assert await store.head(KEY) == info
    assert await content(store, KEY) == CONTENT
    assert film.exists()


@pytest.mark.parametrize(
    ("start", "end"), [(0, 0), (0, 1), (5, 700_000), (767_999, None), (10, 5), (0, 10**9), (10**9, None)]
)
async def test_any_part_can_be_read(store: LocalStore, film: Path, start: int, end: int | None) -> None:
    await store.put_file(KEY, film, "video/mp4", "film.mp4")
    assert await content(store, KEY, start, end) == (CONTENT[start:end] if end is None or end > start else b"")


async def test_a_second_put_replaces_the_first_in_one_step(store: LocalStore, film: Path, tmp_path: Path) -> None:
    await store.put_file(KEY, film, "video/mp4", "film.mp4")
    reading = store.read(KEY)
    first = await anext(reading)
    other = tmp_path / "other"
    other.write_bytes(b"other")
    await store.put_file(KEY, other, "audio/mp4", "x")
    assert (await store.head(KEY)).content_type == "audio/mp4"
    assert await content(store, KEY) == b"other"
    assert first + b"".join([chunk async for chunk in reading]) == CONTENT


async def test_a_put_that_fails_leaves_nothing(
    store: LocalStore, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(UnavailableError, match="full: free some space"):
        await store.put_file(KEY, film, "video/mp4", "film.mp4")
    assert files(tmp_path / "bucket") == []
    with pytest.raises(NotFoundError):
        await store.head(KEY)


async def test_on_another_disk_the_file_is_copied(
    store: LocalStore, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def far(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", far)
    await store.put_file(KEY, film, "video/mp4", "film.mp4")
    assert await content(store, KEY) == CONTENT
    assert len(files(tmp_path / "bucket")) == 2


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [
        (errno.EACCES, DestinationError, "check its permissions"),
        (errno.EROFS, DestinationError, "check its permissions"),
        (errno.EDQUOT, UnavailableError, "full"),
        (errno.EIO, UnavailableError, "does not answer"),
    ],
)
async def test_errors_of_the_disk_are_said_in_words(
    store: LocalStore, film: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception], words: str
) -> None:
    def broken(*_: object) -> None:
        raise OSError(number, "broken")

    monkeypatch.setattr(os, "link", broken)
    with pytest.raises(error, match=words):
        await store.put_file(KEY, film, "video/mp4", "film.mp4")


async def test_what_is_not_there_is_not_found(store: LocalStore, tmp_path: Path, film: Path) -> None:
    for key in (KEY, "recordings", "recordings/2026-03-02"):
        with pytest.raises(NotFoundError):
            await store.head(key)
        with pytest.raises(NotFoundError):
            await content(store, key)
    with pytest.raises(NotFoundError):
        await store.put_file(KEY, tmp_path / "missing", "video/mp4", "x")
    await store.put_file(KEY, film, "video/mp4", "x")
    with pytest.raises(NotFoundError):
        await store.head("recordings/2026-03-02/r1")
    with pytest.raises(NotFoundError):
        await store.head(KEY + "/more")


async def test_delete_frees_everything_and_may_be_repeated(store: LocalStore, film: Path, tmp_path: Path) -> None:
    other = KEY.replace("r1", "r2")
    await store.put_file(KEY, film, "video/mp4", "x")
    await store.put_file(other, film, "video/mp4", "x")
    await store.delete(KEY)
    await store.delete(KEY)
    assert not (tmp_path / "bucket/recordings/2026-03-02/r1").exists()
    assert await content(store, other) == CONTENT
    await store.delete(other)
    assert list((tmp_path / "bucket").iterdir()) == []


@pytest.mark.parametrize("key", ["../film", "/etc/passwd", "a/../../film", "a//b", "film~about", ""])
async def test_no_key_leaves_the_directory_or_names_our_own_files(store: LocalStore, film: Path, key: str) -> None:
    for question in (
        store.put_file(key, film, "video/mp4", "x"),
        store.head(key),
        content(store, key),
        store.delete(key),
        store.presign(key, "x", datetime.now(UTC)),
    ):
        with pytest.raises(InvalidError):
            await question


async def test_a_link_is_signed_for_this_file_name_and_end(store: LocalStore) -> None:
    expires = datetime(2026, 3, 9, 9, 15, 4, tzinfo=UTC)
    parts = urlsplit(await store.presign(KEY, "ä b&c.mp4", expires))
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"https://films.example.org/files/{KEY}"
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert query["filename"] == "ä b&c.mp4" and int(query["expires"]) == expires.timestamp()
    now = expires - timedelta(seconds=1)
    assert verify_link(LINK_KEY, KEY, query["filename"], int(query["expires"]), query["signature"], now)


def test_a_directory_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DestinationError, match="cannot be made: Not a directory"):
        LocalStore(tmp_path / "file" / "bucket", "http://x", LINK_KEY)
