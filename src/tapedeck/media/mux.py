"""One finished film file: encodes pictures and samples, writes a flat MP4 whose index is in front."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tapedeck.core.output import AudioOutput, VideoOutput

__all__ = ["FilmFile", "FilmWriter"]


@dataclass(frozen=True, slots=True)
class FilmFile:
    """A finished film. There is no SHA-256: its head is made last and read first, so one would cost a whole read."""

    path: Path
    size_bytes: int
    duration_ns: int
    crc32c: int
    "CRC-32C (Castagnoli) of the whole file, as S3 and GCS compute it."


class FilmWriter:
    """Writes one film. Not thread-safe; one thread at a time."""

    def __init__(
        self,
        part_path: Path,
        video: VideoOutput,
        audio: AudioOutput,
        *,
        created_at: datetime | None = None,
        threads: int = 1,
    ) -> None:
        """Create `part_path` and open the encoders. MediaError or UnavailableError in one sentence if that fails."""
        raise NotImplementedError

    def write_picture(self, frame: av.VideoFrame, index: int) -> None:
        """Encode picture `index` (shown from index / fps); yuv420p of the film's size; indices 0, 1, 2, ... in order.

        Only `frame.pts` and `frame.time_base` are set; the caller may reuse the planes after the call has returned.
        """
        raise NotImplementedError

    def write_sound(self, samples: NDArray[np.float32]) -> None:
        """Encode the next samples: shape (channels, n), any n, gapless from time zero. Keep within 10 s of picture."""
        raise NotImplementedError

    def finish(self, final_path: Path) -> FilmFile:
        """Flush, put the index in front, fsync and rename to `final_path` (same file system)."""
        raise NotImplementedError

    def abort(self) -> None:
        """Give up and remove the part file. Safe at any time, also after an error and after finish."""
        raise NotImplementedError
