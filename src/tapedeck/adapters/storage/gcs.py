"""Google's buckets through their S3-like XML API, each request signed with the service account's own key (V4).

So nothing of the credentials but the account's name and its key is used: no token is asked for anywhere, neither where
the credentials say nor at the machine's metadata address. Parts and small objects go up with their MD5, which Google
checks.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import aiohttp
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from yarl import URL

from tapedeck.adapters.egress import Guard, is_refusal
from tapedeck.adapters.storage.faults import (
    MOST_ANSWER_BYTES,
    MOST_PAGES,
    refused_address,
    store_error,
    strange,
    unreachable,
)
from tapedeck.adapters.storage.pieces import ViewFile, put_in_parts, same_size, stored
from tapedeck.core.errors import DestinationError, NotFoundError
from tapedeck.core.naming import content_disposition
from tapedeck.core.parts import PartRule
from tapedeck.core.presign import GOOGLE, link_times, sign_url
from tapedeck.core.times import parse_time
from tapedeck.ports.storage import ObjectInfo, Part, Unfinished

__all__ = ["GcsStore"]

_MIB = 1 << 20
_CHUNK = 1 << 18
_CONNECT_S = 10.0
_READ_S = 60.0
_TRIES = 3
_LIFE_S = 900
"""Of the signature of a request."""
_HOST = "https://storage.googleapis.com"


class GcsStore:
    """`ports.storage.ObjectStore` and `MultipartStore` over one bucket; `credentials` is a service account's JSON."""

    def __init__(
        self,
        *,
        bucket: str,
        credentials: str,
        guard: Guard,
        endpoint: str = _HOST,
        read_timeout_s: float = _READ_S,
    ) -> None:
        """DestinationError when the credentials have no usable key."""
        self._bucket = bucket
        self._endpoint = endpoint
        self._guard = guard
        self._read_timeout_s = read_timeout_s
        self._owner, self._key = _account(credentials)
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"GcsStore({self._bucket!r})"

    async def put_file(self, key: str, path: Path, content_type: str, filename: str) -> ObjectInfo:
        """Store a local file: at once when it is small, else in parts."""
        if not await asyncio.to_thread(path.is_file):
            raise NotFoundError(f"No file to store under {key}")
        size = (await asyncio.to_thread(path.stat)).st_size
        if size > 16 * _MIB:
            return await put_in_parts(self, key, path, content_type, filename)
        data = await asyncio.to_thread(path.read_bytes)
        await self._ask("PUT", key, {}, data, _named(content_type, filename))
        return await stored(self, key, size)

    async def head(self, key: str) -> ObjectInfo:
        """Describe an object."""
        async with self._answer("HEAD", key, {}) as said:
            try:
                modified = parsedate_to_datetime(said.headers.get("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT"))
            except ValueError:
                raise strange() from None
            size = int(said.headers.get("content-length", 0))
            return ObjectInfo(key, size, said.headers.get("content-type", ""), modified.astimezone(UTC))

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes `start <= i < end` in chunks."""
        size = (await self.head(key)).size_bytes
        until = size if end is None else min(end, size)
        if start >= until:
            return
        async with self._answer("GET", key, {}, headers={"range": f"bytes={start}-{until - 1}"}) as said:
            async for chunk in said.content.iter_chunked(_CHUNK):
                yield chunk

    async def delete(self, key: str) -> None:
        """Remove an object; a key that is not there is fine."""
        try:
            await self._ask("DELETE", key, {})
        except NotFoundError:
            return

    async def presign(self, key: str, filename: str, expires: datetime) -> str:
        """A link that Google serves by itself, under the file's name."""
        signed, life_s = link_times(datetime.now(UTC), expires)
        wanted = {"response-content-disposition": content_disposition(filename)}
        return await asyncio.to_thread(self._signed, "GET", f"/{key}", wanted, signed, life_s)

    @property
    def rule(self) -> PartRule:
        """The limits of the XML API."""
        return PartRule(least_bytes=5 * _MIB, most_bytes=512 * _MIB, most_parts=10_000, equal=False)

    async def begin(self, key: str, content_type: str, filename: str) -> str:
        """Begin an upload; the token is the store's upload id."""
        said = await self._ask("POST", key, {"uploads": ""}, b"", _named(content_type, filename))
        token = said.findtext("{*}UploadId")
        if not token:
            raise DestinationError("The storage does not take uploads in parts.")
        return token

    async def put_part(self, key: str, token: str, number: int, data: bytes | memoryview, offset: int) -> Part:
        """Store a part; the store checks its MD5."""
        asked = {"partNumber": str(number), "uploadId": token}
        async with self._answer("PUT", key, asked, data) as said:
            if not (tag := said.headers.get("etag", "")):
                raise strange()
            return Part(number, len(data), tag)

    async def parts(self, key: str, token: str) -> Sequence[Part]:
        """The parts that the store has, by number."""
        found: list[Part] = []
        marker = "0"
        for _ in range(MOST_PAGES):
            page = await self._ask("GET", key, {"uploadId": token, "part-number-marker": marker})
            found += map(_part, page.findall("{*}Part"))
            after = page.findtext("{*}NextPartNumberMarker", "")
            if page.findtext("{*}IsTruncated") != "true" or not after or after == marker:
                break
            marker = after
        return sorted(found, key=lambda part: part.number)

    async def complete(self, key: str, token: str, parts: Sequence[Part]) -> ObjectInfo:
        """Make the object of these parts."""
        listed = "".join(
            f"<Part><PartNumber>{part.number}</PartNumber><ETag>{escape(part.tag)}</ETag></Part>"
            for part in sorted(parts, key=lambda part: part.number)
        )
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        said = await self._ask("POST", key, {"uploadId": token}, body, {"content-type": "application/xml"})
        if said.tag.endswith("Error"):  # which the S3 way of it may say behind a status of 200
            raise store_error(said.findtext("{*}Code", ""), 500, key)
        return await stored(self, key, sum(part.size_bytes for part in parts))

    async def made(self, key: str, token: str, parts: Sequence[Part]) -> ObjectInfo | None:
        """The object of a finished upload, by size."""
        try:
            if await self.parts(key, token):
                return None
        except NotFoundError:
            pass  # completed, or aborted
        return await same_size(self, key, parts)

    async def abort(self, key: str, token: str) -> None:
        """Drop an upload and its parts; one that is not there is fine."""
        try:
            await self._ask("DELETE", key, {"uploadId": token})
        except NotFoundError:
            return

    async def unfinished(self, prefix: str) -> Sequence[Unfinished]:
        """Uploads in progress of keys that begin with `prefix`."""
        found: list[Unfinished] = []
        marks = {"key-marker": "", "upload-id-marker": ""}
        for _ in range(MOST_PAGES):
            asked = {"uploads": "", "prefix": prefix} | {name: mark for name, mark in marks.items() if mark}
            page = await self._ask("GET", None, asked)
            found += [left for left in map(_upload, page.findall("{*}Upload")) if left.key.startswith(prefix)]
            after = {
                "key-marker": page.findtext("{*}NextKeyMarker", ""),
                "upload-id-marker": page.findtext("{*}NextUploadIdMarker", ""),
            }
            if page.findtext("{*}IsTruncated") != "true" or after == marks:
                break
            marks = after
        return found

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(
        self,
        method: str,
        key: str | None,
        query: Mapping[str, str],
        body: bytes | memoryview | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ElementTree.Element:
        """One request; its answer as XML, empty if there is none."""
        async with self._answer(method, key, query, body, headers) as said:
            found = _xml(text := await _whole(said))
        if found.tag == "none" and text.strip():
            raise strange()
        return found

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        key: str | None,
        query: Mapping[str, str],
        body: bytes | memoryview | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request, tried again if the store is busy."""
        what = key or self._bucket
        sent = dict(headers or {})
        if body is not None:
            sent["content-md5"] = await asyncio.to_thread(_md5, body)
            sent["content-length"] = str(len(body))  # else it goes in chunks, which not every request may
        path = "" if key is None else f"/{key}"
        for attempt in range(1, _TRIES + 1):
            url = await asyncio.to_thread(self._signed, method, path, query, datetime.now(UTC), _LIFE_S)
            try:
                said = await self._open().request(
                    method,
                    URL(url, encoded=True),
                    data=None if body is None else ViewFile(body),
                    headers=sent,
                    allow_redirects=False,
                )
            except (aiohttp.ClientError, OSError, ValueError) as exc:
                if is_refusal(exc):
                    raise refused_address() from exc
                raise unreachable(exc) from exc
            async with said:
                if said.status < 300:
                    try:
                        yield said
                    except (aiohttp.ClientError, TimeoutError) as exc:
                        raise unreachable(exc) from exc
                    return
                code = _xml(await _whole(said)).findtext("{*}Code", "")
            if said.status not in (429, 500, 502, 503) or attempt == _TRIES:
                raise store_error(code, said.status, what)
            await asyncio.sleep(0.5 * attempt)

    def _signed(self, method: str, path: str, query: Mapping[str, str], signed: datetime, life_s: int) -> str:
        return sign_url(
            GOOGLE,
            method=method,
            base=self._endpoint,
            path=f"/{self._bucket}{path}",
            query=query,
            owner=self._owner,
            region="auto",
            signed=signed,
            life_s=life_s,
            sign=lambda _, text: self._key.sign(text, padding.PKCS1v15(), hashes.SHA256()).hex(),
        )

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._guard.connector(),
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=self._read_timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session


def _account(credentials: str) -> tuple[str, rsa.RSAPrivateKey]:
    """Name and key of a service account. DestinationError."""
    try:
        found = json.loads(credentials)
        name, text = str(found["client_email"]), str(found["private_key"])
        key = serialization.load_pem_private_key(text.encode(), password=None)
    except (ValueError, KeyError, TypeError, UnsupportedAlgorithm):  # none of their texts is shown
        raise DestinationError("The credentials have no usable private key: check secret.") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise DestinationError("The credentials' private key is not an RSA key: check secret.")
    return name, key


def _named(content_type: str, filename: str) -> dict[str, str]:
    return {"content-type": content_type, "content-disposition": content_disposition(filename)}


def _md5(data: bytes | memoryview) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


async def _whole(said: aiohttp.ClientResponse) -> bytes:
    """All of an answer, in however many pieces it comes."""
    found = bytearray()
    try:
        async for piece in said.content.iter_any():
            found += piece
            if len(found) > MOST_ANSWER_BYTES:
                said.close()
                raise strange()
    except (aiohttp.ClientError, OSError) as exc:
        raise unreachable(exc) from exc
    return bytes(found)


def _part(said: ElementTree.Element) -> Part:
    try:
        number, size = int(said.findtext("{*}PartNumber", "0")), int(said.findtext("{*}Size", "0"))
    except ValueError:
        raise strange() from None
    return Part(number, size, said.findtext("{*}ETag", ""))


def _upload(said: ElementTree.Element) -> Unfinished:
    try:
        begun = parse_time(said.findtext("{*}Initiated", "1970-01-01T00:00:00Z"))
    except ValueError:
        raise strange() from None
    return Unfinished(said.findtext("{*}Key", ""), said.findtext("{*}UploadId", ""), begun)


def _xml(text: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(text)  # expat stops entities that grow
    except ElementTree.ParseError:
        return ElementTree.Element("none")
