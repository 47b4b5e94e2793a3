"""When a recording ends by itself: nobody there, nothing arriving, or long enough. Owns no timer: it says when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tapedeck.core.recording import ACTIVE, LIVE, Recording, Stop, StopCause

__all__ = ["Deadline", "Limits", "Presence", "deadline_of"]


@dataclass(frozen=True, slots=True)
class Presence:
    """Who is in the session a recording belongs to. Exactly one of the first two is set."""

    occupied_since: datetime | None
    empty_since: datetime | None
    outage_at: datetime | None = None
    "The recorder went down then and nobody has come back since."


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a recording waits."""

    empty_timeout_s: float = 60.0
    "For somebody to be in the room."
    invoked_timeout_s: float = 120.0
    "For media of those who are."
    page_timeout_s: float = 600.0
    "For a web page to begin."


@dataclass(frozen=True, slots=True)
class Deadline:
    """`command` is due at `at`."""

    recording_id: str
    at: datetime
    command: Stop


def deadline_of(recording: Recording, presence: Presence | None, limits: Limits) -> Deadline | None:
    """The next end that is in sight for a recording; None once it is stopped, or while nothing limits it.

    `presence` is None when its meeting has no session.
    """
    if recording.state not in ACTIVE:
        return None
    found: list[Deadline] = []

    def add(at: datetime, cause: StopCause, end: datetime | None = None) -> None:
        found.append(Deadline(recording.id, at, Stop(cause, at=end or at)))

    if recording.started_at is not None and recording.state in LIVE:
        add(recording.started_at + timedelta(seconds=recording.options.max_seconds), StopCause.MAX_SECONDS)
    if recording.options.page is not None:  # who is there is for the page to say; whoever opens it ends it long before
        if recording.state not in LIVE:
            add(recording.invoked_at + timedelta(seconds=limits.page_timeout_s), StopCause.FAULT)
        return min(found, key=lambda d: d.at, default=None)
    empty_since = recording.invoked_at if presence is None else presence.empty_since
    if empty_since is not None:
        at = max(empty_since, recording.invoked_at) + timedelta(seconds=limits.empty_timeout_s)
        if presence is not None and presence.outage_at is not None and recording.state in LIVE:
            add(at, StopCause.FAULT, presence.outage_at)
        else:
            add(at, StopCause.EMPTY)
    elif presence is not None and presence.occupied_since is not None and recording.state not in LIVE:
        since = max(presence.occupied_since, recording.invoked_at)
        add(since + timedelta(seconds=limits.invoked_timeout_s), StopCause.FAULT)
    return min(found, key=lambda d: d.at, default=None)
