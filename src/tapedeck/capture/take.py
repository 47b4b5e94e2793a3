"""One recording of a session: the stretches that its commands cut out of the capture clock.

Owns which capture times belong to a recording, and which events say so in the log. A film starts with media: until the
first frame of a recording is stored nothing of it is in the log, and then everything asked for so far is said at once.
Owns too whose tracks a recording asks for. Refuses to write.
"""

from __future__ import annotations

from dataclasses import dataclass

from tapedeck.core.frames import TrackInfo
from tapedeck.core.timeline import (
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    TimelineEvent,
)
from tapedeck.core.wanted import TrackChoice
from tapedeck.ports.sources import PeerInfo

__all__ = ["FLOWING_NS", "Take"]

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

    def __init__(self, recording_id: str, tracks: TrackChoice | None = None) -> None:
        """`tracks` None: everything of everybody."""
        self.recording_id = recording_id
        self.tracks = tracks
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
        return self.tracks is None or self.tracks.name_of(participant_id, custom_id) is not None

    def wants(self, peer: PeerInfo, track: TrackInfo) -> bool:
        """Whether media of a peer's track is to be kept for it, at the times that it covers."""
        if self.tracks is None:
            return True
        return self.tracks.layer_of(track.kind) is not None and self.wants_person(peer.participant_id, peer.custom_id)

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
        events: list[TimelineEvent] = [RecordingStarted(self.started_ns, self.recording_id, self.tracks)]
        for stretch in self._stretches[index:]:
            if stretch is not first:
                events.append(RecordingResumed(max(least_ns, stretch.start_ns), self.recording_id))
            if stretch.end_ns is not None and stretch.end_ns != self.stopped_ns:
                events.append(RecordingPaused(max(least_ns, stretch.end_ns), self.recording_id))
        if self.stopped_ns is not None:
            events.append(RecordingStopped(max(least_ns, self.stopped_ns), self.recording_id))
        return events

    @classmethod
    def begun(
        cls, recording_id: str, started_ns: int, resumed_ns: int | None, tracks: TrackChoice | None = None
    ) -> Take:
        """A recording that an earlier process began; it runs on from `resumed_ns`, or is paused."""
        take = cls(recording_id, tracks)
        take.started_ns = started_ns
        if resumed_ns is not None:
            take.run(resumed_ns, flowing=False)
        return take
