"""What is counted of an app, by day in UTC. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from tapedeck.core.errors import InvalidError

__all__ = ["MOST_DAYS", "DayCount", "Report", "days_of"]

MOST_DAYS = 366
_DEFAULT_DAYS = 30


@dataclass(frozen=True, slots=True)
class DayCount:
    """How many, and how long together."""

    day: date
    count: int = 0
    total_ms: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """Every day of a range, those without anything too."""

    recordings: Sequence[DayCount]
    sessions: Sequence[DayCount]


def days_of(start: date | None, end: date | None, today: date) -> Sequence[date]:
    """The days of a range, both ends included: the last 30 where it is not said. InvalidError."""
    last = end or (today if start is None or start <= today else start)
    try:
        first = start or last - timedelta(days=_DEFAULT_DAYS - 1)
    except OverflowError:
        first = date.min
    if first > last:
        raise InvalidError('BAD_REQUEST: "start_date" must not be after "end_date"')
    if (last - first).days >= MOST_DAYS:
        raise InvalidError(f"BAD_REQUEST: at most {MOST_DAYS} days can be asked for at once")
    return list(_days(first, last))


def _days(first: date, last: date) -> Iterator[date]:
    return (date.fromordinal(number) for number in range(first.toordinal(), last.toordinal() + 1))
