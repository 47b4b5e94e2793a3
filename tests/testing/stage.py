"""A stage for synthetic people without HTTP: the real WHIP server and receiver, and a sink that notes what arrives."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

from tapedeck.core.errors import NotFoundError
from tapedeck.core.frames import EncodedFrame, Origin, TrackInfo
from tapedeck.ports.sources import FrameSink, PeerInfo, TrackControl, TrackSink
from tapedeck.sources.network import NetworkSettings
from tapedeck.sources.webrtc import PeerSettings
from tapedeck.sources.whip import WhipServer


@dataclass
class NotedTrack:
    """A `TrackSink` that keeps everything."""

    info: TrackInfo
    control: TrackControl
    frames: list[EncodedFrame] = field(default_factory=list)
    reports: list[tuple[int, int, int]] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    mutes: list[bool] = field(default_factory=list)
    closed: bool = False

    def frame(self, frame: EncodedFrame) -> None:
        self.frames.append(frame)

    def clock_report(self, at_ns: int, wallclock_ns: int, media_time: int) -> None:
        self.reports.append((at_ns, wallclock_ns, media_time))

    def audio_level(self, at_ns: int, dbov: int) -> None:
        self.levels.append(dbov)

    def waiting_since(self, at_ns: int | None) -> None:
        pass

    def muted(self, at_ns: int, muted: bool) -> None:
        self.mutes.append(muted)

    def close(self, at_ns: int) -> None:
        self.closed = True

    def taken_at(self, frame: EncodedFrame) -> int:
        """The sender's wall clock when a frame was taken, by the first report."""
        _, wallclock_ns, media_time = self.reports[0]
        return wallclock_ns + (frame.media_time - media_time) * 1_000_000_000 // self.info.clock_rate


@dataclass
class NotedPeer:
    """A `FrameSink`."""

    info: PeerInfo
    tracks: list[NotedTrack] = field(default_factory=list)
    closed: bool = False

    def open_track(self, info: TrackInfo, control: TrackControl, at_ns: int) -> TrackSink:
        self.tracks.append(NotedTrack(info, control))
        return self.tracks[-1]

    def rename(self, name: str, at_ns: int) -> None:
        pass

    def message(self, data: str | bytes, at_ns: int) -> None:
        pass

    def close(self, at_ns: int) -> None:
        self.closed = True

    def track(self, kind: str) -> NotedTrack:
        """The first track of a kind."""
        return next(track for track in self.tracks if track.info.kind == kind)


class Stage:
    """An `Ingest`, and a `Door` of each participant."""

    def __init__(self) -> None:
        self.peers: list[NotedPeer] = []
        self.whip = WhipServer(self, PeerSettings(network=NetworkSettings(hosts=("127.0.0.1",))))
        self._numbers = count()

    async def join(self, peer: PeerInfo, at_ns: int) -> FrameSink:
        self.peers.append(NotedPeer(peer))
        return self.peers[-1]

    def door(self, participant_id: str) -> StageDoor:
        return StageDoor(self, participant_id, self._numbers)


@dataclass
class StageDoor:
    """A `Door`."""

    stage: Stage
    participant_id: str
    numbers: count[int]

    async def enter(self, offer: str, source: str) -> tuple[str, str]:
        peer = PeerInfo(
            "meeting", self.participant_id, f"peer-{next(self.numbers)}", self.participant_id, origin=Origin(source)
        )
        answer = await self.stage.whip.offer(peer, offer)
        return answer.sdp, answer.session_id

    async def leave(self, session: str) -> None:
        with suppress(NotFoundError):
            await self.stage.whip.delete(session)
