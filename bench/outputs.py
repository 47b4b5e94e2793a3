"""What RTMP and HLS together add to a running film.

One log grows as in a meeting, and two films follow it at the same time, each a process of its own: one has its file
alone, the other is sent to a real RTMP server and cut into fragments for players too. So whatever else the machine does
is as dear to both. Counted is all user and system time of both, and of the sender, from a moment when all run to the
end: what a start costs (0.4 s, and 0.08 s of a sender) is paid once however long a meeting is.

What a server does for each who watches is beside it: the requests of our page, asked for as fast as they are answered.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.e2e.kit import SMALL, open_house
from tests.rtmpserver import RtmpServer, rtmp_server

from bench.render import camera, make_source, microphone
from bench.row import Row
from tapedeck.core.frames import Codec, EncodedFrame, Kind, TrackInfo
from tapedeck.core.timeline import (
    AudioLevel,
    ParticipantJoined,
    Progress,
    RecordingStarted,
    RecordingStopped,
    TrackOpened,
)
from tapedeck.medialog.writer import LogWriter
from tapedeck.sources.synthetic import CAST
from tapedeck.testing.people import Act, Cue, Person

S = 1_000_000_000
FILM_S, SETTLE_S, PAIRS, FPS = 26, 5, 6, 30
MARK = 0.03
PATIENCE_S = 60
SOURCES = ("testsrc2=s=1280x720:r=30", "mandelbrot=s=1280x720:r=30:start_scale=2")
ROUNDS = 200
"""Of requests: a player of a film that is made asks for two playlists and a segment every two seconds."""
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Pair:
    """CPU seconds of a film alone, of one that goes out, and of what sends it."""

    alone: float
    out: float
    sender: float


class Grower(threading.Thread):
    """Writes a log as fast as a meeting does, and then its stop."""

    def __init__(self, root: Path, media: list[tuple[int, str, EncodedFrame]], people: int) -> None:
        super().__init__(daemon=True)
        self._media, self._people = media, people
        self._writer = LogWriter(root, "bench-session", "bench-meeting", datetime.now(UTC))
        self._writer.event(RecordingStarted(0, "bench"))
        for index in range(people):
            person, peer = f"person-{index}", f"peer-{index}"
            self._writer.event(ParticipantJoined(0, person, peer, ("Ada", "Grace")[index]))
            for kind, codec in ((Kind.VIDEO, Codec.H264), (Kind.AUDIO, Codec.OPUS)):
                info = TrackInfo(f"{kind}-{index}", peer, person, kind, codec, channels=2 if kind is Kind.AUDIO else 0)
                self._writer.open_track(info)
                self._writer.event(TrackOpened(0, info))
        self._writer.sync().result()

    def run(self) -> None:
        """As long as the film is."""
        begin, next_event_ns = time.monotonic_ns(), 0
        for at_ns, track_id, frame in self._media:
            while at_ns >= next_event_ns:
                self._writer.event(AudioLevel(next_event_ns, "audio-0", 25))
                self._writer.event(Progress(next_event_ns, max(0, next_event_ns - 40_000_000)))
                next_event_ns += 250_000_000
            time.sleep(max(0, begin + at_ns - time.monotonic_ns()) / S)
            self._writer.frame(track_id, frame)
        self._writer.event(RecordingStopped(FILM_S * S, "bench"))
        self._writer.event(Progress(FILM_S * S + 20_000_000, FILM_S * S))
        self._writer.close().result()


def media_of(folder: Path) -> list[tuple[int, str, EncodedFrame]]:
    """Two people, by arrival."""
    folder.mkdir()
    found: list[tuple[int, str, EncodedFrame]] = []
    for index, source in enumerate(SOURCES):
        make_source(folder, index, source, FILM_S)
        found += [(at, f"video-{index}", frame) for at, frame in camera(folder / f"{index}.h264", FPS)]
        found += [(at, f"audio-{index}", frame) for at, frame in microphone(folder / f"{index}.opus")]
    return sorted((item for item in found if item[0] < FILM_S * S), key=lambda item: item[0])


def pair(root: Path, media: list[tuple[int, str, EncodedFrame]], server: RtmpServer, *, out_first: bool) -> Pair:
    """Both films of one meeting."""
    grower = Grower(root / "log", media, len(SOURCES))
    (root / "stream").mkdir()
    (root / "stream" / "wanted").touch()
    films: dict[str, subprocess.Popen[bytes]] = {}
    for kind in ("out", "alone") if out_first else ("alone", "out"):
        job: dict[str, Any] = {"log_dir": str(root / "log"), "recording_id": "bench", "out_dir": str(root / kind)}
        job |= {"outputs": [{"file_name": "film.mp4", "video": {}}], "live": True}
        if kind == "out":
            job |= {"live_dir": str(root / "stream"), "hls_dir": str(root / "hls")}
        films[kind] = _process("tapedeck.render.child", job)
    grower.start()
    order = {"url": server.url(), "live_dir": str(root / "stream"), "allow_private": True, "stall_s": 30}
    films["sender"] = _process("tapedeck.push", order)
    time.sleep(SETTLE_S)
    before = {kind: cpu_s(film.pid) for kind, film in films.items()}
    took = {}
    for kind in ("alone", "out", "sender"):
        said = _output(films[kind], FILM_S + PATIENCE_S)
        took[kind] = _wait(films[kind]) - before[kind]
        if json.loads(said.splitlines()[-1])["event"] not in ("done", "ended"):
            raise SystemExit(f"{kind} went wrong: {said[-500:]!r}")
    grower.join()
    if len((root / "hls" / "index").read_bytes().splitlines()) < FILM_S // 2:
        raise SystemExit("players did not get the whole film")
    return Pair(**took)


def cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _process(module: str, order: dict[str, Any]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", module]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write(json.dumps(order).encode() + b"\n")
    process.stdin.flush()
    return process


def _output(process: subprocess.Popen[bytes], limit_s: float) -> bytes:
    """All it says. A film that never comes near its log is never sent, so its sender would wait for ever."""
    assert process.stdout is not None
    late = threading.Timer(limit_s, process.kill)
    late.start()
    said = process.stdout.read()
    late.cancel()
    return said or b'{"event": "nothing: the machine is too busy to make a film in time"}'


def _wait(process: subprocess.Popen[bytes]) -> float:
    """Its CPU seconds."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    for end in (process.stdin, process.stdout):
        if end is not None:
            end.close()
    return usage.ru_utime + usage.ru_stime


async def watching(root: Path) -> float:
    """CPU seconds of a server for each second that one player watches a film that is made."""
    people = [Person(CAST[0], (Cue(0.2, Act.JOIN), Cue(60.0, Act.LEAVE)), size=(320, 180), fps=20)]
    async with open_house(root / "house") as house:
        room = await house.room(people)
        playing = asyncio.create_task(room.play())
        await room.at(1.0)
        take = await room.start(**SMALL)
        await take.until("RECORDING")
        url = f"{house.server.base_url}/v1/recordings/{take.id}/hls"
        async with house.http.get(url, headers={"authorization": f"Bearer {house.server.token}"}) as answer:
            base = (await answer.json())["data"]["url"].removesuffix("index.m3u8")
        await room.at(9.0)
        assert house.server.pid is not None
        spent: dict[str, float] = {}
        for kind in ("idle", "busy"):
            begin, before = time.monotonic(), cpu_s(house.server.pid)
            if kind == "idle":
                await asyncio.sleep(4)
            else:
                await _ask(house.http, base)
            spent[kind] = cpu_s(house.server.pid) - before
            spent[f"{kind} s"] = time.monotonic() - begin
        await take.act("stop")
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        more = spent["busy"] - spent["idle"] / spent["idle s"] * spent["busy s"]
        return max(more, 0.0) / (2 * ROUNDS)


async def _ask(http: Any, base: str) -> None:
    tag = ""
    for _ in range(ROUNDS):
        for _ in range(2):
            async with http.get(f"{base}media.m3u8", headers={"if-none-match": tag}) as answer:
                await answer.read()
                tag = answer.headers.get("etag", tag)
        async with http.get(f"{base}1.m4s") as answer:
            assert answer.status == 200
            await answer.read()


def rows() -> list[Row]:
    """Measure all."""
    with tempfile.TemporaryDirectory(prefix="tapedeck-bench-") as name:
        root = Path(name)
        media = media_of(root / "sources")
        pairs = []
        with rtmp_server(root / "rtmp") as server:
            for number in range(PAIRS):
                (root / str(number)).mkdir()
                pairs.append(pair(root / str(number), media, server, out_first=bool(number % 2)))
        viewer = asyncio.run(watching(root))
    more = sorted((one.out + one.sender) / one.alone - 1 for one in pairs)
    film = statistics.median(one.out / one.alone - 1 for one in pairs)
    sender = statistics.median(one.sender / one.alone for one in pairs)
    alone = statistics.median(one.alone for one in pairs) / (FILM_S - SETTLE_S)
    middle = statistics.median(more)
    least = (min(one.out for one in pairs) + min(one.sender for one in pairs)) / min(one.alone for one in pairs) - 1
    return [
        Row(
            "two people, 720p film: CPU that RTMP and HLS add, both at once",
            f"{middle:+.1%}",
            f"without them {alone:.2f} of a core",
            f"<= {MARK:.0%}",
            middle <= MARK,
            f"{more[0]:+.1%} to {more[-1]:+.1%} in {PAIRS} pairs of {FILM_S} s, {least:+.1%} by the least of each: "
            f"the film's process {film:+.1%}, "
            f"the sender {sender:.1%}; each who watches over HLS costs the server {viewer / alone:.2%} more",
        )
    ]
