"""Outbound POST: what webhooks are sent with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Poster", "Response"]


@dataclass(frozen=True, slots=True)
class Response:
    """What an endpoint answered."""

    status: int
    text: str
    "The beginning of its body."


class Poster(Protocol):
    """Sends one request and never a second: redirects are answers like any other."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Response:
        """POST `body` exactly as it is.

        `core.egress.RefusedTargetError`: the URL or the address behind it is not allowed; `UnreachableError`: no answer
        in time, or none at all.
        """

    async def aclose(self) -> None:
        """End what is under way and close all connections."""
