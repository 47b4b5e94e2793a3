"""The part of the composition root that knows stores: the built-in bucket, the fallback, and those of customers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tapedeck.adapters.egress import Guard
from tapedeck.adapters.storage.factory import PrefixedStore, Store, Stores
from tapedeck.adapters.storage.local import LocalStore
from tapedeck.adapters.storage.probe import probe
from tapedeck.config import Settings
from tapedeck.core.bucketurl import bucket_directory, bucket_storage
from tapedeck.core.destination import Destination, DestinationKind, file_key
from tapedeck.core.errors import DestinationError, InvalidError
from tapedeck.service.vault import Vault
from tapedeck.shapes.bodies import StartBody, parse
from tapedeck.workers.upload import Bucket

if TYPE_CHECKING:
    from tapedeck.adapters.storage.archive import S3Archive

__all__ = ["Outlets", "probe_storage"]


class Outlets:
    """Opens the store of each destination. `aclose` when nothing is delivered any more."""

    def __init__(self, settings: Settings, public_url: str, link_key: bytes) -> None:
        # Whoever runs the server may keep its own buckets on a private network; what customers name is guarded.
        self._own = Stores(Guard(allow_private=True))
        self._theirs = Stores(Guard(allow_private=settings.allow_private_urls))
        storage = settings.bucket_storage
        self.bucket: LocalStore | PrefixedStore
        if storage is None:
            self.bucket = LocalStore(settings.bucket_dir, public_url, link_key)
        else:
            self.bucket = self._prefixed(storage)
        fallback = settings.fallback_storage
        self.fallback = None if fallback is None else self._prefixed(fallback)
        cold = settings.archive_storage
        self.archive: S3Archive | None = None
        if cold is not None:
            from tapedeck.adapters.storage.archive import make_archive  # S3's libraries: not without an archive

            self.archive = make_archive(cold, settings.archive_storage_class, Guard(allow_private=True))

    async def open(self, destination: Destination, vault: Vault) -> Bucket:
        """The store of a destination. DestinationError, UnavailableError."""
        match destination.kind:
            case DestinationKind.BUCKET:
                return Bucket(self.bucket, links=isinstance(self.bucket, LocalStore))
            case DestinationKind.FALLBACK:
                if self.fallback is None:
                    raise DestinationError("This server has no fallback bucket any more: set FALLBACK_BUCKET_URL.")
                return Bucket(self.fallback)
            case DestinationKind.EXTERNAL:
                return Bucket(await self._theirs.ready(vault.unseal_storage(destination)))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._own.aclose()
        await self._theirs.aclose()
        if self.archive is not None:
            await self.archive.aclose()

    def _prefixed(self, storage: dict[str, Any]) -> PrefixedStore:
        store: Store = self._own.open(storage)
        return PrefixedStore(store, storage.get("path", ""))


async def probe_storage(settings: Settings, named: str) -> str:
    """Try a storage: the URL of a bucket, or a file with a `storage_config` as JSON. What was done, as a sentence.

    A file's storage is dialled as a customer's would be. TapedeckError says what is wrong.
    """
    name = f"tapedeck-probe-{uuid4().hex}.txt"
    if "://" not in named:
        storage = _config(Path(named))
        stores = Stores(Guard(allow_private=settings.allow_private_urls))
    else:
        given = (settings.bucket_access_key, settings.bucket_secret)
        found = bucket_storage(named, *(None if value is None else value.get_secret_value() for value in given))
        if found is None:
            local = LocalStore(Path(bucket_directory(named)), "http://localhost", b"probe")
            return await probe(local, name, links=False)
        storage, stores = found, Stores(Guard(allow_private=True))
    try:
        key = file_key(storage.get("path", ""), name)
        return await probe(stores.open(storage), key, links=storage["type"] != "sftp")
    finally:
        await stores.aclose()


def _config(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_text())
    except OSError as exc:
        raise InvalidError(f"{path} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise InvalidError(f"{path} is not JSON") from exc
    storage = body.get("storage_config", body) if isinstance(body, dict) else body
    config: dict[str, Any] = parse(StartBody, {"meeting_id": "", "storage_config": storage}).config()["storage_config"]
    return config
