"""The directory that a process keeps everything in: for its user alone, held by one process, with the secret key."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tapedeck.config import Settings
from tapedeck.core.errors import InvalidError, UnavailableError

__all__ = ["DiskCheck", "make_data_dir", "owned_data_dir", "secret_of"]

_SHORTEST_SECRET = 16


@contextlib.contextmanager
def owned_data_dir(settings: Settings) -> Iterator[None]:
    """Make the data directory and hold it for this process. UnavailableError when it cannot be, or another has it."""
    directory = settings.data_dir
    make_data_dir(directory)
    try:
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise _unusable(directory, exc) from exc
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnavailableError(
                f"{directory} is used by another Tapedeck: stop it, or choose another with --data-dir"
            ) from None
        yield
    finally:
        os.close(lock)


def make_data_dir(directory: Path) -> None:
    """For this user only. UnavailableError."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise _unusable(directory, exc) from exc


def _unusable(directory: Path, exc: OSError) -> UnavailableError:
    return UnavailableError(
        f"{directory} cannot be used ({exc.strerror}): make it writable, or choose another with --data-dir"
    )


def secret_of(settings: Settings) -> str:
    """SECRET_KEY, or the key that was made at the first start. UnavailableError, InvalidError."""
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    path = settings.data_dir / "secret.key"
    make_data_dir(settings.data_dir)
    try:
        if not path.exists():
            _make_secret(path)
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise UnavailableError(f"{path} cannot be read: {exc}") from exc
    if len(text) < _SHORTEST_SECRET:
        raise InvalidError(f"{path} holds no key: put it back from a backup, or remove it, which voids all links")
    return text


def _make_secret(path: Path) -> None:
    """A new key, whole or not at all, and never over one that another process has just made."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@dataclass(frozen=True, slots=True)
class DiskCheck:
    """Whether the data directory has room for another hour or so."""

    directory: Path
    least_bytes: int = 512 << 20

    async def __call__(self) -> None:
        """UnavailableError when it has not."""
        free = (await asyncio.to_thread(shutil.disk_usage, self.directory)).free
        if free < self.least_bytes:
            raise UnavailableError(f"only {free >> 20} MiB are free in the data directory")
