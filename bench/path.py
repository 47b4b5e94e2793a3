"""The whole product against its two clocks: from a start to the first media on disk, from a stop to the film.

Start: meetings with people in them, one after the other, in a real server. Timed from the moment the SDK's call returns
until a reader of the media log's files sees a frame: of anybody, and a key frame of everybody.

Stop: timed from the moment the SDK is called until the API says UPLOADED, for a recording of a minute and for one
of an hour. Nobody waits an hour: the server is killed while it records, finds an hour of log when it comes back (made
here, faster than real time), and its live render catches up before the stop. Pictures are noise, so that the films are
as large as films get at their size; 5 of them a second, so that the hour is made in minutes.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from bench.row import Row
from tapedeck.core.errors import NotFoundError
from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags, Kind, TrackInfo
from tapedeck.core.timeline import ClockReport, ParticipantJoined, Progress, RecordingStarted, TrackOpened
from tapedeck.media.camera import CameraEncoder
from tapedeck.medialog.reader import LogReader, TrackReader
from tapedeck.medialog.writer import LogWriter
from tapedeck.sources.synthetic import CAST, Look, SyntheticMicrophone
from tapedeck.testing.clock import SharedClock
from tapedeck.testing.door import WhipDoor
from tapedeck.testing.people import Act, Cue, Performer, Person
from tapedeck.testing.recorder import make_sdk
from tapedeck.testing.serve import Server, running_server

S = 1_000_000_000
MS = 1_000_000
MEETINGS, PEOPLE = 8, 3
SIZE, FPS = (640, 360), 5
NOISE_SECONDS = 8
MARK_START_MS, MARK_STOP_S = 300, 3.0


class Place:
    """A server and its SDK."""

    def __init__(self, server: Server, sdk: Any, http: aiohttp.ClientSession, size: tuple[int, int] = SIZE) -> None:
        """`size`: of the films."""
        self.size = size
        self.server, self.kit, self.http = server, sdk.realtime_kit, http
        self.ids = {"account_id": server.account_id, "app_id": server.app_id}

    async def meeting(self, people: Sequence[Person], clock: SharedClock) -> tuple[str, list[Performer]]:
        """A meeting and who will be in it, their pictures drawn."""
        made = await self.kit.meetings.create(self.server.app_id, account_id=self.server.account_id, title="Bench")
        performers = []
        for person in people:
            name = person.look.name
            added = await self.kit.meetings.add_participant(
                made.data.id, custom_participant_id=name, preset_name="group_call_host", name=name, **self.ids
            )
            door = WhipDoor(self.http, self.server.base_url, made.data.id, added.data.token)
            performers.append(Performer(person, clock, door))
        await asyncio.to_thread(lambda: [list(performer.prepare()) for performer in performers])
        clock.begin()
        return made.data.id, performers

    async def start(self, meeting_id: str) -> str:
        """Press record; the recording's id."""
        started = await self.kit.recordings.start_recordings(
            self.server.app_id,
            account_id=self.server.account_id,
            meeting_id=meeting_id,
            video_config={"width": self.size[0], "height": self.size[1]},
        )
        return str(started.data.id)

    async def stop(self, recording_id: str) -> None:
        await self.kit.recordings.pause_resume_stop_recording(recording_id, action="stop", **self.ids)

    async def until(self, recording_id: str, status: str, limit_s: float = 120.0) -> Any:
        """The recording, once it has that status."""
        async with asyncio.timeout(limit_s):
            while True:
                found = await self.kit.recordings.get_one_recording(recording_id, **self.ids)
                if found.data.status == status:
                    return found.data
                await asyncio.sleep(0.01)


def stay(look: Look, from_s: float, until_s: float) -> Person:
    return Person(look, (Cue(from_s, Act.JOIN), Cue(until_s, Act.LEAVE)), size=(320, 180), fps=20)


# start


class Tail:
    """The tracks of a log that comes into being, as a reader of its files sees them."""

    def __init__(self, captures: Path) -> None:
        self._captures = captures
        self._known = set(captures.iterdir()) if captures.is_dir() else set()
        self._log: LogReader | None = None
        self._readers: dict[str, TrackReader] = {}
        self.seen: dict[str, bool] = {}
        "Tracks with media; of pictures true once there is a key frame, of sound never."

    def look(self) -> None:
        if self._log is None:
            fresh = set(self._captures.iterdir()) - self._known if self._captures.is_dir() else set()
            if not fresh:
                return
            try:
                self._log = LogReader(fresh.pop())
            except NotFoundError:
                return
        for path in (self._log.root / "tracks").glob("*.log"):
            if path.stem not in self._readers:
                self._readers[path.stem] = self._log.track(path.stem)
        for track_id, reader in self._readers.items():
            for frame in reader.poll():
                key = frame.codec.kind is Kind.VIDEO and frame.is_key
                self.seen[track_id] = self.seen.get(track_id, False) or key

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()


async def start_once(place: Place) -> tuple[float, float]:
    """Milliseconds from the answer to the first media on disk, and to a key frame of every camera."""
    clock = SharedClock()
    people = [stay(look, 0.1, 60.0) for look in CAST[:PEOPLE]]
    meeting_id, performers = await place.meeting(people, clock)
    playing = [asyncio.create_task(performer.run()) for performer in performers]
    await clock.until(2 * S)
    tail = Tail(place.server.data_dir / "captures")
    recording_id = await place.start(meeting_id)
    answered, first = time.perf_counter(), 0.0
    while sum(tail.seen.values()) < PEOPLE:
        tail.look()
        if tail.seen and not first:
            first = time.perf_counter()
        await asyncio.sleep(0.002)
    everybody = time.perf_counter()
    tail.close()
    await place.stop(recording_id)
    for task in playing:
        task.cancel()
    await asyncio.gather(*playing, return_exceptions=True)
    await place.until(recording_id, "UPLOADED")
    return (first - answered) * 1000, (everybody - answered) * 1000


# stop


def noise() -> list[bytes]:
    """Some seconds of a camera that shows noise: a key frame, then the rest."""
    encoder, source = CameraEncoder(Codec.H264, *SIZE, fps=FPS), np.random.default_rng(1)
    frames = []
    for index in range(NOISE_SECONDS * FPS):
        luma = source.integers(60, 190, (SIZE[1] // 4, SIZE[0] // 4), np.uint8).repeat(4, 0).repeat(4, 1)
        chroma = np.full((SIZE[1] // 2, SIZE[0] // 2), 128, np.uint8)
        frames.append(encoder.encode((luma, chroma, chroma), index * 90_000 // FPS, key=not index))
    return frames


@dataclass(frozen=True)
class Ids:
    """Whose log it is."""

    session: str
    meeting: str
    recording: str


def write_log(root: Path, ids: Ids, seconds: int, pictures: Sequence[bytes]) -> None:
    """A log as the server would have it after so long, ending now."""
    shutil.rmtree(root)
    now_utc, now_ns = datetime.now(UTC), time.monotonic_ns()
    writer = LogWriter(
        root,
        ids.session,
        ids.meeting,
        now_utc - timedelta(seconds=seconds),
        started_monotonic_ns=now_ns - seconds * S,
    )
    video = TrackInfo("camera", "peer", "person", Kind.VIDEO, Codec.H264, channels=0)
    audio = TrackInfo("microphone", "peer", "person", Kind.AUDIO, Codec.OPUS)
    writer.event(ParticipantJoined(0, "person", "peer", "Ada"))
    for track in (video, audio):
        writer.open_track(track)
        writer.event(TrackOpened(0, track))
    writer.event(RecordingStarted(0, ids.recording))
    microphone = SyntheticMicrophone(CAST[0])
    for second in range(seconds):
        for index in range(second * FPS, (second + 1) * FPS):
            place = index % len(pictures)
            flags = FrameFlags.NONE if place else FrameFlags.KEY
            at_ns = index * S // FPS + 20 * MS
            writer.frame("camera", EncodedFrame(index * 90_000 // FPS, at_ns, pictures[place], Codec.H264, flags))
        for index in range(second * 50, (second + 1) * 50):
            packet = microphone.packet(index)
            if packet is not None:
                at_ns = packet.at_ns + 20 * MS
                frame = EncodedFrame(index * 960, at_ns, packet.payload, Codec.OPUS, FrameFlags.KEY)
                writer.frame("microphone", frame)
        end_ns = (second + 1) * S
        for track in (video, audio):
            writer.event(ClockReport(end_ns, track.track_id, end_ns, (second + 1) * track.clock_rate))
        writer.event(Progress(end_ns + 20 * MS, end_ns))
        if second % 30 == 0:
            writer.sync().result()
    writer.close().result()


async def caught_up(films: Path) -> None:
    """Return when the part of the film does not grow any more."""
    size, since = -1, time.monotonic()
    while time.monotonic() - since < 3 or size <= 0:
        now = sum(path.stat().st_size for path in films.rglob(".*.part"))
        if now != size:
            size, since = now, time.monotonic()
        await asyncio.sleep(0.1)


async def stop_after(place: Place, seconds: int, pictures: Sequence[bytes]) -> tuple[float, float, float]:
    """Seconds from the call of the stop to UPLOADED; megabytes and seconds of the film."""
    clock = SharedClock()
    meeting_id, (first, later) = await place.meeting([stay(CAST[0], 0.1, 600.0), stay(CAST[1], 0.1, 600.0)], clock)
    playing = asyncio.create_task(first.run())
    await clock.until(S)
    recording_id = await place.start(meeting_id)
    session_id = (await place.until(recording_id, "RECORDING")).session_id
    root = place.server.data_dir / "captures" / session_id
    while not (root / "timeline.log").exists():  # RECORDING is answered a moment before it is on disk
        await clock.until(clock.now_ns() + 20 * MS)
    await place.server.kill()
    playing.cancel()
    await asyncio.gather(playing, return_exceptions=True)
    await asyncio.to_thread(write_log, root, Ids(session_id, meeting_id, recording_id), seconds, pictures)
    await place.server.start()
    await caught_up(place.server.data_dir / "films" / recording_id)
    playing = asyncio.create_task(later.run())
    await clock.until(clock.now_ns() + 4 * S)
    began = time.perf_counter()
    await place.stop(recording_id)
    recording = await place.until(recording_id, "UPLOADED")
    took = time.perf_counter() - began
    playing.cancel()
    await asyncio.gather(playing, return_exceptions=True)
    return took, recording.file_size / 1e6, recording.recording_duration


async def measure(folder: Path) -> list[Row]:
    """All of it, in one server."""
    settings = {"TAPEDECK_EMPTY_MEETING_TIMEOUT_S": "3600", "TAPEDECK_LOG_LEVEL": "warning"}
    async with running_server(folder, settings) as server, make_sdk(server) as sdk, aiohttp.ClientSession() as http:
        place = Place(server, sdk, http)
        await start_once(place)  # the SDK imports as it goes
        starts = [await start_once(place) for _ in range(MEETINGS)]
        pictures = noise()
        minute = await stop_after(place, 60, pictures)
        hour = await stop_after(place, 3600, pictures)
    first, everybody = (sorted(column) for column in zip(*starts, strict=True))
    what = f"start answered until media is in the log, {PEOPLE} people there, {MEETINGS} meetings"
    return [
        Row(
            what,
            f"{statistics.median(first):.0f} ms, {first[-1]:.0f} at worst",
            "",
            f"<= {MARK_START_MS} ms",
            first[-1] <= MARK_START_MS,
            f"key frames of all: {statistics.median(everybody):.0f} ms, {everybody[-1]:.0f} at worst",
        ),
        *(
            Row(
                f"stop called until UPLOADED, after {name}",
                f"{took:.2f} s",
                "",
                f"<= {MARK_STOP_S:.0f} s",
                took <= MARK_STOP_S,
                f"film of {length:.0f} s, {size:.0f} MB",
            )
            for name, (took, size, length) in (("a minute", minute), ("an hour", hour))
        ),
    ]


def rows() -> list[Row]:
    """What `make bench` prints."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(Path(folder)))
