"""One finished film file: encodes pictures and samples, writes a flat MP4 whose index is in front.

Owns the container: both streams start at exactly zero (the encoder's priming and the reordering of pictures are told
in edit lists, as players expect), pictures come at a constant rate, sound ends with its last sample. Refuses to decide
what is seen or heard. Media goes to disk as it is made, by libavformat's mov muxer; `media/place.py` puts the index in
front.

A film has a CRC-32C and no SHA-256: the head is made last and read first, and of the two only a CRC can be joined
afterwards, so a SHA-256 would cost a second reading of the whole file between stop and delivery.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tapedeck import __version__
from tapedeck.core.errors import MediaError
from tapedeck.core.output import AudioOutput, VideoOutput
from tapedeck.media.encode import PictureEncoder, SoundEncoder
from tapedeck.media.errors import media_errors
from tapedeck.media.place import PartFile

__all__ = ["FilmFile", "FilmWriter"]

_CONTAINER = {"chunk_duration": "500000", "flush_packets": "0"}
"Half a second of each stream by turns: short seeks for a player, a short index."
_BUFFER_SIZE = 1 << 16


@dataclass(frozen=True, slots=True)
class FilmFile:
    """A finished film."""

    path: Path
    size_bytes: int
    duration_ns: int
    crc32c: int
    "CRC-32C (Castagnoli) of the whole file, as S3 and GCS compute it."


class FilmWriter:
    """Writes one film. Not thread-safe: one call at a time."""

    def __init__(
        self,
        part_path: Path,
        video: VideoOutput,
        audio: AudioOutput,
        *,
        created_at: datetime | None = None,
        threads: int = 1,
        head_align: int = 1,
    ) -> None:
        """Create `part_path` and open the encoders; `threads` are x264's (0: as many as it likes).

        `head_align`: see `PartFile`.

        UnavailableError if the disk cannot take the file, MediaError if an encoder is missing or refuses.
        """
        self._fps, self._rate = video.fps, audio.sample_rate
        with media_errors("Writing the film"):
            self._file = PartFile(part_path, head_align)
            try:
                # Whole ticks for each picture and each sample, and 32-bit durations up to a day.
                scales = {"video_track_timescale": str(video.fps * 1000), "movie_timescale": str(audio.sample_rate)}
                self._container = av.open(
                    self._file, "w", "mp4", options=scales, container_options=_CONTAINER, buffer_size=_BUFFER_SIZE
                )
                metadata = {"encoding_tool": f"Tapedeck {__version__}"}
                if created_at is not None:
                    metadata["creation_time"] = created_at.astimezone(UTC).isoformat(timespec="microseconds")
                self._container.metadata.update(metadata)
                self._pictures = PictureEncoder(self._container, video, threads)
                self._sound = SoundEncoder(self._container, audio)
            except BaseException:
                self._file.abort()
                raise

    def write_picture(self, frame: av.VideoFrame, index: int) -> None:
        """Encode picture `index`, shown from index / fps on: yuv420p, of the film's size, indices 0, 1, 2, ...

        Sets `pts`, `time_base` and `pict_type` of the frame; its planes may be painted again when the call returns.
        """
        with media_errors("Writing the film"):
            self._mux(self._pictures.encode(frame, index))

    def write_sound(self, samples: NDArray[np.float32]) -> None:
        """Encode the next samples: float32 (channels, n), any n, without gaps from time zero.

        Keep sound and pictures within 10 s of each other: so much is held to interleave them.
        """
        with media_errors("Writing the film"):
            self._mux(self._sound.encode(samples))

    def finish(self, final_path: Path) -> FilmFile:
        """Flush, put the index in front, fsync, and rename to `final_path`, which is on the same file system.

        Errors as for writing; the part file is then still there until `abort`.
        """
        if not self._pictures.count:
            raise MediaError("The film has no pictures.")
        with media_errors("Finishing the film"):
            self._mux(self._pictures.flush())
            self._mux(self._sound.flush())
            self._container.close()
            size_bytes, crc32c = self._file.finish(final_path)
        pictures_ns = self._pictures.count * 1_000_000_000 // self._fps
        sound_ns = self._sound.count * 1_000_000_000 // self._rate
        return FilmFile(final_path, size_bytes, max(pictures_ns, sound_ns), crc32c)

    def abort(self) -> None:
        """Give up and remove the part file. Safe at any time, also after an error and after `finish`."""
        self._file.abort()

    def _mux(self, packets: Iterable[av.Packet[Any]]) -> None:
        for packet in packets:
            self._container.mux(packet)
