"""Where services read the time. Pure code takes `now` as an argument instead."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

__all__ = ["Clock"]


class Clock(Protocol):
    """The wall clock."""

    def now(self) -> datetime:
        """The present, aware, in UTC."""
