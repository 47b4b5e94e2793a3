"""From a storage in words to the adapter that speaks its language; open ones are kept and shared.

An adapter is imported with the first storage of its kind: together with their libraries they are 20 MB that a server
without such storages never has.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlsplit

from tapedeck.adapters.egress import Guard
from tapedeck.core.destination import clean_path
from tapedeck.core.errors import DestinationError
from tapedeck.core.parts import PartRule
from tapedeck.ports.storage import MultipartStore, ObjectInfo, ObjectStore, Part, Unfinished

if TYPE_CHECKING:
    from tapedeck.adapters.storage.s3 import S3Store

__all__ = ["PrefixedStore", "Store", "Stores", "make_s3", "make_store"]

_KEPT = 64
_R2 = ".r2.cloudflarestorage.com"
_MODULES = {"aws": "s3", "digitalocean": "s3", "cloudflare": "s3", "azure": "azure", "gcs": "gcs", "sftp": "sftp"}


class Store(ObjectStore, MultipartStore, Protocol):
    """A store with connections."""

    async def aclose(self) -> None:
        """Close them."""


class Stores:
    """Open stores of many customers, so that two recordings share connections. `aclose` when all is over."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._open: OrderedDict[str, Store] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    async def ready(self, storage: Mapping[str, Any]) -> Store:
        """As `open`, from a process that has meetings in its event loop: they go on while an adapter is imported."""
        await asyncio.to_thread(_load, storage)
        return self.open(storage)

    def open(self, storage: Mapping[str, Any]) -> Store:
        """The store of a storage with its secrets; nothing is connected yet. DestinationError."""
        told = {name: value for name, value in storage.items() if name != "path"}
        mark = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        if mark not in self._open:
            self._open[mark] = make_store(storage, self._guard)
            if len(self._open) > _KEPT:
                _, oldest = self._open.popitem(last=False)
                task = asyncio.create_task(oldest.aclose())  # it opens its connections again if somebody still has it
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
        self._open.move_to_end(mark)
        return self._open[mark]

    async def aclose(self) -> None:
        """Close all."""
        opened, self._open = list(self._open.values()), OrderedDict()
        await asyncio.gather(*(store.aclose() for store in opened), *self._closing, return_exceptions=True)


def make_store(storage: Mapping[str, Any], guard: Guard) -> Store:
    """The adapter of a storage as of `core.destination`, with its secrets. DestinationError."""
    match storage["type"]:
        case "aws" | "digitalocean" | "cloudflare":
            from tapedeck.adapters.storage.s3 import S3Store

            return make_s3(storage, guard, S3Store)
        case "azure":
            from tapedeck.adapters.storage.azure import AzureStore

            return AzureStore(container=storage["bucket"], connection_string=storage["access_key"], guard=guard)
        case "gcs":
            from tapedeck.adapters.storage.gcs import GcsStore

            more = {"endpoint": storage["endpoint"]} if storage.get("endpoint") else {}
            return GcsStore(bucket=storage["bucket"], credentials=storage["secret"], guard=guard, **more)
        case "sftp":
            from tapedeck.adapters.storage.sftp import SftpStore

            return SftpStore(
                host=storage["host"],
                port=storage.get("port", 22),
                username=storage["username"],
                password=storage.get("password"),
                private_key=storage.get("private_key") if storage["auth_method"] == "KEY" else None,
                host_key=storage.get("host_key"),
                guard=guard,
            )
        case _:
            raise DestinationError("This server cannot reach such a storage.")


def _load(storage: Mapping[str, Any]) -> None:
    if found := _MODULES.get(storage["type"]):
        import_module(f"tapedeck.adapters.storage.{found}")


S = TypeVar("S", bound="S3Store")


def make_s3(storage: Mapping[str, Any], guard: Guard, make: Callable[..., S]) -> S:
    """The adapter of an S3 storage, made by `make`: `S3Store`, or a kind of it."""
    bucket, region, endpoint = storage["bucket"], storage.get("region") or "", storage.get("endpoint")
    by_host = False
    match storage["type"]:
        case "digitalocean":
            endpoint = f"https://{region}.digitaloceanspaces.com"
        case "cloudflare":
            region, endpoint = "auto", endpoint or f"https://{storage['account_id']}{_R2}"
        case _:
            region = region or "us-east-1"
            if not endpoint:
                home = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
                endpoint = f"https://s3.{region}.{home}"
                by_host = "." not in bucket and bucket == bucket.lower()  # else no certificate has the name
    host = urlsplit(endpoint).hostname or ""
    return make(
        bucket=bucket,
        access_key=storage["access_key"],
        secret=storage["secret"],
        region=region,
        endpoint=endpoint,
        guard=guard,
        by_host=by_host,
        equal=storage["type"] == "cloudflare" or host.endswith(_R2),
    )


class PrefixedStore:
    """A store in which everything of ours lies below one path."""

    def __init__(self, inner: Store, path: str) -> None:
        self._inner = inner
        self._front = f"{clean_path(path)}/" if clean_path(path) else ""

    @property
    def within(self) -> tuple[str, Store]:
        """What stands before each key, and the store in which it is a key then."""
        return self._front, self._inner

    async def put_file(self, key: str, path: Path, content_type: str, filename: str) -> ObjectInfo:
        return self._ours(await self._inner.put_file(self._front + key, path, content_type, filename))

    async def head(self, key: str) -> ObjectInfo:
        return self._ours(await self._inner.head(self._front + key))

    def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        return self._inner.read(self._front + key, start, end)

    async def delete(self, key: str) -> None:
        await self._inner.delete(self._front + key)

    async def presign(self, key: str, filename: str, expires: datetime) -> str:
        return await self._inner.presign(self._front + key, filename, expires)

    @property
    def rule(self) -> PartRule:
        return self._inner.rule

    async def begin(self, key: str, content_type: str, filename: str) -> str:
        return await self._inner.begin(self._front + key, content_type, filename)

    async def put_part(self, key: str, token: str, number: int, data: bytes | memoryview, offset: int) -> Part:
        return await self._inner.put_part(self._front + key, token, number, data, offset)

    async def parts(self, key: str, token: str) -> Sequence[Part]:
        return await self._inner.parts(self._front + key, token)

    async def complete(self, key: str, token: str, parts: Sequence[Part]) -> ObjectInfo:
        return self._ours(await self._inner.complete(self._front + key, token, parts))

    async def made(self, key: str, token: str, parts: Sequence[Part]) -> ObjectInfo | None:
        info = await self._inner.made(self._front + key, token, parts)
        return None if info is None else self._ours(info)

    async def abort(self, key: str, token: str) -> None:
        await self._inner.abort(self._front + key, token)

    async def unfinished(self, prefix: str) -> Sequence[Unfinished]:
        found = await self._inner.unfinished(self._front + prefix)
        return [Unfinished(left.key.removeprefix(self._front), left.token, left.started) for left in found]

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _ours(self, info: ObjectInfo) -> ObjectInfo:
        return ObjectInfo(info.key.removeprefix(self._front), info.size_bytes, info.content_type, info.modified)
