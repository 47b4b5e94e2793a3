"""S3 and what speaks like it, through boto3 in threads of its own: no other client gives parts numbers of ours.

Every part and every small object goes up with its checksum, which the store checks before it answers: the SHA-256 that
the request is signed with. It costs less than half of an MD5, whatever the wire. Connections are made
by the guard (`adapters.egress`); boto3 reads no file and no variable of the environment. Links are signed here, since
boto3 signs with its own clock.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError, ValidationError
from urllib3.exceptions import HTTPError

from tapedeck.adapters.egress import Guard, is_refusal
from tapedeck.adapters.storage.faults import MOST_PAGES, refused_address, store_error, strange, unreachable
from tapedeck.adapters.storage.httpbound import bounded_session
from tapedeck.adapters.storage.pieces import put_in_parts, stored
from tapedeck.core.assembly import parts_tag
from tapedeck.core.errors import DestinationError, NotFoundError
from tapedeck.core.naming import content_disposition
from tapedeck.core.parts import PartRule, PlannedPart
from tapedeck.core.presign import AWS, aws_signer, link_times, sign_url
from tapedeck.ports.storage import ObjectInfo, Part, Unfinished

__all__ = ["S3Store"]

_MIB = 1 << 20
_CHUNK = 1 << 20
_THREADS = 8
_READ_S = 60.0
_TRIES = 2
T = TypeVar("T")


class S3Store:
    """`ports.storage.ObjectStore` and `MultipartStore` over one bucket.

    `endpoint` is `https://host[:port]`, without the bucket; `by_host` puts the bucket into the host name, else it is
    the first folder. `equal`: all parts but the last must have one length.
    """

    def __init__(
        self,
        *,
        bucket: str,
        access_key: str,
        secret: str,
        region: str,
        endpoint: str,
        guard: Guard,
        by_host: bool = False,
        equal: bool = False,
        read_timeout_s: float = _READ_S,
    ) -> None:
        self._bucket = bucket
        self._access_key = access_key
        self._secret = secret
        self._region = region
        self._endpoint = endpoint
        self._guard = guard
        self._by_host = by_host
        self._equal = equal
        self._read_timeout_s = read_timeout_s
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="s3")
        self._client: Any = None
        self._making = asyncio.Lock()

    def __repr__(self) -> str:
        return f"S3Store({self._bucket!r})"

    async def put_file(self, key: str, path: Path, content_type: str, filename: str) -> ObjectInfo:
        """Store a local file: at once when it is small, else in parts."""
        size = (await asyncio.to_thread(path.stat)).st_size if await asyncio.to_thread(path.is_file) else None
        if size is None:
            raise NotFoundError(f"No file to store under {key}")
        if size > 16 * _MIB:
            return await put_in_parts(self, key, path, content_type, filename)
        data = await asyncio.to_thread(path.read_bytes)
        named = {"ContentType": content_type, "ContentDisposition": content_disposition(filename)}
        await self._do(key, "put_object", Key=key, Body=data, **named)
        return await stored(self, key, size)

    async def head(self, key: str) -> ObjectInfo:
        """Describe an object."""
        return _info(key, await self._do(key, "head_object", Key=key))

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes `start <= i < end` in chunks of at most 1 MiB."""
        if end is not None and end <= start:
            await self.head(key)
            return
        wanted = f"bytes={start}-" if end is None else f"bytes={start}-{end - 1}"
        try:
            said = await self._do(key, "get_object", Key=key, **({} if wanted == "bytes=0-" else {"Range": wanted}))
        except _BeyondEndError:
            return
        body = said["Body"]
        try:
            while chunk := await self._run(key, lambda: body.read(_CHUNK)):
                yield chunk
        finally:
            body.close()

    async def delete(self, key: str) -> None:
        """Remove an object; a key that is not there is fine."""
        await self._do(key, "delete_object", Key=key)

    async def presign(self, key: str, filename: str, expires: datetime) -> str:
        """A link that the store serves by itself, under the file's name."""
        signed, life_s = link_times(datetime.now(UTC), expires)
        place = urlsplit(self._endpoint)
        base = f"{place.scheme}://{self._bucket}.{place.netloc}" if self._by_host else self._endpoint
        return sign_url(
            AWS,
            method="GET",
            base=base,
            path=f"/{key}" if self._by_host else f"/{self._bucket}/{key}",
            query={"response-content-disposition": content_disposition(filename)},
            owner=self._access_key,
            region=self._region,
            signed=signed,
            life_s=life_s,
            sign=aws_signer(self._secret, self._region),
        )

    @property
    def rule(self) -> PartRule:
        """S3's limits, or R2's, which wants parts of one length."""
        return PartRule(least_bytes=5 * _MIB, most_bytes=512 * _MIB, most_parts=10_000, equal=self._equal)

    async def begin(self, key: str, content_type: str, filename: str) -> str:
        """Begin an upload; the token is the store's upload id."""
        named = {"ContentType": content_type, "ContentDisposition": content_disposition(filename)}
        token: str = (await self._do(key, "create_multipart_upload", Key=key, **named))["UploadId"]
        return token

    async def put_part(self, key: str, token: str, number: int, data: bytes | memoryview, offset: int) -> Part:
        """Store a part; the store checks its sum."""
        asked = {"Key": key, "UploadId": token, "PartNumber": number, "Body": _Body(data)}
        said = await self._do(key, "upload_part", **asked)
        return Part(number, len(data), said["ETag"], _is_sealed(said))

    def is_beside(self, other: S3Store) -> bool:
        """Whether another bucket is of the same store and the same owner, so that the store can copy between them."""
        mine, theirs = ((s._endpoint, s._region, s._access_key, s._secret) for s in (self, other))
        return mine == theirs

    async def copy_part(
        self, source: S3Store, source_key: str, key: str, token: str, piece: PlannedPart, *, is_all: bool
    ) -> Part:
        """Have the store make a part of the same bytes of an object of a bucket beside this one, or of all of it."""
        there = {"Bucket": source._bucket, "Key": source_key}
        asked = {"Key": key, "UploadId": token, "PartNumber": piece.number, "CopySource": there}
        asked |= {} if is_all else {"CopySourceRange": f"bytes={piece.start}-{piece.end - 1}"}
        said = await self._do(key, "upload_part_copy", **asked)
        return Part(piece.number, piece.size, said["CopyPartResult"]["ETag"], _is_sealed(said))

    async def parts(self, key: str, token: str) -> Sequence[Part]:
        """The parts that the store has, by number."""
        pages = await self._pages(key, "list_parts", Key=key, UploadId=token)
        with _mapped(key):
            found = [Part(p["PartNumber"], p["Size"], p["ETag"]) for page in pages for p in page.get("Parts", ())]
        return sorted(found, key=lambda part: part.number)

    async def complete(self, key: str, token: str, parts: Sequence[Part]) -> ObjectInfo:
        """Make the object of these parts."""
        listed = [{"PartNumber": p.number, "ETag": p.tag} for p in sorted(parts, key=lambda part: part.number)]
        await self._do(key, "complete_multipart_upload", Key=key, UploadId=token, MultipartUpload={"Parts": listed})
        return await stored(self, key, sum(part.size_bytes for part in parts))

    async def made(self, key: str, token: str, parts: Sequence[Part]) -> ObjectInfo | None:
        """The object of a finished upload, by size and by the tag that is made of its parts' tags."""
        try:
            if await self.parts(key, token):
                return None
        except NotFoundError:
            pass  # completed, or aborted
        try:
            said = await self._do(key, "head_object", Key=key)
        except NotFoundError:
            return None
        info = _info(key, said)
        is_same = info.size_bytes == sum(part.size_bytes for part in parts) and _is_tag(
            str(said.get("ETag", "")), parts
        )
        return info if is_same else None

    async def abort(self, key: str, token: str) -> None:
        """Drop an upload and its parts; one that is not there is fine."""
        try:
            await self._do(key, "abort_multipart_upload", Key=key, UploadId=token)
        except NotFoundError:
            return

    async def unfinished(self, prefix: str) -> Sequence[Unfinished]:
        """Uploads in progress of keys that begin with `prefix`."""
        pages = await self._pages(prefix, "list_multipart_uploads", Prefix=prefix)
        with _mapped(prefix):
            return [
                Unfinished(upload["Key"], upload["UploadId"], upload["Initiated"].astimezone(UTC))
                for page in pages
                for upload in page.get("Uploads", ())
            ]

    async def aclose(self) -> None:
        """Close the connections; whoever still asks opens new ones."""
        threads, self._threads = self._threads, ThreadPoolExecutor(_THREADS, thread_name_prefix="s3")
        client, self._client = self._client, None
        threads.shutdown(wait=False)
        if client is not None:
            client.close()

    async def _do(self, what: str, operation: str, **asked: Any) -> Any:
        client = await self._open()
        return _Said(await self._run(what, lambda: getattr(client, operation)(Bucket=self._bucket, **asked)))

    async def _pages(self, what: str, operation: str, **asked: Any) -> list[Any]:
        client = await self._open()
        paginator = client.get_paginator(operation)
        return await self._run(what, lambda: list(islice(paginator.paginate(Bucket=self._bucket, **asked), MOST_PAGES)))

    async def _run(self, what: str, call: Callable[[], T]) -> T:
        with _mapped(what):
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def _open(self) -> Any:
        """The client, made on first use: reading boto3's tables takes a while."""
        async with self._making:
            if self._client is None:
                with _mapped(self._bucket):
                    self._client = await asyncio.get_running_loop().run_in_executor(self._threads, self._make)
        return self._client

    def _make(self) -> Any:
        session = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
        for file in ("config_file", "credentials_file"):
            session.set_config_variable(file, os.devnull)
        client = session.create_client(
            "s3",
            region_name=self._region,
            endpoint_url=self._endpoint,
            aws_access_key_id=self._access_key,
            aws_secret_access_key=self._secret,
            config=Config(
                signature_version="s3v4",
                retries={"mode": "standard", "total_max_attempts": _TRIES},
                s3={
                    "addressing_style": "virtual" if self._by_host else "path",
                    "payload_signing_enabled": True,
                },
                # Others than AWS refuse the newer checksums; the ones that are sent all of them check.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                ignore_configured_endpoint_urls=True,
            ),
        )
        client._endpoint.http_session = bounded_session(self._guard, self._read_timeout_s, _THREADS)
        return client


class _Body:
    """Bytes as a file that nobody copies: what is read of it are views."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._at = 0

    def __len__(self) -> int:
        return len(self._data)

    def read(self, size: int | None = None) -> memoryview:
        """The next bytes, `size` at most; all that are left without."""
        piece = self._data[self._at :] if size is None or size < 0 else self._data[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._data)}[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at


class _Said(dict[str, Any]):
    """An answer, of which something may be missing: whoever it is of may be no store at all."""

    def __missing__(self, name: str) -> Any:
        raise strange()


class _BeyondEndError(DestinationError):
    """A range that begins after the last byte, which only `read` expects."""


def _info(key: str, said: Any) -> ObjectInfo:
    return ObjectInfo(key, said["ContentLength"], said.get("ContentType", ""), said["LastModified"].astimezone(UTC))


def _is_tag(tag: str, parts: Sequence[Part]) -> bool:
    """Whether an object's tag is that of these parts. Where theirs are no MD5s, nobody can tell."""
    wanted = parts_tag([part.tag for part in sorted(parts, key=lambda part: part.number)])
    return wanted is None or tag.strip('"') == wanted


def _is_sealed(said: Any) -> bool:
    """Whether tags are no MD5s, whatever they look like: with keys of the key service, or of the customer."""
    return str(said.get("ServerSideEncryption", "")).startswith("aws:kms") or "SSECustomerAlgorithm" in said


@contextmanager
def _mapped(what: str) -> Iterator[None]:
    """Turn boto3's errors into ours; none of its texts is shown."""
    try:
        yield
    except ClientError as exc:
        code = str(exc.response.get("Error", {}).get("Code", ""))
        status = int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in ("InvalidRange", "416"):
            raise _BeyondEndError(str(store_error(code, status, what))) from None
        raise store_error(code, status, what) from exc
    except (KeyError, RecursionError) as exc:  # an answer that is none, or one that sends us round in circles
        raise strange() from exc
    except (ParamValidationError, ValidationError) as exc:  # before anything is sent: a name that can be none
        raise store_error("", 400, what) from exc
    except (BotoCoreError, HTTPError, OSError) as exc:
        if is_refusal(exc):
            raise refused_address() from exc
        raise unreachable(exc) from exc
    except ValueError as exc:  # words where botocore expects a number or a time
        raise strange() from exc
