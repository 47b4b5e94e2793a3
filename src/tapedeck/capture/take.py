"""One recording of a session: the stretches that its commands cut out of the capture clock.

Owns which capture times belong to a recording, and which events say so in the log. A film starts with media: until the
first frame of a recording is stored nothing of it is in the log, and then everything asked for so far is said at once.
Owns too whose tracks a recording asks for, and whether it hears what is said. Refuses to write.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tapedeck.core.frames import TrackInfo
from tapedeck.core.page import is_page, page_participant
from tapedeck.core.timed import CLOSE
from tapedeck.core.timeline import (
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    TimelineEvent,
)
from tapedeck.core.wanted import TrackChoice
from tapedeck.ports.sources import PeerInfo

__all__ = ["FLOWING_NS", "Take", "hear"]

FLOWING_NS = 1_000_000_000
"""Media that came so shortly before a start counts as flowing: the film then starts with the command."""


@dataclass(slots=True)
class _Stretch:
    start_ns: int
    end_ns: int | None
    flowing: bool
    "There was media when it was asked for."


class Take:
    """A recording as its session sees it. Times are on the capture clock."""

    def __init__(
        self, recording_id: str, tracks: TrackChoice | None = None, *, timed: bool = False, page: bool = False
    ) -> None:
        """`tracks` None: everything of everybody. `timed`: timed metadata belongs to it. `page`: nothing does but its
        own web page."""
        self.recording_id = recording_id
        self.tracks = tracks
        self.timed = timed
        self.page = page
        self.is_closed = False
        "Nothing is said to it any more."
        self.started_ns: int | None = None
        "Where the film starts; None as long as no media was stored."
        self.stopped_ns: int | None = None
        self._stretches: list[_Stretch] = []

    @property
    def is_running(self) -> bool:
        """Neither paused nor stopped."""
        return bool(self._stretches) and self._stretches[-1].end_ns is None

    def covers(self, at_ns: int) -> bool:
        """Whether a frame captured then is to be kept."""
        return any(s.start_ns <= at_ns and (s.end_ns is None or at_ns < s.end_ns) for s in self._stretches)

    def wants_person(self, participant_id: str, custom_id: str) -> bool:
        """Whether anything of somebody may be known to the log for its sake."""
        if self.page or is_page(participant_id):
            return self.page and participant_id == page_participant(self.recording_id)
        return self.tracks is None or self.tracks.name_of(participant_id, custom_id) is not None

    def wants(self, peer: PeerInfo, track: TrackInfo) -> bool:
        """Whether media of a peer's track is to be kept for it, at the times that it covers."""
        if self.tracks is not None and self.tracks.layer_of(track.kind) is None:
            return False
        return self.wants_person(peer.participant_id, peer.custom_id)

    def run(self, at_ns: int, *, flowing: bool) -> None:
        """Started or resumed."""
        if self.stopped_ns is None and not self.is_running:
            self._stretches.append(_Stretch(at_ns, None, flowing))

    def pause(self, at_ns: int) -> None:
        """Nothing captured from here on is kept."""
        if self.is_running:
            self._stretches[-1].end_ns = at_ns

    def stop(self, at_ns: int) -> None:
        """Nothing captured from here on is kept, for good."""
        self.pause(at_ns)
        if self.stopped_ns is None:
            self.stopped_ns = at_ns

    def begin(self, at_ns: int, least_ns: int) -> list[TimelineEvent]:
        """The first frame, captured at `at_ns`, is stored: the events that say all that was asked for up to now.

        The film starts at the command if media flowed then and came at once, else with this frame; never before
        `least_ns`.
        """
        index = next(i for i, s in enumerate(self._stretches) if s.end_ns is None or at_ns < s.end_ns)
        first = self._stretches[index]
        prompt = first.flowing and at_ns - first.start_ns < FLOWING_NS
        self.started_ns = max(least_ns, first.start_ns if prompt else at_ns)
        started = RecordingStarted(self.started_ns, self.recording_id, self.tracks, self.timed, self.page)
        events: list[TimelineEvent] = [started]
        for stretch in self._stretches[index:]:
            if stretch is not first:
                events.append(RecordingResumed(max(least_ns, stretch.start_ns), self.recording_id))
            if stretch.end_ns is not None and stretch.end_ns != self.stopped_ns:
                events.append(RecordingPaused(max(least_ns, stretch.end_ns), self.recording_id))
        if self.stopped_ns is not None:
            events.append(RecordingStopped(max(least_ns, self.stopped_ns), self.recording_id))
        return events

    @classmethod
    def begun(cls, start: RecordingStarted, resumed_ns: int | None, *, is_closed: bool = False) -> Take:
        """A recording that an earlier process began; it runs on from `resumed_ns`, or is paused."""
        take = cls(start.recording_id, start.tracks, timed=start.timed, page=start.page)
        take.started_ns = start.at_ns
        take.is_closed = is_closed
        if resumed_ns is not None:
            take.run(resumed_ns, flowing=False)
        return take


def hear(takes: Iterable[Take], text: str, recording_id: str | None, *, is_cut: bool) -> bool:
    """Whether some recording takes timed metadata that is said now, to one of them or (None) to all.

    Only those that were started for it, keep media now (`is_cut`: none does), and were not closed. What closes them
    counts in a pause too: whoever said it wants no more of it afterwards.
    """
    heard = [take for take in takes if take.timed and take.started_ns is not None and take.stopped_ns is None]
    if recording_id is not None:
        heard = [take for take in heard if take.recording_id == recording_id]
    if text == CLOSE:
        for take in heard:
            take.is_closed = True
    else:
        heard = [take for take in heard if take.is_running and not take.is_closed and not is_cut]
    return bool(heard)
