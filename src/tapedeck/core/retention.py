"""How long a library keeps recordings: what is due when, from a tenant's wishes and those of its room. Pure.

Days are counted from the start of a recording, or from its last undelete; the purge's from the deletion. A hold stops
everything here. What is not set never happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

__all__ = ["MOST_DAYS", "Due", "Policy", "RetentionStep", "policy_of"]

MOST_DAYS = 36_500
_NAMES = ("archive_after_days", "delete_after_days", "purge_after_days")


class RetentionStep(StrEnum):
    """What the clock does to a recording."""

    ARCHIVE = "archive"
    DELETE = "delete"
    "Hidden; nothing is lost."
    PURGE = "purge"
    "Gone for good."


@dataclass(frozen=True, slots=True)
class Policy:
    """After how many days each step is taken; None: never."""

    archive_after_days: int | None = None
    delete_after_days: int | None = None
    purge_after_days: int | None = None

    @property
    def is_empty(self) -> bool:
        """Nothing would ever happen."""
        return self == Policy()

    def days(self, step: RetentionStep) -> int | None:
        """Those of one step."""
        match step:
            case RetentionStep.ARCHIVE:
                return self.archive_after_days
            case RetentionStep.DELETE:
                return self.delete_after_days
            case RetentionStep.PURGE:
                return self.purge_after_days

    def cutoff(self, step: RetentionStep, now: datetime) -> datetime | None:
        """What is as old as this is due for a step; None if nothing is."""
        days = self.days(step)
        try:
            return None if days is None else now - timedelta(days=days)
        except OverflowError:
            return None  # before there were years


@dataclass(frozen=True, slots=True)
class Due:
    """One step that is due for one recording."""

    step: RetentionStep
    recording_id: str
    room_id: str
    app_id: str
    since: datetime
    "When it became due."


def policy_of(tenant: Mapping[str, Any] | None, room: Mapping[str, Any] | None = None) -> Policy:
    """The wishes that hold: what a room says, `null` (never) included, goes before what its tenant says."""
    said = {**(tenant or {}), **(room or {})}
    return Policy(**{name: said.get(name) for name in _NAMES})
