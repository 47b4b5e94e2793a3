"""Cost of the stills of a film: a poster, and a strip of thumbnails as sprite and WebVTT.

Ours look at pictures on their way to the encoder: counted is the CPU of all that is between the painter and the
encoder, files written and fsynced included. The peer is `ffmpeg`, which has to read the finished film again: two
commands, which decode nothing but key frames for the sprite and one picture for the poster, at the same sizes.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from bench.render import SOURCES, measure
from bench.row import Row
from tapedeck.core.geometry import Size
from tapedeck.media.picture import tag
from tapedeck.render.stills import Stills

SIZE, FPS, SECONDS, ROUNDS = Size(1280, 720), 30, 60, 3
EVERY_S = 2
COLUMNS = 10


class _Nowhere:
    """An encoder that costs nothing."""

    def write_picture(self, frame: av.VideoFrame, index: int) -> None: ...
    def write_sound(self, samples: NDArray[np.float32]) -> None: ...
    def write_text(self, film_ns: int, text: str) -> None: ...


def make_film(path: Path) -> None:
    """A film with a key frame every two seconds, as ours."""
    source = ["-f", "lavfi", "-i", SOURCES[0], "-t", str(SECONDS)]
    encode = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", str(EVERY_S * FPS)]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *source, *encode, "-sc_threshold", "0", str(path)], check=True)


def tapedeck(film: Path, out: Path) -> tuple[float, int]:
    """CPU seconds, and bytes of the files."""
    stills = Stills(_Nowhere(), SIZE, FPS)
    spent = 0.0
    with av.open(str(film)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            tag(frame)
            begin = time.process_time()
            stills.write_picture(frame, number)
            spent += time.process_time() - begin
    begin = time.process_time()
    files = stills.finish(out, "ours.mp4")
    return spent + time.process_time() - begin, sum(file.size_bytes for file in files)


def ffmpeg(film: Path, out: Path) -> tuple[float, int]:
    """The same of the peer."""
    rows = -(-SECONDS // EVERY_S // COLUMNS)
    sprite = f"scale=160:90:flags=area,tile={COLUMNS}x{rows}"
    read = ["ffmpeg", "-v", "error", "-y", "-threads", "1"]
    paths = out / "sprite.jpg", out / "poster.jpg"
    strip = [*read, "-skip_frame", "nokey", "-i", str(film), "-fps_mode", "passthrough", "-vf", sprite]
    poster = [*read, "-ss", str(SECONDS // 2), "-i", str(film)]
    spent = 0.0
    for command, path in zip((strip, poster), paths, strict=True):
        spent += measure([*command, "-frames:v", "1", "-q:v", "4", str(path)])[0].cpu_s
    return spent, sum(path.stat().st_size for path in paths)


def rows() -> list[Row]:
    """Measure all."""
    with tempfile.TemporaryDirectory(prefix="tapedeck-bench-") as name:
        root = Path(name)
        make_film(root / "film.mp4")
        ours = min(tapedeck(root / "film.mp4", root) for _ in range(ROUNDS))
        theirs = min(ffmpeg(root / "film.mp4", root) for _ in range(ROUNDS))
    return [
        Row(
            f"stills of a 720p{FPS} film of {SECONDS} s: CPU",
            f"{ours[0] * 1000:.0f} ms, {ours[0] / theirs[0]:.2f} x",
            f"ffmpeg {theirs[0] * 1000:.0f} ms",
            "<= 1.0 x ffmpeg",
            ours[0] <= theirs[0],
            f"{ours[1] / 1000:.0f} kB and {theirs[1] / 1000:.0f} kB",
        )
    ]
