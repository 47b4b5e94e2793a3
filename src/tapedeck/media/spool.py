"""A live stream on its way out of the render: the film's packets as FLV, one file per group of pictures.

The render writes and never waits; whoever sends the stream somewhere reads (`tapedeck/push`), and who is too slow
finds that groups are gone. So nothing that happens at a target can hold the film. Directory of a recording:

    wanted              there while somebody wants the stream; without it the render does nothing
    {start}/head        parameter sets and metadata, once the first group begins
    {start}/{n}.gop     tags of one group, the first one a key frame (or, without a picture, 2 s of sound)
    {start}/end         the film is finished

A new `{start}` (ns) is a new attempt of the render, or a new beginning after nobody wanted it for a while. A group that
has a successor is whole. A look for more is two system calls.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from pathlib import Path

from tapedeck.core.errors import MediaError
from tapedeck.core.flv import Tag, TagReader

__all__ = ["SpoolReader", "SpoolWriter"]

_KEPT = 6
"""Groups that are kept: 12 s of film."""
_BEHIND = 3
"""A reader that is so many groups behind goes on with the newest."""
_SOUND_GROUP_MS = 2000
_HELD_MS = 60
"""Two pictures more: a write of its own for each tag would cost more than the making of it."""
_READ = 1 << 18
_SILENT_S = 1.0
"""When a stream stands still for so long, there may be another attempt of the render."""


class SpoolWriter:
    """What a disk refuses is lost to the stream and to nobody else."""

    def __init__(self, directory: Path, *, has_video: bool) -> None:
        """OSError when it cannot be made."""
        self.muted = False
        "While set, nothing is written; then it goes on with a key frame."
        self.head = b""
        "Tags that describe the stream. To be set before the first is written."
        self._directory = directory / f"{time.time_ns():020d}"
        self._has_video = has_video
        self._number = 0
        self._began_ms = 0
        self._held: list[bytes] = []
        self._held_ms = 0
        "Since when tags wait to be written."
        self._fd: int | None = None
        for old in directory.iterdir():
            if old.is_dir():
                shutil.rmtree(old, ignore_errors=True)
        self._directory.mkdir()

    def write(self, tag: bytes, time_ms: int, *, is_start: bool) -> None:
        """The next tag; `is_start`: a decoder can begin with it. Goes to disk with others of its tenth of a second."""
        try:
            if self.muted:
                self.close()
            elif is_start and (self._has_video or self._is_due(time_ms)):
                self._begin(time_ms)
            if self._fd is None:
                return
            if not self._held:
                self._held_ms = time_ms
            self._held.append(tag)
            if time_ms - self._held_ms >= _HELD_MS:
                self._flush()
        except OSError:
            self.close()

    def end(self) -> None:
        """Nothing more comes, ever."""
        self.close()
        with contextlib.suppress(OSError):
            (self._directory / "end").touch()

    def _is_due(self, time_ms: int) -> bool:
        return self._fd is None or time_ms - self._began_ms >= _SOUND_GROUP_MS

    def _begin(self, time_ms: int) -> None:
        self.close()
        if not self._number:
            part = self._directory / "head.part"
            part.write_bytes(self.head)
            part.rename(self._directory / "head")
        self._number += 1
        self._began_ms = time_ms
        self._fd = os.open(self._directory / f"{self._number:08d}.gop", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        (self._directory / f"{self._number - _KEPT:08d}.gop").unlink(missing_ok=True)

    def close(self) -> None:
        """Give the file back: the next group is another attempt."""
        fd, self._fd = self._fd, None
        held, self._held = self._held, []
        if fd is not None:
            with contextlib.suppress(OSError):
                _write(fd, b"".join(held))
            os.close(fd)

    def _flush(self) -> None:
        held, self._held = self._held, []
        if self._fd is not None:
            _write(self._fd, b"".join(held))


def _write(fd: int, data: bytes) -> None:
    if os.write(fd, data) != len(data):
        raise OSError(errno.ENOSPC, "a part of a tag was written")


class SpoolReader:
    """Follows the stream from its newest group on. Never blocks; what is not there yet comes later."""

    def __init__(self, directory: Path) -> None:
        self.is_ended = False
        "Whether everything was read, and nothing more will come."
        self.has_more = False
        "Whether another read would find something now."
        self._directory = os.fspath(directory)
        self._run: str | None = None
        self._head = b""
        self._number = 0
        self._file: int | None = None
        self._tags = TagReader(has_header=False)
        self._moved = 0.0
        "When there was something, or was looked for another attempt."

    def read(self) -> list[Tag]:
        """The next tags, beginning with those that describe the stream; empty while there is nothing new.

        MediaError when what lies there is damaged.
        """
        try:
            if self._file is None:
                return self._enter()
            return self._follow(self._file)
        except FileNotFoundError:
            self._leave()  # it was freed meanwhile: go on with what there is
            return []
        except OSError as exc:
            raise MediaError(f"The stream cannot be read: {exc.strerror}.") from exc

    def close(self) -> None:
        """Give the file back."""
        self._leave()

    def _follow(self, file: int) -> list[Tag]:
        """On in the group that is open, and into the next where it is whole."""
        assert self._run is not None
        data = os.read(file, _READ)
        found = self._tags.feed(data) if data else []
        self.has_more = len(data) == _READ
        if self.has_more:
            return found
        if self._has(f"{self._number + 1:08d}.gop"):
            # Read again: between the read and the look the group may have been finished.
            found += self._tags.feed(os.read(file, _READ))
            return found + self._open(self._run, self._after(self._groups(self._run)))
        if data:
            self._moved = time.monotonic()
        elif self._has("end"):
            found = self._tags.feed(os.read(file, _READ))
            self.is_ended = not found and not self._has(f"{self._number + 1:08d}.gop")
            self.has_more = not self.is_ended
        elif os.fstat(file).st_nlink == 0 or time.monotonic() - self._moved > _SILENT_S:
            self._moved = time.monotonic()
            run = self._newest_run()
            if run != self._run or self._groups(run)[-1:] > [self._number]:
                self._leave()
                return self._enter()
        return found

    def _enter(self) -> list[Tag]:
        """Into the newest group of the newest attempt."""
        run = self._newest_run()
        if run is None:
            return []
        self._run = run
        if not self._has("head"):
            # It was too short to have a stream, unless it began between the two looks.
            self.is_ended = self._has("end") and not self._has("head")
            return []
        with open(os.path.join(run, "head"), "rb") as file:
            head = file.read()
        found = [] if head == self._head else TagReader(has_header=False).feed(head)
        self._head = head
        if groups := self._groups(run):
            found += self._open(run, groups[-1])
        else:
            self.is_ended = self._has("end")
        return found

    def _after(self, groups: list[int]) -> int:
        newer = [number for number in groups if number > self._number]
        if not newer:
            raise FileNotFoundError  # it was just freed, file by file: another attempt of the render has begun
        return newer[-1] if len(newer) >= _BEHIND else newer[0]

    def _open(self, run: str, number: int) -> list[Tag]:
        self._shut()
        self._file = os.open(os.path.join(run, f"{number:08d}.gop"), os.O_RDONLY)
        self._number, self._moved = number, time.monotonic()
        self.has_more = True
        return self._tags.feed(os.read(self._file, _READ))

    def _leave(self) -> None:
        self._shut()
        self.has_more = False
        self._run, self._number = None, 0

    def _shut(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._tags = TagReader(has_header=False)

    def _has(self, name: str) -> bool:
        return self._run is not None and os.path.exists(os.path.join(self._run, name))

    def _newest_run(self) -> str | None:
        try:
            with os.scandir(self._directory) as found:
                return max((entry.path for entry in found if entry.is_dir()), default=None)
        except FileNotFoundError:
            return None

    def _groups(self, run: str | None) -> list[int]:
        return sorted(int(name[:-4]) for name in os.listdir(run) if name.endswith(".gop")) if run else []
