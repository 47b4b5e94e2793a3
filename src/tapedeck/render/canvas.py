"""The canvases of a film: with the recording's watermark over it, where one is kept beside the log."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tapedeck.core.errors import InvalidError
from tapedeck.core.geometry import Size
from tapedeck.core.watermark import mark_rect
from tapedeck.media.mark import MarkedCanvas, open_mark
from tapedeck.media.picture import Canvas
from tapedeck.medialog.mark import find_mark

__all__ = ["canvases"]


def canvases(log_dir: Path, recording_id: str | None) -> Callable[[Size], Canvas]:
    """What makes the canvases of a film.

    A watermark that cannot be read any more is said on standard error; the film is made without it.
    """
    mark = None if recording_id is None else find_mark(log_dir, recording_id)
    if mark is None:
        return Canvas
    try:
        image = open_mark(mark.path)
    except InvalidError as exc:
        sys.stderr.write(f"{exc}\n")
        return Canvas

    def marked(size: Size) -> Canvas:
        at = mark_rect(Size(image.width, image.height), size, mark.position, mark.width, mark.height)
        return MarkedCanvas(size, image, at)

    return marked
