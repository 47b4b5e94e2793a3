"""Where finished files go. Keys are relative paths of `[A-Za-z0-9._=+-]` segments joined by `/`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

__all__ = ["ObjectInfo", "ObjectStore"]


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says of an object it holds."""

    key: str
    size_bytes: int
    content_type: str
    modified: datetime


class ObjectStore(Protocol):
    """A bucket. NotFoundError: it has no such key; DestinationError: it refused; UnavailableError: it cannot now."""

    async def put_file(self, key: str, path: Path, content_type: str, filename: str) -> ObjectInfo:
        """Store a local file under `key`, whole or not at all; the caller's file may be moved away."""

    async def head(self, key: str) -> ObjectInfo:
        """Describe an object."""

    def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes `start <= i < end` in chunks."""

    async def delete(self, key: str) -> None:
        """Remove an object; a key that is not there is fine."""

    async def presign(self, key: str, filename: str, expires: datetime) -> str:
        """A URL that anybody can GET, HEAD and Range until `expires`."""
