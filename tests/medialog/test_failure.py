"""A disk that refuses: one plain sentence, nothing lost that was taken, and on it goes when the disk is well again."""

from __future__ import annotations

import errno
import os
import queue
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.medialog.logs import MEETING, QUICK, SESSION, STARTED, drain, make_frame, make_info, read_events, read_track
from tests.pace import eventually

from tapedeck.core.errors import TapedeckError, UnavailableError
from tapedeck.core.frames import FrameFlags
from tapedeck.core.timeline import Progress
from tapedeck.medialog import syncer as syncer_module
from tapedeck.medialog.disk import Disk, describe
from tapedeck.medialog.meta import track_path, tracks_path
from tapedeck.medialog.reader import LogReader
from tapedeck.medialog.writer import LogWriter, WriterOptions


class SmallDisk(Disk):
    """The real disk with room for so many bytes, an error of choice for syncs, and a gate to hold writes at."""

    def __init__(self, room_bytes: int = 1 << 40) -> None:
        self.room_bytes = room_bytes
        self.sync_error: int | None = None
        self.open_error: int | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.held = threading.Event()
        self.readings: list[int] = []
        self.read_up = threading.Event()
        self.names: dict[int, str] = {}
        self.synced: list[str] = []

    def open(self, path: Path) -> int:
        if self.open_error is not None:
            raise OSError(self.open_error, os.strerror(self.open_error))
        fd = super().open(path)
        self.names[fd] = path.name
        return fd

    def write(self, fd: int, buffers: Sequence[bytes | memoryview]) -> int:
        if not self.gate.is_set():
            self.held.set()
            assert self.gate.wait(60)
        whole = b"".join(buffers)
        if whole and self.room_bytes == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = os.write(fd, whole[: self.room_bytes])
        self.room_bytes -= written
        return written

    def sync(self, fd: int) -> None:
        if self.sync_error is not None:
            raise OSError(self.sync_error, os.strerror(self.sync_error))
        super().sync(fd)
        self.synced.append(self.names.get(fd, "?"))

    def free_bytes(self, path: Path) -> int:
        if len(self.readings) > 1:
            return self.readings.pop(0)
        self.read_up.set()
        return self.readings[0]


class Owner:
    """A writer's owner: what it heard, to wait for."""

    def __init__(self, root: Path, disk: Disk | None = None, options: WriterOptions = QUICK) -> None:
        self.failures: queue.Queue[TapedeckError] = queue.Queue()
        self.recoveries: queue.Queue[bool] = queue.Queue()
        self.low: queue.Queue[int] = queue.Queue()
        self.writer = LogWriter(
            root,
            SESSION,
            MEETING,
            STARTED,
            options=options,
            on_failure=self.failures.put,
            on_recovery=lambda: self.recoveries.put(True),
            on_low_water=self.low.put,
            disk=disk,
        )
        self.writer.open_track(make_info())


@pytest.mark.parametrize("room", [0, 1, 63, 64, 70, 500, 1000, 1028, 2000, 5000])
def test_full_disk_keeps_a_clean_prefix_and_loses_nothing(tmp_path: Path, room: int) -> None:
    disk = SmallDisk()
    owner = Owner(tmp_path / "log", disk)
    owner.writer.sync().result(60)
    disk.room_bytes = room
    frames = [make_frame(n, 100, key=n == 0) for n in range(60)]
    for frame in frames:
        owner.writer.frame("cam", frame)
    owner.writer.event(Progress(60, 60))
    failure = owner.failures.get(timeout=60)
    assert isinstance(failure, UnavailableError)
    assert str(failure) == str(owner.writer.failed)
    assert "full: free some space" in str(failure)
    with LogReader(tmp_path / "log").track("cam") as track:
        before = drain(track)
        assert before == frames[: room // 128]
        assert not track.damage
        assert read_events(tmp_path / "log") == []
        with pytest.raises(UnavailableError, match="full"):
            owner.writer.sync().result(60)
        disk.room_bytes = 1 << 40
        assert owner.recoveries.get(timeout=60)
        assert owner.writer.failed is None
        owner.writer.sync().result(60)
        assert before + drain(track) == frames
        assert not track.damage
    assert read_events(tmp_path / "log") == [Progress(60, 60)]
    owner.writer.close().result(60)
    assert owner.failures.empty()
    assert owner.writer.dropped_frames == 0


def test_disk_that_is_full_from_the_start_is_waited_for(tmp_path: Path) -> None:
    disk = SmallDisk(room_bytes=0)
    owner = Owner(tmp_path / "log", disk)
    owner.writer.frame("cam", make_frame(1))
    owner.writer.event(Progress(1, 1))
    assert "full" in str(owner.failures.get(timeout=60))
    disk.room_bytes = 1 << 40
    assert owner.recoveries.get(timeout=60)
    owner.writer.close().result(60)
    assert read_track(tmp_path / "log") == [make_frame(1)]
    assert read_events(tmp_path / "log") == [Progress(1, 1)]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.ENOSPC, "is full: free some space"),
        (errno.EDQUOT, "is full: free some space"),
        (errno.EROFS, "cannot be written: make it writable"),
        (errno.EACCES, "cannot be written: make it writable"),
        (errno.EFBIG, "system's limit: raise it"),
        (errno.EMFILE, "open files"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_every_refusal_is_one_sentence_and_is_recovered_from(tmp_path: Path, code: int, sentence: str) -> None:
    disk = SmallDisk()
    disk.open_error = code
    owner = Owner(tmp_path / "log", disk)
    owner.writer.frame("cam", make_frame(1))
    failure = owner.failures.get(timeout=60)
    assert sentence in str(failure)
    assert str(failure).endswith(".")
    assert ":" in describe(OSError(code, os.strerror(code)))
    disk.open_error = None
    assert owner.recoveries.get(timeout=60)
    owner.writer.close().result(60)
    assert read_track(tmp_path / "log") == [make_frame(1)]


def test_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    owner = Owner(tmp_path / "file" / "log")
    owner.writer.frame("cam", make_frame(1))
    assert "cannot be written" in str(owner.failures.get(timeout=60))
    (tmp_path / "file").unlink()
    assert owner.recoveries.get(timeout=60)
    owner.writer.close().result(60)
    assert read_track(tmp_path / "file" / "log") == [make_frame(1)]


async def test_file_that_refuses_does_not_stop_the_others_but_the_timeline(tmp_path: Path) -> None:
    """/dev/full is a real ENOSPC. The timeline waits: it must not tell of frames that are not there."""
    tracks_path(tmp_path / "log").mkdir(parents=True)
    track_path(tmp_path / "log", "cam").symlink_to("/dev/full")
    owner = Owner(tmp_path / "log")
    owner.writer.open_track(make_info("mic"))
    owner.writer.frame("cam", make_frame(1))
    owner.writer.frame("mic", make_frame(2))
    owner.writer.event(Progress(2, 2))
    assert "full" in str(owner.failures.get(timeout=60))

    async def other_is_written() -> bool:
        return read_track(tmp_path / "log", "mic") == [make_frame(2)]

    await eventually(other_is_written)  # the refusal may have been told of before: of the first file's header
    assert read_events(tmp_path / "log") == []
    track_path(tmp_path / "log", "cam").unlink()
    assert owner.recoveries.get(timeout=60)
    owner.writer.close().result(60)
    assert read_track(tmp_path / "log", "cam") == [make_frame(1)]
    assert read_track(tmp_path / "log", "mic") == [make_frame(2)]
    assert read_events(tmp_path / "log") == [Progress(2, 2)]


def test_sync_that_fails_is_reported_and_tried_again(tmp_path: Path) -> None:
    disk = SmallDisk()
    owner = Owner(tmp_path / "log", disk)
    owner.writer.sync().result(60)
    disk.sync_error = errno.EIO
    owner.writer.frame("cam", make_frame(1))
    with pytest.raises(UnavailableError, match="Input/output"):
        owner.writer.sync().result(60)
    assert "Input/output" in str(owner.failures.get(timeout=60))
    assert read_track(tmp_path / "log") == [make_frame(1)]
    disk.synced.clear()
    disk.sync_error = None
    assert owner.recoveries.get(timeout=60)
    assert disk.synced == ["cam.log"]
    owner.writer.sync().result(60)
    owner.writer.close().result(60)


def test_close_on_a_disk_that_stays_full_says_so(tmp_path: Path) -> None:
    disk = SmallDisk()
    owner = Owner(tmp_path / "log", disk)
    owner.writer.sync().result(60)
    disk.room_bytes = 200
    for n in range(10):
        owner.writer.frame("cam", make_frame(n, 72))
    with pytest.raises(UnavailableError, match="full"):
        owner.writer.close().result(60)
    assert read_track(tmp_path / "log") == [make_frame(0, 72), make_frame(1, 72)]


def test_close_waits_for_a_disk_that_recovers_in_time(tmp_path: Path) -> None:
    disk = SmallDisk()
    patient = WriterOptions(flush_interval_s=0.005, sync_interval_s=0.01, close_grace_s=30)
    owner = Owner(tmp_path / "log", disk, patient)
    owner.writer.sync().result(60)
    disk.room_bytes = 10
    owner.writer.frame("cam", make_frame(1))
    closed = owner.writer.close()
    owner.failures.get(timeout=60)
    assert not closed.done()
    disk.room_bytes = 1 << 40
    closed.result(60)
    assert read_track(tmp_path / "log") == [make_frame(1)]


def test_disk_that_is_too_slow_costs_new_frames_not_memory(tmp_path: Path) -> None:
    disk = SmallDisk()
    small = WriterOptions(flush_interval_s=0.005, sync_interval_s=0.01, max_queue_bytes=10_000)
    owner = Owner(tmp_path / "log", disk, small)
    owner.writer.sync().result(60)
    disk.gate.clear()
    for n in range(100):
        owner.writer.frame("cam", make_frame(n, 972))
    assert owner.writer.queued_bytes == 10_000
    assert owner.writer.dropped_frames == 90
    assert "too slow" in str(owner.failures.get(timeout=60))
    assert "too slow" in str(owner.writer.failed)
    assert disk.held.wait(60)
    disk.gate.set()
    assert owner.recoveries.get(timeout=60)
    assert owner.writer.failed is None
    for n in range(100, 105):
        owner.writer.frame("cam", make_frame(n, 972))
    owner.writer.close().result(60)
    got = read_track(tmp_path / "log")
    assert [frame.media_time // 3000 for frame in got] == [*range(10), *range(100, 105)]
    assert [n for n, frame in enumerate(got) if frame.flags & FrameFlags.DISCONTINUITY] == [10]
    assert owner.failures.empty()


def test_low_space_is_told_once_until_there_is_clearly_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncer_module, "_FREE_SPACE_EVERY_S", 0.0)
    disk = SmallDisk()
    disk.readings = [1001, 1000, 999, 998, 1050, 997, 1101, 1000, 996, 995]
    options = WriterOptions(flush_interval_s=0.005, sync_interval_s=0.001, low_water_bytes=1000)
    owner = Owner(tmp_path / "log", disk, options)
    assert disk.read_up.wait(60)
    owner.writer.close().result(60)
    assert [owner.low.get_nowait() for _ in range(owner.low.qsize())] == [999, 996]
    assert owner.writer.failed is None


def test_real_disk_says_how_much_is_free(tmp_path: Path) -> None:
    assert Disk().free_bytes(tmp_path) > 0
    low: queue.Queue[int] = queue.Queue()
    options = WriterOptions(flush_interval_s=0.005, sync_interval_s=0.01, low_water_bytes=1 << 60)
    writer = LogWriter(tmp_path / "log", SESSION, MEETING, STARTED, options=options, on_low_water=low.put)
    assert 0 < low.get(timeout=60) < 1 << 60
    writer.close().result(60)


FILE_LIMIT = """
    import queue, resource
    from pathlib import Path
    from tapedeck.core.timeline import Progress
    from tests.medialog.logs import *

    root = Path(sys.argv[1])
    failures, recoveries = queue.Queue(), queue.Queue()
    writer = LogWriter(root, SESSION, MEETING, STARTED, options=QUICK, on_failure=failures.put,
                       on_recovery=lambda: recoveries.put(1))
    writer.open_track(make_info())
    writer.sync().result(60)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (7777, hard))
    frames = [make_frame(n, 500) for n in range(100)]
    for frame in frames:
        writer.frame("cam", frame)
    writer.event(Progress(1, 1))
    print(failures.get(timeout=60))
    before = read_track(root)
    assert before == frames[: (7777 - 64) // 528], len(before)
    assert track_path(root, "cam").stat().st_size == 7777
    assert read_events(root) == []
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    recoveries.get(timeout=60)
    writer.close().result(60)
    assert read_track(root) == frames
    assert read_events(root) == [Progress(1, 1)]
"""


def test_real_refusal_in_the_middle_of_a_record(tmp_path: Path) -> None:
    """The kernel takes a part of a write and then refuses, here by a limit on the size of files."""
    code = "import sys\n" + textwrap.dedent(FILE_LIMIT)
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "log")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "system's limit" in run.stdout


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB; only root may mount one."""
    place = tmp_path / "tiny"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, timeout=60, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield place
    subprocess.run(["umount", "-l", str(place)], timeout=60, check=True)


def test_really_full_disk_goes_on_when_space_is_made(tiny_disk: Path) -> None:
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes(150_000))
    owner = Owner(tiny_disk / "log")
    frames = [make_frame(n, 1000) for n in range(150)]
    for frame in frames:
        owner.writer.frame("cam", frame)
    assert "full" in str(owner.failures.get(timeout=60))
    before = read_track(tiny_disk / "log")
    assert before == frames[: len(before)]
    assert 0 < len(before) < 150
    ballast.unlink()
    assert owner.recoveries.get(timeout=60)
    owner.writer.close().result(60)
    assert read_track(tiny_disk / "log") == frames


def test_a_disk_that_refuses_to_close_a_file_is_written_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one far away may: all that is said afterwards is synced too, and the log ends."""
    disk, close, refused = SmallDisk(), os.close, threading.Event()

    def refuse(fd: int) -> None:
        close(fd)
        if disk.names.pop(fd, None) == track_path(tmp_path, "cam").name:
            refused.set()
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("tapedeck.medialog.disk.os.close", refuse)
    writer = LogWriter(tmp_path, SESSION, MEETING, STARTED, options=QUICK, disk=disk)
    writer.open_track(make_info())
    writer.frame("cam", make_frame(0))
    writer.close_track("cam")
    assert refused.wait(30)
    writer.event(Progress(1, 0))
    writer.sync().result(30)
    writer.close().result(30)
    assert len(read_events(tmp_path)) == 1
