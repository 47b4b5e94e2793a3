"""Films without pictures: boxes of an MP4 around noise, written as a muxer writes them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from tapedeck.media.place import PartFile
from tapedeck.workers.transfer import Film

__all__ = ["MIB", "Reel"]

MIB = 1 << 20


def box(kind: bytes, contents: bytes = b"") -> bytes:
    return struct.pack(">I4s", len(contents) + 8, kind) + contents


class Reel:
    """A film in the making. The same seed gives the same film."""

    HEAD = box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41") + box(b"free") + struct.pack(">I4s", 0, b"mdat")

    def __init__(self, directory: Path, name: str = "film.mp4", *, seed: int = 1, head_align: int = 1) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / f".{name}.part"
        self.final = directory / name
        self._noise = np.random.default_rng(seed)
        self._file = PartFile(self.path, head_align)
        self._file.write(self.HEAD)
        self.size = 0

    def grow(self, size: int) -> None:
        """`size` more bytes of media."""
        self._file.write(self._noise.bytes(size))
        self.size += size

    def finish(self, index_bytes: int = 4000) -> Film:
        """Put an index of about this size behind the media, then in front."""
        offsets = [len(self.HEAD) + self.size * i // 10 for i in range(10)]
        table = box(b"stco", struct.pack(">II10I", 0, 10, *offsets))
        stbl = box(b"stbl", box(b"stsz", bytes(index_bytes)) + table)
        moov = box(b"moov", box(b"mvhd", b"x" * 100) + box(b"trak", box(b"mdia", box(b"minf", stbl))))
        self._file.seek(len(self.HEAD) - 8)
        self._file.write(struct.pack(">I", self.size + 8))
        self._file.seek(len(self.HEAD) + self.size)
        self._file.write(moov)
        return Film(self.final, *self._file.finish(self.final))

    def lose(self) -> None:
        """As a render that dies."""
        self._file.abort()
