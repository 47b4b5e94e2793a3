"""Several files as one ZIP, made while it is sent: nothing is kept but the chunk that is on its way.

Members are stored as they are (films do not get smaller), with sizes and checksums behind them (APPNOTE 4.3.9) and
64-bit fields (4.3.9.2), since nobody knows beforehand how much there will be.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from tapedeck.ports.storage import ObjectStore

__all__ = ["Member", "zip_stream"]

_FIRST_YEAR = 1980


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a store under its name in the ZIP."""

    name: str
    store: ObjectStore
    key: str
    at: datetime


async def zip_stream(members: Sequence[Member]) -> AsyncIterator[bytes]:
    """The ZIP in chunks. Errors as of `ObjectStore.read`: what was sent before is no whole ZIP then."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as made:
        for member in members:
            at = max(member.at.timetuple()[:6], (_FIRST_YEAR, 1, 1, 0, 0, 0))
            with made.open(zipfile.ZipInfo(member.name, at), "w", force_zip64=True) as file:
                async for chunk in member.store.read(member.key):
                    file.write(chunk)
                    yield sink.take()
            yield sink.take()
    yield sink.take()


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken; cannot go back, which the library respects."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        more = bytes(data)  # type: ignore[call-overload]
        self._held += more
        return len(more)

    def take(self) -> bytes:
        """What was written since."""
        held = bytes(self._held)
        self._held.clear()
        return held
