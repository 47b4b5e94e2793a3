"""Where recordings that are hardly asked for any more lie: cheap to keep, slow to get."""

from __future__ import annotations

from typing import Protocol

from tapedeck.core.archive import Thaw, Tier
from tapedeck.ports.storage import MultipartStore, ObjectStore

__all__ = ["ArchiveStore"]


class ArchiveStore(ObjectStore, MultipartStore, Protocol):
    """A bucket whose objects may have to be asked for before they can be read. Errors as `ObjectStore`."""

    @property
    def storage_class(self) -> str:
        """What new objects are put into: a `core.archive.StorageClass`, or empty where they stay readable."""

    async def tag(self, key: str) -> str:
        """The entity tag of an object, without quotes: it changes when the object does."""

    async def restore(self, key: str, tier: Tier, days: int) -> None:
        """Ask for a readable copy for so many days; asking again, also when it is there, makes them anew."""

    async def thaw(self, key: str) -> Thaw:
        """Whether an object can be read now."""
