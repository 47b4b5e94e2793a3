"""The media log: how fast it is read, and what writing costs.

Peers, in the same run: for reading, a plain sequential read of the same file with one CRC-32C over all of it; for
writing, a loop that appends the same payloads to as many files, one `write` per frame, and syncs each once a second.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from google_crc32c import extend

from bench.row import Row
from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags, Kind, TrackInfo
from tapedeck.core.timeline import Progress
from tapedeck.medialog.meta import track_path
from tapedeck.medialog.reader import LogReader
from tapedeck.medialog.writer import LogWriter

__all__ = ["rows"]

FRAME_BYTES = 10_417  # 2.5 Mbit/s at 30 frames a second
FPS = 30
TRACKS = 32
SECONDS = 6
READ_FRAMES = 30_000
MARK_MB_PER_S = 500
MARK_SHARE = 0.12


def rows() -> list[Row]:
    """Measure both."""
    with TemporaryDirectory(prefix="tapedeck-bench-") as folder:
        return [read_row(Path(folder)), *write_rows(Path(folder))]


def read_row(folder: Path) -> Row:
    """One pass over a track, records checked and made into frames; the best of three, as is the peer."""
    root = folder / "read"
    writer = LogWriter(root, "bench", "bench", datetime.now(UTC))
    writer.open_track(_track(0))
    payloads = _payloads()
    for number in range(READ_FRAMES):
        writer.frame("track-0", _frame(number, next(payloads)))
        if number % 5000 == 4999:
            writer.sync().result()
    writer.close().result()
    size = track_path(root, "track-0").stat().st_size
    ours, peer = [], []
    for _ in range(3):
        peer.append(size / _read_plainly(track_path(root, "track-0")) / 1e6)
        ours.append(size / _read_records(root) / 1e6)
    return Row(
        what=f"log reader, {size / 1e6:.0f} MB of {FRAME_BYTES / 1000:.0f} KB records",
        ours=f"{max(ours):.0f} MB/s",
        peer=f"plain read and CRC {max(peer):.0f} MB/s",
        mark=f">= {MARK_MB_PER_S} MB/s",
        ok=max(ours) >= MARK_MB_PER_S,
    )


def write_rows(folder: Path) -> list[Row]:
    """Tracks at their real pace, a frame of each at a time; CPU time of the whole process, without that of the
    pacing."""
    pacing = _paced(lambda number, payload: None)
    plain = _paced_plainly(folder)
    writer = LogWriter(folder / "write", "bench", "bench", datetime.now(UTC))
    ids = [f"track-{n}" for n in range(TRACKS)]
    for n in range(TRACKS):
        writer.open_track(_track(n))
    calls: list[float] = []

    def hand_over(number: int, payload: bytes) -> None:
        frame = _frame(number, payload)
        begin = time.perf_counter()
        for track_id in ids:
            writer.frame(track_id, frame)
        calls.append((time.perf_counter() - begin) / TRACKS)
        if number % (FPS // 4) == 0:
            writer.event(Progress(number, number))

    ours = _paced(hand_over)
    writer.close().result()
    with LogReader(folder / "write").track(ids[-1]) as track:
        kept = sum(len(batch) for batch in iter(track.poll, []))
    if kept != FPS * SECONDS:
        raise AssertionError(f"{kept} frames are in the log")
    frames = TRACKS * FPS * SECONDS
    per_frame, plain_per_frame = (ours - pacing) / frames, (plain - pacing) / frames
    share = per_frame * FPS * 100
    return [
        Row(
            what=f"log writer, {TRACKS} tracks of 2.5 Mbit/s, all its threads",
            ours=f"{per_frame * 1e6:.1f} us/frame = {share:.3f} % of a core per track",
            peer=f"plain write and fdatasync {plain_per_frame * 1e6:.1f} us/frame",
            mark=f"<= {MARK_SHARE} %",
            ok=share <= MARK_SHARE,
            note="a tenth of what capture may cost",
        ),
        Row(
            what="log writer, on the event loop",
            ours=f"{median(calls) * 1e6:.2f} us/frame",
            peer="",
            mark="<= 2 us",
            ok=median(calls) <= 2e-6,
        ),
    ]


def _paced(step: Callable[[int, bytes], object]) -> float:
    """CPU seconds of `SECONDS` of frames at their pace."""
    payloads = _payloads()
    begin, cpu = time.monotonic(), time.process_time()
    for number in range(FPS * SECONDS):
        step(number, next(payloads))
        time.sleep(max(0.0, begin + (number + 1) / FPS - time.monotonic()))
    return time.process_time() - cpu


def _paced_plainly(folder: Path) -> float:
    """CPU seconds of the peer."""
    files = [os.open(folder / f"plain-{n}", os.O_WRONLY | os.O_CREAT) for n in range(TRACKS)]

    def write(number: int, payload: bytes) -> None:
        for fd in files:
            os.write(fd, payload)
        if number % FPS == FPS - 1:
            for fd in files:
                os.fdatasync(fd)

    try:
        return _paced(write)
    finally:
        for fd in files:
            os.close(fd)


def _read_records(root: Path) -> float:
    """Seconds to make frames of a track's records."""
    begin = time.perf_counter()
    with LogReader(root).track("track-0") as track:
        kept = sum(len(batch) for batch in iter(track.poll, []))
    if kept != READ_FRAMES:
        raise AssertionError(f"{kept} frames are in the log")
    return time.perf_counter() - begin


def _read_plainly(path: Path) -> float:
    """Seconds to read a file in pieces of 256 KiB and add up its checksum."""
    begin, crc = time.perf_counter(), 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(256 * 1024):
            crc = extend(crc, piece)
    return time.perf_counter() - begin


def _payloads() -> Iterator[bytes]:
    """Noise, as encoded pictures are; a few frames over and over."""
    return cycle([os.urandom(FRAME_BYTES) for _ in range(32)])


def _frame(number: int, payload: bytes) -> EncodedFrame:
    key = FrameFlags.KEY if number % 60 == 0 else FrameFlags.NONE
    return EncodedFrame(number * 3000, number * 33_333_333, payload, Codec.H264, key)


def _track(number: int) -> TrackInfo:
    return TrackInfo(f"track-{number}", "peer", "participant", Kind.VIDEO, Codec.H264, channels=0)
