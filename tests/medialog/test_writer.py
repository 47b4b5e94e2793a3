"""Writing a log: what is promised about order, syncing and the writer's life."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest
from tests.medialog.logs import (
    MEETING,
    QUICK,
    SESSION,
    STARTED,
    make_frame,
    make_info,
    open_files,
    open_writer,
    read_events,
    read_track,
)

from tapedeck.core.errors import ConflictError, InternalError, InvalidError, NotFoundError, TapedeckError
from tapedeck.core.frames import FrameFlags
from tapedeck.core.timeline import NameChanged, Progress, TrackOpened
from tapedeck.medialog.disk import Disk
from tapedeck.medialog.format import FILE_HEADER_SIZE
from tapedeck.medialog.meta import META_NAME, timeline_path, track_path
from tapedeck.medialog.writer import LogWriter, WriterOptions


class WatchedDisk(Disk):
    """The real disk; notes what is done to which file, and lets a test wait for it."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.calls: list[tuple[str, str]] = []
        self._changed = threading.Condition()

    def note(self, call: str, name: str) -> None:
        with self._changed:
            self.calls.append((call, name))
            self._changed.notify_all()

    def wait_for(self, call: str, name: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: (call, name) in self.calls, 60)

    def open(self, path: Path) -> int:
        fd = super().open(path)
        self.names[fd] = path.name
        self.note("open", path.name)
        return fd

    def write(self, fd: int, buffers: Sequence[bytes | memoryview]) -> int:
        written = super().write(fd, buffers)
        self.note("write", self.names.get(fd, "?"))
        return written

    def sync(self, fd: int) -> None:
        super().sync(fd)
        self.note("sync", self.names.get(fd, "?"))

    def sync_directory(self, path: Path) -> None:
        super().sync_directory(path)
        self.note("sync directory", path.name)


def watched(root: Path, options: WriterOptions = QUICK) -> tuple[LogWriter, WatchedDisk]:
    disk = WatchedDisk()
    return LogWriter(root, SESSION, MEETING, STARTED, options=options, disk=disk), disk


def test_new_log_has_meta_and_headers(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "captures" / SESSION
    writer = open_writer(root)
    writer.open_track(make_info())
    writer.close().result(60)
    body = json.loads((root / META_NAME).read_text())
    assert body["format"] == 1
    assert (body["session_id"], body["meeting_id"]) == (SESSION, MEETING)
    assert (body["started_utc"], body["started_monotonic_ns"]) == ("2030-01-02T03:04:05.000000Z", 1000)
    assert [epoch["offset_ns"] for epoch in body["epochs"]] == [0]
    assert timeline_path(root).stat().st_size == FILE_HEADER_SIZE
    assert track_path(root, "cam").stat().st_size == FILE_HEADER_SIZE
    assert sorted(path.name for path in root.iterdir()) == [META_NAME, "timeline.log", "tracks"]


def test_meta_is_in_place_before_any_log_file(tmp_path: Path) -> None:
    writer, disk = watched(tmp_path / "log")
    writer.open_track(make_info())
    writer.close().result(60)
    assert disk.calls.index(("sync directory", "log")) < disk.calls.index(("open", "timeline.log"))
    assert disk.calls.index(("sync directory", "log")) < disk.calls.index(("open", "cam.log"))


def test_everything_is_written_and_synced_without_being_asked(tmp_path: Path) -> None:
    writer, disk = watched(tmp_path / "log")
    writer.open_track(make_info())
    writer.frame("cam", make_frame(1))
    writer.event(Progress(1, 1))
    disk.wait_for("sync", "cam.log")
    disk.wait_for("sync", "timeline.log")
    writer.close().result(60)


def test_defaults_keep_the_promise_of_the_log() -> None:
    """Written within 250 ms, synced within a second, with room for the work itself."""
    options = WriterOptions()
    assert options.flush_interval_s <= 0.2
    assert options.flush_interval_s + options.sync_interval_s <= 0.8


def test_tracks_are_written_before_the_timeline(tmp_path: Path) -> None:
    writer, disk = watched(tmp_path / "log")
    for n in range(3):
        writer.open_track(make_info(f"t{n}"))
    writer.sync().result(60)
    disk.calls.clear()
    writer.event(NameChanged(0, "ada", "first in the queue"))
    for n in range(3):
        writer.frame(f"t{n}", make_frame(n))
    writer.event(Progress(0, 0))
    writer.sync().result(60)
    writes = [name for call, name in disk.calls if call == "write"]
    # the thread may have woken between the calls, never in the wrong order
    assert set(writes) == {"t0.log", "t1.log", "t2.log", "timeline.log"}
    assert writes[-1] == "timeline.log"
    writer.close().result(60)


def test_syncs_come_in_order_and_before_the_future(tmp_path: Path) -> None:
    writer, disk = watched(tmp_path / "log", WriterOptions(flush_interval_s=30, sync_interval_s=30))
    writer.open_track(make_info("t1"))
    writer.open_track(make_info("t2"))
    writer.frame("t1", make_frame(1))
    writer.frame("t2", make_frame(1))
    writer.event(Progress(1, 1))
    writer.sync().result(60)
    syncs = [(call, name) for call, name in disk.calls if call.startswith("sync")]
    names = [name for _, name in syncs]
    assert names.index("t1.log") < names.index("tracks")
    assert names.index("t2.log") < names.index("tracks")
    assert names.index("tracks") < names.index("timeline.log")
    assert ("sync directory", "tracks") in syncs
    assert ("sync directory", "log") in syncs
    assert ("sync directory", tmp_path.name) in syncs
    writer.close().result(60)


def test_sync_without_anything_new_resolves(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "log", WriterOptions(flush_interval_s=30, sync_interval_s=30))
    writer.sync().result(60)
    waiting = [writer.sync() for _ in range(5)]
    assert [future.result(60) for future in waiting] == [None] * 5
    writer.close().result(60)


async def test_sync_can_be_awaited_and_given_up(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "log")
    await asyncio.wrap_future(writer.sync())
    given_up = asyncio.wrap_future(writer.sync())
    given_up.cancel()
    await asyncio.wrap_future(writer.sync())
    await asyncio.wrap_future(writer.close())
    assert writer.failed is None


def test_frames_without_a_flush_in_between_are_written_in_one_call(tmp_path: Path) -> None:
    writer, disk = watched(tmp_path / "log", WriterOptions(flush_interval_s=30, sync_interval_s=30))
    writer.open_track(make_info())
    writer.sync().result(60)
    disk.calls.clear()
    for n in range(100):
        writer.frame("cam", make_frame(n))
    writer.sync().result(60)
    assert disk.calls.count(("write", "cam.log")) == 1
    writer.close().result(60)
    assert len(read_track(tmp_path / "log")) == 100


def test_more_frames_than_one_call_takes_are_all_written(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "log", WriterOptions(flush_interval_s=30))
    writer.open_track(make_info())
    frames = [make_frame(n, n % 300) for n in range(5000)]
    for frame in frames:
        writer.frame("cam", frame)
    assert writer.queued_bytes > 0
    writer.close().result(60)
    assert writer.queued_bytes == 0
    assert read_track(tmp_path / "log") == frames


def test_close_writes_everything_and_ends_the_threads(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    writer = open_writer(tmp_path / "log", WriterOptions(flush_interval_s=30, sync_interval_s=30))
    threads = set(threading.enumerate()) - before
    assert len(threads) == 2
    writer.open_track(make_info())
    writer.frame("cam", make_frame(1))
    writer.event(Progress(1, 1))
    done = writer.close()
    assert writer.close() is done
    done.result(60)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert read_track(tmp_path / "log") == [make_frame(1)]
    assert read_events(tmp_path / "log") == [Progress(1, 1)]
    assert open_files(tmp_path) == []


def test_closed_log_takes_nothing(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "log")
    writer.open_track(make_info())
    writer.close().result(60)
    with pytest.raises(ConflictError):
        writer.frame("cam", make_frame(1))
    with pytest.raises(ConflictError):
        writer.event(Progress(1, 1))
    with pytest.raises(ConflictError):
        writer.open_track(make_info("t2"))
    with pytest.raises(ConflictError):
        writer.sync().result(60)


def test_track_that_is_not_open_is_not_found(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "log")
    with pytest.raises(NotFoundError):
        writer.frame("cam", make_frame(1))
    writer.close().result(60)


def test_ids_that_cannot_name_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidError):
        LogWriter(tmp_path, "../up", MEETING, STARTED)
    writer = open_writer(tmp_path / "log")
    with pytest.raises(InvalidError):
        writer.open_track(make_info("a/b"))
    writer.close().result(60)


def test_closed_track_gives_its_file_back_and_can_be_opened_again(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "log")
    writer.open_track(make_info())
    writer.frame("cam", make_frame(1))
    writer.sync().result(60)
    assert open_files(tmp_path) == ["cam.log", "log", "timeline.log"]
    writer.close_track("cam")
    writer.close_track("never opened")
    writer.sync().result(60)  # lets go of the track
    writer.sync().result(60)  # closes its file
    assert open_files(tmp_path) == ["log", "timeline.log"]
    with pytest.raises(NotFoundError):
        writer.frame("cam", make_frame(2))
    writer.open_track(make_info())
    writer.frame("cam", make_frame(2))
    writer.close().result(60)
    assert read_track(tmp_path / "log") == [make_frame(1), make_frame(2)]


def test_opening_an_open_track_changes_nothing(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "log", WriterOptions(flush_interval_s=30))
    writer.open_track(make_info())
    writer.frame("cam", make_frame(1))
    writer.close_track("cam")
    writer.open_track(make_info())
    writer.frame("cam", make_frame(2))
    writer.sync().result(60)
    writer.frame("cam", make_frame(3))
    writer.close().result(60)
    assert read_track(tmp_path / "log") == [make_frame(n) for n in (1, 2, 3)]


def test_second_writer_is_kept_out_until_the_first_has_ended(tmp_path: Path) -> None:
    first = open_writer(tmp_path / "log")
    first.open_track(make_info())
    first.frame("cam", make_frame(1))
    first.sync().result(60)
    failures: list[TapedeckError] = []
    recovered = threading.Event()
    second = LogWriter(
        tmp_path / "log",
        SESSION,
        MEETING,
        STARTED,
        options=QUICK,
        on_failure=failures.append,
        on_recovery=recovered.set,
    )
    second.open_track(make_info())
    second.frame("cam", make_frame(2))
    with pytest.raises(ConflictError, match="another process"):
        second.sync().result(60)
    assert "another process" in str(second.failed)
    first.close().result(60)
    assert recovered.wait(60)
    assert second.failed is None
    second.close().result(60)
    assert len(failures) == 1
    assert read_track(tmp_path / "log") == [make_frame(1), make_frame(2)]


def test_directory_of_another_session_is_left_alone(tmp_path: Path) -> None:
    open_writer(tmp_path / "log").close().result(60)
    timeline_path(tmp_path / "log").unlink()
    before = (tmp_path / "log" / META_NAME).read_text()
    other = LogWriter(tmp_path / "log", "another", MEETING, STARTED, options=QUICK)
    with pytest.raises(ConflictError, match="another session"):
        other.sync().result(60)
    with pytest.raises(ConflictError):
        other.close().result(60)
    assert (tmp_path / "log" / META_NAME).read_text() == before
    assert not timeline_path(tmp_path / "log").exists()


def test_frame_that_cannot_be_stored_is_reported_and_costs_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failures: Future[TapedeckError] = Future()
    writer = LogWriter(tmp_path / "log", SESSION, MEETING, STARTED, options=QUICK, on_failure=failures.set_result)
    writer.open_track(make_info())
    writer.frame("cam", make_frame(1))
    writer.frame("cam", make_frame(2, arrival_ns=-5))
    writer.frame("cam", make_frame(3))
    assert isinstance(failures.result(60), InternalError)
    writer.sync().result(60)
    writer.frame("cam", make_frame(4))
    writer.close().result(60)
    got = read_track(tmp_path / "log")
    assert [frame.media_time for frame in got] == [3000, 9000, 12000]
    assert [bool(frame.flags & FrameFlags.DISCONTINUITY) for frame in got] == [False, True, False]
    assert "could not be packed" in caplog.text


def test_callback_that_fails_does_not_stop_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    called = threading.Event()

    def fail(error: TapedeckError) -> None:
        called.set()
        raise RuntimeError("the loop is closed")

    writer = LogWriter(tmp_path / "log", SESSION, MEETING, STARTED, options=QUICK, on_failure=fail)
    writer.open_track(make_info())
    writer.frame("cam", make_frame(1, arrival_ns=-5))
    assert called.wait(60)
    writer.frame("cam", make_frame(2))
    writer.close().result(60)
    assert len(read_track(tmp_path / "log")) == 1
    assert "a callback of the media log failed" in caplog.text


def test_opening_is_the_owners_to_report(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "log")
    writer.open_track(make_info())
    writer.event(TrackOpened(7, make_info()))
    writer.close().result(60)
    assert read_events(tmp_path / "log") == [TrackOpened(7, make_info())]
