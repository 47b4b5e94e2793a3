"""Archives in S3: buckets whose objects are of a storage class that may have to be asked for before it can be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from tapedeck.adapters.egress import Guard
from tapedeck.adapters.storage.factory import PrefixedStore, make_s3
from tapedeck.adapters.storage.s3 import S3Store
from tapedeck.core.archive import StorageClass, Thaw, Tier
from tapedeck.core.errors import DestinationError, NotFoundError
from tapedeck.core.parts import PlannedPart
from tapedeck.ports.storage import ObjectStore, Part

__all__ = ["ColdStore", "S3Archive", "make_archive"]

_TIERS = {Tier.STANDARD: "Standard", Tier.BULK: "Bulk", Tier.EXPEDITED: "Expedited"}
_READABLE = ("", "STANDARD", StorageClass.GLACIER_IR)


class ColdStore(S3Store):
    """An S3 bucket whose new objects are of one storage class."""

    def __init__(self, *, storage_class: StorageClass, **more: Any) -> None:
        super().__init__(**more)
        self.storage_class = str(storage_class)

    async def tag(self, key: str) -> str:
        """The entity tag, without its quotes."""
        said = await self._do(key, "head_object", Key=key)
        return str(said["ETag"]).strip('"')

    async def restore(self, key: str, tier: Tier, days: int) -> None:
        """Ask for a readable copy; what is being restored already, or needs no asking, is fine.

        The object's own class counts: the setting may have been another one when it was archived.
        """
        if (await self._do(key, "head_object", Key=key)).get("StorageClass", "") in _READABLE:
            return
        wanted = {"Days": days, "GlacierJobParameters": {"Tier": _TIERS[tier]}}
        client = await self._open()

        def ask() -> None:
            try:
                client.restore_object(Bucket=self._bucket, Key=key, RestoreRequest=wanted)
            except ClientError as exc:
                if exc.response.get("Error", {}).get("Code") != "RestoreAlreadyInProgress":
                    raise

        await self._run(key, ask)

    async def thaw(self, key: str) -> Thaw:
        """By the object's class and its `x-amz-restore`."""
        said = await self._do(key, "head_object", Key=key)
        if said.get("StorageClass", "") in _READABLE:
            return Thaw.READABLE
        restore = said.get("Restore", "")
        if 'ongoing-request="true"' in restore:
            return Thaw.THAWING
        return Thaw.READABLE if 'ongoing-request="false"' in restore else Thaw.FROZEN

    async def _do(self, what: str, operation: str, **asked: Any) -> Any:
        if operation in ("put_object", "create_multipart_upload"):
            asked["StorageClass"] = self.storage_class
        return await super()._do(what, operation, **asked)


class S3Archive(PrefixedStore):
    """`ports.archive.ArchiveStore`: a `ColdStore` in which everything of ours lies below one path."""

    def __init__(self, inner: ColdStore, path: str) -> None:
        super().__init__(inner, path)
        self._cold = inner

    @property
    def storage_class(self) -> str:
        return self._cold.storage_class

    async def tag(self, key: str) -> str:
        return await self._cold.tag(self._front + key)

    def reaches(self, source: ObjectStore) -> bool:
        return self._beside(source) is not None

    async def copy_part(
        self, source: ObjectStore, source_key: str, key: str, token: str, piece: PlannedPart, *, is_all: bool
    ) -> Part | None:
        if (found := self._beside(source)) is None:
            return None
        front, store = found
        there, here = front + source_key, self._front + key
        try:
            return await self._cold.copy_part(store, there, here, token, piece, is_all=is_all)
        except (DestinationError, NotFoundError):  # what is wrong with more than this way of copying shows in the other
            return None

    async def restore(self, key: str, tier: Tier, days: int) -> None:
        await self._cold.restore(self._front + key, tier, days)

    async def thaw(self, key: str) -> Thaw:
        return await self._cold.thaw(self._front + key)

    def _beside(self, source: ObjectStore) -> tuple[str, S3Store] | None:
        """The bucket of a store that this one can copy from, and what stands before its keys."""
        front, store = source.within if isinstance(source, PrefixedStore) else ("", source)
        return (front, store) if isinstance(store, S3Store) and self._cold.is_beside(store) else None


def make_archive(storage: Mapping[str, Any], storage_class: StorageClass, guard: Guard) -> S3Archive:
    """The archive in an S3 bucket, in the words of `core.destination`."""

    def cold(**more: Any) -> ColdStore:
        return ColdStore(storage_class=storage_class, **more)

    return S3Archive(make_s3(storage, guard, cold), storage.get("path", ""))
