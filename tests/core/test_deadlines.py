"""When recordings end by themselves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tapedeck.core.deadlines import Deadline, Limits, Presence, deadline_of
from tapedeck.core.recording import Recording, RecordingOptions, RecordingState, Stop, StopCause

T0 = datetime(2026, 3, 2, tzinfo=UTC)
S = RecordingState
LIMITS = Limits(empty_timeout_s=60, invoked_timeout_s=120)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def recording(state: RecordingState, started: float | None = None, max_seconds: int = 600) -> Recording:
    options = RecordingOptions(max_seconds=max_seconds)
    begun = None if started is None else at(started)
    return Recording("r", "a", "m", "f.mp4", T0, state=state, started_at=begun, options=options)


def occupied(since: float = 0) -> Presence:
    return Presence(at(since), None)


def empty(since: float, outage: float | None = None) -> Presence:
    return Presence(None, at(since), None if outage is None else at(outage))


def due(seconds: float, cause: StopCause, end: float | None = None) -> Deadline:
    return Deadline("r", at(seconds), Stop(cause, at=at(seconds if end is None else end)))


@pytest.mark.parametrize(
    ("state", "started", "presence", "expected"),
    [
        (S.STARTING, None, None, due(60, StopCause.EMPTY)),
        (S.REQUESTED, None, empty(-30), due(60, StopCause.EMPTY)),
        (S.STARTING, None, empty(20), due(80, StopCause.EMPTY)),
        (S.STARTING, None, occupied(-500), due(120, StopCause.FAULT)),
        (S.STARTING, None, occupied(50), due(170, StopCause.FAULT)),
        (S.CAPTURING, 1, occupied(), due(601, StopCause.MAX_SECONDS)),
        (S.PAUSED, 1, occupied(), due(601, StopCause.MAX_SECONDS)),
        (S.CAPTURING, 1, empty(100), due(160, StopCause.EMPTY)),
        (S.PAUSED, 1, empty(100), due(160, StopCause.EMPTY)),
        (S.CAPTURING, 1, empty(590), due(601, StopCause.MAX_SECONDS)),
        (S.CAPTURING, 1, empty(200, outage=150), due(260, StopCause.FAULT, end=150)),
        (S.STARTING, None, empty(200, outage=150), due(260, StopCause.EMPTY)),
    ],
)
def test_the_nearest_end_is_found(
    state: RecordingState, started: float | None, presence: Presence | None, expected: Deadline
) -> None:
    assert deadline_of(recording(state, started), presence, LIMITS) == expected


@pytest.mark.parametrize("state", [S.CLOSING, S.RENDERING, S.UPLOADING, S.DONE, S.FAILED])
def test_what_is_stopped_has_no_end(state: RecordingState) -> None:
    assert deadline_of(recording(state, 1), empty(0), LIMITS) is None


def test_limits_are_per_app() -> None:
    limits = replace(LIMITS, empty_timeout_s=5)
    assert deadline_of(recording(S.CAPTURING, 1), empty(100), limits) == due(105, StopCause.EMPTY)
