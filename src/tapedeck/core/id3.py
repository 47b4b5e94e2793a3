"""ID3v2.4 tags that carry timed metadata (id3.org, "ID3 tag version 2.4.0 - Main Structure" and "- Native Frames").

Owns the bytes of a tag with one TXXX frame, which is what players hand to a page as text. Nothing is read here.
"""

from __future__ import annotations

__all__ = ["text_tag"]

_UTF8 = b"\x03"
_SIZE_LIMIT = 1 << 28


def text_tag(description: str, text: str) -> bytes:
    """A tag whose only frame is user text in UTF-8. ValueError: one of them has a NUL, or both are too long."""
    if "\0" in description or "\0" in text:
        raise ValueError("a NUL ends a text of ID3")
    body = _UTF8 + description.encode() + b"\0" + text.encode()
    frame = b"TXXX" + _syncsafe(len(body)) + b"\0\0" + body
    return b"ID3\x04\x00\x00" + _syncsafe(len(frame)) + frame


def _syncsafe(size: int) -> bytes:
    """A number of 28 bits in four bytes whose highest bits are clear (main structure, 6.2)."""
    if size >= _SIZE_LIMIT:
        raise ValueError("too long for a tag of ID3")
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
