"""What recordings of tracks cost: CPU of capture with and without one beside a film, and of making the files.

One process writes the same media twice into a media log, with a film of everybody alone and with a recording of all
tracks beside it; the difference is what the latter adds to capture. Another process makes the files of that log.
Everything is CPU time of a stretch of media, in % of a core per track, half of the tracks being cameras of 2.5 Mbit/s,
half microphones. The frames in the files must be those that were sent.
"""

from __future__ import annotations

import asyncio
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import av

from bench.row import Row
from tapedeck.capture.recover import new_session
from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags, Kind, TrackInfo
from tapedeck.core.wanted import TrackChoice, TrackLayer
from tapedeck.ports.sources import PeerInfo
from tapedeck.render.tracks import TrackJob, run_tracks

_PEOPLE, _SECONDS = 16, 30
_CHOICE = TrackChoice((TrackLayer("default"), TrackLayer("default-video", "video")))
_S, _MS = 1_000_000_000, 1_000_000
_MARK = 0.2
_ROUNDS = 5


class _Nobody:
    """Hears and is asked nothing."""

    def on_capturing(self, recording_id: str, at: datetime) -> None: ...

    def on_problem(self, session_id: str, text: str | None) -> None: ...

    def request_keyframe(self) -> None: ...


def rows() -> list[Row]:
    """Capture, files, and files after the stop."""
    tracks = 2 * _PEOPLE
    with tempfile.TemporaryDirectory(prefix="tapedeck-bench-") as folder:
        root = Path(folder)
        without, beside = [], []
        for number in range(_ROUNDS):  # in turns, so that a busy neighbour bothers both
            without.append(asyncio.run(_capture(root / f"film{number}", None)))
            beside.append(asyncio.run(_capture(root / f"both{number}", _CHOICE)))
        files_s, elapsed_s = _make(root / "both0", root / "out")
        missing = _missing(root / "out")
    per = 100 / _SECONDS / tracks
    film, both, making = min(without) * per, min(beside) * per, files_s * per
    added = both - film
    return [
        Row(
            f"recording of {tracks} tracks beside a film, added to capture, % of a core per track",
            f"{added:.3f} %",
            f"{film:.3f} % (capture alone, without network)",
            f"<= {_MARK} %",
            added <= _MARK,
            f"{both:.3f} % with it",
        ),
        Row(
            f"files of {tracks} tracks, % of a core per track",
            f"{making:.3f} %",
            f"{film:.3f} % (capture alone, without network)",
            f"<= {_MARK} % with capture's part",
            making + max(added, 0) <= _MARK and not missing,
            f"{missing} frames not in them as sent; {_SECONDS * tracks / elapsed_s:.0f} x real time per track",
        ),
    ]


def _payloads() -> tuple[list[bytes], list[bytes]]:
    source = random.Random(1)
    size = 2_500_000 // 8 // 30
    key = bytes((0x10, 0, 0, 0x9D, 1, 0x2A, 0, 5, 0xD0, 2)) + source.randbytes(6 * size)
    video = [key] + [b"\x11" + source.randbytes(size) for _ in range(59)]
    return video, [b"\x78" + source.randbytes(80) for _ in range(50)]


def _sent(kind: Kind, number: int, index: int, group: list[bytes]) -> bytes:
    """Frame `index` of a track; no two are alike."""
    return group[index % len(group)] + b"%s%04x%08x" % (kind[:1].encode(), number, index)


async def _capture(root: Path, choice: TrackChoice | None) -> float:
    """CPU seconds of writing the media into a log, threads included."""
    nobody, zero = _Nobody(), time.monotonic_ns()
    session = new_session(root, "bench", "meeting", now_utc=datetime.now(UTC), now_ns=zero, listener=nobody)
    video, sound = _payloads()
    sinks = []
    for number in range(_PEOPLE):
        peer = session.join(PeerInfo("meeting", f"user{number}", f"peer{number}", f"P{number}", f"u{number}"), zero)
        for codec in (Codec.VP8, Codec.OPUS):
            info = TrackInfo(f"{codec.kind}{number}", f"peer{number}", f"user{number}", codec.kind, codec)
            sinks.append((number, codec, peer.open_track(info, nobody, zero)))
    session.start("film", zero)
    if choice is not None:
        session.start("tracks", zero, choice)
    begin = time.process_time()
    for tick in range(_SECONDS * 150):  # a step is 1/150 s: a picture each 5, a packet each 3
        at = zero + tick * _S // 150 + 10 * _MS
        for number, codec, sink in sinks:
            every, group = (5, video) if codec is Codec.VP8 else (3, sound)
            if tick % every == 0:
                index = tick // every
                key = codec is Codec.OPUS or index % len(group) == 0
                payload = _sent(codec.kind, number, index, group)
                flags = FrameFlags.KEY if key else FrameFlags.NONE
                media_time = tick * (600 if codec is Codec.VP8 else 320)
                sink.frame(EncodedFrame(media_time, at, payload, codec, flags))
        if tick % 8 == 0:
            session.tick(at)
        if tick % 150 == 0:
            await asyncio.sleep(0.02)
    await _ended(session.stop, zero + _SECONDS * _S, session.tick, choice is not None)
    await session.aclose()
    return time.process_time() - begin


async def _ended(stop: Callable[[str, int], object], at: int, tick: Callable[[int], None], tracks: bool) -> None:
    waits = [asyncio.ensure_future(stop(name, at)) for name in ("film", *(("tracks",) if tracks else ()))]  # type: ignore[call-overload]
    await asyncio.sleep(0)
    tick(at + 4 * _S)
    await asyncio.gather(*waits)


def _make(log_dir: Path, out_dir: Path) -> tuple[float, float]:
    """CPU and elapsed seconds of a process that makes the files, its start not counted."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.tracks", str(log_dir), str(out_dir)], check=True, capture_output=True, text=True
    )
    cpu, elapsed = done.stdout.split()
    return float(cpu), float(elapsed)


def _missing(out_dir: Path) -> int:
    """Frames that are not in the files as sent. The last packet of sound may reach beyond the end."""
    groups = dict(zip((Kind.VIDEO, Kind.AUDIO), _payloads(), strict=True))
    missing = 0
    for number in range(_PEOPLE):
        for kind, count in ((Kind.VIDEO, 30 * _SECONDS), (Kind.AUDIO, 50 * _SECONDS - 1)):
            paths = list(out_dir.glob(f"*_peer{number}_peer_{kind}_*"))
            found: set[bytes] = set()
            for path in paths:
                with av.open(path) as container:
                    found |= {bytes(packet) for packet in container.demux() if packet.size}
            missing += sum(_sent(kind, number, index, groups[kind]) not in found for index in range(count))
    return missing


def _main(log_dir: str, out_dir: str) -> None:
    before, begin = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    run_tracks(TrackJob(Path(log_dir), "tracks", Path(out_dir), _CHOICE), threading.Event())
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    sys.stdout.write(f"{cpu} {time.monotonic() - begin}\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
