"""The containers that films are written in: which one holds which codecs, and how libavformat is told to write it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tapedeck.core.errors import MediaError
from tapedeck.core.output import AudioOutput, VideoOutput

__all__ = ["ARCHIVE", "Container", "container_of", "header_options"]

_FLAT = {"chunk_duration": "500000", "flush_packets": "0"}
"Half a second of each stream by turns: short seeks for a player, a short index."


@dataclass(frozen=True, slots=True)
class Container:
    """What libavformat calls it, and how it is told to write it."""

    format: str
    options: Mapping[str, str]
    is_flat: bool = False
    "Whether its index is to be put in front."


_FILMS = MappingProxyType(
    {
        "h264": Container("mp4", _FLAT, is_flat=True),
        "vp8": Container("webm", {"flush_packets": "0"}),
        "vp9": Container("webm", {"flush_packets": "0"}),
    }
)
ARCHIVE = Container("tar", MappingProxyType({}))
_SOUNDS = MappingProxyType(
    {
        "aac": Container("ipod", _FLAT, is_flat=True),
        "mp3": Container("mp3", {"flush_packets": "0"}),
        "vorbis": Container("ogg", {"flush_packets": "0"}),
    }
)


def container_of(video: VideoOutput | None, audio: AudioOutput) -> Container:
    """What holds these codecs. MediaError: nothing does."""
    codec, table = (audio.codec, _SOUNDS) if video is None else (video.codec, _FILMS)
    container = table.get(codec)
    if container is None:
        raise MediaError(f"There is no file for {codec!r}.")
    return container


def header_options(container: Container, video: VideoOutput | None, audio: AudioOutput) -> dict[str, str]:
    """Options of the head of one."""
    if not container.is_flat:
        return {}
    # Whole ticks for each picture and each sample, and 32-bit durations up to a day.
    scales = {"movie_timescale": str(audio.sample_rate)}
    return scales if video is None else {"video_track_timescale": str(video.fps * 1000)} | scales
