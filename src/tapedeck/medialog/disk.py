"""Files that only grow, and the few calls of the system that the writer needs.

Owns opening with repair, partial writes, the lock of a log directory and the sentences for what can go wrong with a
disk. Refuses threads, queues and policy: when to write and when to sync is the writer's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from tapedeck.core.errors import ConflictError, UnavailableError
from tapedeck.medialog.cursor import Tail, find_tail
from tapedeck.medialog.format import FILE_HEADER_SIZE, FileHeader, parse_file_header

__all__ = ["AppendFile", "Disk", "describe", "lock_directory", "open_repaired"]

_BUFFERS_AT_ONCE = 1024
"""IOV_MAX of Linux and the BSDs."""


class Disk:
    """The system calls by which a log gets to the disk. All block, and all raise OSError."""

    def open(self, path: Path) -> int:
        """A descriptor for reading and writing; the file is made when missing."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def write(self, fd: int, buffers: Sequence[bytes | memoryview]) -> int:
        """Write at the descriptor's position; returns how many bytes of the buffers were taken."""
        return os.writev(fd, buffers)

    def sync(self, fd: int) -> None:
        """Return when the file's bytes and length would survive a power cut."""
        # macOS has no fdatasync
        getattr(os, "fdatasync", os.fsync)(fd)

    def sync_directory(self, path: Path) -> None:
        """Return when the names in a directory would survive a power cut."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def replace(self, path: Path, text: str) -> None:
        """Write a small file whole or not at all, over one of the same name, and sync it and its directory."""
        beside = path.with_name(path.name + ".new")
        try:
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
            try:
                left = memoryview(text.encode())
                while left:
                    left = left[self.write(fd, [left]) :]
                self.sync(fd)
            finally:
                os.close(fd)
            beside.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
        self.sync_directory(path.parent)

    def free_bytes(self, path: Path) -> int:
        """Bytes that an ordinary user may still write on the disk that holds `path`."""
        stat = os.statvfs(path)
        return stat.f_bavail * stat.f_frsize


class AppendFile:
    """One log file, open for appending. Used by one thread at a time, but for `sync`."""

    def __init__(self, disk: Disk, path: Path, header: bytes) -> None:
        self.path = path
        self.header = header
        self._disk = disk
        self._fd: int | None = None
        self._backlog: list[bytes | memoryview] = []

    @property
    def is_open(self) -> bool:
        return self._fd is not None

    @property
    def has_backlog(self) -> bool:
        return bool(self._backlog)

    def open(self) -> bool:
        """Open, repair or make the file; True when it was made now. OSError: not possible, try again."""
        if self._fd is not None:
            return False
        fd, tail = open_repaired(self._disk, self.path, self.header)
        self._fd = fd
        return tail is None

    def put(self, buffers: list[bytes]) -> None:
        """Take buffers to write behind what is already waiting."""
        self._backlog += buffers

    def write(self) -> int:
        """Write one stretch of what waits; how many bytes were written. OSError: nothing was, and all of it still
        waits."""
        if self._fd is None or not self._backlog:
            return 0
        written = self._disk.write(self._fd, self._backlog[:_BUFFERS_AT_ONCE])
        if written == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left = written
        for index, buffer in enumerate(self._backlog):
            if left < len(buffer):
                self._backlog = self._backlog[index:]
                if left:
                    self._backlog[0] = memoryview(buffer)[left:]
                return written
            left -= len(buffer)
        self._backlog = []
        return written

    def sync(self) -> None:
        """Make what was written survive a power cut. OSError: not possible now."""
        if self._fd is not None:
            self._disk.sync(self._fd)

    def close(self) -> None:
        """Give the descriptor back; what waits is forgotten."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            # It is closed all the same; what a disk far away has to say then it said to the sync before. Raised, it
            # would end the thread that syncs.
            with contextlib.suppress(OSError):
                os.close(fd)


def open_repaired(disk: Disk, path: Path, header: bytes) -> tuple[int, Tail | None]:
    """Open a log file for appending: its torn end is cut off, a missing or torn header is written.

    Returns the descriptor, positioned at the end, and the tail; None when the file is new. OSError: not possible;
    ConflictError: the file belongs to another log.
    """
    expected = parse_file_header(header)
    if expected is None:
        raise ValueError("not a header")
    fd = disk.open(path)
    try:
        size = os.fstat(fd).st_size
        if size < FILE_HEADER_SIZE:
            if size:
                os.ftruncate(fd, 0)
            _write_header(disk, fd, header)
            return fd, None
        tail = _repair(fd, size, header, expected)
        os.lseek(fd, tail.end, os.SEEK_SET)
        return fd, tail
    except BaseException:
        os.close(fd)
        raise


def _write_header(disk: Disk, fd: int, header: bytes) -> None:
    left = memoryview(header)
    while left:
        written = disk.write(fd, [left])
        if written == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left = left[written:]


def _repair(fd: int, size: int, header: bytes, expected: FileHeader) -> Tail:
    found = parse_file_header(os.pread(fd, FILE_HEADER_SIZE, 0))
    if found is None:
        os.pwrite(fd, header, 0)
    elif (found.kind, found.salt) != (expected.kind, expected.salt):
        raise ConflictError("A file of the capture belongs to another session.")
    try:
        tail = find_tail(fd, expected.salt, expected.kind)
    except UnavailableError as exc:
        raise exc.__cause__ or exc from None
    if tail.end < size:
        os.ftruncate(fd, tail.end)
    return tail


def lock_directory(root: Path) -> int:
    """Hold a log directory against other writers, this process's own included; closing the descriptor lets go.

    ConflictError: somebody else writes it. OSError: it cannot be opened.
    """
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(fd)
        raise ConflictError("The media log is being written by another process.") from exc
    except OSError:
        pass  # a file system without locks
    return fd


def describe(error: OSError) -> str:
    """What is wrong with the disk and what to do about it, in one sentence."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk that holds the captures is full: free some space and the recording goes on by itself."
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "The disk that holds the captures cannot be written: make it writable and the recording goes on."
    if error.errno == errno.EFBIG:
        return "A file of the capture has reached the system's limit: raise it (ulimit -f) and the recording goes on."
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "Too many files are open to write the capture: raise the limit of open files (ulimit -n)."
    return f"The capture cannot be written to its disk: {error.strerror or error}."
