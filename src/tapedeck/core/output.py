"""What a film is made of: picture and sound settings, and which container holds which codecs.

Owns the numbers that both the canvas and the encoders need. Refuses to know how anything is encoded (`media/encode.py`)
or what a caller asked for in words (`shapes`).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AudioOutput", "VideoOutput"]

_PIXELS_720P = 1280 * 720
_MAXRATE_720P_BPS = 2_000_000


@dataclass(frozen=True, slots=True)
class VideoOutput:
    """The picture of a film: constant frame rate, constant quality under a ceiling. Width and height are even."""

    width: int = 1280
    height: int = 720
    fps: int = 30
    codec: str = "h264"
    crf: int = 23
    "Constant rate factor of x264: lower is better and larger."
    preset: str = "veryfast"
    gop_s: int = 2
    "Seconds between key frames."

    @property
    def maxrate_bps(self) -> int:
        """Ceiling of the bit rate: 2 Mbit/s at 1280x720, in proportion to the area otherwise."""
        return _MAXRATE_720P_BPS * self.width * self.height // _PIXELS_720P

    @property
    def frame_ns(self) -> int:
        """Nanoseconds a picture stays, rounded down; use `index * 10**9 // fps` for the time of a picture."""
        return 1_000_000_000 // self.fps


@dataclass(frozen=True, slots=True)
class AudioOutput:
    """The sound of a film."""

    codec: str = "aac"
    bitrate_bps: int = 384_000
    "Upper limit; the encoder spends less on simple sound."
    channels: int = 2
    sample_rate: int = 48_000
