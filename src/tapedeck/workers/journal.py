"""What of an upload is up: a file beside the film, so that the next process goes on where this one died.

A line of JSON per fact, appended after the store confirmed it; a line that is cut or lost is a part that goes up again,
so only the upload's token is forced to the disk. Losing the file costs an upload from the start, never a wrong one: the
film's checksum is held against the sum of all parts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Journal", "SentPart"]


@dataclass(frozen=True, slots=True)
class SentPart:
    """A part that the store confirmed."""

    number: int
    start: int
    "In the growing file if `live`, else in the finished one (`core/parts.py`)."
    size: int
    live: bool
    crc32c: int
    tag: str


class Journal:
    """One upload of one film to one store. Small file work, done at once."""

    def __init__(self, path: Path) -> None:
        """Read what there is. OSError passes through."""
        self._path = path
        self.token: str | None = None
        self.media_at: int | None = None
        "Where the media of the growing film began, if parts of it are up."
        self.room = 0
        "How far it was to move, where the store had to know."
        self.parts: dict[int, SentPart] = {}
        self.completing: int | None = None
        "CRC-32C of the film that the store was last asked to make,"
        self.numbers: Sequence[int] = ()
        "and of which parts."
        text = path.read_bytes() if path.exists() else b""
        self._is_cut = not text.endswith(b"\n") and bool(text)
        "Whether its last line is, which must not take the next one with it."
        for line in text.splitlines():
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue

    def begin(self, token: str, media_at: int | None, room: int = 0) -> None:
        """A new upload; nothing of it is up."""
        self._path.unlink(missing_ok=True)
        self.parts.clear()
        self.completing, self.numbers = None, ()
        self._note({"token": token, "media_at": media_at, "room": room}, durable=True)

    def sent(self, part: SentPart) -> None:
        """The store confirmed a part."""
        self._note({"part": asdict(part)})

    def complete(self, crc32c: int, numbers: Sequence[int]) -> None:
        """The store is about to be asked to make the object."""
        self._note({"completing": crc32c, "numbers": list(numbers)})

    def forget(self) -> None:
        """The upload is over, and whoever must know does."""
        self._path.unlink(missing_ok=True)
        self.token, self.media_at, self.completing, self.numbers = None, None, None, ()
        self.parts.clear()

    def _note(self, fact: dict[str, Any], *, durable: bool = False) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(b"\n" * self._is_cut + json.dumps(fact).encode() + b"\n")
            self._is_cut = False
            file.flush()
            if durable:
                os.fdatasync(file.fileno())
        self._take(fact)

    def _take(self, fact: dict[str, Any]) -> None:
        if "token" in fact:
            self.token, self.media_at, self.room = fact["token"], fact["media_at"], fact.get("room", 0)
        elif "part" in fact:
            part = SentPart(**fact["part"])
            self.parts[part.number] = part
        elif "completing" in fact:
            self.completing, self.numbers = fact["completing"], fact["numbers"]
