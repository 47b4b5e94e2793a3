"""Where finished files go, whole or in parts.

Keys are relative paths joined by `/`: of `[A-Za-z0-9._=+-]` segments in the built-in bucket, in any script in a
customer's storage (`core.destination`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from tapedeck.core.parts import PartRule

__all__ = ["MultipartStore", "ObjectInfo", "ObjectStore", "Part", "Unfinished"]


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


@dataclass(frozen=True, slots=True)
class Part:
    """A part that a store holds."""

    number: int
    size_bytes: int
    tag: str
    "What the store calls it; `complete` wants it back."
    is_sealed: bool = False
    "The store encrypts it with a key of its own: the tag says nothing about the bytes, whatever it looks like."


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An upload that was begun, and neither completed nor aborted."""

    key: str
    token: str
    started: datetime


class MultipartStore(Protocol):
    """A bucket that takes an object in parts, in any order. Errors as `ObjectStore`; NotFoundError: no such upload.

    A part is confirmed by the store (size and checksum) when `put_part` returns. Nothing is visible before `complete`.
    Cancelled or killed anywhere, an upload stays unfinished and can be continued with its token by another process.
    """

    @property
    def rule(self) -> PartRule:
        """What the store wants of parts."""

    async def begin(self, key: str, content_type: str, filename: str) -> str:
        """Begin an upload; returns its token, text that may be kept in the database."""

    async def put_part(self, key: str, token: str, number: int, data: bytes | memoryview, offset: int) -> Part:
        """Store a part, over an earlier one of its number. `offset` is its place in the finished object (bytes)."""

    async def parts(self, key: str, token: str) -> Sequence[Part]:
        """The parts that the store has, by number; one it is not sure of is left out and has to be sent again."""

    async def complete(self, key: str, token: str, parts: Sequence[Part]) -> ObjectInfo:
        """Make these parts, which are in order, the object; others are dropped."""

    async def made(self, key: str, token: str, parts: Sequence[Part]) -> ObjectInfo | None:
        """The object, if `complete` was done with these parts and only its answer is missing; None while the upload
        is open, or for an object that is another one as far as the store can tell (by checksum where it keeps one of
        the parts, by size elsewhere)."""

    async def abort(self, key: str, token: str) -> None:
        """Drop an upload and its parts; one that is not there is fine."""

    async def unfinished(self, prefix: str) -> Sequence[Unfinished]:
        """Uploads in progress of keys that begin with `prefix`."""
