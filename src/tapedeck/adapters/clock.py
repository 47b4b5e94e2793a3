"""The system's wall clock."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["SystemClock"]


class SystemClock:
    """`ports.clock.Clock` over the operating system's clock."""

    def now(self) -> datetime:
        """The present in UTC."""
        return datetime.now(UTC)
