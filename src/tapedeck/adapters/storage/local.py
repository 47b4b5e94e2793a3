"""The built-in bucket as a directory: an object is a file, beside it a small one with its type and its name.

A put is whole or not at all: the bytes are on disk under another name before a rename shows them. Links are signed by
this server and served by its own files route. File work runs in threads, never on the event loop.

An upload in parts is a directory `~unfinished/{token}` in the root with one data file, written at each part's offset,
and a journal of the parts that are on disk; completing it renames the data file into place.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from tapedeck.adapters.storage.pieces import same_size
from tapedeck.core.errors import DestinationError, InvalidError, NotFoundError, UnavailableError
from tapedeck.core.naming import check_key
from tapedeck.core.parts import PartRule
from tapedeck.core.signing import expiry_seconds, sign_link
from tapedeck.ports.storage import ObjectInfo, Part, Unfinished

__all__ = ["LocalStore"]

_CHUNK = 1 << 18
_ABOUT = "~about"
"""Ends the name of the small file; no key can end so."""
_PART = "~part"
"""Ends the name of a file that is not whole yet."""
_UNFINISHED = "~unfinished"
"""Directory of uploads in parts; no key can begin so."""
_TOKEN = re.compile(r"[0-9a-f]{32}")


class LocalStore:
    """`ports.storage.ObjectStore` and `MultipartStore` in `root`, which is made when missing.

    `public_url` is where this server can be reached from outside; `link_key` signs the links
    (`core.signing.derive_key(secret, "file-link")`).
    """

    def __init__(self, root: Path, public_url: str, link_key: bytes) -> None:
        self._root = root
        self._public_url = public_url.rstrip("/")
        self._link_key = link_key
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise DestinationError(f"The directory of the bucket cannot be made: {exc.strerror} ({root}).") from exc

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

    @property
    def rule(self) -> PartRule:
        """Parts of any size, by offset. Their tag is their MD5."""
        return PartRule(least_bytes=1, most_bytes=1 << 30, most_parts=1 << 20, equal=False, by_offset=True)

    async def begin(self, key: str, content_type: str, filename: str) -> str:
        """Begin an upload in parts."""
        about = {
            "key": check_key(key),
            "content_type": content_type,
            "filename": filename,
            "started": datetime.now(UTC).isoformat(),
        }
        return await asyncio.to_thread(self._begin, key, about)

    async def put_part(self, key: str, token: str, number: int, data: bytes | memoryview, offset: int) -> Part:
        """Write the bytes at their offset and, once they are on disk, a line of the journal."""
        return await asyncio.to_thread(self._put_part, key, token, number, data, offset)

    async def parts(self, key: str, token: str) -> Sequence[Part]:
        """The parts of the journal, by number."""
        return [part for _, part in await asyncio.to_thread(self._journal, key, token)]

    async def complete(self, key: str, token: str, parts: Sequence[Part]) -> ObjectInfo:
        """Rename the data file into place. InvalidError unless the parts are on disk, one after the other."""
        await asyncio.to_thread(self._complete, key, token, parts)
        return await self.head(key)

    async def made(self, key: str, token: str, parts: Sequence[Part]) -> ObjectInfo | None:
        """The object, by size, when the data file of the upload is gone."""
        if await asyncio.to_thread((self._upload(token) / "data").exists):
            return None
        return await same_size(self, key, parts)

    async def abort(self, key: str, token: str) -> None:
        """Remove the upload's directory."""
        directory = self._upload(token)
        with _mapped(key):
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def unfinished(self, prefix: str) -> Sequence[Unfinished]:
        """Uploads begun under `prefix`."""
        return await asyncio.to_thread(self._unfinished, prefix)

    def _upload(self, token: str) -> Path:
        if not _TOKEN.fullmatch(token):
            raise NotFoundError("No such upload")
        return self._root / _UNFINISHED / token

    def _begin(self, key: str, about: dict[str, str]) -> str:
        token = uuid4().hex
        directory = self._upload(token)
        with _mapped(key):
            directory.mkdir(parents=True)
            (directory / "data").touch()
            (directory / "journal").touch()
            _write_whole(directory / "about", json.dumps(about).encode())
            self._sync_directories(directory)
        return token

    def _put_part(self, key: str, token: str, number: int, data: bytes | memoryview, offset: int) -> Part:
        directory = self._upload(token)
        part = Part(number, len(data), hashlib.md5(data, usedforsecurity=False).hexdigest())
        with _mapped(key):
            file = os.open(directory / "data", os.O_WRONLY)
            try:
                left, at = memoryview(data), offset
                while left:
                    written = os.pwrite(file, left, at)
                    left, at = left[written:], at + written
                os.fdatasync(file)
            finally:
                os.close(file)
            # One write to the end of a file: several parts at a time do not mix their lines.
            journal = os.open(directory / "journal", os.O_WRONLY | os.O_APPEND)
            try:
                os.write(journal, f"{number} {offset} {part.size_bytes} {part.tag}\n".encode())
                os.fdatasync(journal)
            finally:
                os.close(journal)
        return part

    def _journal(self, key: str, token: str) -> list[tuple[int, Part]]:
        """Offset and part, by number. A line that was cut is a part that has to come again."""
        with _mapped(key):
            text = (self._upload(token) / "journal").read_text()
        found: dict[int, tuple[int, Part]] = {}
        for line in text.splitlines(keepends=True):
            words = line.split()
            if line.endswith("\n") and len(words) == 4:
                number, offset, size = (int(word) for word in words[:3])
                found[number] = (offset, Part(number, size, words[3]))
        return [found[number] for number in sorted(found)]

    def _complete(self, key: str, token: str, parts: Sequence[Part]) -> None:
        directory, place = self._upload(token), self._place(key)
        there = {part.number: (offset, part.size_bytes) for offset, part in self._journal(key, token)}
        end = 0
        for part in sorted(parts, key=lambda part: part.number):
            if there.get(part.number) != (end, part.size_bytes):
                raise InvalidError(f"Part {part.number} of the upload of {key} is not where it belongs")
            end += part.size_bytes
        with _mapped(key):
            about = json.loads((directory / "about").read_bytes())
            if about["key"] != key:
                raise NotFoundError("No such upload")
            data = directory / "data"
            os.truncate(data, end)
            with data.open("rb") as whole:
                os.fsync(whole.fileno())
            place.parent.mkdir(parents=True, exist_ok=True)
            named = json.dumps({"content_type": about["content_type"], "filename": about["filename"]}).encode()
            _write_whole(place.with_name(place.name + _ABOUT), named)
            data.replace(place)
            self._sync_directories(place.parent)
            shutil.rmtree(directory, ignore_errors=True)

    def _unfinished(self, prefix: str) -> list[Unfinished]:
        found: list[Unfinished] = []
        for path in sorted((self._root / _UNFINISHED).glob("*/about")):
            try:
                about = json.loads(path.read_bytes())
            except (OSError, ValueError):
                continue  # just completed or aborted
            if str(about["key"]).startswith(prefix):  # also one that is completed, but for its directory
                found.append(Unfinished(about["key"], path.parent.name, datetime.fromisoformat(about["started"])))
        return found

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
