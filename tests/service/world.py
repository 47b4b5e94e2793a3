"""A whole service layer on a temporary database, with a clock that stands still and a capture that only notes.

The capture double stands at the one seam where the next stage begins; everything on this side of it is real.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric import rsa

from tapedeck.adapters.provider.cloudflare import CloudflareProviders
from tapedeck.adapters.sealer import AesSealer
from tapedeck.adapters.signer import RsaSigner, is_signed
from tapedeck.adapters.storage.local import LocalStore
from tapedeck.core.access import AppPrincipal, Principal
from tapedeck.core.destination import DestinationKind, DestinationState
from tapedeck.core.meeting import App, Meeting, Participant
from tapedeck.core.naming import object_key
from tapedeck.core.paging import Page
from tapedeck.core.recording import FilmFile, Recording
from tapedeck.core.signing import derive_key
from tapedeck.core.wanted import TrackChoice
from tapedeck.db import destinations
from tapedeck.db import recordings as table
from tapedeck.db.engine import Database
from tapedeck.db.recordings import OutboxEntry
from tapedeck.notify.outbox import Composer, sample
from tapedeck.ports.archive import ArchiveStore
from tapedeck.service.access import AccessService
from tapedeck.service.archive import ArchiveService
from tapedeck.service.attendance import AttendanceService
from tapedeck.service.configs import ConfigService
from tapedeck.service.deliveries import DeliveryService
from tapedeck.service.events import EventFeed
from tapedeck.service.hosting import HostService
from tapedeck.service.ledger import Ledger
from tapedeck.service.library import LibraryService
from tapedeck.service.lifecycle import LifecycleService
from tapedeck.service.livestreams import LivestreamService
from tapedeck.service.meetings import MeetingService, MeetingValues, ParticipantValues
from tapedeck.service.playback import PlaybackService
from tapedeck.service.presets import PresetService
from tapedeck.service.recordings import RecordingFilter, RecordingService
from tapedeck.service.remote import RemoteService
from tapedeck.service.renders import RenderService
from tapedeck.service.retention import RetentionService
from tapedeck.service.rooms import RoomService
from tapedeck.service.sessions import SessionService
from tapedeck.service.targets import TargetService
from tapedeck.service.vault import Vault
from tapedeck.service.webhooks import WebhookService
from tapedeck.shapes.realtimekit import status_change
from tapedeck.workers.archive import LocalFiles
from tapedeck.workers.playback import LocalFilms

__all__ = ["START", "NotingCapture", "StillClock", "World", "make_world"]

START = datetime(2026, 3, 2, 9, 15, 4, 120_000, tzinfo=UTC)
SECRET = "a secret of the tests, long enough"
SIGNER = RsaSigner(rsa.generate_private_key(public_exponent=65_537, key_size=2048))


class StillClock:
    """Time passes when a test says so."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def move(self, seconds: float) -> datetime:
        self._now += timedelta(seconds=seconds)
        return self._now


class NotingCapture:
    """`ports.control.CaptureControl` that notes what it is told; `before` may fail or report in the middle."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str | None]] = []
        self.tracks: dict[str, TrackChoice | None] = {}
        self.timed: set[str] = set()
        self.said: list[tuple[str, str]] = []
        self.is_closed = False
        self.before: Callable[[str], Awaitable[None]] | None = None

    async def _note(self, word: str, meeting_id: str, other: str | None) -> None:
        if self.before is not None:
            await self.before(word)
        self.calls.append((word, meeting_id, other))

    async def start(
        self,
        meeting_id: str,
        recording_id: str,
        tracks: TrackChoice | None = None,
        *,
        timed: bool = False,
        page: bool = False,
    ) -> None:
        self.tracks[recording_id] = tracks
        if timed:
            self.timed.add(recording_id)
        await self._note("start", meeting_id, recording_id)

    async def pause(self, meeting_id: str, recording_id: str) -> None:
        await self._note("pause", meeting_id, recording_id)

    async def resume(self, meeting_id: str, recording_id: str) -> None:
        await self._note("resume", meeting_id, recording_id)

    async def say(self, meeting_id: str, recording_id: str, text: str) -> bool:
        self.said.append((recording_id, text))
        return recording_id in self.timed and not self.is_closed

    async def stop(self, meeting_id: str, recording_id: str) -> None:
        await self._note("stop", meeting_id, recording_id)

    async def rename(self, meeting_id: str, participant_id: str, name: str) -> None:
        await self._note("rename", meeting_id, f"{participant_id} {name}")

    async def disconnect(self, meeting_id: str, participant_id: str | None = None) -> frozenset[str]:
        await self._note("disconnect", meeting_id, participant_id)
        return frozenset()

    async def end_session(self, meeting_id: str) -> None:
        await self._note("end", meeting_id, None)

    def words(self, recording_id: str) -> list[str]:
        return [word for word, _, other in self.calls if other == recording_id]


@dataclass
class World:
    """Services and what stands around them."""

    db: Database
    clock: StillClock
    capture: NotingCapture
    store: LocalStore
    link_key: bytes
    access: AccessService
    ledger: Ledger
    meetings: MeetingService
    hosting: HostService
    attendance: AttendanceService
    presets: PresetService
    configs: ConfigService
    vault: Vault
    recordings: RecordingService
    renders: RenderService
    library: LibraryService
    rooms: RoomService
    remote: RemoteService
    targets: TargetService
    films: LocalFilms
    playback: PlaybackService
    livestreams: LivestreamService
    sessions: SessionService
    lifecycle: LifecycleService
    webhooks: WebhookService
    deliveries: DeliveryService
    feed: EventFeed
    signer: RsaSigner
    account_id: str
    app: App
    token: str
    backend: Principal
    archives: ArchiveService
    retention: RetentionService
    root: Path

    async def meeting(self, **values: object) -> Meeting:
        return await self.meetings.create(self.app, cast(MeetingValues, {"title": "Physics"} | values))

    async def person(self, meeting: Meeting, preset: str = "group_call_host", name: str = "Ada") -> Participant:
        values: ParticipantValues = {"preset_name": preset, "name": name}
        return await self.meetings.add_participant(self.app, meeting.id, f"custom-{name}", values)

    async def live(self, meeting: Meeting, people: int = 1) -> str:
        """Let a session begin with so many people in it; its id."""
        session_id = str(uuid4())
        now = self.clock.now()
        await self.sessions.on_session_started(meeting.id, session_id, now)
        for number in range(people):
            person = await self.person(meeting, name=f"P{number}")
            await self.sessions.on_joined(session_id, person.id, f"{session_id}/{number}", "P", now)
        return session_id

    async def start(self, meeting: Meeting, **config: object) -> Recording:
        view = await self.recordings.start(self.app, self.backend, meeting.id, config)
        return view.recording

    async def capturing(self, meeting: Meeting, session_id: str) -> Recording:
        """A recording with media."""
        recording = await self.start(meeting)
        await self.sessions.on_capturing(recording.id, session_id, self.clock.now())
        return await self.now_of(recording)

    async def capturing_first(self, meeting: Meeting, session_id: str) -> Recording:
        """The recording that the first join has started, with media."""
        wanted = RecordingFilter(meeting_id=meeting.id)
        (view,) = (await self.recordings.list(self.app, wanted, Page())).items
        await self.sessions.on_capturing(view.recording.id, session_id, self.clock.now())
        return await self.now_of(view.recording)

    async def now_of(self, recording: Recording) -> Recording:
        return await self.now_of_id(recording.id)

    async def now_of_id(self, recording_id: str) -> Recording:
        async with self.db.read() as session:
            found = await table.find_recording(session, recording_id)
        assert found is not None
        return found

    async def finish(self, recording: Recording, content: bytes = b"film") -> Recording:
        """Render and deliver a stopped recording: a real file in the real store."""
        await self.recordings.settle()
        path = self.root / f"{recording.id}.mp4"
        path.write_bytes(content)
        film = FilmFile("video", recording.file_name, len(content), 4_000, "00000000", local_path=str(path))
        await self.lifecycle.on_rendered(recording.id, [film])
        key = object_key(recording.id, recording.invoked_at, film.name)
        await self.store.put_file(key, path, "video/mp4", film.name)
        stored = FilmFile("video", film.name, film.size_bytes, film.duration_ms, film.crc32c, key=key)
        uploaded = await self.lifecycle.on_uploaded(recording.id, [stored])
        await self.delivered(recording)
        return uploaded

    async def delivered(self, recording: Recording) -> None:
        """Note that the bucket has what it is to get."""
        async with self.db.write() as session:
            for place in await destinations.of_recording(session, recording.id):
                if place.kind is DestinationKind.BUCKET:
                    done = replace(place, state=DestinationState.DONE, finished_at=self.clock.now())
                    await destinations.save_destination(session, done)

    async def finish_outside(self, recording: Recording) -> Recording:
        """Render a stopped recording, and deliver it to a customer's storage alone."""
        await self.recordings.settle()
        film = FilmFile("video", recording.file_name, 4, 4_000, "00000000", local_path="/nowhere")
        await self.lifecycle.on_rendered(recording.id, [film])
        return await self.lifecycle.on_uploaded(recording.id, [replace(film, local_path=None)])

    async def say_of_storage(self, recording_id: str, state: DestinationState, error: str | None) -> None:
        """What the delivery found out about the customer's storage of a recording."""
        async with self.db.write() as session:
            (place,) = [d for d in await destinations.of_recording(session, recording_id) if d.storage]
            await destinations.save_destination(session, replace(place, state=state, error=error))

    async def outbox(self) -> list[OutboxEntry]:
        async with self.db.read() as session:
            return list(await table.outbox(session, limit=10_000))

    async def events(self, recording: Recording) -> list[str]:
        """What a webhook would have said about a recording."""
        said = [
            status_change(entry.change.previous, entry.change.state)
            for entry in await self.outbox()
            if entry.change.recording_id == recording.id
        ]
        return [word for word in said if word is not None]


@asynccontextmanager
async def make_world(
    root: Path,
    public_url: str = "http://127.0.0.1:1",
    secrets: Sequence[str] = (SECRET,),
    archive: ArchiveStore | None = None,
) -> AsyncIterator[World]:
    """Everything, on a database that is made for this test."""
    root.mkdir(parents=True, exist_ok=True)
    db = Database(f"sqlite:///{root}/tapedeck.db")
    clock, capture = StillClock(), NotingCapture()
    link_key = derive_key(SECRET, "file-link")
    store = LocalStore(root / "bucket", public_url, link_key)
    access = AccessService(db, clock, SECRET)
    ledger = Ledger(db, clock)
    vault = Vault(db, AesSealer(secrets))
    recordings = RecordingService(db, clock, ledger, capture, store, vault)
    sessions = SessionService(db, ledger, recordings)
    hosting = HostService(db, clock, capture, sessions)
    archives = ArchiveService(db, clock, store, archive)
    local = LocalFiles(root / "captures", *(root / name for name in ("films", "hls", "streams")))
    films = LocalFilms(root / "hls")
    playback = PlaybackService(db, clock, store, films, derive_key(SECRET, "playback"), public_url, is_live=True)
    livestreams = LivestreamService(db, clock, ledger, recordings, playback)
    sessions.show = livestreams.start_in
    meetings = MeetingService(db, clock, capture, hosting, vault)
    providers = CloudflareProviders(allow_private=True, answer_s=5)
    remote = RemoteService(db, clock, ledger, vault, providers, is_signed, public_url)
    try:
        await db.migrate()
        first = await access.bootstrap(account_id="acme", app_id="campus")
        assert first.token is not None
        backend = await access.authenticate(first.token)
        assert isinstance(backend, AppPrincipal)
        yield World(
            db=db,
            clock=clock,
            capture=capture,
            store=store,
            link_key=link_key,
            access=access,
            ledger=ledger,
            meetings=meetings,
            hosting=hosting,
            attendance=AttendanceService(db, clock),
            presets=PresetService(db, clock),
            configs=ConfigService(db, vault),
            vault=vault,
            recordings=recordings,
            targets=TargetService(db, clock, vault),
            films=films,
            playback=playback,
            livestreams=livestreams,
            renders=RenderService(db, clock, store, lambda session: (root / "captures" / session).is_dir()),
            library=LibraryService(db, clock, recordings, store, remote=remote),
            remote=remote,
            rooms=RoomService(db, clock, access, meetings, remote),
            sessions=sessions,
            lifecycle=LifecycleService(db, clock, ledger, recordings),
            webhooks=WebhookService(db, clock, allow_private=True),
            deliveries=DeliveryService(db, clock, ledger, Composer(store, livestreams.address), sample),
            feed=EventFeed(db, ledger, Composer(store, livestreams.address)),
            signer=SIGNER,
            account_id=first.account_id,
            app=first.app,
            token=first.token,
            backend=backend,
            archives=archives,
            retention=RetentionService(db, clock, store, store, archives, local),
            root=root,
        )
        await asyncio.gather(sessions.settle(), recordings.settle())
    finally:
        await providers.aclose()
        await db.aclose()
