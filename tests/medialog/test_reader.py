"""Reading a log: along the live tail, from a key frame, by time."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.medialog.logs import (
    MEETING,
    SECOND,
    SESSION,
    STARTED,
    drain,
    lay_down,
    make_frame,
    make_info,
    open_files,
    open_writer,
    read_events,
    read_track,
    timeline_bytes,
    track_bytes,
)

from tapedeck.core.errors import InvalidError, NotFoundError, UnavailableError
from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags
from tapedeck.core.timeline import AudioLevel, Progress, TrackOpened
from tapedeck.medialog import cursor as cursor_module
from tapedeck.medialog import reader as reader_module
from tapedeck.medialog.format import FILE_HEADER_SIZE, pack_frame, salt_of
from tapedeck.medialog.meta import META_NAME, timeline_path, track_path
from tapedeck.medialog.reader import LogReader, TrackReader


def disordered(count: int, seed: int, key_every: int, size: int = 60) -> list[EncodedFrame]:
    """Frames in media order, 100 ms apart, each completed up to 2.5 s late."""
    rng = random.Random(seed)
    frames = []
    for n in range(count):
        late = rng.choice([0, 0, 0, 0, rng.randrange(2_500_000_000)])
        frames.append(make_frame(n, size, key=n % key_every == 0, arrival_ns=n * 100_000_000 + late))
    return frames


def last_key(frames: list[EncodedFrame], at_ns: int) -> int | None:
    found = [n for n, frame in enumerate(frames) if frame.is_key and frame.arrival_ns <= at_ns]
    return found[-1] if found else None


def assert_seeks(track: TrackReader, frames: list[EncodedFrame], at_ns: int) -> None:
    expected = last_key(frames, at_ns)
    arrival = track.seek_key(at_ns)
    if expected is None:
        assert arrival is None
        assert track.poll(3) == frames[:3]
    else:
        assert arrival == frames[expected].arrival_ns
        assert track.poll(3) == frames[expected : expected + 3]


def test_meta_says_whose_log_it_is(tmp_path: Path) -> None:
    root = lay_down(tmp_path / "log", {})
    meta = LogReader(root).meta
    assert (meta.session_id, meta.meeting_id, meta.started_utc) == (SESSION, MEETING, STARTED)
    assert meta.started_monotonic_ns == 1000


def test_directory_without_log_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        LogReader(tmp_path)
    with pytest.raises(NotFoundError):
        LogReader(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotFoundError):
        LogReader(tmp_path / "file")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"format":1}', '{"format":"new"}', "\xff"],
)
def test_damaged_meta_is_invalid(tmp_path: Path, text: str) -> None:
    (tmp_path / META_NAME).write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidError, match="damaged"):
        LogReader(tmp_path)


def test_meta_without_epochs_or_time_zone_is_invalid(tmp_path: Path) -> None:
    root = lay_down(tmp_path / "log", {})
    good = (root / META_NAME).read_text()
    (root / META_NAME).write_text(good.replace("05.000000Z", "05"))
    with pytest.raises(InvalidError, match="damaged"):
        LogReader(root)
    (root / META_NAME).write_text('{"format":1,"session_id":"s","meeting_id":"m","epochs":[]}')
    with pytest.raises(InvalidError, match="damaged"):
        LogReader(root)


def test_log_of_a_newer_format_is_refused_with_both_numbers(tmp_path: Path) -> None:
    (tmp_path / META_NAME).write_text('{"format":2}')
    with pytest.raises(InvalidError, match=r"format 2.*format 1"):
        LogReader(tmp_path)


def test_track_id_that_leaves_the_directory_is_refused(tmp_path: Path) -> None:
    log = LogReader(lay_down(tmp_path / "log", {}))
    with pytest.raises(InvalidError):
        log.track("../../etc/passwd")


def test_files_that_are_not_there_yet_are_empty_until_they_are(tmp_path: Path) -> None:
    root = lay_down(tmp_path / "log", {})
    data, _ = track_bytes([make_frame(1)])
    with LogReader(root).track("cam") as track, LogReader(root).timeline() as timeline:
        assert track.poll() == []
        assert track.seek_key(5) is None
        assert list(track.frames()) == []
        assert timeline.poll() == []
        track_path(root, "cam").write_bytes(data[: FILE_HEADER_SIZE - 1])
        assert track.poll() == []
        track_path(root, "cam").write_bytes(data)
        timeline_path(root).write_bytes(timeline_bytes([Progress(2, 1)])[0])
        assert track.poll() == [make_frame(1)]
        assert timeline.poll() == [Progress(2, 1)]
        assert track.header is not None
        assert track.header.codec is Codec.H264


def test_poll_keeps_to_its_limits(tmp_path: Path) -> None:
    frames = [make_frame(n, 1000) for n in range(1000)]
    root = lay_down(tmp_path / "log", {"cam": track_bytes(frames)[0]})
    with LogReader(root).track("cam") as track:
        assert track.poll(1) == frames[:1]
        assert track.poll(7) == frames[1:8]
        assert track.poll() == frames[8:264]
        assert track.poll(max_bytes=2500) == frames[264:267]
        assert track.poll(10_000) == frames[267:]
        assert track.poll() == []


def test_records_longer_than_a_read_are_read(tmp_path: Path) -> None:
    sizes = [cursor_module.CHUNK_BYTES * 3, 10, cursor_module.CHUNK_BYTES - 28, 10, cursor_module.CHUNK_BYTES * 5 + 1]
    frames = [make_frame(n, size) for n, size in enumerate(sizes)]
    root = lay_down(tmp_path / "log", {"cam": track_bytes(frames)[0]})
    assert read_track(root) == frames


def test_record_of_a_newer_version_is_left_out_and_marked(tmp_path: Path) -> None:
    odd = EncodedFrame(1, 1, b"new codec", 99, FrameFlags.KEY)  # type: ignore[arg-type]
    data, _ = track_bytes([make_frame(0), odd, make_frame(2)])
    root = lay_down(tmp_path / "log", {"cam": data})
    with LogReader(root).track("cam") as track:
        got = drain(track)
        assert [frame.media_time for frame in got] == [0, 6000]
        assert got[1].flags == FrameFlags.DISCONTINUITY
        assert track.unknown == 1
        assert not track.damage


def test_malformed_event_is_counted_and_left_out(tmp_path: Path) -> None:
    data, ends = timeline_bytes([Progress(1, 0), Progress(2, 1)])
    body = b"[]"
    fake = EncodedFrame(0, 0, body, 0)  # type: ignore[arg-type]
    record = bytearray(pack_frame(salt_of(SESSION, SESSION), fake))
    record[8] = 2  # an event, whose checksum is put right below
    from google_crc32c import extend

    crc = extend(extend(salt_of(SESSION, SESSION), bytes(record[8:])), body)
    record[4:8] = crc.to_bytes(4, "little")
    root = lay_down(tmp_path / "log", {}, data[: ends[1]] + bytes(record) + body + data[ends[1] :])
    with LogReader(root).timeline() as timeline:
        assert timeline.poll() == [Progress(1, 0), Progress(2, 1)]
        assert timeline.malformed == 1
        assert not timeline.damage


def test_unreadable_disk_is_unavailable(tmp_path: Path) -> None:
    root = lay_down(tmp_path / "log", {})
    track_path(root, "cam").mkdir()
    with LogReader(root).track("cam") as track, pytest.raises(UnavailableError, match="cannot be read"):
        track.poll()


def test_live_tail_of_a_concurrent_writer(tmp_path: Path) -> None:
    """Frames in order, none missing; and when the timeline says Progress, all it speaks of can be read."""
    root = tmp_path / "log"
    frames = [make_frame(n, 50 + n * 37 % 3000, key=n % 30 == 0, arrival_ns=n) for n in range(3000)]
    writer = open_writer(root)
    writer.open_track(make_info())
    writer.sync().result(60)

    def produce() -> None:
        for n, frame in enumerate(frames):
            writer.frame("cam", frame)
            if n % 10 == 9:
                writer.event(Progress(n, n))
            if n % 200 == 199:
                writer.sync().result(60)
        writer.close().result(60)

    log = LogReader(root)
    got: list[EncodedFrame] = []
    promised = -1
    with log.track("cam") as track, log.timeline() as timeline:
        producer = threading.Thread(target=produce)
        producer.start()
        while promised < len(frames) - 1:
            events = timeline.poll()
            got += drain(track)
            for event in events:
                assert isinstance(event, Progress)
                promised = event.until_ns
            assert len(got) > promised
        producer.join()
        assert got == frames
        assert not track.damage
        assert not timeline.damage


def test_seek_finds_the_last_key_frame_in_a_long_track(tmp_path: Path) -> None:
    frames = disordered(4000, seed=1, key_every=90, size=3000)
    root = lay_down(tmp_path / "log", {"cam": track_bytes(frames)[0]})
    rng = random.Random(2)
    with LogReader(root).track("cam") as track:
        for at_ns in [0, -1, 400 * SECOND, 10_000 * SECOND, *(rng.randrange(400 * SECOND) for _ in range(40))]:
            assert_seeks(track, frames, at_ns)


def test_seek_goes_back_as_far_as_the_only_key_frame(tmp_path: Path) -> None:
    frames = disordered(4000, seed=3, key_every=10_000, size=3000)
    root = lay_down(tmp_path / "log", {"cam": track_bytes(frames)[0]})
    with LogReader(root).track("cam") as track:
        assert_seeks(track, frames, 390 * SECOND)
        assert_seeks(track, frames, 3 * SECOND)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(0, 120),
    seed=st.integers(0, 1000),
    key_every=st.integers(1, 60),
    at_ns=st.lists(st.integers(-SECOND, 15 * SECOND), min_size=1, max_size=6),
    walk=st.sampled_from([100, 1000, 5000]),
)
def test_seek_agrees_with_a_search_by_hand(count: int, seed: int, key_every: int, at_ns: list[int], walk: int) -> None:
    frames = disordered(count, seed, key_every)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_module, "_WALK_BYTES", walk)
        root = lay_down(Path(folder) / "log", {"cam": track_bytes(frames)[0]})
        with LogReader(root).track("cam") as track:
            for at in at_ns:
                assert_seeks(track, frames, at)


def test_seek_in_a_damaged_track_still_arrives(tmp_path: Path) -> None:
    frames = disordered(3000, seed=5, key_every=50, size=2000)
    data, ends = track_bytes(frames)
    damaged = bytearray(data)
    for at in range(FILE_HEADER_SIZE + 500, len(data), 300_000):
        damaged[at : at + 900] = bytes(900)
    alive = [f for n, f in enumerate(frames) if bytes(damaged[ends[n] : ends[n + 1]]) == data[ends[n] : ends[n + 1]]]
    assert len(alive) < len(frames)
    root = lay_down(tmp_path / "log", {"cam": bytes(damaged)})
    with LogReader(root).track("cam") as track:
        for at_ns in range(0, 300 * SECOND, 7 * SECOND):
            expected = last_key(alive, at_ns)
            assert track.seek_key(at_ns) == (None if expected is None else alive[expected].arrival_ns)


def test_seek_then_tail_goes_on(tmp_path: Path) -> None:
    frames = [make_frame(n, 100, key=n % 10 == 0) for n in range(50)]
    data, ends = track_bytes(frames)
    root = lay_down(tmp_path / "log", {"cam": data[: ends[25] + 11]})
    with LogReader(root).track("cam") as track:
        assert track.seek_key(10**12) == frames[20].arrival_ns
        assert drain(track) == frames[20:25]
        track_path(root, "cam").write_bytes(data)
        assert drain(track) == frames[25:]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 100), begin=st.integers(-1, 9 * SECOND), length=st.integers(0, 9 * SECOND))
def test_frames_by_time_are_those_that_arrived_in_it(seed: int, begin: int, length: int) -> None:
    frames = disordered(80, seed, 20)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_module, "_WALK_BYTES", 500)
        root = lay_down(Path(folder) / "log", {"cam": track_bytes(frames)[0]})
        with LogReader(root).track("cam") as track:
            end = begin + length
            assert list(track.frames(begin, end)) == [f for f in frames if begin <= f.arrival_ns < end]
            assert list(track.frames(begin)) == [f for f in frames if begin <= f.arrival_ns]
            assert list(track.frames()) == frames


def test_closed_reader_gives_its_file_back(tmp_path: Path) -> None:
    root = lay_down(tmp_path / "log", {"cam": track_bytes([make_frame(1)])[0]})
    track = LogReader(root).track("cam")
    assert len(drain(track)) == 1
    assert open_files(root) == ["cam.log"]
    track.close()
    track.close()
    assert open_files(root) == []


def test_what_the_writer_wrote_is_read_back(tmp_path: Path) -> None:
    root = tmp_path / "log"
    writer = open_writer(root)
    info = make_info("mic", Codec.OPUS)
    writer.open_track(info)
    writer.event(TrackOpened(5, info))
    frames = [
        EncodedFrame(-(2**40) + n * 960, 2**40 + n, os.urandom(n), codec, flags)
        for n, (codec, flags) in enumerate((c, FrameFlags(f)) for c in Codec for f in range(4))
    ]
    for frame in frames:
        writer.frame("mic", frame)
    writer.close().result(60)
    assert read_track(root, "mic") == frames
    assert read_events(root) == [TrackOpened(5, info)]


def test_events_come_in_bites_when_asked_for(tmp_path: Path) -> None:
    events = [AudioLevel(number, "mic", number % 128) for number in range(700)]
    root = lay_down(tmp_path / "log", {}, timeline_bytes(events)[0])
    with LogReader(root).timeline() as timeline:
        bites = []
        while bite := timeline.poll(300):
            bites.append(bite)
        assert [len(bite) for bite in bites] == [300, 300, 100]
        assert [event for bite in bites for event in bite] == events
