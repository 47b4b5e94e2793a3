"""The built-in bucket as a directory: an object is a file, beside it a small one with its type and its name.

A put is whole or not at all: the bytes are on disk under another name before a rename shows them. Links are signed by
this server and served by its own files route. File work runs in threads, never on the event loop.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from tapedeck.core.errors import DestinationError, NotFoundError, UnavailableError
from tapedeck.core.naming import check_key
from tapedeck.core.signing import expiry_seconds, sign_link
from tapedeck.ports.storage import ObjectInfo

__all__ = ["LocalStore"]

_CHUNK = 1 << 18
_ABOUT = "~about"
"""Ends the name of the small file; no key can end so."""
_PART = "~part"
"""Ends the name of a file that is not whole yet."""


class LocalStore:
    """`ports.storage.ObjectStore` in `root`, which is made when missing.

    `public_url` is where this server can be reached from outside; `link_key` signs the links
    (`core.signing.derive_key(secret, "file-link")`).
    """

    def __init__(self, root: Path, public_url: str, link_key: bytes) -> None:
        self._root = root
        self._public_url = public_url.rstrip("/")
        self._link_key = link_key
        with _mapped(str(root)):
            root.mkdir(parents=True, exist_ok=True)

    async def put_file(self, key: str, path: Path, content_type: str, filename: str) -> ObjectInfo:
        """Store a local file under `key`: linked if it lies on the same disk, else copied. The caller's file stays."""
        await asyncio.to_thread(self._put, self._place(key), path, content_type, filename)
        return await self.head(key)

    async def head(self, key: str) -> ObjectInfo:
        """Describe an object."""
        return await asyncio.to_thread(self._head, key, self._place(key))

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes `start <= i < end` in chunks of at most 256 KiB."""
        place = self._place(key)
        with _mapped(key):
            file = await asyncio.to_thread(place.open, "rb")
        with file:
            await asyncio.to_thread(file.seek, start)
            left = None if end is None else max(end - start, 0)
            while left is None or left > 0:
                with _mapped(key):
                    chunk = await asyncio.to_thread(file.read, _CHUNK if left is None else min(_CHUNK, left))
                if not chunk:
                    return
                if left is not None:
                    left -= len(chunk)
                yield chunk

    async def delete(self, key: str) -> None:
        """Remove an object; a key that is not there is fine."""
        await asyncio.to_thread(self._delete, key, self._place(key))

    async def presign(self, key: str, filename: str, expires: datetime) -> str:
        """A URL of this server's files route that works until `expires`, rounded up to a second."""
        until = expiry_seconds(expires)
        signature = sign_link(self._link_key, check_key(key), filename, until)
        # Neither a key nor a signature has a character that a URL would need escaped.
        query = f"filename={quote(filename, safe='')}&expires={until}&signature={signature}"
        return f"{self._public_url}/files/{key}?{query}"

    def _place(self, key: str) -> Path:
        return self._root / check_key(key)

    def _put(self, place: Path, source: Path, content_type: str, filename: str) -> None:
        with _mapped(str(source)), source.open("rb") as given:
            os.fsync(given.fileno())
        part = place.with_name(f"{uuid4().hex}{_PART}")
        with _mapped(str(place)):
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                _link_or_copy(source, part)
                about = json.dumps({"content_type": content_type, "filename": filename}).encode()
                _write_whole(place.with_name(place.name + _ABOUT), about)
                part.replace(place)
            finally:
                part.unlink(missing_ok=True)
            self._sync_directories(place.parent)

    def _sync_directories(self, directory: Path) -> None:
        """A rename, and a new directory, is on disk when the directory above it is."""
        while True:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if directory == self._root:
                return
            directory = directory.parent

    def _head(self, key: str, place: Path) -> ObjectInfo:
        with _mapped(key):
            status = place.stat()
            if not place.is_file():
                raise NotFoundError(f"No object under {key}")
            about: dict[str, Any] = json.loads(place.with_name(place.name + _ABOUT).read_bytes())
        modified = datetime.fromtimestamp(status.st_mtime, UTC)
        return ObjectInfo(key, status.st_size, str(about["content_type"]), modified)

    def _delete(self, key: str, place: Path) -> None:
        with _mapped(key):
            place.unlink(missing_ok=True)
            place.with_name(place.name + _ABOUT).unlink(missing_ok=True)
            for directory in place.parents:
                if directory == self._root:
                    return
                try:
                    directory.rmdir()
                except OSError:
                    return  # other objects live there


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as exc:
        if exc.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
            raise
        shutil.copyfile(source, target)
        with target.open("rb") as copied:
            os.fsync(copied.fileno())


def _write_whole(place: Path, content: bytes) -> None:
    part = place.with_name(f"{uuid4().hex}{_PART}")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _mapped(what: str) -> Iterator[None]:
    """Turn errors of the file system into ours."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as exc:
        raise NotFoundError(f"No object under {what}") from exc
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UnavailableError("The disk of the bucket is full: free some space.", retry_after_s=60) from exc
        if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise DestinationError("The directory of the bucket cannot be written: check its permissions.") from exc
        raise UnavailableError(f"The disk of the bucket does not answer: {exc.strerror}", retry_after_s=60) from exc
