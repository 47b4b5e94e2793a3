"""What the tests of sources share: an ingest that remembers, a publisher connected to a server, frames to send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tapedeck.core.errors import TapedeckError
from tapedeck.core.frames import EncodedFrame, FrameFlags, Kind, Origin, TrackInfo
from tapedeck.ports.sources import PeerInfo, TrackControl
from tapedeck.ports.whip import WhipAnswer
from tapedeck.sources.network import NetworkSettings
from tapedeck.sources.publish import Publisher
from tapedeck.sources.webrtc import PeerSettings
from tapedeck.sources.whip import WhipLimits, WhipServer

LOOPBACK = NetworkSettings(hosts=("127.0.0.1",))
SETS = b"\0\0\0\1\x67\x42\xe0\x1f\x8d\x68" + b"\0\0\0\1\x68\xce\x3c\x80"


def h264_frame(number: int, size: int = 3000, *, key: bool = False) -> bytes:
    """A frame with valid NAL headers that no other number has."""
    body = b"%08d" % number + bytes(1 + (number * 7 + i) % 255 for i in range(size))
    return SETS + b"\0\0\0\1\x65\x88" + body if key else b"\0\0\0\1\x41\x9a" + body


def vp8_frame(number: int, size: int = 3000, *, key: bool = False) -> bytes:
    """The same for VP8."""
    return (b"\x10" if key else b"\x11") + b"%08d" % number + bytes((number + i) % 256 for i in range(size))


def peer_info(**changes: Any) -> PeerInfo:
    return replace(PeerInfo("meeting", "person", "peer-1", "Ada", "", Origin.CAMERA), **changes)


@dataclass
class TrackLog:
    """A TrackSink that remembers all calls, and checks the rules of the port."""

    info: TrackInfo
    control: TrackControl
    opened_at: int
    changed: asyncio.Event
    frames: list[EncodedFrame] = field(default_factory=list)
    reports: list[tuple[int, int, int]] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    mutes: list[bool] = field(default_factory=list)
    held: list[int | None] = field(default_factory=list)
    closed: bool = False

    def _call(self) -> None:
        assert not self.closed, "a call after close"
        self.changed.set()

    def frame(self, frame: EncodedFrame) -> None:
        self._call()
        assert frame.arrival_ns >= self.opened_at
        self.frames.append(frame)

    def clock_report(self, at_ns: int, wallclock_ns: int, media_time: int) -> None:
        self._call()
        self.reports.append((at_ns, wallclock_ns, media_time))

    def audio_level(self, at_ns: int, dbov: int) -> None:
        self._call()
        assert self.info.kind is Kind.AUDIO
        self.levels.append(dbov)

    def waiting_since(self, at_ns: int | None) -> None:
        self._call()
        assert not self.held or self.held[-1] != at_ns
        self.held.append(at_ns)

    def muted(self, at_ns: int, muted: bool) -> None:
        self._call()
        assert muted is not (self.mutes[-1] if self.mutes else False)
        self.mutes.append(muted)

    def close(self, at_ns: int) -> None:
        self._call()
        assert not self.held or self.held[-1] is None
        self.closed = True

    @property
    def payloads(self) -> list[bytes]:
        return [frame.payload for frame in self.frames]

    @property
    def breaks(self) -> list[int]:
        """Indices of frames that are marked as discontinuities."""
        return [i for i, frame in enumerate(self.frames) if frame.flags & FrameFlags.DISCONTINUITY]

    @property
    def resets(self) -> list[int]:
        """Indices of frames in front of which the sender's clock was reset."""
        return [i for i, frame in enumerate(self.frames) if frame.flags & FrameFlags.NEW_CLOCK]


@dataclass
class PeerLog:
    """A FrameSink that remembers."""

    info: PeerInfo
    joined_at: int
    changed: asyncio.Event
    tracks: list[TrackLog] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    messages: list[str | bytes] = field(default_factory=list)
    closed: bool = False

    def open_track(self, info: TrackInfo, control: TrackControl, at_ns: int) -> TrackLog:
        assert not self.closed
        assert at_ns >= self.joined_at
        self.tracks.append(TrackLog(info, control, at_ns, self.changed))
        self.changed.set()
        return self.tracks[-1]

    def rename(self, name: str, at_ns: int) -> None:
        self.names.append(name)
        self.changed.set()

    def message(self, data: str | bytes, at_ns: int) -> None:
        assert not self.closed and at_ns >= self.joined_at
        self.messages.append(data)
        self.changed.set()

    def close(self, at_ns: int) -> None:
        assert not self.closed
        assert all(track.closed for track in self.tracks)
        self.closed = True
        self.changed.set()

    def of(self, kind: Kind) -> list[TrackLog]:
        return [track for track in self.tracks if track.info.kind is kind]

    @property
    def video(self) -> TrackLog:
        return self.of(Kind.VIDEO)[0]

    @property
    def audio(self) -> TrackLog:
        return self.of(Kind.AUDIO)[0]


class IngestLog:
    """An Ingest that remembers."""

    def __init__(self) -> None:
        self.peers: list[PeerLog] = []
        self.changed = asyncio.Event()
        self.refusal: TapedeckError | None = None
        self.gate = asyncio.Event()
        "Cleared: joining takes until it is set."
        self.gate.set()

    async def join(self, peer: PeerInfo, at_ns: int) -> PeerLog:
        await self.gate.wait()
        if self.refusal is not None:
            raise self.refusal
        self.peers.append(PeerLog(peer, at_ns, self.changed))
        self.changed.set()
        return self.peers[-1]

    async def until(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Wait until something that the ingest was told makes the condition true."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


class Studio:
    """A WHIP server on loopback and its ingest."""

    def __init__(self, settings: PeerSettings, limits: WhipLimits) -> None:
        self.ingest = IngestLog()
        self.server = WhipServer(self.ingest, settings, limits=limits)
        self.answers: list[WhipAnswer] = []

    def poster(self, **changes: Any) -> Callable[[str], Coroutine[Any, Any, str]]:
        """A `post` for Publisher.connect, for a peer with these properties."""

        async def post(offer: str) -> str:
            self.answers.append(await self.server.offer(peer_info(**changes), offer))
            return self.answers[-1].sdp

        return post

    def patcher(self, if_match: str = "*") -> Callable[[str], Coroutine[Any, Any, str]]:
        """A `patch` for Publisher.restart_ice, for the session answered last."""

        async def patch(fragment: str) -> str:
            patched = await self.server.patch(self.answers[-1].session_id, fragment, if_match)
            assert patched.sdp is not None
            return patched.sdp

        return patch

    @property
    def peer(self) -> PeerLog:
        return self.ingest.peers[-1]

    async def until(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        await self.ingest.until(condition, timeout_s)


@asynccontextmanager
async def studio(
    *, limits: WhipLimits | None = None, network: NetworkSettings = LOOPBACK, **settings: Any
) -> AsyncIterator[Studio]:
    """A server for one test; whatever happens, everything is closed after it."""
    place = Studio(PeerSettings(network=network, **settings), limits or WhipLimits())
    try:
        yield place
    finally:
        await place.server.aclose()
        assert len(place.server) == 0
        assert all(peer.closed for peer in place.ingest.peers)


@asynccontextmanager
async def publisher(**options: Any) -> AsyncIterator[Publisher]:
    """A publisher for one test, closed after it."""
    person = Publisher(**options)
    try:
        yield person
    finally:
        await person.close()
        assert person.faults == []
