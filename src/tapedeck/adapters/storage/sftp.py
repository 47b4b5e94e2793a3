"""A directory of an SSH server, through asyncssh: parts are written at their offset into a file beside the final one.

Beside that lies a journal of the parts that are on the server's disk. SFTP knows no checksum: SSH proves every packet,
the server says how large the file is, and completing it is a rename. Keys of this machine, its agent and its
configuration are never used.
"""

from __future__ import annotations

import asyncio
import json
import posixpath
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncssh
from asyncssh.saslprep import SASLPrepError

from tapedeck.adapters.egress import Guard, is_refusal
from tapedeck.adapters.storage.faults import MOST_ANSWER_BYTES, refused_address, unreachable
from tapedeck.adapters.storage.pieces import put_in_parts, same_size
from tapedeck.core.errors import DestinationError, InvalidError, NotFoundError, TapedeckError, UnavailableError
from tapedeck.core.parts import PartRule
from tapedeck.ports.storage import ObjectInfo, Part, Unfinished

__all__ = ["SftpStore"]

_MIB = 1 << 20
_CHUNK = 1 << 18
_BLOCK, _AT_ONCE = 1 << 15, 16
"""Of one write where the server does not say what it takes, and how many wait for their answer."""
_CONNECT_S = 10.0
_LOGIN_S = 20.0
_MOST_NAMES = 200_000
"""In one directory, looked at."""
_PART = ".tapedeck-part"
_JOURNAL = ".tapedeck-journal"


class SftpStore:
    """`ports.storage.ObjectStore` and `MultipartStore` below the directory where a login begins.

    With `private_key`, `password` is its passphrase. `host_key`: the one key that the server may have, as a line of
    known_hosts or as a fingerprint; None takes any.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        username: str,
        guard: Guard,
        password: str | None = None,
        private_key: str | None = None,
        host_key: str | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._username = username
        self._password = password
        self._private_key = private_key
        self._host_key = host_key
        self._guard = guard
        self._keys: list[asyncssh.SSHKey] = []
        self._opening = asyncio.Lock()
        self._ssh: asyncssh.SSHClientConnection | None = None
        self._sftp: asyncssh.SFTPClient | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"SftpStore({self._host!r}, {self._port})"

    async def put_file(self, key: str, path: Path, content_type: str, filename: str) -> ObjectInfo:
        """Store a local file. SFTP keeps no type and no name beside it."""
        if not await asyncio.to_thread(path.is_file):
            raise NotFoundError(f"No file to store under {key}")
        return await put_in_parts(self, key, path, content_type, filename)

    async def head(self, key: str) -> ObjectInfo:
        """Describe a file."""
        sftp = await self._open()
        with self._mapped(key):
            found = await sftp.stat(key)
        if found.type == asyncssh.FILEXFER_TYPE_DIRECTORY:
            raise NotFoundError(f"No object under {key}")
        return ObjectInfo(key, found.size or 0, "", datetime.fromtimestamp(found.mtime or 0, UTC))

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes `start <= i < end` in chunks of at most 256 KiB."""
        sftp = await self._open()
        at, until = start, (await self.head(key)).size_bytes
        until = until if end is None else min(end, until)
        with self._mapped(key):
            async with await sftp.open(key, "rb") as file:
                while at < until:
                    chunk = await file.read(min(_CHUNK, until - at), at)
                    if not chunk:
                        return
                    at += len(chunk)
                    yield _bytes(chunk)

    async def delete(self, key: str) -> None:
        """Remove a file; one that is not there is fine. Directories stay."""
        sftp = await self._open()
        try:
            with self._mapped(key):
                await sftp.remove(key)
        except NotFoundError:
            return

    async def presign(self, key: str, filename: str, expires: datetime) -> str:
        """There are no links to files of an SSH server: DestinationError."""
        raise DestinationError("Files on an SFTP server have no links.")

    @property
    def rule(self) -> PartRule:
        """Parts of any size, by offset."""
        return PartRule(least_bytes=1, most_bytes=64 * _MIB, most_parts=1 << 20, equal=False, by_offset=True)

    async def begin(self, key: str, content_type: str, filename: str) -> str:
        """Begin an upload: an empty file and a journal beside the final one."""
        sftp = await self._open()
        token = uuid4().hex
        with self._mapped(key):
            if directory := posixpath.dirname(key):
                await sftp.makedirs(directory, exist_ok=True)
            for end in (_PART, _JOURNAL):
                async with self._opened(sftp, _beside(key, token, end), "xb"):
                    pass
        return token

    async def put_part(self, key: str, token: str, number: int, data: bytes | memoryview, offset: int) -> Part:
        """Write a part at its offset, and then a line of the journal."""
        sftp = await self._open()
        part = Part(number, len(data), str(offset))
        with self._mapped(key):
            async with self._opened(sftp, _beside(key, token, _PART), "r+b") as file:
                await _write(file, data, offset, min(sftp.limits.max_write_len or _BLOCK, _CHUNK))
                await _sync(file)
            line = json.dumps([number, offset, len(data)]).encode() + b"\n"
            async with self._opened(sftp, _beside(key, token, _JOURNAL), "ab") as journal:
                await journal.write(line)
                await _sync(journal)
        return part

    async def parts(self, key: str, token: str) -> Sequence[Part]:
        """The parts of the journal, by number."""
        sftp = await self._open()
        with self._mapped(key):
            async with await sftp.open(_beside(key, token, _JOURNAL), "rb") as journal:
                text = await journal.read(MOST_ANSWER_BYTES)
        found: dict[int, Part] = {}
        for line in _bytes(text).splitlines(keepends=True):
            try:
                number, offset, size = json.loads(line)
            except (ValueError, TypeError):
                continue  # cut by the end of a connection
            if line.endswith(b"\n"):
                found[number] = Part(number, size, str(offset))
        return [found[number] for number in sorted(found)]

    async def complete(self, key: str, token: str, parts: Sequence[Part]) -> ObjectInfo:
        """Rename the file into place. InvalidError unless the parts lie one after the other."""
        end = 0
        for part in sorted(parts, key=lambda part: part.number):
            if int(part.tag) != end:
                raise InvalidError(f"Part {part.number} of the upload of {key} is not where it belongs")
            end += part.size_bytes
        sftp = await self._open()
        written = _beside(key, token, _PART)
        with self._mapped(key):
            size = (await sftp.stat(written)).size or 0
            if size > end:
                await sftp.truncate(written, end)
            elif size < end:
                raise UnavailableError(f"The storage holds {size} of {end} bytes of {key}")
            try:
                await sftp.posix_rename(written, key)
            except asyncssh.SFTPOpUnsupported:
                if await sftp.exists(key):
                    await sftp.remove(key)
                await sftp.rename(written, key)
            await sftp.remove(_beside(key, token, _JOURNAL))
        info = await self.head(key)
        if info.size_bytes != end:
            raise UnavailableError(f"The storage holds {info.size_bytes} of {end} bytes of {key}")
        return info

    async def made(self, key: str, token: str, parts: Sequence[Part]) -> ObjectInfo | None:
        """The final file, by size, when the one that was written beside it is gone."""
        try:
            await self.head(_beside(key, token, _PART))
        except NotFoundError:
            return await same_size(self, key, parts)
        return None

    async def abort(self, key: str, token: str) -> None:
        """Remove what was written; an upload that is not there is fine."""
        for end in (_PART, _JOURNAL):
            await self.delete(_beside(key, token, end))

    async def unfinished(self, prefix: str) -> Sequence[Unfinished]:
        """Uploads in the directory of `prefix` whose keys begin with it."""
        sftp = await self._open()
        directory = posixpath.dirname(prefix)
        found: list[Unfinished] = []
        try:
            with self._mapped(prefix):
                names = [entry async for entry in _some(sftp.scandir(directory or "."))]
        except NotFoundError:
            return []
        for entry in names:
            name = str(entry.filename)
            stem, _, token = name.removesuffix(_JOURNAL).rpartition(".")
            key = posixpath.join(directory, stem)
            if name.endswith(_JOURNAL) and stem and key.startswith(prefix):
                found.append(Unfinished(key, token, datetime.fromtimestamp(entry.attrs.mtime or 0, UTC)))
        return found

    @asynccontextmanager
    async def _opened(self, sftp: asyncssh.SFTPClient, path: str, mode: str) -> AsyncIterator[asyncssh.SFTPClientFile]:
        """A file that is closed at the end. Who is cancelled does not wait for a server that may hang;
        nor does `write` divide what it is given: the library's own writers outlive their call."""
        file = await sftp.open(path, mode, block_size=0)
        try:
            yield file
        except BaseException:
            closing = asyncio.create_task(_let_go(file))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            raise
        await file.close()

    async def aclose(self) -> None:
        """Close the connection."""
        ssh, self._ssh, self._sftp = self._ssh, None, None
        if ssh is not None:
            ssh.abort()
            await ssh.wait_closed()

    async def _open(self) -> asyncssh.SFTPClient:
        """The session, opened again when the last one ended."""
        async with self._opening:
            if self._sftp is not None and self._ssh is not None and not self._ssh.is_closed():
                return self._sftp
            await self.aclose()
            with self._mapped(self._host):
                self._ssh = await self._connect()
                try:
                    self._sftp = await self._ssh.start_sftp_client()
                except asyncssh.ChannelOpenError:
                    raise DestinationError("The server lets this user in, but does not offer SFTP.") from None
            return self._sftp

    async def _connect(self) -> asyncssh.SSHClientConnection:
        if self._private_key is not None and not self._keys:
            try:  # opening a locked key is slow on purpose
                key = await asyncio.to_thread(asyncssh.import_private_key, self._private_key, self._password or None)
                self._keys = [key]
            except asyncssh.KeyEncryptionError:
                raise DestinationError("The private key cannot be opened: check its passphrase in password.") from None
            except (asyncssh.KeyImportError, ValueError):
                raise DestinationError("The private key cannot be read: check private_key.") from None
        keys = self._keys
        dialled = await self._guard.dial(self._host, self._port, _CONNECT_S)
        try:
            return await asyncssh.connect(
                self._host,
                self._port,
                sock=dialled,
                config=None,
                username=self._username,
                client_keys=keys or None,
                password=None if keys else self._password,
                preferred_auth="publickey" if keys else "password,keyboard-interactive",
                agent_path=None,
                agent_forwarding=False,
                gss_kex=False,
                gss_auth=False,
                x509_trusted_certs=None,
                known_hosts=None if self._host_key is None else ([], [], []),
                client_factory=lambda: _Client(self._host_key),
                login_timeout=_LOGIN_S,
                keepalive_interval=15,
                keepalive_count_max=3,
            )
        except SASLPrepError:
            dialled.close()
            raise DestinationError("The user name has a form that no server knows: check username.") from None
        except BaseException:
            dialled.close()
            raise

    @contextmanager
    def _mapped(self, what: str) -> Iterator[None]:
        """Turn asyncssh's errors into ours; none of its texts is shown."""
        try:
            yield
        except TapedeckError:
            raise
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath) as exc:
            raise NotFoundError(f"No object under {what}") from exc
        except (asyncssh.SFTPPermissionDenied, asyncssh.SFTPWriteProtect) as exc:
            raise DestinationError("The server does not allow this user to do it: check path and its rights.") from exc
        except (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded) as exc:
            raise DestinationError("The disk of the server is full, or the user's quota used up.") from exc
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection) as exc:
            raise unreachable(exc) from exc
        except asyncssh.SFTPError as exc:
            raise UnavailableError("The server could not do it.", retry_after_s=30) from exc
        except asyncssh.PermissionDenied as exc:
            secret = "private_key" if self._private_key is not None else "password"
            raise DestinationError(f"The server does not let this user in: check username and {secret}.") from exc
        except asyncssh.HostKeyNotVerifiable as exc:
            text = "The server's key is not the one in host_key: it is another server, or its key was changed."
            raise DestinationError(text) from exc
        except (asyncssh.Error, OSError) as exc:
            if is_refusal(exc):
                raise refused_address() from exc
            raise unreachable(exc) from exc


class _Client(asyncssh.SSHClient):
    """Believes one key of the server."""

    def __init__(self, host_key: str | None) -> None:
        self._host_key = host_key

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        wanted = self._host_key
        if wanted is None:
            return True
        if wanted.startswith("SHA256:"):
            return key.get_fingerprint() == wanted.rstrip("=")
        said = key.export_public_key().decode().split()
        return said[:2] == wanted.split()[:2]


async def _some(names: AsyncIterator[asyncssh.SFTPName]) -> AsyncIterator[asyncssh.SFTPName]:
    """The names in a directory, up to where nobody keeps films any more."""
    left = _MOST_NAMES
    async for name in names:
        yield name
        left -= 1
        if not left:
            return


def _beside(key: str, token: str, end: str) -> str:
    """A file next to the final one. Tokens are ours, and hexadecimal."""
    if len(token) != 32 or not token.isalnum():
        raise NotFoundError("No such upload")
    return f"{key}.{token}{end}"


def _bytes(read: str | bytes) -> bytes:
    """A file that was opened for bytes gives bytes; the library's types do not know it."""
    assert isinstance(read, bytes)
    return read


async def _write(file: asyncssh.SFTPClientFile, data: bytes | memoryview, offset: int, block: int) -> None:
    """Write blocks, some at a time. None is left when it returns, however it does."""
    starts = iter(range(0, len(data), block))

    async def work() -> None:
        for at in starts:
            await file.write(bytes(data[at : at + block]), offset + at)

    writers = [asyncio.create_task(work()) for _ in range(_AT_ONCE)]
    try:
        await asyncio.gather(*writers)
    finally:
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)


async def _let_go(file: asyncssh.SFTPClientFile) -> None:
    with suppress(Exception):
        await file.close()


async def _sync(file: asyncssh.SFTPClientFile) -> None:
    """To the server's disk, where it can do that."""
    try:
        await file.fsync()
    except asyncssh.SFTPOpUnsupported:
        return
