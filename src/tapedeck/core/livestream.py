"""Livestreams: a meeting shown to viewers while it runs, over HLS, from the film of one of its recordings. Pure.

Owns when one begins and ends, which follows from itself and its recording: nothing of that is stored twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tapedeck.core.recording import ACTIVE, LIVE, Recording, RecordingState
from tapedeck.core.times import to_ms

__all__ = ["LINK_LIFE", "Livestream", "LivestreamStatus", "Showing"]

LINK_LIFE = timedelta(days=8)
"""Of its address: a recording lasts a day at most, and its film is kept for seven."""


class LivestreamStatus(StrEnum):
    """How a livestream does."""

    INVOKED = "invoked"
    "Nobody is in the meeting yet."
    LIVE = "live"
    IDLE = "idle"
    "It is over."
    ERRORED = "errored"
    "Its recording failed."


@dataclass(frozen=True, slots=True)
class Livestream:
    """One livestream as stored."""

    id: str
    session_id: str
    "What the API calls a session of it; there is one."
    app_id: str
    meeting_id: str
    recording_id: str
    name: str | None
    is_own: bool
    "Whether the recording was started for it, and ends with it."
    created_at: datetime
    stopped_at: datetime | None = None
    viewer_ms: int = 0
    "How much was loaded by all viewers together."


@dataclass(frozen=True, slots=True)
class Showing:
    """A livestream and the recording that it shows."""

    stream: Livestream
    recording: Recording

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.stream.stopped_at is None and self.recording.state in ACTIVE

    @property
    def status(self) -> LivestreamStatus:
        if self.is_open:
            return LivestreamStatus.LIVE if self.recording.state in LIVE else LivestreamStatus.INVOKED
        failed = self.stream.stopped_at is None and self.recording.state is RecordingState.FAILED
        return LivestreamStatus.ERRORED if failed else LivestreamStatus.IDLE

    @property
    def started_at(self) -> datetime | None:
        """When there was first something to see."""
        started = self.recording.started_at
        return None if started is None else max(started, self.stream.created_at)

    @property
    def ended_at(self) -> datetime | None:
        """When it ended, by itself or with its recording."""
        ends = [at for at in (self.stream.stopped_at, self.recording.stopped_at) if at is not None]
        return min(ends, default=None)

    @property
    def failure(self) -> str | None:
        """Why it failed."""
        return self.recording.failure if self.status is LivestreamStatus.ERRORED else None

    def ingest_s(self, now: datetime) -> int:
        """Whole seconds for which there was something to see."""
        if self.started_at is None:
            return 0
        return max(to_ms(self.ended_at or now) - to_ms(self.started_at), 0) // 1000
