"""The way of a film to its place: both ways of making room for the index, checksums, and files beyond 4 GiB."""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from tests.media.far import decoded_md5, frame_counts, make_far_film
from tests.media.filming import brightness, heard, make_film, seen
from tests.media.tones import RATE, clicks, pulse_times

from tapedeck.media.place import PartFile, copy_range, insert_space

SHM = Path("/dev/shm")


@pytest.fixture(params=["disk", "memory"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A directory on the disk of the tests, and one on tmpfs, which cannot insert blocks."""
    if request.param == "disk":
        yield tmp_path
        return
    if not SHM.is_dir():
        pytest.skip("no tmpfs at /dev/shm")
    with tempfile.TemporaryDirectory(dir=SHM) as name:
        yield Path(name)


def test_a_film_is_whole_wherever_it_lies(directory: Path) -> None:
    at = [6000, 50_000, 90_000]
    film = make_film(directory, 60, np.stack([clicks(2 * RATE, at)] * 2))
    data = film.path.read_bytes()
    assert (film.size_bytes, film.crc32c) == (len(data), google_crc32c.value(data))
    assert data.index(b"moov") < data.index(b"mdat")
    assert [value for _, value in seen(film.path)] == pytest.approx([brightness(i) for i in range(60)], abs=3)
    assert pulse_times(heard(film.path)[:, 0], at) == pytest.approx(at, abs=2)
    assert os.listdir(directory) == ["film.mp4"]


def test_tmpfs_takes_the_copy(tmp_path: Path) -> None:
    if not SHM.is_dir():
        pytest.skip("no tmpfs at /dev/shm")
    with tempfile.TemporaryFile(dir=SHM) as file:
        file.write(b"x" * 10_000)
        file.flush()
        assert not insert_space(file.fileno(), 4096)


def test_inserted_space_shifts_everything(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+b") as file:
        file.write(bytes(range(256)) * 100)
        file.flush()
        block = os.fstatvfs(file.fileno()).f_bsize
        if not insert_space(file.fileno(), 3 * block):
            pytest.skip("this file system cannot insert blocks")
        file.seek(0)
        assert file.read() == bytes(3 * block) + bytes(range(256)) * 100


def test_a_bad_descriptor_is_an_error_and_not_a_reason_to_copy() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        insert_space(-1, 4096)


@pytest.mark.parametrize("inside", [True, False])
def test_a_range_is_copied_inside_the_kernel_or_by_hand(
    inside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not inside:
        monkeypatch.delattr(os, "copy_file_range")
    data = os.urandom(3_000_000)
    (tmp_path / "a").write_bytes(data)
    with (tmp_path / "a").open("rb") as source, (tmp_path / "b").open("w+b") as target:
        copy_range(source.fileno(), target.fileno(), 1000, 77, 2_500_000)
        assert target.read() == bytes(77) + data[1000:2_501_000]
        with pytest.raises(OSError, match="shorter than its index"):
            copy_range(source.fileno(), target.fileno(), 2_999_000, 0, 2000)


def test_the_checksum_holds_for_writes_of_every_size(tmp_path: Path) -> None:
    ftyp, free = _box(b"ftyp", b"isom\0\0\0\0"), _box(b"free", b"")
    payload, moov = os.urandom(300_000), _box(b"moov", _box(b"mvhd", b""))
    start = ftyp + free + struct.pack(">I4s", 0, b"mdat")
    part = PartFile(tmp_path / "part")
    stream = start + payload
    for at in range(0, len(stream), 7777):
        part.write(stream[at : at + 7777])
    part.seek(len(ftyp + free))
    part.write(struct.pack(">I", len(payload) + 8))
    part.seek(len(stream))
    assert part.tell() == len(stream)
    part.write(moov)
    size, crc = part.finish(tmp_path / "film")
    data = (tmp_path / "film").read_bytes()
    assert (size, crc) == (len(data), google_crc32c.value(data))
    assert data.endswith(struct.pack(">I4s", len(payload) + 8, b"mdat") + payload)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\0\0\0\x08ftyp\0\0\0\x08moov", id="no media"),
        pytest.param(b"\0\0\0\x08ftyp\0\0\0\x08moov\0\0\0\x08mdat", id="index already in front"),
        pytest.param(b"\0\0\0\x08ftyp\0\0\0\x0cmdatxxxx\0\0\0\x20moov", id="index cut off"),
    ],
)
def test_what_is_no_flat_mp4_is_refused_and_stays(content: bytes, tmp_path: Path) -> None:
    part = PartFile(tmp_path / "part")
    part.write(content)
    with pytest.raises(ValueError, match=r"flat MP4|ends after the file"):
        part.finish(tmp_path / "film")
    assert os.listdir(tmp_path) == ["part"]
    part.abort()
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("media_end", "tables"), [((1 << 32) - 500, b"stco"), ((1 << 32) - 500, b"co64"), (5 << 30, b"co64")]
)
def test_a_film_beyond_4_gib_is_read_by_ffprobe(media_end: int, tables: bytes, tmp_path: Path) -> None:
    """A real film whose media is moved far back in a sparse file: 64-bit `mdat`, offsets on both sides of 2**32."""
    small, sparse, head = make_far_film(tmp_path, media_end, tables)
    assert sparse.stat().st_size > 1 << 32
    assert b"co64" in head
    assert frame_counts(sparse) == frame_counts(small)
    assert decoded_md5(sparse) == decoded_md5(small)


def _box(kind: bytes, contents: bytes) -> bytes:
    return struct.pack(">I4s", len(contents) + 8, kind) + contents
