"""Small films made for tests, and readers that know nothing of how they were made."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tapedeck.core.output import AudioOutput, VideoOutput
from tapedeck.media.mux import FilmFile, FilmWriter

SMALL = VideoOutput(width=320, height=180)


def grey(value: int, output: VideoOutput = SMALL) -> av.VideoFrame:
    """A picture of one brightness."""
    frame = av.VideoFrame(output.width, output.height, "yuv420p")
    paint(frame, value)
    return frame


def paint(frame: av.VideoFrame, value: int) -> None:
    """Make a picture one brightness, without colour."""
    for plane, level in zip(frame.planes, (value, 128, 128), strict=True):
        plane.update(bytes([level]) * plane.buffer_size)


def make_film(
    directory: Path,
    pictures: int,
    sound: NDArray[np.float32],
    *,
    video: VideoOutput = SMALL,
    chunk: int = 1600,
    created_at: datetime | None = None,
    name: str = "film.mp4",
) -> FilmFile:
    """A film whose picture i has the brightness `brightness(i)`, with `sound` (2, n) handed over in chunks."""
    writer = FilmWriter(directory / f"{name}.part", video, AudioOutput(), created_at=created_at)
    frame = grey(0, video)
    for i in range(pictures):
        paint(frame, brightness(i))
        writer.write_picture(frame, i)
        low, high = (i * sound.shape[1]) // pictures, ((i + 1) * sound.shape[1]) // pictures
        for at in range(low, high, chunk):
            writer.write_sound(sound[:, at : min(at + chunk, high)])
    return writer.finish(directory / name)


def brightness(index: int) -> int:
    """Of a picture: far from its neighbours, so that a film that is a picture off is found out."""
    return 30 + (index * 67) % 180


def ffprobe(path: Path, *what: str) -> dict[str, Any]:
    """What Debian's ffprobe, another FFmpeg than the one that wrote the file, says of it."""
    command = ["ffprobe", "-v", "error", "-of", "json", *what, str(path)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=600)
    assert not done.stderr, done.stderr.decode()
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def heard(path: Path) -> NDArray[np.float32]:
    """The sound as Debian's ffmpeg plays it, (n, 2) at 48 kHz, from film time zero."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a", "-f", "f32le", "-ac", "2", "-ar", "48000", "-"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=600)
    assert not done.stderr, done.stderr.decode()
    return np.frombuffer(done.stdout, np.float32).reshape(-1, 2)


def seen(path: Path) -> list[tuple[float, int]]:
    """(seconds, brightness of the middle) of every picture."""
    with av.open(str(path)) as container:
        return [
            (float(frame.time or 0), int(frame.to_ndarray()[frame.height // 2, frame.width // 2]))
            for frame in container.decode(video=0)
        ]
