"""From whole encoded frames to RTP payloads: H264 (RFC 6184, mode 1), VP8 (RFC 7741), Opus (RFC 7587).

The sending half of core.depayload, for the publisher. Owns the splitting; numbers and times are the publisher's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tapedeck.core.frames import Codec

__all__ = ["split_annex_b", "split_frame"]

_START = re.compile(rb"\x00\x00\x00?\x01")


def split_frame(codec: Codec, frame: bytes, limit: int, picture: int = 0) -> list[bytes]:
    """Payloads of at most `limit` bytes. `picture` is the VP8 picture id. ValueError for another codec."""
    if codec is Codec.OPUS:
        return [frame]
    if codec is Codec.VP8:
        return _split_vp8(frame, limit, picture)
    if codec is Codec.H264:
        return list(_split_h264(split_annex_b(frame), limit))
    raise ValueError(f"cannot send {codec.name}")


def split_annex_b(frame: bytes) -> list[bytes]:
    """NAL units of an Annex B byte stream (ITU-T H.264 B.1), without start codes."""
    ends = [match.span() for match in _START.finditer(frame)]
    starts = [*(start for start, _ in ends[1:]), len(frame)]
    return [frame[begin:end] for (_, begin), end in zip(ends, starts, strict=True) if end > begin]


def _split_vp8(frame: bytes, limit: int, picture: int) -> list[bytes]:
    # X bit, then I bit, then a 15-bit picture id
    tail = bytes((0x80, 0x80 | picture >> 8 & 0x7F, picture & 0xFF))
    room = limit - 4
    return [
        bytes((0x90 if at == 0 else 0x80,)) + tail + frame[at : at + room] for at in range(0, max(len(frame), 1), room)
    ]


def _split_h264(nals: list[bytes], limit: int) -> Iterator[bytes]:
    group: list[bytes] = []
    size = 1
    for nal in nals:
        if group and size + 2 + len(nal) > limit:
            yield _aggregate(group)
            group, size = [], 1
        if len(nal) > limit:
            yield from _fragment(nal, limit)
        else:
            group.append(nal)
            size += 2 + len(nal)
    if group:
        yield _aggregate(group)


def _aggregate(nals: list[bytes]) -> bytes:
    if len(nals) == 1:
        return nals[0]
    head = max(nal[0] & 0x60 for nal in nals) | 24
    return bytes((head,)) + b"".join(len(nal).to_bytes(2, "big") + nal for nal in nals)


def _fragment(nal: bytes, limit: int) -> Iterator[bytes]:
    indicator, kind = nal[0] & 0xE0 | 28, nal[0] & 0x1F
    room = limit - 2
    for at in range(1, len(nal), room):
        flags = (0x80 if at == 1 else 0) | (0x40 if at + room >= len(nal) else 0)
        yield bytes((indicator, flags | kind)) + nal[at : at + room]
