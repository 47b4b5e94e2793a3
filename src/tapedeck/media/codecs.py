"""Which codecs the FFmpeg inside PyAV offers; asked by `tapedeck doctor` and at start, so that a lack is told early."""

from __future__ import annotations

from typing import Literal

import av

__all__ = ["NEEDED", "missing_codecs"]

NEEDED: tuple[tuple[str, Literal["r", "w"]], ...] = (
    ("libx264", "w"),
    ("libvpx", "w"),
    ("libvpx-vp9", "w"),
    ("aac", "w"),
    ("libmp3lame", "w"),
    ("h264", "r"),
    ("vp8", "r"),
    ("libopus", "r"),
)
"""(FFmpeg codec name, "r" to decode or "w" to encode) of what films need. Vorbis comes through libsndfile."""


def missing_codecs() -> list[str]:
    """Names of needed codecs this build lacks, as `libx264 encoder`."""
    missing = []
    for name, mode in NEEDED:
        try:
            av.Codec(name, mode)
        except (ValueError, av.FFmpegError):
            missing.append(f"{name} {'encoder' if mode == 'w' else 'decoder'}")
    return missing
