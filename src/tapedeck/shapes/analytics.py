"""Analytics of the RealtimeKit face. Pure; minutes, where the core counts milliseconds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from tapedeck.core.analytics import Report

__all__ = ["Analytics", "daywise"]

_MINUTE_MS = 60_000


Day = Annotated[str, Field(json_schema_extra={"format": "date"}, examples=["2026-03-02"])]


class RecordingDay(TypedDict):
    """Recordings that were asked for on a day (UTC)."""

    day: Day
    total_recordings: Annotated[int, Field(ge=0, examples=[3])]
    total_recording_minutes: Annotated[int, Field(ge=0, examples=[95])]


class RecordingStats(TypedDict):
    """Recordings of the range; minutes are those of the films."""

    recording_count: Annotated[int, Field(ge=0, examples=[3])]
    recording_minutes_consumed: Annotated[float, Field(ge=0, examples=[95.25])]
    day_stats: list[RecordingDay]


class SessionDay(TypedDict):
    """Sessions that began on a day (UTC)."""

    day: Day
    total_sessions: Annotated[int, Field(ge=0, examples=[2])]
    total_session_minutes: Annotated[float, Field(ge=0, examples=[120.5])]


class SessionStats(TypedDict):
    """Sessions of the range; minutes from first join to end."""

    sessions_count: Annotated[int, Field(ge=0, examples=[2])]
    sessions_minutes_consumed: Annotated[float, Field(ge=0, examples=[120.5])]
    day_stats: list[SessionDay]


class Analytics(TypedDict):
    """What happened, day by day."""

    recording_stats: RecordingStats
    session_stats: SessionStats


def daywise(report: Report) -> dict[str, Any]:
    """Answer to the question for days. A day's recording minutes are whole, everything else has two places."""
    recordings, sessions = report.recordings, report.sessions
    return {
        "recording_stats": {
            "recording_count": sum(day.count for day in recordings),
            "recording_minutes_consumed": _minutes(sum(day.total_ms for day in recordings)),
            "day_stats": [
                {
                    "day": day.day.isoformat(),
                    "total_recordings": day.count,
                    "total_recording_minutes": round(day.total_ms / _MINUTE_MS),
                }
                for day in recordings
            ],
        },
        "session_stats": {
            "sessions_count": sum(day.count for day in sessions),
            "sessions_minutes_consumed": _minutes(sum(day.total_ms for day in sessions)),
            "day_stats": [
                {
                    "day": day.day.isoformat(),
                    "total_sessions": day.count,
                    "total_session_minutes": _minutes(day.total_ms),
                }
                for day in sessions
            ],
        },
    }


def _minutes(total_ms: int) -> float:
    return round(total_ms / _MINUTE_MS, 2)
