"""What went less well than asked for, though the recording goes on: kept with it, for the person who asked."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PAGE", "WATERMARK", "Caution"]

WATERMARK = "watermark"
"""Code: the film has no watermark, though one was asked for."""


PAGE = "page"
"""Code: the web page that was recorded broke off; the film ends there."""


@dataclass(frozen=True, slots=True)
class Caution:
    """One such thing. A recording has at most one of each code."""

    code: str
    "For programs."
    message: str
    "A sentence; without URLs, which may hold secrets."
