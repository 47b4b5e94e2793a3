"""Films beyond 4 GiB that take no room: a real film whose media lies far back in a sparse file."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import numpy as np
from tests.media.filming import ffprobe, make_film
from tests.media.tones import RATE, clicks

from tapedeck.core.mp4index import build_head, scan_boxes

__all__ = ["decoded_md5", "frame_counts", "make_far_film"]


def make_far_film(directory: Path, media_end: int, tables: bytes) -> tuple[Path, Path, bytes]:
    """A film, the same film with its media ending at `media_end` before the head moves it, and that head.

    The media follows a 64-bit `mdat` and a hole; `tables`: `stco` or `co64`, as a muxer would have written them.
    """
    small = make_film(directory, 60, np.stack([clicks(2 * RATE, [6000])] * 2))
    data = small.path.read_bytes()
    boxes = {box.kind: box for box in scan_boxes(lambda at, n: data[at : at + n], len(data))}
    mdat, moov = boxes[b"mdat"], boxes[b"moov"]
    ftyp = data[boxes[b"ftyp"].offset : boxes[b"ftyp"].end]
    payload = data[mdat.offset + mdat.header : mdat.end]
    media_offset = len(ftyp)
    hole = media_end - media_offset - 16 - len(payload)
    far = _move_offsets(data[moov.offset : moov.end], media_offset + 16 + hole - mdat.offset - mdat.header, tables)
    head = build_head(ftyp, far, media_offset, media_end, 4096)
    sparse = directory / "sparse.mp4"
    with sparse.open("wb") as file:
        file.write(head + struct.pack(">I4sQ", 1, b"mdat", media_end - media_offset))
        file.seek(hole, os.SEEK_CUR)
        file.write(payload)
    return small.path, sparse, head


def frame_counts(path: Path) -> list[str]:
    """Of each track, as ffprobe reads it."""
    return [stream["nb_read_frames"] for stream in ffprobe(path, "-count_frames", "-show_streams")["streams"]]


def decoded_md5(path: Path) -> str:
    """Of all that can be seen and heard."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "md5", "-"]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=600).stdout


def _move_offsets(moov: bytes, by: int, kind: bytes) -> bytes:
    """The index with other offsets, in a way that shares nothing with the code under test."""
    grown = 0
    out = bytearray(moov)
    for name in (b"stco",) * moov.count(b"stco"):
        at = out.index(name, grown)
        (count,) = struct.unpack_from(">I", out, at + 8)
        offsets = [offset + by for offset in struct.unpack_from(f">{count}I", out, at + 12)]
        new = kind + struct.pack(f">II{count}{'Q' if kind == b'co64' else 'I'}", 0, count, *offsets)
        difference = len(new) - (8 + 4 + 4 * count)
        out[at - 4 : at + 12 + 4 * count] = struct.pack(">I", len(new) + 4) + new
        for parent in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            place = out.rindex(parent, 0, at) - 4
            struct.pack_into(">I", out, place, struct.unpack_from(">I", out, place)[0] + difference)
        grown = at + 4
    return bytes(out)
