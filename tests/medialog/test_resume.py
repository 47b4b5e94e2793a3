"""Taking up a log again after its recorder died: nothing whole is lost, and the clock goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.medialog.logs import (
    MEETING,
    QUICK,
    SECOND,
    SESSION,
    STARTED,
    drain,
    lay_down,
    make_frame,
    make_info,
    open_writer,
    read_events,
    read_track,
    timeline_bytes,
    track_bytes,
)
from tests.medialog.test_failure import SmallDisk

from tapedeck.core.errors import ConflictError, InvalidError, NotFoundError
from tapedeck.core.frames import FrameFlags
from tapedeck.core.timeline import Outage, Progress, TimelineEvent
from tapedeck.medialog.disk import Disk
from tapedeck.medialog.format import FILE_HEADER_SIZE
from tapedeck.medialog.meta import META_NAME, Epoch, Meta, boot_id, read_meta, timeline_path, track_path
from tapedeck.medialog.reader import LogReader
from tapedeck.medialog.writer import LogWriter

LATER = STARTED + timedelta(seconds=100)


def resume(root: Path, now: datetime = LATER, disk: Disk | None = None) -> LogWriter:
    return LogWriter.resume(root, now, now_monotonic_ns=500, options=QUICK, disk=disk)


def offset_of(writer: LogWriter) -> int:
    assert writer.resumed is not None
    return writer.resumed.offset_ns


def test_torn_ends_are_cut_off_at_every_byte_and_writing_goes_on(tmp_path: Path) -> None:
    frames = [make_frame(n, size) for n, size in enumerate([30, 0, 5])]
    events: list[TimelineEvent] = [Progress(1, 0), Progress(2, 1)]
    track, track_ends = track_bytes(frames)
    timeline, timeline_ends = timeline_bytes(events)
    for cut in range(len(track) + 1):
        timeline_cut = min(cut, len(timeline))
        root = lay_down(tmp_path / f"log-{cut}", {"cam": track[:cut]}, timeline[:timeline_cut])
        writer = resume(root)
        writer.open_track(make_info())
        writer.frame("cam", make_frame(9))
        writer.event(Outage(9, 3))
        writer.close().result(60)
        whole = [frame for frame, end in zip(frames, track_ends[1:], strict=True) if end <= cut]
        with LogReader(root).track("cam") as reader:
            assert drain(reader) == [*whole, make_frame(9)], cut
            assert not reader.damage
        told = [event for event, end in zip(events, timeline_ends[1:], strict=True) if end <= timeline_cut]
        assert read_events(root) == [*told, Outage(9, 3)]
        last = max([-1, *(frame.arrival_ns for frame in whole), *(event.at_ns for event in told)])
        assert writer.resumed is not None
        assert writer.resumed.last_ns == last


def test_reader_follows_the_tail_over_a_restart(tmp_path: Path) -> None:
    """What it had seen of the torn record is written over by another one, shorter or longer."""
    frames = [make_frame(n, 50) for n in range(4)]
    data, ends = track_bytes(frames)
    for cut in range(ends[3], ends[4]):
        for size in (3, 50, 400):
            root = lay_down(tmp_path / f"log-{cut}-{size}", {"cam": data[:cut]}, timeline_bytes([])[0])
            with LogReader(root).track("cam") as reader:
                assert drain(reader) == frames[:3]
                writer = resume(root)
                writer.open_track(make_info())
                writer.frame("cam", make_frame(7, size))
                writer.frame("cam", make_frame(8, size))
                writer.close().result(60)
                assert drain(reader) == [make_frame(7, size), make_frame(8, size)]
                assert not reader.damage


def test_damage_in_the_middle_is_left_as_it_is(tmp_path: Path) -> None:
    frames = [make_frame(n, 50) for n in range(6)]
    data, ends = track_bytes(frames)
    damaged = data[: ends[2]] + bytes(40) + data[ends[2] + 40 : -7]
    root = lay_down(tmp_path / "log", {"cam": damaged}, timeline_bytes([])[0])
    writer = resume(root)
    writer.open_track(make_info())
    writer.frame("cam", make_frame(9))
    writer.close().result(60)
    with LogReader(root).track("cam") as reader:
        assert [frame.media_time // 3000 for frame in drain(reader)] == [0, 1, 3, 4, 9]
        assert reader.damage.regions == 1


def test_damaged_file_header_is_written_again(tmp_path: Path) -> None:
    data, _ = track_bytes([make_frame(1)])
    root = lay_down(tmp_path / "log", {"cam": bytes(FILE_HEADER_SIZE) + data[FILE_HEADER_SIZE:]})
    writer = resume(root)
    writer.open_track(make_info())
    writer.close().result(60)
    assert track_path(root, "cam").read_bytes() == data


def test_long_files_are_taken_up_by_their_end(tmp_path: Path) -> None:
    frames = [make_frame(n, 5000) for n in range(4000)]
    data, _ = track_bytes(frames)
    root = lay_down(tmp_path / "log", {"cam": data[:-1]})
    writer = resume(root, STARTED)
    assert writer.resumed is not None
    assert writer.resumed.last_ns == frames[-2].arrival_ns
    assert offset_of(writer) == frames[-2].arrival_ns + 1
    writer.close().result(60)
    assert track_path(root, "cam").stat().st_size == len(data) - 5028


def test_end_without_a_whole_record_is_searched_further_back(tmp_path: Path) -> None:
    data, ends = track_bytes([make_frame(1, 100), make_frame(2, 9_000_000), make_frame(3, 100)])
    root = lay_down(tmp_path / "log", {"cam": data[: ends[2] - 1]})
    writer = resume(root)
    writer.close().result(60)
    assert read_track(root) == [make_frame(1, 100)]
    assert track_path(root, "cam").stat().st_size == ends[1]


def test_latest_time_counts_even_when_it_is_not_the_last(tmp_path: Path) -> None:
    frames = [make_frame(0, arrival_ns=700 * SECOND), make_frame(1, arrival_ns=699 * SECOND)]
    root = lay_down(tmp_path / "log", {"cam": track_bytes(frames)[0]})
    writer = resume(root)
    assert offset_of(writer) == 700 * SECOND + 1
    writer.close().result(60)


def test_clock_goes_on_by_utc_after_a_reboot(tmp_path: Path) -> None:
    root = lay_down(tmp_path / "log", {"cam": track_bytes([make_frame(1)])[0]})
    writer = resume(root)
    assert offset_of(writer) == 100 * SECOND
    writer.close().result(60)
    meta = read_meta(root)
    assert [epoch.offset_ns for epoch in meta.epochs] == [0, 100 * SECOND]
    assert (meta.started_utc, meta.started_monotonic_ns) == (STARTED, 1000)
    assert (meta.epochs[1].utc, meta.epochs[1].monotonic_ns, meta.epochs[1].boot_id) == (LATER, 500, boot_id())
    again = resume(root, LATER + timedelta(seconds=1.5))
    # the monotonic clock of this boot says that no time has passed since, so UTC is not asked
    assert offset_of(again) == 100 * SECOND + (0 if boot_id() else 1_500_000_000)
    again.close().result(60)
    assert len(read_meta(root).epochs) == 3


def test_clock_never_goes_back_when_utc_was_set_back(tmp_path: Path) -> None:
    root = lay_down(tmp_path / "log", {}, timeline_bytes([Progress(50 * SECOND, 49 * SECOND)])[0])
    writer = resume(root, STARTED - timedelta(days=1))
    assert offset_of(writer) == 50 * SECOND + 1
    writer.close().result(60)


def test_log_without_records_goes_on_at_zero_or_later(tmp_path: Path) -> None:
    writer = resume(lay_down(tmp_path / "log", {}), STARTED - timedelta(days=1))
    assert writer.resumed is not None
    assert (writer.resumed.last_ns, writer.resumed.offset_ns) == (-1, 0)
    writer.close().result(60)


@given(
    offset=st.integers(0, 10**15),
    passed=st.integers(-(10**13), 10**13),
    ticked=st.integers(-(10**15), 10**15),
    same_boot=st.booleans(),
    after=st.integers(-1, 10**15),
)
def test_clock_is_always_after_the_log(offset: int, passed: int, ticked: int, same_boot: bool, after: int) -> None:
    meta = Meta(SESSION, MEETING, (Epoch(0, STARTED, 0, "x"), Epoch(offset, STARTED, 10**15, "boot")))
    now = STARTED + timedelta(microseconds=passed)
    clock = meta.clock_at(now, 10**15 + ticked, "boot" if same_boot else "other", after)
    assert clock > after
    since = ticked if same_boot and ticked >= 0 else passed * 1000
    assert clock == max(offset + since, after + 1)


def test_system_without_boot_id_goes_by_utc() -> None:
    meta = Meta(SESSION, MEETING, (Epoch(0, STARTED, 0, ""),))
    assert meta.clock_at(LATER, 5, "", -1) == 100 * SECOND


def test_log_that_is_being_written_cannot_be_taken_up(tmp_path: Path) -> None:
    first = open_writer(tmp_path / "log")
    first.open_track(make_info())
    first.frame("cam", make_frame(1))
    first.sync().result(60)
    with pytest.raises(ConflictError, match="another process"):
        resume(tmp_path / "log")
    first.close().result(60)
    resume(tmp_path / "log").close().result(60)


def test_nothing_to_take_up_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        resume(tmp_path / "log")


def test_damaged_meta_is_said(tmp_path: Path) -> None:
    root = lay_down(tmp_path / "log", {})
    (root / META_NAME).write_text("{")
    with pytest.raises(InvalidError, match="damaged"):
        resume(root)


def test_file_of_another_session_is_not_written_to(tmp_path: Path) -> None:
    root = tmp_path / "log"
    foreign = lay_down(tmp_path / "foreign", {}, timeline_bytes([Progress(1, 1)])[0])
    writer = LogWriter(root, "another", MEETING, STARTED, options=QUICK)
    writer.sync().result(60)
    writer.close().result(60)
    data = timeline_path(foreign).read_bytes()
    timeline_path(root).write_bytes(data)
    again = LogWriter(root, "another", MEETING, STARTED, options=QUICK)
    with pytest.raises(ConflictError, match="another session"):
        again.sync().result(60)
    with pytest.raises(ConflictError):
        again.close().result(60)
    assert timeline_path(root).read_bytes() == data


def test_full_disk_does_not_stand_in_the_way(tmp_path: Path) -> None:
    data, ends = track_bytes([make_frame(1), make_frame(2)])
    root = lay_down(tmp_path / "log", {"cam": data[:-1]}, timeline_bytes([])[0])
    disk = SmallDisk(room_bytes=0)
    writer = resume(root, disk=disk)
    assert offset_of(writer) == 100 * SECOND
    writer.event(Outage(5, 4))
    disk.room_bytes = 1 << 40
    writer.close().result(60)
    assert read_events(root) == [Outage(5, 4)]
    assert len(read_meta(root).epochs) == 2
    assert track_path(root, "cam").stat().st_size == ends[1]


def test_writer_on_an_existing_log_goes_on_at_its_end(tmp_path: Path) -> None:
    data, ends = track_bytes([make_frame(1), make_frame(2, 500)])
    root = lay_down(tmp_path / "log", {"cam": data[:-1]}, timeline_bytes([Progress(1, 1)])[0][:-1])
    writer = open_writer(root)
    writer.open_track(make_info())
    writer.frame("cam", make_frame(3))
    writer.event(Progress(4, 4))
    writer.close().result(60)
    assert read_track(root) == [make_frame(1), make_frame(3)]
    assert track_path(root, "cam").stat().st_size == ends[1] + 28 + 20
    assert read_events(root) == [Progress(4, 4)]
    assert len(read_meta(root).epochs) == 1


VICTIM = """
    import time
    from datetime import UTC, datetime
    from pathlib import Path
    from tapedeck.core.timeline import Progress
    from tapedeck.medialog.writer import LogWriter
    from tests.medialog.logs import MEETING, SESSION, make_frame, make_info

    start = time.monotonic_ns()
    writer = LogWriter(Path(sys.argv[1]), SESSION, MEETING, datetime.now(UTC))
    tracks = ["cam", "screen", "other"]
    for track in tracks:
        writer.open_track(make_info(track))
    number = 0
    pace = time.monotonic()
    while True:
        now = time.monotonic_ns() - start
        for track in tracks:
            writer.frame(track, make_frame(number, 3000, number % 30 == 0, arrival_ns=now))
        writer.event(Progress(now, now))
        print(number, now, flush=True)
        number += 1
        pace += 0.005
        time.sleep(max(0, pace - time.monotonic()))
"""


@pytest.mark.parametrize("frames_before_kill", [1, 150, 400])
def test_sigkill_costs_at_most_one_second(tmp_path: Path, frames_before_kill: int) -> None:
    root = tmp_path / "log"
    command = [sys.executable, "-c", "import sys\n" + textwrap.dedent(VICTIM), str(root)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        handed = [victim.stdout.readline() for _ in range(frames_before_kill)]
        os.kill(victim.pid, signal.SIGKILL)
        handed += victim.stdout.readlines()
    times = [int(line.split()[1]) for line in handed if line.endswith("\n")]
    safe = [at for at in times if at <= times[-1] - SECOND]
    if not (root / META_NAME).exists():
        assert safe == []
        return
    for track in ("cam", "screen", "other"):
        got = read_track(root, track)
        assert [frame.arrival_ns for frame in got[: len(times)]] == times[: len(got)]
        assert len(got) >= len(safe)
        assert not any(frame.flags & FrameFlags.DISCONTINUITY for frame in got)
        for event in read_events(root):
            assert isinstance(event, Progress)
            assert event.until_ns <= got[-1].arrival_ns
    last = max(event.at_ns for event in read_events(root)) if read_events(root) else -1
    for track in ("cam", "screen", "other"):  # it dies between two of them, too
        last = max([last, *(frame.arrival_ns for frame in read_track(root, track))])
    writer = LogWriter.resume(root, datetime.now(UTC))
    assert writer.resumed is not None
    assert writer.resumed.last_ns == last
    assert offset_of(writer) > last
    writer.close().result(60)
