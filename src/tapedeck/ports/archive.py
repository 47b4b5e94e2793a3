"""Where recordings that are hardly asked for any more lie: cheap to keep, slow to get."""

from __future__ import annotations

from typing import Protocol

from tapedeck.core.archive import Thaw, Tier
from tapedeck.core.parts import PlannedPart
from tapedeck.ports.storage import MultipartStore, ObjectStore, Part

__all__ = ["ArchiveStore"]


class ArchiveStore(ObjectStore, MultipartStore, Protocol):
    """A bucket whose objects may have to be asked for before they can be read. Errors as `ObjectStore`."""

    @property
    def storage_class(self) -> str:
        """What new objects are put into: a `core.archive.StorageClass`, or empty where they stay readable."""

    async def tag(self, key: str) -> str:
        """The entity tag of an object, without quotes: it changes when the object does."""

    def reaches(self, source: ObjectStore) -> bool:
        """Whether another bucket is of the same store and owner, so that the store may copy from it by itself."""

    async def copy_part(
        self, source: ObjectStore, source_key: str, key: str, token: str, piece: PlannedPart, *, is_all: bool
    ) -> Part | None:
        """Have the store itself make a part of the same bytes of another bucket's object. `is_all`: they are all of
        it; a store copies no span of a small object.

        None where it does not: the bytes have to go through us then. UnavailableError.
        """

    async def restore(self, key: str, tier: Tier, days: int) -> None:
        """Ask for a readable copy for so many days; asking again, also when it is there, makes them anew."""

    async def thaw(self, key: str) -> Thaw:
        """Whether an object can be read now."""
