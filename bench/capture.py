"""What capture costs: CPU of a receiver process per 720p30 2.5 Mbit/s H264 track, beside stock aiortc.

A sender process publishes N tracks, each on its own peer connection; a receiver process takes them with Tapedeck's WHIP
server, capture session and media log, another with aiortc's RTCPeerConnection whose decoder is switched off. Each
receiver measures itself, threads included, over the same stretch of media. Every frame sent must be in the log byte for
byte.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import uvloop

from bench.row import Row
from tapedeck.capture.recover import new_session
from tapedeck.capture.session import TICK_S
from tapedeck.core.frames import Codec, EncodedFrame, TrackInfo
from tapedeck.core.timeline import TrackOpened
from tapedeck.logs import configure_logs
from tapedeck.medialog.reader import LogReader
from tapedeck.ports.sources import FrameSink, PeerInfo, TrackControl, TrackSink
from tapedeck.sources.network import NetworkSettings
from tapedeck.sources.publish import Publisher
from tapedeck.sources.webrtc import PeerSettings
from tapedeck.sources.whip import WhipServer

_TRACKS = (1, 16, 32)
_FPS = 30
_GROUP = 60
"Frames from one key frame to the next."
_WARM_UP_S = 2
_MEASURE_S = 10
_MARK = 1.2
_HOST = "127.0.0.1"


def rows() -> list[Row]:
    """Capture at 1, 16 and 32 tracks."""
    return [_row(count) for count in _TRACKS]


def _row(count: int) -> Row:
    with tempfile.TemporaryDirectory(prefix="tapedeck-bench-") as folder:
        root = Path(folder) / "log"
        ours = _measure("receive", count, root)
        missing = _missing(root, count, int(ours["frames"]))
    stock = _measure("stock", count, Path())
    return Row(
        f"capture, {count} x 720p30 2.5 Mbit/s H264, % of a core each",
        f"{ours['cpu'] / count:.2f} %",
        f"{stock['cpu'] / count:.2f} % (aiortc, no decoding, no log)",
        f"<= {_MARK} %",
        ours["cpu"] / count <= _MARK and not missing,
        f"{count * ours['frames']:.0f} frames sent at {ours['mbit'] / count:.2f} Mbit/s, "
        f"{missing} not in the log byte for byte",
    )


def _measure(kind: str, count: int, root: Path) -> dict[str, float]:
    """Run a receiver of this kind and a sender, carry the signalling between them; returns the receiver's figures."""
    receiver, sender = _spawn(kind, str(root)), _spawn("send", str(count))
    try:
        for _ in range(count):
            _tell(receiver, _hear(sender))
            _tell(sender, _hear(receiver))
        connected = _hear(sender)
        _tell(receiver, {"measure": _MEASURE_S, "after": _WARM_UP_S, **connected})
        figures = cast(dict[str, float], _hear(receiver))
        _tell(sender, {"stop": True})
        figures.update(_hear(sender))
        _tell(receiver, {"stop": True})
        _hear(receiver)
        return figures
    finally:
        for process in (receiver, sender):
            if process.stdin is not None:
                process.stdin.close()
            if process.wait(20):
                raise RuntimeError(f"a {kind} or send process ended with {process.returncode}")


def _spawn(*args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bench.capture", *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _tell(process: subprocess.Popen[str], message: Any) -> None:
    if process.stdin is None:
        raise RuntimeError("no pipe")
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()


def _hear(process: subprocess.Popen[str]) -> dict[str, Any]:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise RuntimeError("a process of the benchmark ended early")
    return cast(dict[str, Any], json.loads(line))


# media, the same in every process


def _make_group() -> list[bytes]:
    """Payloads of one group of pictures of 2.5 Mbit/s: a key frame of six times the size of the others."""
    source = random.Random(720)
    total = 2_500_000 // 8 * _GROUP // _FPS
    unit = total // (_GROUP + 5)
    return [source.randbytes(6 * unit if i == 0 else unit).replace(b"\0", b"\1") for i in range(_GROUP)]


def _frame(group: list[bytes], track: int, index: int) -> bytes:
    """Frame `index` of a track: valid NAL headers, and bytes that no other frame has."""
    stamp = b"%08x%08x" % (track, index)
    if index % _GROUP:
        return b"\0\0\0\1\x41\x9a" + stamp + group[index % _GROUP]
    sets = b"\0\0\0\1\x67\x42\xe0\x1f\x8d\x68" + b"\0\0\0\1\x68\xce\x3c\x80"
    return sets + b"\0\0\0\1\x65\x88" + stamp + group[0]


def _missing(root: Path, count: int, frames: int) -> int:
    """Frames that are not in the log exactly as sent."""
    group = _make_group()
    reader = LogReader(root)
    missing = 0
    opened = [event.track for event in reader.timeline().poll() if isinstance(event, TrackOpened)]
    for info in opened:
        track = reader.track(info.track_id)
        logged: list[bytes] = []
        while batch := track.poll():
            logged += [frame.payload for frame in batch]
        number = int(info.participant_id)
        missing += sum(
            i >= len(logged) or logged[i] != _frame(group, number, i) for i in range(max(frames, len(logged)))
        )
    return missing + frames * (count - len(opened))


# processes


class _Pipe:
    """JSON lines on standard input and output."""

    async def open(self) -> None:
        self._reader = asyncio.StreamReader(limit=1 << 20)
        protocol = asyncio.StreamReaderProtocol(self._reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)

    async def hear(self) -> dict[str, Any]:
        return cast(dict[str, Any], json.loads(await self._reader.readline()))

    def tell(self, message: Any) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


async def _send(pipe: _Pipe, count: int) -> None:
    group = _make_group()
    publishers = [Publisher(hosts=(_HOST,), seed=k) for k in range(count)]
    tracks = [publisher.add_video(Codec.H264) for publisher in publishers]
    for publisher in publishers:

        async def post(offer: str) -> str:
            pipe.tell({"sdp": offer})
            return cast(str, (await pipe.hear())["sdp"])

        await publisher.connect(post)
    pipe.tell({"connected": count})
    stopped = asyncio.ensure_future(pipe.hear())
    begin = time.monotonic()
    index = 0
    while not (stopped.done() and index % _GROUP == 0):
        for k, track in enumerate(tracks):
            due = begin + (index + k / count) / _FPS
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            track.send(_frame(group, k, index), index * 3000)
        index += 1
    pipe.tell({"frames": index, "resent": sum(track.packets_resent for track in tracks)})
    await asyncio.sleep(1)
    for publisher in publishers:
        await publisher.close()


@dataclass
class _Meter:
    octets: int = 0

    async def measure(self, after_s: float, length_s: float) -> dict[str, float]:
        """CPU of this process and media received, over a stretch of time."""
        await asyncio.sleep(after_s)
        cpu, octets, begin = time.process_time(), self.octets, time.monotonic()
        await asyncio.sleep(length_s)
        elapsed = time.monotonic() - begin
        return {
            "cpu": 100 * (time.process_time() - cpu) / elapsed,
            "mbit": (self.octets - octets) * 8e-6 / elapsed,
        }


class _Counted:
    """A track of the capture session, with its bytes counted."""

    def __init__(self, sink: TrackSink, meter: _Meter) -> None:
        self._sink = sink
        self._meter = meter
        self.clock_report = sink.clock_report
        self.audio_level = sink.audio_level
        self.waiting_since = sink.waiting_since
        self.muted = sink.muted
        self.close = sink.close

    def frame(self, frame: EncodedFrame) -> None:
        self._meter.octets += len(frame.payload)
        self._sink.frame(frame)


class _CountedPeer:
    """A peer of the capture session."""

    def __init__(self, sink: FrameSink, meter: _Meter) -> None:
        self._sink = sink
        self._meter = meter
        self.rename = sink.rename
        self.message = sink.message
        self.close = sink.close

    def open_track(self, info: TrackInfo, control: TrackControl, at_ns: int) -> _Counted:
        return _Counted(self._sink.open_track(info, control, at_ns), self._meter)


class _Capture:
    """One session being recorded: what workers.capture does, without the database."""

    def __init__(self, root: Path, meter: _Meter) -> None:
        self._meter = meter
        self.session = new_session(
            root, "bench-session", "bench-meeting", now_utc=datetime.now(UTC), now_ns=time.monotonic_ns(), listener=self
        )
        self.session.start("bench-recording", time.monotonic_ns())

    async def join(self, peer: PeerInfo, at_ns: int) -> _CountedPeer:
        return _CountedPeer(self.session.join(peer, at_ns), self._meter)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.session.tick(time.monotonic_ns())

    def on_capturing(self, recording_id: str, at: datetime) -> None:
        """The recording has begun; nobody waits for that here."""

    def on_problem(self, session_id: str, text: str | None) -> None:
        if text:
            raise RuntimeError(text)


async def _receive(pipe: _Pipe, root: Path) -> None:
    meter = _Meter()
    capture = _Capture(root, meter)
    clock = asyncio.create_task(capture.run())
    server = WhipServer(capture, PeerSettings(network=NetworkSettings(hosts=(_HOST,))))
    number = 0

    async def answer(offer: str) -> str:
        nonlocal number
        peer = PeerInfo("bench-meeting", str(number), f"peer-{number}", f"person {number}")
        number += 1
        return (await server.offer(peer, offer)).sdp

    await _serve(pipe, answer, meter)
    await asyncio.sleep(1)
    await server.aclose()
    await capture.session.stop("bench-recording", time.monotonic_ns())
    clock.cancel()
    await capture.session.aclose()


async def _stock(pipe: _Pipe) -> None:
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, rtcrtpreceiver

    meter = _Meter()

    def no_decoder(loop: Any, incoming: Any, outgoing: Any, failed: Any) -> None:
        while (task := incoming.get()) is not None:
            meter.octets += len(task[1].data)

    vars(rtcrtpreceiver)["decoder_worker"] = no_decoder
    connections = []

    async def answer(offer: str) -> str:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connections.append(connection)
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        return connection.localDescription.sdp

    await _serve(pipe, answer, meter)
    for connection in connections:
        await connection.close()


async def _serve(pipe: _Pipe, answer: Callable[[str], Awaitable[str]], meter: _Meter) -> None:
    """Answer offers until the order to measure comes."""
    while "sdp" in (message := await pipe.hear()):
        pipe.tell({"sdp": await answer(message["sdp"])})
    pipe.tell(await meter.measure(message["after"], message["measure"]))
    await pipe.hear()
    pipe.tell({"done": True})


async def _main(role: str, argument: str) -> None:
    configure_logs(level="warning")
    pipe = _Pipe()
    await pipe.open()
    if role == "send":
        await _send(pipe, int(argument))
    elif role == "receive":
        await _receive(pipe, Path(argument))
    else:
        await _stock(pipe)


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], sys.argv[2]))
