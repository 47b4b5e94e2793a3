"""The file a film is written into, and the move of its index to the front when it is done.

Owns the disk: a part file that a muxer writes and patches, its running checksum, and the way to the final name. The
media bytes are written once: room for the index is made by shifting file blocks (Linux `fallocate` with
FALLOC_FL_INSERT_RANGE, ext4 and xfs), or, where the file system cannot, by a copy inside the kernel. Refuses to know
codecs, or more of boxes than `core/mp4index.py` tells.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

import google_crc32c

from tapedeck.core.crc32c import combine
from tapedeck.core.errors import InternalError
from tapedeck.core.mp4index import build_head, scan_boxes
from tapedeck.core.parts import head_room
from tapedeck.media.growing import tell_room

__all__ = ["PartFile", "copy_range", "insert_space"]

_WRITEBACK_STEP = 4 << 20
_COPY_STEP = 64 << 20
_INSERT_RANGE = 0x20
_START_WRITEBACK = 2
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.EFBIG, errno.EPERM})
_OPENING_SIZE = 16_384
"""Bytes at the start that are remembered as first written. The media of an MP4 begins within them, and other muxers
write over nothing that is not in them."""
_READER_S = 5.0
"How long a reader of the growing file may hold up its end."

_libc = ctypes.CDLL(None, use_errno=True)


class PartFile:
    """A growing file with the face that PyAV writes to (`write`, `seek`, `tell`). OSError passes through."""

    def __init__(self, path: Path, head_align: int = 1, *, tells_room: bool = False) -> None:
        """`head_align`: the media of a film of at least two such lengths moves by a multiple of it (bytes).

        `tells_room`: by which one is written beside the growing file, for stores that must know (`expect_index`).
        """
        self._path = path
        self._head_align = head_align
        self._room = head_align
        if path.is_file():
            path.unlink()  # who still reads the one of an earlier attempt shall notice
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._open = True
        self._tells_room = tells_room and tell_room(self._fd, head_align)
        self._at = 0
        self._size = 0
        self._written_back = 0
        self._opening = bytearray()
        self._crc = 0
        self._media_end: int | None = None
        self._index = bytearray()
        "What follows the media. A day's index is 40 MB; it is not read back from the disk."
        self._patched_to = 0
        "End of what was written over in the media."
        self.head = b""
        "What the finished film begins with, if its index was put in front; who sends it need not read it."

    def write(self, data: bytes | memoryview) -> int:
        """Write at the current place. After `abort` nothing is written any more, and nothing fails."""
        if not self._open:
            return len(data)
        if self._media_end is None:
            self._crc = google_crc32c.extend(self._crc, bytes(data))
            self._opening += bytes(data[: _OPENING_SIZE - len(self._opening)])
        elif self._at >= self._media_end:
            at = self._at - self._media_end
            self._index[at : at + len(data)] = data
        else:
            self._patched_to = max(self._patched_to, self._at + len(data))
        left = memoryview(data)
        while left:
            done = os.pwrite(self._fd, left, self._at)
            self._at += done
            left = left[done:]
        self._size = max(self._size, self._at)
        if self._size - self._written_back >= _WRITEBACK_STEP:
            self._write_back()
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move. The first move ends the media: a muxer only goes back to note how long it became."""
        if self._media_end is None:
            self._media_end = self._size
        self._at = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence] + offset
        return self._at

    def tell(self) -> int:
        """Where the next write goes."""
        return self._at

    def expect_index(self, size: int) -> None:
        """The index of the film will have at least so many bytes: where that is told, see to room for it."""
        if self._tells_room and (room := head_room(size, self._head_align)) > self._room and tell_room(self._fd, room):
            self._room = room

    def finish(self, final_path: Path, *, index_to_front: bool = True) -> tuple[int, int]:
        """Put the index in front, make everything durable and rename to `final_path`: (size in bytes, CRC-32C).

        Takes as long as the index needs (and the copy, where blocks cannot be inserted), not as long as the film is.
        ValueError if what was written is not a flat MP4: `ftyp`, one `mdat`, and `moov` at the end. Not
        `index_to_front`: of another container, which stays as it was written.
        """
        crc = self._index_to_front() if index_to_front else self._crc_as_written()
        os.fsync(self._fd)
        size = os.fstat(self._fd).st_size
        self._open = False
        os.close(self._fd)
        os.replace(self._path, final_path)
        _sync_directory(final_path.parent)
        return size, crc

    def _crc_as_written(self) -> int:
        """CRC-32C of the file, of which only the opening is read again: that is where a muxer fills in at the end."""
        opening = len(self._opening)
        if self._patched_to > opening:
            raise InternalError("The checksum of the film does not cover what was written over in it.")
        media = self._size if self._media_end is None else self._media_end
        # Joining undoes itself: with the sum of A and of A + B it gives that of B.
        rest = combine(google_crc32c.value(bytes(self._opening)), self._crc, media - opening)
        crc = combine(google_crc32c.value(os.pread(self._fd, opening, 0)), rest, media - opening)
        return combine(crc, google_crc32c.value(bytes(self._index)), self._size - media)

    def _index_to_front(self) -> int:
        def read(offset: int, n: int) -> bytes:
            return os.pread(self._fd, n, offset)

        boxes = {box.kind: box for box in scan_boxes(read, self._size)}
        if not boxes.keys() >= {b"ftyp", b"mdat", b"moov"} or boxes[b"moov"].end != self._size:
            raise ValueError("the muxer did not write a flat MP4")
        media, index = boxes[b"mdat"], boxes[b"moov"]
        payload_at = media.offset + media.header
        payload_size = index.offset - payload_at
        if self._media_end != index.offset or payload_at > len(self._opening):
            raise InternalError("The checksum of the film does not cover its media.")
        ftyp = read(boxes[b"ftyp"].offset, boxes[b"ftyp"].size)
        align = os.fstatvfs(self._fd).f_bsize
        if self._head_align > 1 and index.offset >= 2 * self._head_align:
            align = self._room
        head = build_head(ftyp, bytes(self._index), media.offset, index.offset, align)
        # Joining undoes itself: with the sum of A and of A + B it gives that of B.
        payload_crc = combine(google_crc32c.value(bytes(self._opening[:payload_at])), self._crc, payload_size)
        head_crc = google_crc32c.extend(google_crc32c.value(head), read(media.offset, media.header))
        crc = combine(head_crc, payload_crc, payload_size)
        _wait_for_readers(self._fd)
        self._place(head, media.offset, index.offset)
        self.head = head
        return crc

    def abort(self) -> None:
        """Close and remove the part file; does nothing after `finish`."""
        if self._open:
            self._open = False
            os.close(self._fd)
        self._path.unlink(missing_ok=True)

    def _place(self, head: bytes, media_offset: int, media_end: int) -> None:
        """Make the file `head` and then the media, in place or through a copy that takes the part file's name."""
        os.ftruncate(self._fd, media_end)
        if insert_space(self._fd, len(head) - media_offset):
            _write_all(self._fd, head, 0)
            return
        copy_path = self._path.with_name(f"{self._path.name}.front")
        copy_fd = os.open(copy_path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            _write_all(copy_fd, head, 0)
            copy_range(self._fd, copy_fd, media_offset, len(head), media_end - media_offset)
            os.replace(copy_path, self._path)
        except BaseException:
            os.close(copy_fd)
            copy_path.unlink(missing_ok=True)
            raise
        os.close(self._fd)
        self._fd = copy_fd

    def _write_back(self) -> None:
        """Ask the kernel to start writing what is new, so that the last fsync finds little to do."""
        start = getattr(_libc, "sync_file_range", None)
        if start is not None:
            begin, length = ctypes.c_int64(self._written_back), ctypes.c_int64(self._size - self._written_back)
            start(self._fd, begin, length, ctypes.c_uint(_START_WRITEBACK))
        self._written_back = self._size


def insert_space(fd: int, size: int) -> bool:
    """Shift the whole file back by `size` bytes (a multiple of its block size) without copying; False if it cannot."""
    fallocate = getattr(_libc, "fallocate", None)
    if fallocate is None:
        return False
    if fallocate(fd, _INSERT_RANGE, ctypes.c_int64(0), ctypes.c_int64(size)) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code))


def copy_range(source: int, target: int, source_at: int, target_at: int, size: int) -> None:
    """Copy `size` bytes between two open files, inside the kernel where it can. OSError; EIO when bytes are missing.

    The first step ends at a block, so that a file system that can share blocks between files may do so from there.
    """
    inside = hasattr(os, "copy_file_range")
    block = os.fstatvfs(source).f_bsize
    while size:
        step = min(size, -source_at % block or _COPY_STEP)
        if inside:
            try:
                done = os.copy_file_range(source, target, step, source_at, target_at)
            except OSError as exc:
                if exc.errno not in _UNSUPPORTED:
                    raise
                inside = False
                continue
        else:
            data = os.pread(source, min(step, 1 << 20), source_at)
            _write_all(target, data, target_at)
            done = len(data)
        if not done:
            raise OSError(errno.EIO, "the part file is shorter than its index says")
        size, source_at, target_at = size - done, source_at + done, target_at + done


def _wait_for_readers(fd: int) -> None:
    """Hold the file (`media/growing.py` reads under a lock). A reader that is stuck, or a file system without locks, is
    passed by: its checksum tells that reader what happened."""
    until = time.monotonic() + _READER_S
    while True:
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() > until:
            return
        time.sleep(0.005)


def _write_all(fd: int, data: bytes, at: int) -> None:
    left = memoryview(data)
    while left:
        done = os.pwrite(fd, left, at)
        at += done
        left = left[done:]


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
