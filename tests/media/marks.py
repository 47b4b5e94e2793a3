"""Images for watermarks: good ones in each format, and everything that is none."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

from PIL import Image

__all__ = ["HOSTILE", "bomb", "image_bytes", "scanned"]


def image_bytes(form: str = "PNG", size: tuple[int, int] = (64, 32), colour: tuple[int, ...] = (255, 0, 0)) -> bytes:
    """One colour."""
    mode = "RGBA" if len(colour) == 4 else "RGB"
    packed = BytesIO()
    Image.new(mode, size, colour).save(packed, form)
    return packed.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that says it is of this size, and is, as far as its zeros go."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(4096)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")


def scanned(times: int) -> bytes:
    """A progressive JPEG whose last scan, some bytes, comes so many times more: each is another pass over it all."""
    packed = BytesIO()
    Image.new("RGB", (320, 240)).save(packed, "JPEG", progressive=True)
    whole = packed.getvalue()
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * times + whole[-2:]


_SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1/"/></svg>'
HOSTILE = {
    "svg": (_SVG, "not a PNG, JPEG or WebP image but SVG"),
    "html": (b"<!doctype html><title>Not found</title>", "not a PNG, JPEG or WebP image"),
    "nothing": (b"", "not a PNG, JPEG or WebP image"),
    "gif": (image_bytes("GIF"), "not a PNG, JPEG or WebP image"),
    "tiff": (image_bytes("TIFF"), "not a PNG, JPEG or WebP image"),
    "bomb": (bomb(50_000, 50_000), "million pixels"),
    "large": (bomb(4000, 2501), "million pixels"),
    "scans": (scanned(60), "more than 64 scans"),
    "cut": (image_bytes("JPEG", (640, 480))[:400], "damaged"),
    "cut png": (bomb(300, 300), "damaged"),
}
"""Bytes, and what is said of them."""
