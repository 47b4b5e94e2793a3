"""A synthetic person who publishes with FFmpeg's WHIP muxer: `python ffmpeg_person.py URL TOKEN CERT KEY SECONDS`.

The muxer is the one in PyAV's FFmpeg; Debian 12's is too old to have it. A process of its own: the muxer waits for the
server's answer with the interpreter's lock held. It brings its own certificate, since the one that FFmpeg makes with
GnuTLS has a P-224 key, which OpenSSL 4 refuses. Bar and beep come on each full second of the pictures' own time. Key
frames come by themselves, since this muxer does not hear who asks for one.
"""

from __future__ import annotations

import sys
from fractions import Fraction
from itertools import count
from threading import Event
from time import monotonic
from typing import Any

import av
import numpy as np

from tapedeck.sources.synthetic import CAST, Canvas, beep, paint

FPS, RATE, KEY_EVERY = 20, 48_000, 5


def main(url: str, token: str, certificate: str, key: str, seconds: str) -> None:
    options = {"cert_file": certificate, "key_file": key, "authorization": token}
    container: Any = av.open(url, "w", format="whip", options=options)
    x264 = {"preset": "ultrafast", "tune": "zerolatency", "g": str(KEY_EVERY)}
    video = container.add_stream("libx264", rate=FPS, options=x264)
    video.width, video.height, video.pix_fmt, video.profile = 640, 360, "yuv420p", "Baseline"
    audio = container.add_stream("libopus", rate=RATE, layout="stereo")
    canvas, second = Canvas(CAST[0], 640, 360), beep(CAST[0].pitch_hz)
    step = RATE // FPS
    begin, wait = monotonic(), Event().wait
    for index in count():
        at_s = index / FPS
        if at_s >= float(seconds):
            break
        wait(max(0.0, begin + at_s - monotonic()))  # as a camera would
        picture = av.VideoFrame(640, 360, "yuv420p")
        for plane, given in zip(picture.planes, paint(canvas, at_s), strict=True):
            np.asarray(memoryview(plane)).reshape(given.shape[0], plane.line_size)[:, : given.shape[1]] = given
        picture.pts, picture.time_base = index, Fraction(1, FPS)
        container.mux(video.encode(picture))
        place = index * step % RATE
        part = np.repeat(second[place : place + step], 2)[np.newaxis]
        sound = av.AudioFrame.from_ndarray((part * 32767).astype(np.int16), format="s16", layout="stereo")
        sound.rate, sound.pts = RATE, index * step
        container.mux(audio.encode(sound))
        if not index:
            begin = monotonic()  # the first packet connects, which takes a while
    container.close()


if __name__ == "__main__":
    av.logging.set_level(av.logging.WARNING)
    main(*sys.argv[1:])
