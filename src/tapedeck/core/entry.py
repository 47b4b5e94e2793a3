"""Where a film is gone on with that an earlier attempt began. Pure.

What is made begins somewhat before what is used of it: decoders, the mixer, the limiter, the encoder of sound and the
tiles of a slide are then as they would be if the film had been made from its beginning.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Entry", "entry_at"]

_RATE = 48_000
_STEP = 15_360
"""Samples: whole packets of AAC (1024) and whole blocks of the limiter (120)."""
_SOUND_S = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """By default the beginning of a film, with nothing before it."""

    picture: int = 0
    "The first that is used."
    first: int = 0
    "The first that is made."
    heard: int = 0
    "The first sample that is used."
    sample: int = 0
    "The first that is made."


def entry_at(picture: int, heard: int, fps: int) -> Entry:
    """To use a film from a picture and a sample (of 48 kHz) on."""
    sample = max(0, min(heard, picture * _RATE // fps) - _SOUND_S * _RATE) // _STEP * _STEP
    return Entry(picture, max(0, picture - fps), heard, sample)
