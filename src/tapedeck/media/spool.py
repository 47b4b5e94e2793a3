"""A live stream on its way out of the render: the film's packets as FLV, one file per group of pictures.

The render writes and never waits; whoever sends the stream somewhere reads (`tapedeck/push.py`), and who is too slow
finds that groups are gone. So nothing that happens at a target can hold the film. Directory of a recording:

    wanted              there while somebody wants the stream; without it the render does nothing
    {start}/head        parameter sets and metadata, once the first group begins
    {start}/{n}.gop     tags of one group, the first one a key frame (or, without a picture, 2 s of sound)
    {start}/end         the film is finished

A new `{start}` (ns) is a new attempt of the render, or a new beginning after nobody wanted it for a while.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from tapedeck.core.errors import MediaError
from tapedeck.core.flv import AUDIO, Tag, TagReader

__all__ = ["SpoolReader", "SpoolWriter"]

_KEPT = 6
"""Groups that are kept: 12 s of film."""
_BEHIND = 3
"""A reader that is so many groups behind goes on with the newest."""
_SOUND_GROUP_MS = 2000
_READ = 1 << 18


class SpoolWriter:
    """Takes the bytes of an FLV muxer. What a disk refuses is lost to the stream and to nobody else."""

    def __init__(self, directory: Path, *, has_video: bool) -> None:
        """OSError when it cannot be made."""
        self.muted = False
        "While set, nothing is written; then it goes on with a key frame."
        self._directory = directory / f"{time.time_ns():020d}"
        self._has_video = has_video
        self._tags = TagReader(has_header=True)
        self._head = b""
        self._number = 0
        self._began_ms = 0
        self._fd: int | None = None
        for old in directory.iterdir():
            if old.is_dir():
                shutil.rmtree(old, ignore_errors=True)
        self._directory.mkdir()

    def write(self, data: bytes) -> int:
        """As of a file that PyAV writes to."""
        for tag in self._tags.feed(bytes(data)):
            try:
                self._put(tag)
            except OSError:
                self._close()  # the next group is another attempt
        return len(data)

    def end(self) -> None:
        """Nothing more comes, ever."""
        self._close()
        with contextlib.suppress(OSError):
            (self._directory / "end").touch()

    def _put(self, tag: Tag) -> None:
        if tag.is_setup and not self._number:
            self._head += bytes(tag)
            return
        if self.muted:
            self._close()
            return
        if tag.is_key or (not self._has_video and self._is_due(tag)):
            self._begin(tag.time_ms)
        if self._fd is not None:
            os.write(self._fd, bytes(tag))

    def _is_due(self, tag: Tag) -> bool:
        return tag.kind == AUDIO and (self._fd is None or tag.time_ms - self._began_ms >= _SOUND_GROUP_MS)

    def _begin(self, time_ms: int) -> None:
        self._close()
        if not self._number:
            part = self._directory / "head.part"
            part.write_bytes(self._head)
            part.rename(self._directory / "head")
        self._number += 1
        self._began_ms = time_ms
        self._fd = os.open(self._directory / f"{self._number:08d}.gop", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        (self._directory / f"{self._number - _KEPT:08d}.gop").unlink(missing_ok=True)

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class SpoolReader:
    """Follows the stream from its newest group on. Never blocks; what is not there yet comes later."""

    def __init__(self, directory: Path) -> None:
        self.is_ended = False
        "Whether everything was read, and nothing more will come."
        self._directory = directory
        self._run: Path | None = None
        self._head = b""
        self._number = 0
        self._file: int | None = None
        self._tags = TagReader(has_header=False)

    def read(self) -> list[Tag]:
        """The next tags, beginning with those that describe the stream; empty while there is nothing new.

        MediaError when what lies there is damaged.
        """
        try:
            return self._read()
        except FileNotFoundError:
            self._leave()  # it was freed meanwhile: go on with what there is
            return []
        except OSError as exc:
            raise MediaError(f"The stream cannot be read: {exc.strerror}.") from exc

    def close(self) -> None:
        """Give the file back."""
        self._leave()

    def _read(self) -> list[Tag]:
        found: list[Tag] = []
        if self._file is not None and (data := os.read(self._file, _READ)):
            return self._tags.feed(data)
        run = self._newest_run()
        if run is None:
            return found
        if not (run / "head").exists():
            # It was too short to have a stream, unless it began between the two looks.
            self.is_ended = (run / "end").exists() and not (run / "head").exists()
            return found
        if run != self._run:
            self._leave()
            head = (run / "head").read_bytes()
            if head != self._head:
                found += TagReader(has_header=False).feed(head)
                self._head = head
            self._run, self._number = run, 0
        groups = self._groups(run)
        if self._file is None:
            if groups[-1:] > [self._number]:
                self._open(run, groups[-1] if not self._number else self._after(groups))
            elif (run / "end").exists():
                self.is_ended = True
                return found
        if self._file is not None:
            data = os.read(self._file, _READ)
            found += self._tags.feed(data)
            if not data and groups[-1:] > [self._number]:
                # Looked at again: between the read and the look the group may have been finished.
                found += self._tags.feed(os.read(self._file, _READ))
                self._open(run, self._after(groups))
                found += self._tags.feed(os.read(self._file, _READ))
            elif not data and (run / "end").exists():
                found += self._tags.feed(os.read(self._file, _READ))
                self.is_ended = True
        return found

    def _after(self, groups: list[int]) -> int:
        newer = [number for number in groups if number > self._number]
        return newer[-1] if len(newer) >= _BEHIND else newer[0]

    def _open(self, run: Path, number: int) -> None:
        self._shut()
        self._file = os.open(run / f"{number:08d}.gop", os.O_RDONLY)
        self._number = number

    def _leave(self) -> None:
        self._shut()
        self._run, self._number = None, 0

    def _shut(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._tags = TagReader(has_header=False)

    def _newest_run(self) -> Path | None:
        try:
            return max((path for path in self._directory.iterdir() if path.is_dir()), default=None)
        except FileNotFoundError:
            return None

    def _groups(self, run: Path) -> list[int]:
        return sorted(int(path.stem) for path in run.glob("*.gop"))
