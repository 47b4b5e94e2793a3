"""A film is read while it is written, up to its last byte and not beyond, also by a reader who is slow."""

from __future__ import annotations

import fcntl
import os
import struct
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from tests.media.filming import make_film
from tests.media.tones import RATE, clicks

from tapedeck.core.mp4index import scan_boxes
from tapedeck.media.growing import GrowingFilm
from tapedeck.media.place import PartFile


def box(kind: bytes, contents: bytes = b"") -> bytes:
    return struct.pack(">I4s", len(contents) + 8, kind) + contents


HEAD = box(b"ftyp", b"isom\0\0\0\0") + box(b"free") + struct.pack(">I4s", 0, b"mdat")
MOOV = box(b"moov", box(b"mvhd", b"x" * 100))


def end(part: PartFile, payload: int, *, wide: bool = False) -> None:
    """As libavformat ends a file: the length of the media, then the index."""
    at = len(HEAD) + payload
    if wide:
        part.seek(len(HEAD) - 16)
        part.write(struct.pack(">I4sQ", 1, b"mdat", payload + 16))
    else:
        part.seek(len(HEAD) - 8)
        part.write(struct.pack(">I", payload + 8))
    part.seek(at)
    part.write(MOOV)


def test_media_is_read_as_it_is_written(tmp_path: Path) -> None:
    part = PartFile(tmp_path / "part")
    film = GrowingFilm(tmp_path / "part")
    assert film.look() is None
    part.write(HEAD[:20])
    assert film.look() is None
    part.write(HEAD[20:] + b"abc")
    grown = film.look()
    assert grown is not None
    assert (grown.media_at, grown.until) == (len(HEAD), len(HEAD) + 3)
    part.write(b"defg")
    assert film.read(len(HEAD) + 1, 5) == b"bcdef"
    assert film.is_current()
    film.close()
    part.abort()


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("inserts", [False, True])
def test_the_index_is_never_taken_for_media(
    wide: bool, inserts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not inserts:
        monkeypatch.setattr("tapedeck.media.place.insert_space", lambda *_: False)
    payload = os.urandom(20_000)
    part = PartFile(tmp_path / "part")
    film = GrowingFilm(tmp_path / "part")
    part.write(HEAD + payload)
    seen = film.look()
    end(part, len(payload), wide=wide)
    assert film.look() is None, "what follows is the index"
    assert seen is not None
    assert film.read(seen.media_at, seen.until - seen.media_at) == payload, "the media is still in its place"
    part.finish(tmp_path / "film")
    assert film.read(seen.media_at, 20_000) in (None, payload), "moved, or left alone: never something else"
    assert not film.is_current()
    film.close()


def test_a_writer_waits_for_a_reader(tmp_path: Path) -> None:
    part = PartFile(tmp_path / "part")
    part.write(HEAD + bytes(9000))
    end(part, 9000)
    reader = os.open(tmp_path / "part", os.O_RDONLY)
    fcntl.flock(reader, fcntl.LOCK_SH)
    finishing = threading.Thread(target=part.finish, args=(tmp_path / "film",))
    finishing.start()
    assert os.pread(reader, len(HEAD), 0)[-4:] == b"mdat"
    assert os.fstat(reader).st_size == len(HEAD) + 9000 + len(MOOV), "nothing was moved"
    assert not (tmp_path / "film").exists()
    os.close(reader)
    finishing.join(timeout=300)
    assert (tmp_path / "film").exists()


def test_a_film_begun_anew_is_another_one(tmp_path: Path) -> None:
    first = PartFile(tmp_path / "part")
    first.write(HEAD + b"first")
    film = GrowingFilm(tmp_path / "part")
    again = PartFile(tmp_path / "part")
    again.write(HEAD + b"again")
    assert not film.is_current()
    assert film.read(len(HEAD), 5) == b"first"
    film.close()


def test_media_of_a_long_film_moves_by_whole_parts(tmp_path: Path) -> None:
    """So that a store whose parts have one length finds its parts again."""
    short, long = PartFile(tmp_path / "a", 8192), PartFile(tmp_path / "b", 8192)
    for part, payload in ((short, b"x" * 8000), (long, b"x" * 30_000)):
        part.write(HEAD + payload)
        end(part, len(payload))
    short.finish(tmp_path / "short")
    long.finish(tmp_path / "long")
    found = []
    for name in ("short", "long"):
        data = (tmp_path / name).read_bytes()
        found.append(data.index(b"mdat") + 4 - len(HEAD))
    assert found == [4096, 8192]


def test_a_real_muxer_keeps_what_is_relied_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libavformat's order of writing, which this reader believes in."""
    seen: list[int | None] = []
    real = PartFile.write

    def write(self: PartFile, data: bytes | memoryview) -> int:
        done = real(self, data)
        film = GrowingFilm(self._path)
        grown = film.look()
        seen.append(None if grown is None else grown.until)
        film.close()
        return done

    monkeypatch.setattr(PartFile, "write", write)
    film = make_film(tmp_path, 60, np.stack([clicks(2 * RATE, [6000])] * 2))
    data = film.path.read_bytes()
    media = next(b for b in scan_boxes(lambda at, n: data[at : at + n], len(data)) if b.kind == b"mdat")
    sizes = [size for size in seen if size is not None]
    assert sizes == sorted(sizes)
    assert seen[-1] is None
    assert sizes[-1] == 48 + media.size - media.header, "all of the media, nothing of the index"


def test_a_tar_is_read_from_its_first_byte_also_when_it_is_finished(tmp_path: Path) -> None:
    header = tarfile.TarInfo("segment_00000.ts").tobuf(tarfile.USTAR_FORMAT)
    part = PartFile(tmp_path / "part")
    film = GrowingFilm(tmp_path / "part")
    part.write(header[:300])
    part.write(header[300:] + b"abc")
    grown = film.look()
    assert grown is not None and (grown.media_at, grown.until) == (0, 515)
    part.write(b"defg")
    part.finish(tmp_path / "film", index_to_front=False)
    assert film.read(0, 519) == header + b"abcdefg" and not film.is_current()
    film.close()
