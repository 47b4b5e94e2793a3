"""Outbound GET of something small on a user's behalf: the image of a watermark."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Fetcher"]


class Fetcher(Protocol):
    """Fetches whole bodies, bounded in size and in time."""

    async def fetch(self, url: str, most_bytes: int, timeout_s: float, accept: str = "*/*") -> bytes:
        """The body behind `url`, after at most three redirects, each of them checked like the first address.

        `core.egress.RefusedTargetError`: an address on the way is not allowed; `UnreachableError`: nothing came in
        time; `core.errors.DestinationError`: what came is not a body of at most `most_bytes`.
        """

    async def aclose(self) -> None:
        """End what is under way and close all connections."""
