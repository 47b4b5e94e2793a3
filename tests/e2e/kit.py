"""A house for end-to-end tests: a real server process, the official SDK, synthetic people, films fetched and watched.

Owns how a test says what it wants of the product; knows nothing of the product but its command line, its HTTP faces and
the media log on its disk, which tells exactly what was recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar
from uuid import uuid4

import aiohttp
from cloudflare import AsyncCloudflare, NotFoundError
from cloudflare.types.realtime_kit.recording_get_one_recording_response import Data as Recording
from tests.ports import free_port

from tapedeck.core.frames import EncodedFrame, TrackInfo
from tapedeck.core.timeline import ClockReport, TimelineEvent, TrackOpened, recording_spans
from tapedeck.medialog.reader import LogReader
from tapedeck.sources.synthetic import Look
from tapedeck.testing.check import check
from tapedeck.testing.clock import SharedClock
from tapedeck.testing.door import WhipDoor
from tapedeck.testing.expect import Attendance, Bars, Edge, Expectation, Recorded
from tapedeck.testing.people import Performer, Person, perform
from tapedeck.testing.report import Report
from tapedeck.testing.serve import Server
from tapedeck.testing.watch import Film, watch

__all__ = [
    "MS",
    "SMALL",
    "Action",
    "House",
    "LoggedFrame",
    "Recording",
    "Room",
    "S",
    "Take",
    "Viewed",
    "clock_of",
    "judge",
    "open_house",
    "read_events",
    "read_frames",
    "together",
    "told",
]

T = TypeVar("T")

S = 1_000_000_000
MS = 1_000_000

SMALL: dict[str, Any] = {"video_config": {"width": 640, "height": 360}}
"""Start options of a film that is cheap to make and large enough for the checker."""

Action = Literal["pause", "resume", "stop"]
_POLL_NS = 50 * MS
_LIMIT_S = 60.0


@dataclass(frozen=True)
class Viewed:
    """A delivered film. It is watched when first asked for, which is after the meetings that run meanwhile."""

    path: Path
    recording: Recording
    looks: tuple[Look, ...]

    @cached_property
    def film(self) -> Film:
        """What is seen and heard in it."""
        return watch(self.path, self.looks)


@dataclass(frozen=True)
class LoggedFrame:
    """A frame in the log, and when it was captured on the shared clock by its sender's own word."""

    track: TrackInfo
    frame: EncodedFrame
    taken_ns: int


class Take:
    """One recording, seen through the API."""

    def __init__(self, room: Room, recording: Recording) -> None:
        self.room = room
        self.id = recording.id
        self.first = recording
        "As the start was answered."
        self.edges: list[Edge] = []
        "Between which instants start, pauses, resumes and stop took effect."

    async def get(self) -> Recording:
        """The recording as it is now."""
        house = self.room.house
        got = await house.sdk.realtime_kit.recordings.get_one_recording(self.id, **house.ids)
        assert got.data is not None
        return got.data

    async def act(self, action: Action) -> Recording:
        """Pause, resume or stop."""
        house, clock = self.room.house, self.room.clock
        asked_ns = clock.now_ns()
        done = await house.sdk.realtime_kit.recordings.pause_resume_stop_recording(self.id, action=action, **house.ids)
        self.edges.append(Edge(asked_ns, clock.now_ns()))
        assert done.data is not None
        return Recording.model_validate(done.data.model_dump(by_alias=True))

    async def until(self, *statuses: str, limit_s: float = _LIMIT_S) -> Recording:
        """Wait for one of these statuses. AssertionError when another end comes first, or none in time."""
        seen: list[str] = []
        deadline = self.room.clock.now_ns() + round(limit_s * S)
        while True:
            recording = await self.get()
            if not seen or seen[-1] != recording.status:
                seen.append(recording.status)
            if recording.status in statuses:
                return recording
            assert recording.status not in ("UPLOADED", "ERRORED"), f"{seen}, not {statuses}: {recording}"
            assert self.room.clock.now_ns() < deadline, f"{seen} after {limit_s:.0f} s, not {statuses}"
            await self.room.clock.until(self.room.clock.now_ns() + _POLL_NS)

    async def film(self, looks: Sequence[Look], *, limit_s: float = _LIMIT_S) -> Viewed:
        """Wait for the film and fetch it by its link."""
        recording = await self.until("UPLOADED", limit_s=limit_s)
        assert recording.download_url
        path = self.room.house.folder / f"{self.id}.mp4"
        path.write_bytes(await self.room.house.fetch(recording.download_url))
        assert path.stat().st_size == recording.file_size
        return Viewed(path, recording, tuple(looks))

    # what the log says

    async def log_dir(self) -> Path:
        """Where its session is kept."""
        session_id = (await self.get()).session_id
        assert session_id
        return self.room.house.server.data_dir / "captures" / session_id

    async def recorded(self) -> tuple[Recorded, ...]:
        """The recorded spans on the shared clock, exactly."""
        path = await self.log_dir()
        to_clock = clock_of(path, self.room.clock)
        spans = recording_spans(read_events(path), self.id)
        found = []
        for span in spans:
            assert span.end_ns is not None, "the recording runs"
            start, end = to_clock(span.start_ns), to_clock(span.end_ns)
            found.append(Recorded(Edge(start, start), Edge(end, end)))
        return tuple(found)


class Room:
    """One meeting, the people who play in it, and their clock."""

    def __init__(self, house: House, meeting_id: str, clock: SharedClock, performers: Sequence[Performer]) -> None:
        self.house, self.id, self.clock, self.performers = house, meeting_id, clock, tuple(performers)

    async def play(self) -> tuple[Attendance, ...]:
        """Everybody plays their part; who sent what."""
        return await perform(self.performers)

    async def at(self, at_s: float) -> None:
        """Wait for an instant of the meeting's clock."""
        await self.clock.until(round(at_s * S))

    async def start(self, **options: Any) -> Take:
        """Press record; answered at once."""
        asked_ns = self.clock.now_ns()
        kit = self.house.sdk.realtime_kit
        started = await kit.recordings.start_recordings(
            self.house.server.app_id, account_id=self.house.server.account_id, meeting_id=self.id, **options
        )
        assert started.data is not None
        take = Take(self, Recording.model_validate(started.data.model_dump(by_alias=True)))
        take.edges.append(Edge(asked_ns, self.clock.now_ns()))
        return take

    async def recordings(self) -> list[Take]:
        """All recordings of the meeting, newest first."""
        kit = self.house.sdk.realtime_kit
        found = await kit.recordings.get_recordings(
            self.house.server.app_id, account_id=self.house.server.account_id, meeting_id=self.id
        )
        return [Take(self, Recording.model_validate(one.model_dump(by_alias=True))) for one in found.data or []]


@dataclass
class House:
    """A server and everything to talk to it."""

    server: Server
    sdk: AsyncCloudflare
    http: aiohttp.ClientSession
    folder: Path
    ids: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.ids = {"account_id": self.server.account_id, "app_id": self.server.app_id}

    async def room(self, people: Sequence[Person], title: str = "A meeting", **options: Any) -> Room:
        """A meeting with a participant for each person, whose pictures are drawn. Its clock begins now."""
        kit = self.sdk.realtime_kit
        created = await kit.meetings.create(
            self.server.app_id, account_id=self.server.account_id, title=title, **options
        )
        assert created.data is not None
        tokens = [await self.participant(created.data.id, person.look.name) for person in people]
        clock = SharedClock()
        doors = [WhipDoor(self.http, self.server.base_url, created.data.id, token) for token in tokens]
        performers = [Performer(person, clock, door) for person, door in zip(people, doors, strict=True)]
        await asyncio.to_thread(lambda: [list(performer.prepare()) for performer in performers])
        clock.begin()
        return Room(self, created.data.id, clock, performers)

    async def participant(self, meeting_id: str, name: str, preset: str = "group_call_host") -> str:
        """A participant's token."""
        added = await self.sdk.realtime_kit.meetings.add_participant(
            meeting_id, custom_participant_id=name.lower(), preset_name=preset, name=name, **self.ids
        )
        assert added.data is not None
        return added.data.token

    async def fetch(self, url: str) -> bytes:
        """The whole of a file behind a link."""
        async with self.http.get(url) as response:
            assert response.status == 200, f"{response.status}: {await response.text()}"
            return await response.read()

    async def warm_up(self) -> None:
        """Use everything of the SDK once: it imports as it goes, and people who play in this process would stumble."""
        kit, nobody = self.sdk.realtime_kit.recordings, str(uuid4())
        for call in (
            kit.get_one_recording(nobody, **self.ids),
            kit.pause_resume_stop_recording(nobody, action="stop", **self.ids),
            kit.start_recordings(self.server.app_id, account_id=self.server.account_id, meeting_id=nobody),
        ):
            with contextlib.suppress(NotFoundError):
                await call
        await kit.get_recordings(self.server.app_id, account_id=self.server.account_id)

    def log_lines(self) -> list[str]:
        """What the server said so far."""
        return self.server.log_path.read_text("utf-8").splitlines()


@asynccontextmanager
async def open_house(folder: Path, env: Mapping[str, str] | None = None) -> AsyncIterator[House]:
    """A server that keeps its media logs, with the SDK in strict mode. Stopped in order at the end."""
    server = Server(folder, {"TAPEDECK_KEEP_LOGS": "1", **(env or {})}, port=free_port())
    await server.start()
    sdk = AsyncCloudflare(
        base_url=f"{server.base_url}/client/v4", api_token=server.token, _strict_response_validation=True
    )
    sdk.api_email = sdk.api_key = sdk.user_service_key = None
    try:
        async with sdk, aiohttp.ClientSession() as http:
            house = House(server, sdk, http, folder)
            await house.warm_up()
            yield house
    finally:
        code = await server.stop()
    assert code == 0, f"the server ended with {code}: {server.last_words()}"
    said = server.log_path.read_text("utf-8")
    assert "Traceback" not in said, said[said.index("Traceback") - 500 :][:3000]
    for secret in (server.token, "eyJ", "signature="):
        assert secret not in said, f"the server's log has {secret[:3]}..."


async def together(**stories: Awaitable[Any]) -> dict[str, Any]:
    """Run stories at once. One that fails does not end the others: its exception stands for its result."""
    results = await asyncio.gather(*stories.values(), return_exceptions=True)
    return dict(zip(stories, results, strict=True))


def told(stories: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """What became of one of the stories; its exception is raised here."""
    found = stories[name]
    if isinstance(found, BaseException):
        raise found
    assert isinstance(found, kind)
    return found


def judge(
    viewed: Viewed, people: Sequence[Attendance], recorded: Sequence[Recorded], bars: Bars | None = None
) -> Report:
    """The checker's verdict, which is printed too: `pytest -s` shows the numbers of good films."""
    report = check(viewed.film, Expectation(tuple(people), tuple(recorded), bars or Bars()))
    print(f"\n{report}")  # noqa: T201
    return report


def clock_of(log_dir: Path, clock: SharedClock) -> Callable[[int], int]:
    """Capture time of a log to a shared clock of the same machine."""
    zero_ns = clock.at(LogReader(log_dir).meta.started_monotonic_ns)
    return lambda at_ns: at_ns + zero_ns


def read_events(log_dir: Path) -> list[TimelineEvent]:
    """Everything on the timeline."""
    with LogReader(log_dir).timeline() as timeline:
        return timeline.poll()


def read_frames(log_dir: Path, clock: SharedClock) -> list[LoggedFrame]:
    """Every frame in the log; who sends reports from `clock` says with them when each was taken."""
    log, events = LogReader(log_dir), read_events(log_dir)
    found = []
    for event in events:
        if not isinstance(event, TrackOpened):
            continue
        track = event.track
        reports = [e for e in events if isinstance(e, ClockReport) and e.track_id == track.track_id]
        origin_ns = reports[-1].wallclock_ns - reports[-1].media_time * S // track.clock_rate - clock.origin_ns
        with log.track(track.track_id) as reader:
            while batch := reader.poll():
                found += [LoggedFrame(track, f, f.media_time * S // track.clock_rate + origin_ns) for f in batch]
    return found
