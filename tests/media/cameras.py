"""Encoded pictures for tests: flat colours that can be told apart after decoding and scaling."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags
from tapedeck.media.camera import CameraEncoder, Planes
from tapedeck.media.decode import Picture


def flat(width: int, height: int, luma: int, cb: int = 128, cr: int = 128) -> Planes:
    """A picture of one colour."""
    half = ((height + 1) // 2, (width + 1) // 2)
    return (
        np.full((height, width), luma, np.uint8),
        np.full(half, cb, np.uint8),
        np.full(half, cr, np.uint8),
    )


def film_of(
    lumas: Iterable[int],
    *,
    codec: Codec = Codec.H264,
    width: int = 64,
    height: int = 48,
    first: int = 0,
    keys: tuple[int, ...] = (0,),
) -> list[EncodedFrame]:
    """Frames 33 ms apart, of one brightness each; `first` is the number of the first one, `keys` index into them."""
    encoder = CameraEncoder(codec, width, height, bitrate=400_000)
    frames = []
    for index, luma in enumerate(lumas):
        number, key = first + index, index in keys
        payload = encoder.encode(flat(width, height, luma), number * 3000, key=key)
        flags = FrameFlags.KEY if key else FrameFlags.NONE
        frames.append(EncodedFrame(number * 3000, number * 33_333_333, payload, codec, flags))
    return frames


def luma_of(picture: Picture) -> int:
    """Brightness in the middle of a picture."""
    plane = picture.frame.planes[0]
    row = memoryview(plane)[plane.line_size * (plane.height // 2) :]
    return int(row[plane.width // 2])
