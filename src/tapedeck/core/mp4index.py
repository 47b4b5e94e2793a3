"""Moves the index of a flat MP4 in front of its media without touching the media: bytes of the head in, a new head out.

Owns the box arithmetic (ISO/IEC 14496-12): where boxes lie, and chunk offsets (`stco`, `co64`) that follow the media to
its new place. Refuses files whose media is addressed by anything else (fragments, encryption tables) and never reads or
writes a file itself: callers bring the bytes and place the result (`media/place.py`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Box", "build_head", "chunk_offsets", "scan_boxes"]

_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})
_FOREIGN = frozenset({b"mvex", b"saio", b"senc"})
_LARGEST_32 = 0xFFFF_FFFF
_FREE_HEADER = 8


@dataclass(frozen=True, slots=True)
class Box:
    """A top-level box: its four-letter type and where it lies in the file, header included (bytes)."""

    kind: bytes
    offset: int
    size: int
    header: int
    "8, or 16 where the size has 64 bits."

    @property
    def end(self) -> int:
        return self.offset + self.size


def scan_boxes(read: Callable[[int, int], bytes], size: int) -> list[Box]:
    """The top-level boxes of a file of `size` bytes; `read(offset, n)` returns up to n bytes. ValueError if broken."""
    boxes: list[Box] = []
    at = 0
    while at < size:
        head = read(at, 16)
        kind, length, header = _header(head, size - at)
        if length > size - at:
            raise ValueError(f"box {kind!r} at {at} ends after the file")
        boxes.append(Box(kind, at, length, header))
        at += length
    return boxes


def build_head(ftyp: bytes, moov: bytes, media_offset: int, media_end: int, align: int = 1) -> bytes:
    """The bytes to put before the media so that the file reads ftyp, moov, (free), media.

    `ftyp` and `moov` are whole boxes; the media (usually one `mdat`, header included) lies at
    `media_offset <= i < media_end` of the file that `moov` describes, and will follow the returned bytes unchanged. The
    distance it moves, `len(head) - media_offset`, is a multiple of `align`; a `free` box fills the difference. If
    32-bit offsets are too small for the new place, all tables become 64-bit ones. ValueError if it cannot be done.
    """
    kind, length, header = _header(moov[:16], len(moov))
    if kind != b"moov" or length != len(moov):
        raise ValueError("not one whole moov box")
    media = (media_offset, media_end)
    for wide in (False, True):
        index_size = len(ftyp) + 8 + _size(memoryview(moov)[header:], wide)
        padding = (media_offset - index_size) % align
        while 0 < padding < _FREE_HEADER:
            padding += align
        moved = _move(memoryview(moov)[header:], index_size + padding - media_offset, media, wide)
        if moved is not None:
            break
    assert moved is not None  # 64 bits are always enough
    free = struct.pack(">I4s", padding, b"free") + bytes(padding - _FREE_HEADER) if padding else b""
    return b"".join((ftyp, *_boxed(b"moov", moved), free))


def chunk_offsets(moov: bytes) -> list[list[int]]:
    """The chunk offsets of each track, in the order of the tracks. ValueError if the index is broken."""
    _, _, header = _header(moov[:16], len(moov))
    return [list(offsets) for _, offsets in _tables(memoryview(moov)[header:])]


def _header(head: bytes | memoryview, rest: int) -> tuple[bytes, int, int]:
    """(type, length, length of the header) of the box that starts `head`; `rest` bytes are left in its parent."""
    if len(head) < 8:
        raise ValueError("a box header is cut off")
    length, kind = struct.unpack_from(">I4s", head)
    header = 8
    if length == 1:
        if len(head) < 16:
            raise ValueError("a box header is cut off")
        (length,) = struct.unpack_from(">Q", head, 8)
        header = 16
    elif length == 0:
        length = rest
    if length < header:
        raise ValueError(f"box {kind!r} is shorter than its header")
    return kind, length, header


def _children(body: memoryview) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """(type, whole box, contents) of each box in a container's contents."""
    at = 0
    while at < len(body):
        kind, length, header = _header(body[at : at + 16], len(body) - at)
        if length > len(body) - at:
            raise ValueError(f"box {kind!r} ends after its parent")
        yield kind, body[at : at + length], body[at + header : at + length]
        at += length


def _tables(body: memoryview) -> Iterator[tuple[bytes, tuple[int, ...]]]:
    """(type, offsets) of every chunk offset table below a container."""
    for kind, _, inner in _children(body):
        if kind in _FOREIGN:
            raise ValueError(f"an index with a {kind.decode('latin-1')} box cannot be moved")
        if kind in (b"stco", b"co64"):
            yield kind, _offsets(kind, inner)
        elif kind in _CONTAINERS:
            yield from _tables(inner)


def _size(body: memoryview, wide: bool) -> int:
    """How long what `_move` makes of a container's contents is; that of a day has 50 MB, and is not made to see it."""
    size = 0
    for kind, whole, inner in _children(body):
        if kind in (b"stco", b"co64"):
            size += 16 + len(_offsets(kind, inner)) * (8 if wide or kind == b"co64" else 4)
        elif kind in _CONTAINERS:
            size += 8 + _size(inner, wide)
        else:
            size += len(whole)
    return size


def _offsets(kind: bytes, inner: memoryview) -> tuple[int, ...]:
    if len(inner) < 8:
        raise ValueError("a chunk offset table is cut off")
    (count,) = struct.unpack_from(">I", inner, 4)
    form = f">{count}{'I' if kind == b'stco' else 'Q'}"
    if len(inner) < 8 + struct.calcsize(form):
        raise ValueError("a chunk offset table is cut off")
    return struct.unpack_from(form, inner, 8)


def _move(body: memoryview, shift: int, media: tuple[int, int], wide: bool) -> list[bytes | memoryview] | None:
    """Contents of a container with all offsets moved by `shift`, in pieces; None if 32 bits are too few and `wide` is
    not set."""
    parts: list[bytes | memoryview] = []
    for kind, whole, inner in _children(body):
        if kind in _FOREIGN:
            raise ValueError(f"an index with a {kind.decode('latin-1')} box cannot be moved")
        if kind in (b"stco", b"co64"):
            offsets = _offsets(kind, inner)
            if offsets and not (media[0] <= min(offsets) and max(offsets) < media[1]):
                raise ValueError("a chunk lies outside the media")
            moved = [offset + shift for offset in offsets]
            large = wide or kind == b"co64"
            if not large and moved and max(moved) > _LARGEST_32:
                return None
            table = struct.pack(f">II{len(moved)}{'Q' if large else 'I'}", 0, len(moved), *moved)
            parts += _boxed(b"co64" if large else b"stco", [table])
        elif kind in _CONTAINERS:
            contents = _move(inner, shift, media, wide)
            if contents is None:
                return None
            parts += _boxed(kind, contents)
        else:
            parts.append(whole)
    return parts


def _boxed(kind: bytes, contents: list[bytes | memoryview]) -> list[bytes | memoryview]:
    """A box of these pieces, in pieces: nothing of an index is copied before all of it is there."""
    size = sum(map(len, contents)) + 8
    if size > _LARGEST_32:
        raise ValueError(f"box {kind!r} is too large")
    return [struct.pack(">I4s", size, kind), *contents]
