"""Follows a media log: events out in order, and for each track the frames with their place on the capture clock.

Owns reading in step: the timeline leads, tracks are read as far as the last Progress event speaks of, and each peer's
clock is told. `LogFeed.ready_until_ns` is how far a film can be made now; everything before it is known for good, which
is why a live film and a later one of the same log are the same. Refuses to decode and to wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tapedeck.core.errors import InvalidError
from tapedeck.core.film import FilmClock
from tapedeck.core.frames import EncodedFrame, Kind, TrackInfo
from tapedeck.core.page import is_page, page_participant
from tapedeck.core.sync import PeerClock
from tapedeck.core.timed import CLOSE
from tapedeck.core.timeline import (
    ClockReport,
    NameChanged,
    ParticipantJoined,
    ParticipantLeft,
    Progress,
    RecordingStarted,
    TimedText,
    TimelineEvent,
    TrackClosed,
    TrackOpened,
)
from tapedeck.core.wanted import TrackChoice
from tapedeck.medialog.reader import LogReader, TrackReader

__all__ = ["LogFeed", "TimedFrame", "TrackFeed"]

_LEAD_NS = 20_000_000_000
"""A film that begins late in a log reads it from so long before: the clocks have settled by then."""
_LONG_LEAD_NS = 120_000_000_000
"""One that is gone on with, from so long before: its clocks have to agree with those of what is there, which may still
have been on their way to a longer delay: they come 60 ms nearer in so long, 240 ms from far (`core/delay.py`)."""
_FOREVER = 1 << 62
_BATCH = 64
_EVENTS = 1024
"""Read at once: a long meeting has a million, most of them audio levels."""


@dataclass(frozen=True, slots=True)
class TimedFrame:
    """An encoded frame and when it was captured."""

    capture_ns: int
    frame: EncodedFrame


class TrackFeed:
    """The frames of one track, in order, as far as they are known."""

    def __init__(self, info: TrackInfo, log: LogReader, reader: TrackReader, clock: PeerClock) -> None:
        self.info = info
        self.is_closing = False
        "The timeline says that no further frame was written from here on."
        self.is_closed = False
        "No further frame will be read."
        self.final_until_ns = -_FOREVER
        "What was captured before this has its final place; nothing beyond is handed out, whatever is asked for."
        self._log = log
        self._reader = reader
        self._clock = clock
        self._queue: deque[EncodedFrame] = deque()
        self._read_to_ns = -1
        self._last_ns = -_FOREVER
        self._least_ns = -_FOREVER
        "The next frame was not captured before this."

    @property
    def is_done(self) -> bool:
        """Whether it is closed and everything was taken."""
        return self.is_closed and not self._queue

    def next(self, before_ns: int) -> TimedFrame | None:
        """The next frame, left where it is, if it was captured before `before_ns`."""
        before_ns = min(before_ns, self.final_until_ns)
        if not self._queue or before_ns <= self._least_ns:
            return None
        frame = self._queue[0]
        at_ns = self._clock.capture_ns(self.info.track_id, frame.media_time, frame.arrival_ns)
        at_ns = max(at_ns, self._last_ns)  # time never goes back
        if at_ns < before_ns:
            return TimedFrame(at_ns, frame)
        self._least_ns = before_ns
        return None

    def take(self, before_ns: int) -> TimedFrame | None:
        """The next frame, if it was captured before `before_ns`."""
        timed = self.next(before_ns)
        if timed is not None:
            self._queue.popleft()
            self._last_ns = self._least_ns = timed.capture_ns
        return timed

    def read(self, arrival_ns: int) -> None:
        """Read on until a frame that arrived after `arrival_ns`, or as far as there is anything."""
        while self._read_to_ns <= arrival_ns:
            frames = self._reader.poll(_BATCH)
            if not frames:
                return
            for frame in frames:
                self._clock.frame(self.info.track_id, frame)
                self._read_to_ns = max(self._read_to_ns, frame.arrival_ns)
            self._queue.extend(frames)

    def skip_to(self, arrival_ns: int) -> None:
        """Begin reading at the last key frame before `arrival_ns`."""
        self._reader.seek_key(arrival_ns)

    def again_from(self, first: EncodedFrame, until: EncodedFrame) -> Iterator[EncodedFrame]:
        """The frames from one that was taken up to another that was taken, both included, read once more."""
        with self._log.track(self.info.track_id) as reader:
            reader.seek_key(first.arrival_ns)
            begun = False
            while frames := reader.poll(_BATCH):
                for frame in frames:
                    begun = begun or _same(frame, first)
                    if begun:
                        yield frame
                    if _same(frame, until):
                        return

    def close(self) -> None:
        """Give the file back."""
        self._reader.close()


def _same(first: EncodedFrame, second: EncodedFrame) -> bool:
    return first.media_time == second.media_time and first.arrival_ns == second.arrival_ns


class LogFeed:
    """A log directory, read in step with the film that is made of it."""

    def __init__(
        self,
        log: LogReader,
        recording_id: str | None,
        choice: TrackChoice | None = None,
        *,
        part: tuple[int, int | None] | None = None,
        only: frozenset[str] | None = None,
        fps: int | None = None,
        from_ns: int = 0,
    ) -> None:
        """`recording_id` None: everything in the log as one film. `part`: of the film only what lies between two of its
        times. The log must be complete in both cases. `only`: these participants, as if nobody else had been there.
        `fps`: as of `FilmClock`. `from_ns`: of the media only what was captured after it is wanted.

        With `choice` only connections of the people in it are read. UnavailableError: the disk cannot be read.
        """
        self.tracks: dict[str, TrackFeed] = {}
        "Tracks of which frames may still be taken, in order of their opening."
        self.names: dict[str, str] = {}
        "By peer, those who are chosen: what they were chosen by."
        self.film = FilmClock(recording_id, part, fps)
        self.until_ns = 0
        "The log is complete up to here, as far as it was read."
        self.is_complete = False
        "Nothing that belongs to the film is still to come."
        self.ready_until_ns = 0
        "Capture time before which every frame is read and has its final place."
        self._log = log
        self._choice = choice
        self._whole = recording_id is None or part is not None
        self._only = only
        self._from_ns = from_ns
        self._is_page = False
        "The recording is of a web page."
        self._hidden: set[str] = set()
        "Tracks of everybody else."
        self._timeline = log.timeline()
        self._pending: deque[TimelineEvent] = deque()
        self._clocks: dict[str, PeerClock] = {}
        self._recording_id = recording_id
        self._scout = log.timeline()
        self._start_ns: int | None = None
        "When the film begins, as soon as the log says so; nothing is handed out before."
        if self._whole:
            while events := self._scout.poll(_EVENTS):
                self.film.feed(events)
                self._find_start(events)
            self.film.cut_off()
            self._start_ns = self.film.cuts[0].start_ns if self.film.cuts else 0

    def advance(self, target_ns: int) -> list[TimelineEvent]:
        """Read on until the log is known up to `target_ns`, or to its end; the events on the way, in order."""
        events: list[TimelineEvent] = []
        while self.until_ns < target_ns and not self.is_complete:
            event = self._next_event()
            if event is None:
                break
            if self._is_shown(event):
                events.append(event)
            if not self._whole:
                self.film.feed((event,))
            if isinstance(event, TrackOpened):
                if event.track.track_id not in self._hidden:
                    self._open(event.track)
            elif isinstance(event, ParticipantJoined):
                self._choose(event)
            elif isinstance(event, TrackClosed):
                if event.track_id in self.tracks:
                    self.tracks[event.track_id].is_closing = True
            elif isinstance(event, ClockReport):
                for clock in self._clocks.values():
                    clock.report(event)
            elif isinstance(event, Progress):
                self._progress(event)
            end_ns = self.film.end_ns
            if end_ns is not None and self.until_ns >= end_ns:
                self.is_complete = True  # frames near the end have the place that the last knot before it gives them
        self._settle()
        return events

    def finish(self) -> None:
        """The log will not grow any more: what is there is all there is. Call when `advance` has nothing left."""
        if self.is_complete:
            return
        self.film.cut_off()
        for track in self.tracks.values():
            track.read(_FOREVER)
        for clock in self._clocks.values():
            clock.finish()
        self.is_complete = True
        self._settle()

    def forget(self, track_id: str) -> None:
        """Nothing more is wanted of a track."""
        track = self.tracks.pop(track_id, None)
        if track is not None:
            track.close()

    def close(self) -> None:
        """Give the files back."""
        self._scout.close()
        self._timeline.close()
        for track in self.tracks.values():
            track.close()

    def _is_shown(self, event: TimelineEvent) -> bool:
        """Whether an event is of somebody who is shown, or of nobody."""
        if isinstance(event, TrackOpened):
            if self._is_of_film(event.track.participant_id):
                return True
            self._hidden.add(event.track.track_id)
            return False
        if isinstance(event, ParticipantJoined | ParticipantLeft | NameChanged):
            return self._is_of_film(event.participant_id)
        if isinstance(event, TimedText):
            only = self._only
            return only is None or event.participant_id in ("", *only) or event.text == CLOSE
        return getattr(event, "track_id", None) not in self._hidden

    def _is_of_film(self, participant_id: str) -> bool:
        """Whether somebody is shown: the people, or the recording's own web page alone."""
        if self._recording_id is not None and (self._is_page or is_page(participant_id)):
            return self._is_page and participant_id == page_participant(self._recording_id)
        only = self._only
        return only is None or participant_id in only

    def _find_start(self, events: Sequence[TimelineEvent]) -> RecordingStarted | None:
        """The event with which the film begins, if it is among these."""
        for event in events:
            if isinstance(event, RecordingStarted) and event.recording_id == self._recording_id:
                self._is_page = event.page
                return event
        return None

    def _settle(self) -> None:
        ready_ns = _FOREVER
        if not self.is_complete:
            ready_ns = min([self.until_ns, *(clock.ready_until_ns for clock in self._clocks.values())])
        self.ready_until_ns = ready_ns
        for track in self.tracks.values():
            track.final_until_ns = ready_ns

    def _next_event(self) -> TimelineEvent | None:
        """The next event of the timeline; None while there is none, or before the film is known to begin."""
        while self._start_ns is None:
            events = self._scout.poll(_EVENTS)
            if not events:
                return None
            start = self._find_start(events)
            if start is not None:
                self._start_ns = start.at_ns
                self._scout.close()
        if not self._pending:
            self._pending.extend(self._timeline.poll(_EVENTS))
        return self._pending.popleft() if self._pending else None

    def _choose(self, peer: ParticipantJoined) -> None:
        if self._choice is not None:
            name = self._choice.name_of(peer.participant_id, peer.custom_id)
            if name is not None:
                self.names.setdefault(peer.peer_id, name)

    def _open(self, info: TrackInfo) -> None:
        if info.track_id in self.tracks or (self._choice is not None and info.peer_id not in self.names):
            return
        try:
            reader = self._log.track(info.track_id)
        except InvalidError:  # no file can have that name, so there is none
            return
        clock = self._clocks.setdefault(info.peer_id, PeerClock())
        clock.add_track(info.track_id, info.clock_rate, is_sound=info.kind is Kind.AUDIO)
        track = TrackFeed(info, self._log, reader, clock)
        start_ns = max((self._start_ns or 0) - _LEAD_NS, self._from_ns - _LONG_LEAD_NS)
        if start_ns > 0:
            track.skip_to(start_ns)
        self.tracks[info.track_id] = track

    def _progress(self, event: Progress) -> None:
        if event.until_ns <= self.until_ns:
            return
        self.until_ns = event.until_ns
        end_ns = self.film.end_ns
        for track in self.tracks.values():
            track.read(event.at_ns)
            track.is_closed = track.is_closing
        if end_ns is None or event.until_ns <= end_ns:
            for clock in self._clocks.values():
                clock.progress(event)
