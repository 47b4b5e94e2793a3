"""Publishes three seconds with FFmpeg's WHIP muxer (from PyAV's wheel): `python ffmpeg_whip.py URL CERTIFICATE KEY`.

A process of its own: the muxer waits for the answer of our server with the interpreter's lock held. It brings its own
certificate, since the one that FFmpeg makes with GnuTLS has a P-224 key, which OpenSSL 4 refuses.
"""

from __future__ import annotations

import sys
import time
from fractions import Fraction
from typing import Any

import av
import numpy as np

FRAMES = 90


def main(url: str, certificate: str, key: str) -> None:
    container: Any = av.open(url, "w", format="whip", options={"cert_file": certificate, "key_file": key})
    video = container.add_stream("libx264", rate=30, options={"preset": "ultrafast", "tune": "zerolatency", "g": "30"})
    video.width, video.height, video.pix_fmt, video.profile = 640, 360, "yuv420p", "Baseline"
    audio = container.add_stream("libopus", rate=48000, layout="stereo")
    begin = time.monotonic()
    for i in range(FRAMES):
        picture = av.VideoFrame.from_ndarray(np.full((540, 640), 40 + i, np.uint8), format="yuv420p")
        picture.pts, picture.time_base = i, Fraction(1, 30)
        container.mux(video.encode(picture))
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 3200), np.int16), format="s16", layout="stereo")
        sound.rate, sound.pts = 48000, i * 1600
        container.mux(audio.encode(sound))
        time.sleep(max(0.0, begin + i / 30 - time.monotonic()))  # as a camera would
    container.close()


if __name__ == "__main__":
    av.logging.set_level(av.logging.WARNING)
    main(*sys.argv[1:])
