"""Reads a finished film back as a player would: pictures at their times, sound on one line of samples, facts.

Owns what "film time" means: the presentation time of the file, edit lists and encoder priming taken into account.
Refuses to judge what it sees: that is `tapedeck.testing.check`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tapedeck.core.errors import MediaError

__all__ = ["FilmFacts", "Picture", "Sound", "examine_film", "play_pictures", "play_sound"]


@dataclass(frozen=True, slots=True)
class FilmFacts:
    """What the container says of a film. Durations are 0 where there is no such stream."""

    size_bytes: int
    duration_ns: int
    video_duration_ns: int
    audio_duration_ns: int
    width: int
    height: int
    fps: float
    video_codec: str
    audio_codec: str
    index_in_front: bool
    "MP4: the `moov` box comes before the first `mdat`. WebM: the head tells where the index (the cues) is."


_EBML, _CUES, _CLUSTER = (bytes.fromhex(text) for text in ("1a45dfa3", "1c53bb6b", "1f43b675"))
_WEBM_HEAD = 16_384


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a film, shown from `at_ns` on: planes of 4:2:0, rows x columns."""

    at_ns: int
    y: NDArray[np.uint8]
    u: NDArray[np.uint8]
    v: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Sound:
    """All sound of a film, channels averaged: sample `n` is heard at `n / rate` seconds of film time."""

    rate: int
    samples: NDArray[np.float32]


def examine_film(path: Path) -> FilmFacts:
    """The facts of a film file. Raises MediaError when it cannot be opened as one."""
    with _opened(path) as container:
        video = container.streams.video[0] if container.streams.video else None
        audio = container.streams.audio[0] if container.streams.audio else None
        return FilmFacts(
            size_bytes=path.stat().st_size,
            duration_ns=(container.duration or 0) * 1000,
            video_duration_ns=_length_ns(video, container),
            audio_duration_ns=_length_ns(audio, container),
            width=video.codec_context.width if video else 0,
            height=video.codec_context.height if video else 0,
            fps=float(video.average_rate or 0) if video else 0.0,
            video_codec=video.codec_context.name if video else "",
            audio_codec=audio.codec_context.name if audio else "",
            index_in_front=_index_in_front(path),
        )


def play_pictures(path: Path) -> Iterator[Picture]:
    """Every picture in order. Raises MediaError at the first that cannot be decoded, or is marked corrupt."""
    with _opened(path) as container:
        if not container.streams.video:
            return
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        try:
            for frame in container.decode(stream):
                pts = frame.pts
                if frame.is_corrupt or pts is None:
                    raise MediaError(f"{path.name} has a corrupt picture at {frame.time} s")
                if frame.format.name not in ("yuv420p", "yuvj420p"):
                    frame = frame.reformat(format="yuv420p")
                y, u, v = (_plane(plane) for plane in frame.planes)
                yield Picture(_ns(pts, stream), y, u, v)
        except av.FFmpegError as exc:
            raise MediaError(f"a picture of {path.name} cannot be decoded: {exc}") from exc


def play_sound(path: Path) -> Sound:
    """The whole sound, gaps as silence; no samples when there is no sound stream. Raises MediaError."""
    with _opened(path) as container:
        if not container.streams.audio:
            return Sound(48_000, np.zeros(0, np.float32))
        stream = container.streams.audio[0]
        rate = stream.codec_context.sample_rate
        parts: list[tuple[int, NDArray[np.float32]]] = []
        try:
            for frame in container.decode(stream):
                if frame.pts is None:
                    raise MediaError(f"{path.name} has sound without a time")
                parts.append((round(_ns(frame.pts, stream) * rate / 1e9), _mono(frame)))
        except av.FFmpegError as exc:
            raise MediaError(f"the sound of {path.name} cannot be decoded: {exc}") from exc
    line = np.zeros(max((at + len(part) for at, part in parts), default=0), np.float32)
    for at, part in parts:
        line[max(at, 0) : at + len(part)] = part[max(-at, 0) :]
    return Sound(rate, line)


def _opened(path: Path) -> av.container.InputContainer:
    try:
        return av.open(path, "r")
    except (av.FFmpegError, OSError) as exc:
        raise MediaError(f"{path.name} cannot be opened as a film: {exc}") from exc


def _ns(pts: int, stream: av.VideoStream | av.AudioStream) -> int:
    assert stream.time_base is not None
    return round(pts * stream.time_base * 1_000_000_000)


def _length_ns(stream: av.VideoStream | av.AudioStream | None, container: av.container.InputContainer) -> int:
    """Of a stream; WebM knows only that of all together."""
    if stream is None:
        return 0
    return _ns(stream.duration, stream) if stream.duration else (container.duration or 0) * 1000


def _plane(plane: av.video.plane.VideoPlane) -> NDArray[np.uint8]:
    rows: NDArray[np.uint8] = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


def _mono(frame: av.AudioFrame) -> NDArray[np.float32]:
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    scale = 1.0 if samples.dtype.kind == "f" else float(1 << (8 * samples.dtype.itemsize - 1))
    mono: NDArray[np.float32] = (samples.astype(np.float32) / np.float32(scale)).mean(axis=0, dtype=np.float32)
    return mono


def _index_in_front(path: Path) -> bool:
    """Walk the top-level boxes (ISO 14496-12 4.2) until `moov` or `mdat`; or look for the cues' place (RFC 9559)."""
    with path.open("rb") as file:
        opening = file.read(_WEBM_HEAD)
        if opening.startswith(_EBML):
            return _CUES in opening[: opening.find(_CLUSTER)]
        file.seek(0)
        while len(head := file.read(16)) >= 8:
            size, kind = int.from_bytes(head[:4]), head[4:8]
            if kind in (b"moov", b"mdat"):
                return kind == b"moov"
            if size == 1:
                size = int.from_bytes(head[8:16])
            if size < 8:
                break
            file.seek(size - len(head), 1)
    return False
