"""Instants as this product stores and shows them: UTC, whole milliseconds, RFC 3339 with `Z`. No clock in here."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

__all__ = ["film_seconds", "format_time", "from_ms", "parse_time", "to_ms", "whole_ms"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_LOST_PLUS = re.compile(r" (?=\d\d:?\d\d$)")


def to_ms(at: datetime) -> int:
    """Milliseconds since 1970, rounded down. Takes an aware time only (ValueError)."""
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return (at - _EPOCH) // _MS


def from_ms(ms: int) -> datetime:
    """The instant `ms` milliseconds after 1970, in UTC."""
    return _EPOCH + timedelta(milliseconds=ms)


def whole_ms(at: datetime) -> datetime:
    """The same instant in UTC, cut to the millisecond."""
    return from_ms(to_ms(at))


def format_time(at: datetime) -> str:
    """RFC 3339 in UTC with three decimals: `2026-03-02T09:15:04.120Z`."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(timespec="milliseconds")[:23] + "Z"


def parse_time(text: str) -> datetime:
    """An ISO 8601 date or date-time as an instant in UTC; one without a zone is taken as UTC.

    A `+` of the zone that a URL turned into a space is understood. ValueError if it is no time, or out of range.
    """
    at = datetime.fromisoformat(_LOST_PLUS.sub("+", text.strip()))
    if at.tzinfo is None:
        return at.replace(tzinfo=UTC)
    try:
        return at.astimezone(UTC)
    except OverflowError as exc:
        raise ValueError("out of range") from exc


def film_seconds(started: datetime | None, stopped: datetime | None, film_ms: int | None, paused_ms: int) -> int | None:
    """Length of a film in whole seconds, as `core.recording.recorded_seconds` has it, of the columns alone."""
    if started is None or stopped is None:
        return None
    if film_ms is None:
        film_ms = max((stopped - started) // timedelta(milliseconds=1) - paused_ms, 0)
    return (film_ms + 500) // 1000
