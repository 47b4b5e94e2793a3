"""Describes a media file from its headers: what a check, an upload or a person wants to know before decoding anything.

Owns the reading of headers. Refuses to decode (`media/playback.py`) and to judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from tapedeck.core.frames import Kind
from tapedeck.core.mp4index import scan_boxes
from tapedeck.media.errors import media_errors

__all__ = ["MediaInfo", "StreamInfo", "probe"]


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream. Numbers that a kind does not have are 0."""

    kind: Kind
    codec: str
    start_ns: int
    duration_ns: int
    packets: int
    "In the file; more than are presented where an encoder needed priming."
    language: str
    width: int = 0
    height: int = 0
    fps: float = 0.0
    sample_rate: int = 0
    channels: int = 0


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """One file."""

    containers: tuple[str, ...]
    "Names of the format; several share one reader: mov, mp4, m4a."
    size_bytes: int
    duration_ns: int
    streams: tuple[StreamInfo, ...]
    tags: Mapping[str, str]
    index_in_front: bool
    "MP4: the index comes before the media, so a browser can start to play before it has all."

    def of(self, kind: Kind) -> list[StreamInfo]:
        """The streams of one kind."""
        return [stream for stream in self.streams if stream.kind is kind]


def probe(path: Path) -> MediaInfo:
    """Describe a file. MediaError if it is no media file, UnavailableError if it cannot be read."""
    with media_errors(f"Reading {path.name}"):
        with av.open(str(path), "r") as container:
            streams = tuple(
                _describe(stream) for stream in container.streams if isinstance(stream, VideoStream | AudioStream)
            )
            containers = tuple(container.format.name.split(","))
            duration_us, tags = container.duration or 0, dict(container.metadata)
        size = path.stat().st_size
        front = "mp4" in containers and _index_in_front(path, size)
    return MediaInfo(containers, size, duration_us * 1000, streams, tags, front)


def _describe(stream: VideoStream | AudioStream) -> StreamInfo:
    base = stream.time_base
    start, length = stream.start_time or 0, stream.duration or 0
    kind = Kind.VIDEO if isinstance(stream, VideoStream) else Kind.AUDIO
    common = (
        kind,
        stream.codec_context.codec.canonical_name,
        round(start * base * 1_000_000_000) if base else 0,
        round(length * base * 1_000_000_000) if base else 0,
        stream.frames,
        stream.language or "und",
    )
    if isinstance(stream, VideoStream):
        return StreamInfo(*common, width=stream.width, height=stream.height, fps=float(stream.average_rate or 0))
    return StreamInfo(*common, sample_rate=stream.rate, channels=stream.channels)


def _index_in_front(path: Path, size: int) -> bool:
    with path.open("rb") as file:

        def read(offset: int, n: int) -> bytes:
            file.seek(offset)
            return file.read(n)

        order = [box.kind for box in scan_boxes(read, size)]
    return b"moov" in order and b"mdat" in order and order.index(b"moov") < order.index(b"mdat")
