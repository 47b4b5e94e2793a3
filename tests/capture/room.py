"""A session on paper: a log that is a list, peers that send when told to, and a clock that is set by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from tapedeck.capture.session import CaptureSession
from tapedeck.capture.track import PeerRecorder, TrackRecorder
from tapedeck.core.errors import TapedeckError
from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags, Origin, TrackInfo
from tapedeck.core.timeline import Progress, TimelineEvent
from tapedeck.core.wanted import TrackChoice
from tapedeck.ports.sources import PeerInfo

S = 1_000_000_000
MS = 1_000_000
BOOT = 77 * S
"Monotonic time at which the session began."
T = TypeVar("T", bound=TimelineEvent)


class ListLog:
    """A log in memory, in the order of handing over. `fault` is what `sync` fails with."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, EncodedFrame] | TimelineEvent] = []
        self.open: set[str] = set()
        self.opened: list[str] = []
        self.fault: TapedeckError | None = None
        self.closed = False
        self.syncs = 0

    def open_track(self, info: TrackInfo) -> None:
        self.open.add(info.track_id)
        self.opened.append(info.track_id)

    def close_track(self, track_id: str) -> None:
        self.open.discard(track_id)

    def frame(self, track_id: str, frame: EncodedFrame) -> None:
        assert track_id in self.open, "a frame of a track that is not open"
        self.entries.append((track_id, frame))

    def event(self, event: TimelineEvent) -> None:
        self.entries.append(event)

    def sync(self) -> Future[None]:
        self.syncs += 1
        future: Future[None] = Future()
        if self.fault is None:
            future.set_result(None)
        else:
            future.set_exception(self.fault)
        return future

    def close(self) -> Future[None]:
        self.closed = True
        return self.sync()

    @property
    def frames(self) -> list[tuple[str, EncodedFrame]]:
        return [entry for entry in self.entries if isinstance(entry, tuple)]

    @property
    def events(self) -> list[TimelineEvent]:
        return [entry for entry in self.entries if not isinstance(entry, tuple)]

    def told(self) -> list[TimelineEvent]:
        """All events but Progress."""
        return [event for event in self.events if not isinstance(event, Progress)]

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]


class Sender:
    """One track of a peer: sends frames on command, remembers what was asked of it."""

    def __init__(self, room: Room, peer: PeerRecorder, track_id: str, codec: Codec, at_ns: int) -> None:
        info = peer.info
        self.info = TrackInfo(track_id, info.peer_id, info.participant_id, codec.kind, codec, info.origin)
        self.room = room
        self.asked: list[int] = []
        self.sink: TrackRecorder = peer.open_track(self.info, self, BOOT + at_ns)

    def request_keyframe(self) -> None:
        self.asked.append(self.room.now_ns)

    def send(self, captured_ns: int, arrival_ns: int | None = None, *, key: bool = False) -> None:
        """A frame; the payload says when it was captured."""
        arrival = captured_ns if arrival_ns is None else arrival_ns
        self.room.now_ns = max(self.room.now_ns, arrival)
        ticks = captured_ns * self.info.clock_rate // S + 5_000
        flags = FrameFlags.KEY if key or self.info.codec is Codec.OPUS else FrameFlags.NONE
        self.sink.frame(EncodedFrame(ticks, BOOT + arrival, str(captured_ns).encode(), self.info.codec, flags))


class Room:
    """A session with its log and the clock. Times are on the capture clock."""

    def __init__(self, session: CaptureSession | None = None) -> None:
        self.logs: list[ListLog] = []
        self.capturing: list[tuple[str, datetime]] = []
        self.problems: list[str | None] = []
        self.now_ns = 0
        self.started_at = datetime(2026, 1, 1, tzinfo=UTC)
        self.session = session or CaptureSession(
            "session", "meeting", open_log=self._open, listener=self, zero_ns=BOOT, started_at=self.started_at
        )

    def _open(self) -> ListLog:
        self.logs.append(ListLog())
        return self.logs[-1]

    @property
    def log(self) -> ListLog:
        return self.logs[-1]

    def on_capturing(self, recording_id: str, at: datetime) -> None:
        self.capturing.append((recording_id, at))

    def on_problem(self, session_id: str, text: str | None) -> None:
        self.problems.append(text)

    def utc(self, at_ns: int) -> datetime:
        return self.started_at + timedelta(microseconds=at_ns // 1000)

    def join(self, name: str, at_ns: int = 0, origin: Origin = Origin.CAMERA) -> PeerRecorder:
        self.now_ns = max(self.now_ns, at_ns)
        peer = PeerInfo("meeting", f"user-{name}", f"peer-{name}-{origin}", name.title(), origin=origin)
        return self.session.join(peer, BOOT + at_ns)

    def video(self, peer: PeerRecorder, at_ns: int = 0) -> Sender:
        return Sender(self, peer, f"v-{peer.info.peer_id}", Codec.VP8, at_ns)

    def audio(self, peer: PeerRecorder, at_ns: int = 0) -> Sender:
        return Sender(self, peer, f"a-{peer.info.peer_id}", Codec.OPUS, at_ns)

    def start(self, recording_id: str, at_ns: int) -> None:
        self.now_ns = at_ns
        self.session.start(recording_id, BOOT + at_ns)

    def start_tracks(self, recording_id: str, at_ns: int, tracks: TrackChoice) -> None:
        self.now_ns = at_ns
        self.session.start(recording_id, BOOT + at_ns, tracks)

    def resume(self, recording_id: str, at_ns: int) -> None:
        self.now_ns = at_ns
        self.session.resume(recording_id, BOOT + at_ns)

    async def pause(self, recording_id: str, at_ns: int) -> None:
        self.now_ns = at_ns
        await self.session.pause(recording_id, BOOT + at_ns)

    async def stop_soon(self, recording_id: str, at_ns: int) -> asyncio.Task[bool]:
        """Give the command; it may still be waiting when this returns."""
        self.now_ns = at_ns
        task = asyncio.create_task(self.session.stop(recording_id, BOOT + at_ns))
        await settle()
        return task

    def tick(self, at_ns: int) -> None:
        self.now_ns = at_ns
        self.session.tick(BOOT + at_ns)

    def play(
        self,
        senders: list[Sender],
        from_ns: int,
        until_ns: int,
        *,
        delay: Callable[[int], int] = lambda at: 0,
        key_every_ns: int = S,
    ) -> None:
        """All senders send (video 25, audio 50 frames a second), and the host ticks every 50 ms."""
        pending: list[tuple[int, int, Sender | None]] = []
        for sender in senders:
            step = 40 * MS if sender.info.codec is Codec.VP8 else 20 * MS
            last = 0
            for at in range(-(-from_ns // step) * step, until_ns, step):
                last = max(last, at + delay(at))
                pending.append((last, at, sender))
        pending += [(at, at, None) for at in range(-(-from_ns // (50 * MS)) * 50 * MS, until_ns, 50 * MS)]
        for arrival, at, who in sorted(pending, key=lambda entry: (entry[0], entry[1])):
            if who is None:
                self.tick(max(arrival, self.now_ns))
            else:
                who.send(at, arrival, key=at % key_every_ns == 0)

    def kept(self, sender: Sender) -> list[int]:
        """True capture times of the frames of a track in the log."""
        return [int(frame.payload) for track_id, frame in self.log.frames if track_id == sender.info.track_id]


async def settle() -> None:
    """Let everything run that can run without time passing."""
    for _ in range(10):
        await asyncio.sleep(0)
