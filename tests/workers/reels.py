"""Films without pictures: boxes of an MP4 around noise, written as a muxer writes them; and a store that fails."""

from __future__ import annotations

import asyncio
import struct
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tapedeck.adapters.storage.local import LocalStore
from tapedeck.core.parts import PartRule
from tapedeck.media.place import PartFile
from tapedeck.ports.storage import ObjectInfo, Part
from tapedeck.workers.transfer import Film

__all__ = ["MIB", "Reel", "Tape", "Watched"]

MIB = 1 << 20


def box(kind: bytes, contents: bytes = b"") -> bytes:
    return struct.pack(">I4s", len(contents) + 8, kind) + contents


class Reel:
    """A film in the making. The same seed gives the same film."""

    HEAD = box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41") + box(b"free") + struct.pack(">I4s", 0, b"mdat")

    def __init__(
        self,
        directory: Path,
        name: str = "film.mp4",
        *,
        seed: int = 1,
        head_align: int = 1,
        tells_room: bool = False,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / f".{name}.part"
        self.final = directory / name
        self._noise = np.random.default_rng(seed)
        self._file = PartFile(self.path, head_align, tells_room=tells_room)
        self._file.write(self.HEAD)
        self.size = 0

    def grow(self, size: int) -> None:
        """`size` more bytes of media."""
        self._file.write(self._noise.bytes(size))
        self.size += size

    def expect_index(self, size: int) -> None:
        """It will be so long."""
        self._file.expect_index(size)

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
        size, crc = self._file.finish(self.final)
        return Film(self.final, size, crc, self._file.head)

    def lose(self) -> None:
        """As a render that dies."""
        self._file.abort()


class Tape(Reel):
    """A tar in the making: one member after the other, nothing moved."""

    HEAD = tarfile.TarInfo("segment_00000.ts").tobuf(tarfile.USTAR_FORMAT)

    def finish(self, index_bytes: int = 0) -> Film:
        """Nothing goes in front."""
        return Film(self.final, *self._file.finish(self.final, index_to_front=False))


class Watched(LocalStore):
    """A directory that notes what is sent to it, and fails when told to."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, "http://test", b"key" * 11)
        self.sent: list[tuple[int, int]] = []
        "Number and size."
        self.troubles: dict[str, list[Exception | None]] = {}
        "By call: what comes of the next ones."
        self.stuck = False
        self.other_rule: PartRule | None = None
        "What it wants of parts, if not what a directory does."

    @property
    def rule(self) -> PartRule:
        return self.other_rule or super().rule

    async def _trouble(self, name: str) -> None:
        if self.stuck:
            await asyncio.get_running_loop().create_future()
        todo = self.troubles.get(name)
        if todo and (trouble := todo.pop(0)) is not None:
            raise trouble

    async def put_part(self, key: str, token: str, number: int, data: bytes | memoryview, offset: int) -> Part:
        await self._trouble("put_part")
        part = await super().put_part(key, token, number, data, offset)
        self.sent.append((number, len(data)))
        return part

    async def complete(self, key: str, token: str, parts: Sequence[Part]) -> ObjectInfo:
        await self._trouble("complete")
        info = await super().complete(key, token, parts)
        await self._trouble("completed")
        return info

    async def bytes_of(self, key: str) -> bytes:
        return b"".join([chunk async for chunk in self.read(key)])
