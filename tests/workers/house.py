"""A node without HTTP and without a network: real database, real services, real capture; peers send when told to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from tests.service.world import SECRET, StillClock

from tapedeck.adapters.sealer import AesSealer
from tapedeck.adapters.storage.local import LocalStore
from tapedeck.core.access import Principal
from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags, TrackInfo
from tapedeck.core.meeting import App, Meeting
from tapedeck.core.recording import Recording, RecordingState
from tapedeck.db import recordings as table
from tapedeck.db.engine import Database
from tapedeck.ports.control import CaptureEvents
from tapedeck.ports.sources import FrameSink, PeerInfo, TrackSink
from tapedeck.service.access import AccessService
from tapedeck.service.hosting import HostService
from tapedeck.service.ledger import Ledger
from tapedeck.service.lifecycle import LifecycleService
from tapedeck.service.meetings import MeetingService, MeetingValues
from tapedeck.service.recordings import Action, RecordingService
from tapedeck.service.sessions import SessionService
from tapedeck.service.vault import Vault
from tapedeck.workers.capture import CaptureHost

__all__ = ["House", "Monotonic", "Peer", "open_house"]

S = 1_000_000_000


class Monotonic:
    """The node's monotonic clock, which a test may push forward."""

    def __init__(self) -> None:
        self._ahead_ns = 0

    def __call__(self) -> int:
        return time.monotonic_ns() + self._ahead_ns

    def skip(self, seconds: float) -> None:
        self._ahead_ns += round(seconds * S)


@dataclass
class Peer:
    """Somebody who is connected."""

    sink: FrameSink
    track: TrackSink
    now_ns: Callable[[], int]

    def send(self) -> None:
        """A key frame that was captured now."""
        at = self.now_ns()
        self.track.frame(EncodedFrame(at * 90_000 // S, at, b"picture", Codec.VP8, FrameFlags.KEY))

    def leave(self) -> None:
        at = self.now_ns()
        self.track.close(at)
        self.sink.close(at)


@dataclass
class House:
    """What `wiring` builds, as far as recordings need it."""

    root: Path
    db: Database
    access: AccessService
    clock: StillClock
    now_ns: Monotonic
    host: CaptureHost
    ledger: Ledger
    meetings: MeetingService
    hosting: HostService
    recordings: RecordingService
    sessions: SessionService
    lifecycle: LifecycleService
    store: LocalStore
    app: App
    backend: Principal
    disconnected: list[tuple[str, str | None]] = field(default_factory=list)
    on_disconnect: Callable[[], Awaitable[None]] | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def disconnect(self, meeting_id: str, participant_id: str | None = None) -> frozenset[str]:
        self.disconnected.append((meeting_id, participant_id))
        if self.on_disconnect is not None:
            await self.on_disconnect()
        return frozenset()

    def rename(self, meeting_id: str, participant_id: str, name: str) -> None:
        """As `Publishers`."""

    async def meeting(self, **values: object) -> Meeting:
        return await self.meetings.create(self.app, cast(MeetingValues, {"keep_alive_s": 60.0} | values))

    async def start(self, meeting: Meeting, **more: Any) -> Recording:
        return (await self.recordings.start(self.app, self.backend, meeting.id, {}, **more)).recording

    async def act(self, recording: Recording, action: Action) -> Recording:
        return (await self.recordings.control(self.app, self.backend, recording.id, action)).recording

    async def join(self, meeting: Meeting) -> Peer:
        peer_id = str(uuid4())
        info = PeerInfo(meeting.id, "participant", peer_id, "Ada")
        sink = await self.host.join(info, self.now_ns())
        track = TrackInfo(f"v-{peer_id}", peer_id, "participant", Codec.VP8.kind, Codec.VP8)
        return Peer(sink, sink.open_track(track, self, self.now_ns()), self.now_ns)

    def request_keyframe(self) -> None:
        """As `TrackControl`."""

    async def now_of(self, recording: Recording) -> Recording:
        async with self.db.read() as session:
            found = await table.find_recording(session, recording.id)
        assert found is not None
        return found

    async def until(self, recording: Recording, *states: RecordingState) -> Recording:
        """Wait for one of these states."""
        async with asyncio.timeout(60):
            while True:
                self._changed.clear()
                found = await self.now_of(recording)
                if found.state in states:
                    return found
                await self._changed.wait()

    async def recover(self) -> None:
        """As `wiring.Node.start`."""
        recovery = await self.lifecycle.recover(await self.host.log_ends(await self.lifecycle.live_sessions()))
        await self.host.recover(recovery)


@asynccontextmanager
async def open_house(
    root: Path,
    events: Callable[[SessionService], CaptureEvents] = lambda sessions: sessions,
    page_problem: Callable[[str], str | None] = lambda _: "no browser here",
) -> AsyncIterator[House]:
    """A node on `root`, recovered and running; `events` may come between capture and the service."""
    db = Database(f"sqlite:///{root}/tapedeck.db")
    await db.migrate()
    clock, now_ns = StillClock(), Monotonic()
    host = CaptureHost(root / "captures", clock, now_ns)
    access = AccessService(db, clock, SECRET)
    await access.bootstrap("acme", "campus", "a token of the tests".replace(" ", "-"))
    backend, app = await access.enter("a-token-of-the-tests", "acme", "campus")
    ledger = Ledger(db, clock)
    store = LocalStore(root / "bucket", "http://test", b"key" * 11)
    vault = Vault(db, AesSealer(["a secret for the tests"]), page_problem=page_problem)
    recordings = RecordingService(db, clock, ledger, host, store, vault)
    sessions = SessionService(db, ledger, recordings)
    hosting = HostService(db, clock, host, sessions)
    meetings = MeetingService(db, clock, host, hosting, vault)
    lifecycle = LifecycleService(db, clock, ledger, recordings)
    house = House(
        root,
        db,
        access,
        clock,
        now_ns,
        host,
        ledger,
        meetings,
        hosting,
        recordings,
        sessions,
        lifecycle,
        store,
        app,
        backend,
    )
    ledger.subscribe(lambda *_: house._changed.set())
    host.bind(events=events(sessions), meetings=meetings, publishers=house)
    running: asyncio.Task[None] | None = None
    try:
        await house.recover()
        running = asyncio.create_task(host.run())
        yield house
        assert not running.done(), "the host's clock has stopped"
    finally:
        if running is not None:
            await asyncio.gather(sessions.settle(), recordings.settle())
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await host.aclose()
        await db.aclose()
