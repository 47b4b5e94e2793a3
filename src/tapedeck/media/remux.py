"""One track's frames into a file as they were sent: Opus and VP8 as WebM, H264 as Matroska. Nothing is decoded.

Owns what each codec wants of a file, the file on disk and its checksum. A file cannot be begun before a frame says how
it is to be: a key frame of pictures. Refuses to know times other than those from the file's own start, and to choose
frames. No FFmpeg here, though this is the folder for it: see `core/matroska.py`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import google_crc32c

from tapedeck import __version__
from tapedeck.core.avc import decoder_config, parameter_sets, picture_size, to_lengths
from tapedeck.core.crc32c import combine
from tapedeck.core.errors import MediaError
from tapedeck.core.frames import Codec
from tapedeck.core.matroska import MatroskaTrack, TrackFormat
from tapedeck.media.errors import media_errors
from tapedeck.media.sound import OPUS_LOOKAHEAD, SAMPLE_RATE, opus_samples

__all__ = ["EXTENSIONS", "RemuxedFile", "TrackWriter", "format_of", "sound_ns"]

EXTENSIONS = {Codec.OPUS: "webm", Codec.VP8: "webm", Codec.H264: "mkv"}
"""Codecs that can be put into files, and what the files end in."""

_MS = 1_000_000
_PREROLL_NS = 80 * _MS
"""A decoder of Opus that starts in the middle is right after so long (RFC 7845 4.6)."""


@dataclass(frozen=True, slots=True)
class RemuxedFile:
    """A finished file."""

    path: Path
    size_bytes: int
    duration_ns: int
    crc32c: int


def sound_ns(payload: bytes) -> int:
    """Length of an Opus packet. ValueError if it is none."""
    return opus_samples(payload) * 1_000_000_000 // SAMPLE_RATE


def format_of(codec: Codec, payload: bytes, channels: int) -> TrackFormat | None:
    """What a file that begins with this frame says of its track; None when none can begin with it."""
    if codec is Codec.OPUS:
        head = b"OpusHead\1" + bytes((channels,)) + OPUS_LOOKAHEAD.to_bytes(2, "little")
        private = head + SAMPLE_RATE.to_bytes(4, "little") + b"\0\0\0"
        delay_ns = OPUS_LOOKAHEAD * 1_000_000_000 // SAMPLE_RATE
        return TrackFormat("A_OPUS", private, channels, delay_ns=delay_ns, preroll_ns=_PREROLL_NS)
    if codec is Codec.VP8:
        if len(payload) < 10 or payload[3:6] != b"\x9d\x01\x2a":
            return None
        width, height = (int.from_bytes(payload[at : at + 2], "little") & 0x3FFF for at in (6, 8))
        return TrackFormat("V_VP8", width=width, height=height)
    if codec is Codec.H264:
        sets = parameter_sets(payload)
        if sets is None:
            return None
        try:
            width, height = picture_size(sets[0])
        except ValueError:
            return None
        return TrackFormat("V_MPEG4/ISO/AVC", decoder_config(*sets), width=width, height=height)
    return None


class TrackWriter:
    """Writes one file. Not thread-safe. Times are ns since the file's start."""

    def __init__(
        self, part_path: Path, codec: Codec, what: TrackFormat, *, created_at: datetime, uid: int, tags: dict[str, str]
    ) -> None:
        """Create `part_path`. UnavailableError: the disk refuses."""
        self.codec = codec
        self._part_path = part_path
        self._file = MatroskaTrack(what, writer=f"Tapedeck {__version__}", created_at=created_at, uid=uid, tags=tags)
        self._held: tuple[int, bytes, bool] | None = None
        "The last frame: how long it is shown only the next one tells."
        self._end_ns = 0
        self._crc = 0
        self._at = self._file.size
        self._fd = -1
        with media_errors("Writing a track"):
            self._fd = os.open(part_path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)

    @property
    def last_ns(self) -> int:
        """Where the last frame began; 0 before the first."""
        return self._held[0] if self._held is not None else 0

    def write(self, at_ns: int, payload: bytes, *, key: bool) -> None:
        """The next frame, in order of time. UnavailableError: the disk refuses."""
        if self._held is not None:
            self._put(self._held, None)
        self._held = (at_ns, payload, key)
        if self.codec is Codec.OPUS:
            self._end_ns = at_ns + sound_ns(payload)

    def finish(self, final_path: Path, end_ns: int) -> RemuxedFile:
        """End the file, pictures being shown until `end_ns`, and rename it. UnavailableError: the disk refuses.

        Durable when its directory is synced.
        """
        if self._held is None:
            raise MediaError("The track has no frames.")
        at_ns = self._held[0]
        if self.codec is not Codec.OPUS:
            self._end_ns = max(end_ns, at_ns + _MS)
        self._put(self._held, (self._end_ns - at_ns + _MS // 2) // _MS)
        with media_errors("Finishing a track"):
            self._append(self._file.finish((self._end_ns + _MS // 2) // _MS))
            head = self._file.head()
            os.pwrite(self._fd, head, 0)
            os.fsync(self._fd)
            self.abort(keep=True)
            os.replace(self._part_path, final_path)
        crc = combine(google_crc32c.value(head), self._crc, self._file.size - len(head))
        return RemuxedFile(final_path, self._file.size, self._end_ns, crc)

    def abort(self, *, keep: bool = False) -> None:
        """Give up and remove the part file. Safe at any time, also after `finish`."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        if not keep:
            self._part_path.unlink(missing_ok=True)

    def _put(self, frame: tuple[int, bytes, bool], duration_ms: int | None) -> None:
        at_ns, payload, key = frame
        if self.codec is Codec.H264:
            payload = to_lengths(payload)
        done = self._file.add((at_ns + _MS // 2) // _MS, payload, key=key, duration_ms=duration_ms)
        if done:
            with media_errors("Writing a track"):
                self._append(done)

    def _append(self, data: bytes) -> None:
        self._crc = google_crc32c.extend(self._crc, data)
        left = memoryview(data)
        while left:
            done = os.pwrite(self._fd, left, self._at)
            self._at += done
            left = left[done:]
