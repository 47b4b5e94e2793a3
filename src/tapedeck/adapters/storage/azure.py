"""Azure blobs through Microsoft's SDK: blocks in any order, links that carry the file's name.

Azure has no upload: a block belongs to a name, and is dropped a week after it came if nobody commits it. A token of
ours begins the ids of its blocks, so that two uploads of one name do not mix; an id has the number and the MD5 of its
block. Azure checks the MD5 before it takes a block.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
from azure.core.async_paging import AsyncItemPaged
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob import BlobBlock, BlobSasPermissions, ContentSettings, generate_blob_sas
from azure.storage.blob.aio import BlobClient, BlobServiceClient

from tapedeck.adapters.egress import Guard, is_refusal
from tapedeck.adapters.storage.faults import (
    MOST_ANSWER_BYTES,
    MOST_PAGES,
    refused_address,
    store_error,
    strange,
    unreachable,
)
from tapedeck.adapters.storage.pieces import ViewFile, put_in_parts
from tapedeck.core.errors import DestinationError, NotFoundError, UnavailableError
from tapedeck.core.naming import content_disposition
from tapedeck.core.parts import PartRule
from tapedeck.ports.storage import ObjectInfo, Part, Unfinished

__all__ = ["AzureStore"]

_MIB = 1 << 20
_CONNECT_S = 10.0
_READ_S = 60.0


class AzureStore:
    """`ports.storage.ObjectStore` and `MultipartStore` over one container."""

    def __init__(
        self, *, container: str, connection_string: str, guard: Guard, read_timeout_s: float = _READ_S
    ) -> None:
        self._container = container
        self._connection_string = connection_string
        self._guard = guard
        self._read_timeout_s = read_timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._service: BlobServiceClient | None = None

    def __repr__(self) -> str:
        return f"AzureStore({self._container!r})"

    async def put_file(self, key: str, path: Path, content_type: str, filename: str) -> ObjectInfo:
        """Store a local file, in blocks."""
        if not await asyncio.to_thread(path.is_file):
            raise NotFoundError(f"No file to store under {key}")
        return await put_in_parts(self, key, path, content_type, filename)

    async def head(self, key: str) -> ObjectInfo:
        """Describe a blob."""
        with _mapped(key):
            found = await self._blob(key).get_blob_properties()
        modified = found.last_modified.astimezone(UTC)
        return ObjectInfo(key, found.size, found.content_settings.content_type or "", modified)

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes `start <= i < end` in chunks."""
        size = (await self.head(key)).size_bytes
        until = size if end is None else min(end, size)
        if start >= until:
            return
        with _mapped(key):
            stream = await self._blob(key).download_blob(offset=start, length=until - start)
            async for chunk in stream.chunks():
                yield chunk

    async def delete(self, key: str) -> None:
        """Remove a blob; one that is not there is fine."""
        try:
            with _mapped(key):
                await self._blob(key).delete_blob(delete_snapshots="include")
        except NotFoundError:
            return

    async def presign(self, key: str, filename: str, expires: datetime) -> str:
        """A link that Azure serves by itself, under the file's name. DestinationError without an account key."""
        blob = self._blob(key)
        account_key = getattr(blob.credential, "account_key", None)
        if account_key is None or blob.account_name is None:
            raise DestinationError("A connection string without an account key cannot make links.")
        query = generate_blob_sas(
            blob.account_name,
            self._container,
            key,
            account_key=account_key,
            permission=BlobSasPermissions(read=True),
            expiry=expires.astimezone(UTC),
            content_disposition=content_disposition(filename),
        )
        return f"{blob.url}?{query}"

    @property
    def rule(self) -> PartRule:
        """Azure's limits."""
        return PartRule(least_bytes=1, most_bytes=512 * _MIB, most_parts=50_000, equal=False)

    async def begin(self, key: str, content_type: str, filename: str) -> str:
        """Begin an upload: nothing is sent, the token has what the commit needs."""
        named = json.dumps([content_type, filename]).encode()
        return f"{uuid4().hex[:8]}.{base64.urlsafe_b64encode(named).decode()}"

    async def put_part(self, key: str, token: str, number: int, data: bytes | memoryview, offset: int) -> Part:
        """Store a block; Azure checks its MD5."""
        digest = await asyncio.to_thread(_md5, data)
        block = f"{token.split('.')[0]}-{number:05}-{digest}"
        with _mapped(key):
            await self._blob(key).stage_block(block, ViewFile(data), length=len(data), validate_content=True)
        return Part(number, len(data), block)

    async def parts(self, key: str, token: str) -> Sequence[Part]:
        """The blocks that wait, by number; NotFoundError when there are none of this upload."""
        found: dict[int, list[Part]] = {}
        for block in await self._waiting(key):
            mark, _, rest = block.id.partition("-")
            if mark == token.split(".")[0] and rest[:5].isdigit():
                number = int(rest[:5])
                found.setdefault(number, []).append(Part(number, block.size, block.id))
        # Of two blocks of one number nobody knows which came last.
        return [found[number][0] for number in sorted(found) if len(found[number]) == 1]

    async def complete(self, key: str, token: str, parts: Sequence[Part]) -> ObjectInfo:
        """Commit the blocks."""
        mark, _, named = token.partition(".")
        content_type, filename = json.loads(base64.urlsafe_b64decode(named))
        ordered = sorted(parts, key=lambda part: part.number)
        if any(not part.tag.startswith(f"{mark}-") for part in ordered):
            raise NotFoundError("No such upload")
        settings = ContentSettings(content_type=content_type, content_disposition=content_disposition(filename))
        with _mapped(key):
            blocks = [BlobBlock(part.tag) for part in ordered]
            await self._blob(key).commit_block_list(blocks, content_settings=settings)
        info = await self.head(key)
        size_bytes = sum(part.size_bytes for part in parts)
        if info.size_bytes != size_bytes:
            raise UnavailableError(f"The storage holds {info.size_bytes} of {size_bytes} bytes of {key}")
        return info

    async def made(self, key: str, token: str, parts: Sequence[Part]) -> ObjectInfo | None:
        """The blob, if it is of just these blocks, whose ids have their MD5."""
        with _mapped(key):
            try:
                committed, _ = await self._blob(key).get_block_list("committed")
            except ResourceNotFoundError:
                return None
        wanted = [(part.tag, part.size_bytes) for part in sorted(parts, key=lambda part: part.number)]
        return await self.head(key) if [(block.id, block.size) for block in committed] == wanted else None

    async def abort(self, key: str, token: str) -> None:
        """Free the blocks, if nothing is stored under the name; else Azure does it within a week."""
        blob = self._blob(key)
        try:
            waiting = await self._waiting(key)
        except NotFoundError:
            return
        if not any(block.id.startswith(f"{token.split('.')[0]}-") for block in waiting):
            return
        try:
            await self.head(key)
        except NotFoundError:
            with _mapped(key):
                await blob.commit_block_list([])  # which is the only way to drop blocks
            await self.delete(key)

    async def unfinished(self, prefix: str) -> Sequence[Unfinished]:
        """Names that begin with `prefix` and have blocks that nobody committed."""
        with _mapped(prefix):
            container = self._open().get_container_client(self._container)
            blobs = container.list_blobs(name_starts_with=prefix or None, include=["uncommittedblobs"])
            # What is stored has a size; its blocks that wait are Azure's to drop (`abort`).
            wanted = [blob async for blob in _in_pages(blobs) if not blob.size or blob.name == prefix]
            names = [(blob.name, _time(blob.last_modified)) for blob in wanted]
        found: list[Unfinished] = []
        for name, modified in names:
            marks = {block.id.partition("-")[0] for block in await self._waiting(name) if block.id[8:9] == "-"}
            found += [Unfinished(name, f"{mark}.", modified) for mark in sorted(marks)]
        return found

    async def aclose(self) -> None:
        """Close the connections."""
        if self._service is not None:
            await self._service.close()
            self._service = None
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _waiting(self, key: str) -> list[Any]:
        with _mapped(key):
            _, waiting = await self._blob(key).get_block_list("uncommitted")
        return list(waiting)

    def _blob(self, key: str) -> BlobClient:
        return self._open().get_blob_client(self._container, key)

    def _open(self) -> BlobServiceClient:
        if self._service is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=self._read_timeout_s)
            self._session = self._session or aiohttp.ClientSession(
                connector=self._guard.connector(),
                trust_env=False,
                timeout=timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                response_class=_Bounded,
            )
            try:
                self._service = BlobServiceClient.from_connection_string(
                    self._connection_string,
                    transport=AioHttpTransport(session=self._session, session_owner=False, use_env_settings=False),
                    connection_timeout=_CONNECT_S,
                    read_timeout=self._read_timeout_s,
                    retry_total=0,  # whoever delivers tries again, and knows for how long
                    logging_enable=False,
                )
            except ValueError:
                raise DestinationError("The connection string cannot be used: check access_key.") from None
        return self._service


class _Bounded(aiohttp.ClientResponse):
    """An answer of which no more is kept than any store would say; blobs are not read so, but in chunks."""

    async def read(self) -> bytes:
        if self._body is None:
            found = bytearray()
            async for piece in self.content.iter_any():
                found += piece
                if len(found) > MOST_ANSWER_BYTES:
                    self.close()
                    raise strange()
            self._body = bytes(found)
        return self._body


async def _in_pages(blobs: AsyncItemPaged[Any]) -> AsyncIterator[Any]:
    left = MOST_PAGES
    async for page in blobs.by_page():
        async for blob in page:
            yield blob
        left -= 1
        if not left:
            return


def _time(said: datetime | None) -> datetime:
    """Of what was never committed it may say no time: then it is taken for new."""
    return (said or datetime.now(UTC)).astimezone(UTC)


def _md5(data: bytes | memoryview) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@contextmanager
def _mapped(what: str) -> Iterator[None]:
    """Turn the SDK's errors into ours; none of its texts is shown."""
    try:
        yield
    except HttpResponseError as exc:
        code = getattr(exc, "error_code", None)
        raise store_error(str(getattr(code, "value", code) or ""), exc.status_code or 0, what) from exc
    except (AttributeError, KeyError, TypeError) as exc:  # the SDK believes whatever answers
        raise strange() from exc
    except (AzureError, aiohttp.ClientError, OSError, ValueError) as exc:
        if is_refusal(exc) or is_refusal(getattr(exc, "inner_exception", None)):
            raise refused_address() from exc
        raise unreachable(exc) from exc
