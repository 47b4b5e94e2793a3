"""A browser that shows one page to the recorder. Whoever drives it knows recordings; the browser knows none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from tapedeck.core.page import PageEvent, PageLook

__all__ = ["Browsers", "OpenPage", "PageOrder"]


@dataclass(frozen=True, slots=True)
class PageOrder:
    """What to show. Sides in pixels of the viewport."""

    address: str = field(repr=False)
    "With a token in it."
    width: int
    height: int
    fps: int


class OpenPage(Protocol):
    """A page in a browser of its own."""

    async def next_event(self) -> PageEvent:
        """The next thing that happens to it, in order."""

    async def look(self) -> PageLook | None:
        """What it says of itself now; None when it does not answer, or is not there any more."""

    async def publish(self, exchange: Callable[[str], Awaitable[str]]) -> None:
        """Send its picture and sound from now on; `exchange` takes an SDP offer to an answer.

        UnavailableError when that is not possible; what `exchange` raises.
        """

    async def is_lost(self) -> bool:
        """Whether what `publish` began has broken off, though the page may be well: publish again."""

    async def aclose(self) -> None:
        """End the browser; returns when none of its processes is left. Again is harmless."""


class Browsers(Protocol):
    """Where browsers come from."""

    def problem(self) -> str | None:
        """Why no page can be recorded on this machine, as a sentence for whoever runs it; None if one can."""

    async def open(self, order: PageOrder) -> OpenPage:
        """Start a browser and have it go to the page; returns before the page is there. UnavailableError."""

    async def clear(self) -> None:
        """Remove what browsers of an earlier process left on the disk."""
