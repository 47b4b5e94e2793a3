"""A ZIP that is made while it is sent: no file of its own, and memory for a few chunks, whatever its size."""

from __future__ import annotations

import tracemalloc
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tapedeck.adapters.storage.local import LocalStore
from tapedeck.core.errors import UnavailableError
from tapedeck.service.zipping import Member, zip_stream

MIB = 1 << 20
AT = datetime(2026, 3, 2, 9, 15, 4, tzinfo=UTC)


class Long(LocalStore):
    """A store with films of 96 MiB that are made while they are read; one called `broken` breaks off."""

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        for number in range(96):
            if key == "broken" and number == 7:
                raise UnavailableError("The storage cannot do it now (503).")
            yield bytes([number]) * MIB


@pytest.fixture
def store(tmp_path: Path) -> Long:
    return Long(tmp_path / "bucket", "http://test", b"key" * 11)


async def test_memory_does_not_grow_with_the_files(store: Long, tmp_path: Path) -> None:
    members = [Member(f"{name}.mp4", store, name, AT) for name in ("one", "two")]
    tracemalloc.start()
    try:
        with (tmp_path / "films.zip").open("wb") as out:
            async for chunk in zip_stream(members):
                out.write(chunk)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 12 * MIB
    with zipfile.ZipFile(tmp_path / "films.zip") as made:
        assert made.testzip() is None
        found = [(member.filename, member.file_size, member.date_time) for member in made.infolist()]
    assert found == [(name, 96 * MIB, (2026, 3, 2, 9, 15, 4)) for name in ("one.mp4", "two.mp4")]
    assert not (tmp_path / "bucket").exists() or not any((tmp_path / "bucket").rglob("*.zip"))


async def test_a_file_that_breaks_off_leaves_no_whole_zip(store: Long, tmp_path: Path) -> None:
    """Whoever downloads notices: what came is no ZIP, rather than one with a shortened film in it."""
    path = tmp_path / "films.zip"
    with path.open("wb") as out, pytest.raises(UnavailableError):
        async for chunk in zip_stream([Member("film.mp4", store, "broken", AT)]):
            out.write(chunk)
    assert path.stat().st_size > 6 * MIB and not zipfile.is_zipfile(path)
