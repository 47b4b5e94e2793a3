"""The watermark of a recording, kept in its log directory: a film that is made again needs no network.

An image and beside it a small JSON file that says how it is shown; there only when the image is whole. Refuses to know
pixels (`media/mark.py`).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from tapedeck.core.errors import UnavailableError
from tapedeck.core.watermark import POSITIONS

__all__ = ["StoredMark", "find_mark", "save_mark"]


@dataclass(frozen=True, slots=True)
class StoredMark:
    """An image over a film."""

    path: Path
    "PNG."
    position: str
    width: int | None
    height: int | None


def save_mark(
    log_dir: Path, recording_id: str, png: bytes, position: str, width: int | None, height: int | None
) -> None:
    """Keep the watermark of a recording, whole or not at all. UnavailableError: the disk refuses."""
    about = {"position": position, "width": width, "height": height}
    image, note = _paths(log_dir, recording_id)
    try:
        _write(image, png)
        _write(note, json.dumps(about).encode())
    except OSError as exc:
        raise UnavailableError(f"The watermark cannot be kept: {exc.strerror or type(exc).__name__}.") from exc


def find_mark(log_dir: Path, recording_id: str) -> StoredMark | None:
    """The watermark of a recording; None without one, or with one that is damaged."""
    image, note = _paths(log_dir, recording_id)
    try:
        about = json.loads(note.read_bytes())
        position, width, height = about["position"], about["width"], about["height"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    sides_are_sound = all(side is None or (type(side) is int and side > 0) for side in (width, height))
    if position not in POSITIONS or not sides_are_sound or not image.is_file():
        return None
    return StoredMark(image, position, width, height)


def _paths(log_dir: Path, recording_id: str) -> tuple[Path, Path]:
    name = Path(recording_id).name
    return log_dir / f"watermark-{name}.png", log_dir / f"watermark-{name}.json"


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
