"""Pages of a list, counted as the RealtimeKit API counts them: offsets from 1, both ends included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["DEFAULT_SIZE", "MAX_SIZE", "Listing", "Page"]

DEFAULT_SIZE = 20
MAX_SIZE = 100
_MAX_NUMBER = 10**12
"""Further than any list is long, and small enough that an offset fits 64 bits."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """Which page is wanted. Zero means the default for either number; a size over the limit is the limit."""

    number: int = 1
    size: int = DEFAULT_SIZE

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", min(max(self.number, 1), _MAX_NUMBER))
        object.__setattr__(self, "size", min(self.size, MAX_SIZE) if self.size > 0 else DEFAULT_SIZE)

    @property
    def offset(self) -> int:
        """Rows before the page."""
        return (self.number - 1) * self.size


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """One page of rows and where it lies in the whole."""

    items: Sequence[T]
    total_count: int
    page: Page

    @property
    def start_offset(self) -> int:
        """Place of the first row, from 1; 0 for an empty page."""
        return self.page.offset + 1 if self.items else 0

    @property
    def end_offset(self) -> int:
        """Place of the last row, from 1; 0 for an empty page."""
        return self.page.offset + len(self.items) if self.items else 0
