"""Reports of what an app has done. Decides no shape: days and numbers."""

from __future__ import annotations

from datetime import UTC, date

from tapedeck.core.analytics import DayCount, Report, days_of
from tapedeck.core.meeting import App
from tapedeck.db import analytics as table
from tapedeck.db.engine import Database
from tapedeck.ports.clock import Clock

__all__ = ["AnalyticsService"]


class AnalyticsService:
    """Counts of all apps."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def by_day(self, app: App, start: date | None, end: date | None) -> Report:
        """Recordings and sessions of an app for each day from `start` to `end`; InvalidError for no such range."""
        now = self._clock.now()
        days = days_of(start, end, now.astimezone(UTC).date())
        async with self._db.snapshot() as session:
            recordings = await table.recordings_by_day(session, app.id, days[0], days[-1])
            sessions = await table.sessions_by_day(session, app.id, days[0], days[-1], now)
        return Report(
            [recordings.get(day, DayCount(day)) for day in days], [sessions.get(day, DayCount(day)) for day in days]
        )
