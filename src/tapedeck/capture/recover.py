"""Sessions and their logs: a new one in a directory, or one that a process left behind when it died.

Owns reading from a timeline what was going on when it broke off, and joining a session with its LogWriter: the writer's
threads report to the session on the event loop. Refuses to decide whether a recording should go on: what the log says
runs on with the first media that comes, as one outage, and ends at the outage when it is stopped before.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tapedeck.capture.log import CaptureListener, Log
from tapedeck.capture.session import CaptureSession
from tapedeck.capture.take import Take
from tapedeck.core.errors import InternalError, TapedeckError
from tapedeck.core.timed import CLOSE
from tapedeck.core.timeline import (
    ParticipantJoined,
    ParticipantLeft,
    Progress,
    RecordingStarted,
    RecordingStopped,
    TimedText,
    TimelineEvent,
    TrackClosed,
    TrackOpened,
    recording_spans,
)
from tapedeck.medialog.catalog import read_catalog
from tapedeck.medialog.reader import LogReader
from tapedeck.medialog.writer import LogWriter, WriterOptions

__all__ = ["LeftBehind", "log_end", "new_session", "read_left_behind", "resumed_session", "starts_in"]

_DEFAULTS = WriterOptions()


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """What was going on when a log broke off."""

    running: dict[str, RecordingStarted]
    "Recordings neither paused nor stopped, and how they started."
    paused: dict[str, RecordingStarted]
    peers: tuple[ParticipantJoined, ...]
    "Who had not left."
    tracks: tuple[str, ...]
    "Tracks that were open."
    passed_ns: int
    "The last Progress."
    closed: frozenset[str] = frozenset()
    "Recordings to which nothing is said any more."

    @property
    def recording_ids(self) -> tuple[str, ...]:
        """Recordings that were not stopped."""
        return (*self.running, *self.paused)


def read_left_behind(events: Iterable[TimelineEvent]) -> LeftBehind:
    """What a timeline says was going on at its end."""
    events = list(events)
    started: dict[str, RecordingStarted] = {}
    peers: dict[str, ParticipantJoined] = {}
    tracks: dict[str, None] = {}
    passed = -1
    closed: set[str] = set()
    for event in events:
        if isinstance(event, RecordingStarted):
            started.setdefault(event.recording_id, event)
        elif isinstance(event, RecordingStopped):
            started.pop(event.recording_id, None)
        elif isinstance(event, ParticipantJoined):
            peers[event.peer_id] = event
        elif isinstance(event, ParticipantLeft):
            peers.pop(event.peer_id, None)
        elif isinstance(event, TrackOpened):
            tracks[event.track.track_id] = None
        elif isinstance(event, TrackClosed):
            tracks.pop(event.track_id, None)
        elif isinstance(event, TimedText) and event.text == CLOSE:
            closed |= set(started) if event.recording_id is None else {event.recording_id}
        elif isinstance(event, Progress):
            passed = max(passed, event.until_ns)
    running = {}
    paused = {}
    for recording_id, start in started.items():
        spans = recording_spans(events, recording_id)
        if spans and spans[-1].end_ns is None:
            running[recording_id] = start
        else:
            paused[recording_id] = start
    return LeftBehind(running, paused, tuple(peers.values()), tuple(tracks), passed, frozenset(closed))


def log_end(root: Path) -> datetime | None:
    """UTC of the last moment in a log; None when there is no log that can be read. Blocks on the disk."""
    try:
        catalog = read_catalog(root)
    except TapedeckError:
        return None
    epoch = catalog.meta.epochs[-1]
    return epoch.utc + timedelta(microseconds=(catalog.duration_ns - epoch.offset_ns) // 1000)


def starts_in(root: Path) -> dict[str, datetime]:
    """UTC of the starts of the recordings in a log that are not stopped in it; none when it cannot be read.

    Blocks on the disk.
    """
    try:
        log = LogReader(root)
        with log.timeline() as timeline:
            left = read_left_behind(timeline.poll())
    except TapedeckError:
        return {}
    starts: dict[str, datetime] = {}
    for recording_id, start in (left.running | left.paused).items():
        starts[recording_id] = log.meta.utc(start.at_ns)
    return starts


def new_session(
    root: Path,
    session_id: str,
    meeting_id: str,
    *,
    now_utc: datetime,
    now_ns: int,
    listener: CaptureListener,
    options: WriterOptions = _DEFAULTS,
) -> CaptureSession:
    """A session that begins now, with its log in `root` once something is recorded. Needs a running event loop."""
    reports = _Reports(asyncio.get_running_loop())

    def open_log() -> Log:
        return LogWriter(
            root,
            session_id,
            meeting_id,
            now_utc,
            started_monotonic_ns=now_ns,
            options=options,
            on_failure=reports.failed,
            on_recovery=reports.recovered,
        )

    reports.session = CaptureSession(
        session_id, meeting_id, open_log=open_log, listener=listener, zero_ns=now_ns, started_at=now_utc
    )
    return reports.session


async def resumed_session(
    root: Path,
    *,
    now_utc: datetime,
    now_ns: int,
    listener: CaptureListener,
    options: WriterOptions = _DEFAULTS,
) -> CaptureSession:
    """The session of a log that a dead process left behind: see its `recording_ids` and `outage_from_ns`.

    Who was there is written off at the end of the log; recordings that ran go on with the first media that comes.
    NotFoundError: there is no log; InvalidError: it is damaged beyond reading, or of another version; ConflictError:
    another process writes it; UnavailableError: the disk refuses.
    """
    reports = _Reports(asyncio.get_running_loop())
    left = await asyncio.to_thread(_read_left_behind, root)
    writer = await asyncio.to_thread(
        LogWriter.resume,
        root,
        now_utc,
        now_monotonic_ns=now_ns,
        options=options,
        on_failure=reports.failed,
        on_recovery=reports.recovered,
    )
    resumed = writer.resumed
    if resumed is None:
        raise InternalError("The log was not taken up again.")
    session = CaptureSession(
        writer.meta.session_id,
        writer.meta.meeting_id,
        open_log=lambda: writer,
        listener=listener,
        zero_ns=now_ns - resumed.offset_ns,
        started_at=now_utc - timedelta(microseconds=resumed.offset_ns // 1000),
    )
    reports.session = session
    ended = max(resumed.last_ns, 0)
    for track_id in left.tracks:
        writer.event(TrackClosed(ended, track_id))
    for peer in left.peers:
        writer.event(ParticipantLeft(ended, peer.participant_id, peer.peer_id))
    takes = [
        Take.begun(start, resumed_ns, is_closed=start.recording_id in left.closed)
        for found, resumed_ns in ((left.running, resumed.offset_ns), (left.paused, None))
        for start in found.values()
    ]
    session.adopt(writer, takes, ended, left.passed_ns, now_ns)
    return session


def _read_left_behind(root: Path) -> LeftBehind:
    with LogReader(root).timeline() as timeline:
        return read_left_behind(timeline.poll())


class _Reports:
    """Carries what the writer's threads report to the session on its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.session: CaptureSession | None = None
        self._loop = loop

    def failed(self, error: TapedeckError) -> None:
        """The log cannot be written now."""
        self._call(lambda session: session.log_failed(error))

    def recovered(self) -> None:
        """The log can be written again."""
        self._call(lambda session: session.log_recovered())

    def _call(self, report: Callable[[CaptureSession], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._deliver, report)

    def _deliver(self, report: Callable[[CaptureSession], None]) -> None:
        if self.session is not None:
            report(self.session)
