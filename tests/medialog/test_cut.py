"""Whatever happens to the bytes of a file, a reader gives whole records only, in order, and says what it skipped."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.medialog.logs import (
    SESSION,
    drain,
    lay_down,
    make_frame,
    make_info,
    read_events,
    read_track,
    timeline_bytes,
    track_bytes,
)

from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags
from tapedeck.core.timeline import (
    NameChanged,
    ParticipantJoined,
    Progress,
    RecordingStarted,
    TimelineEvent,
    TrackOpened,
)
from tapedeck.medialog import cursor as cursor_module
from tapedeck.medialog.cursor import CHUNK_BYTES
from tapedeck.medialog.format import FILE_HEADER_SIZE, RECORD_HEADER_SIZE, pack_frame, salt_of
from tapedeck.medialog.meta import timeline_path, track_path
from tapedeck.medialog.reader import LogReader

FRAMES = [make_frame(n, size, key=n == 0) for n, size in enumerate([40, 0, 1, 27, 28, 60, 5])]
EVENTS: list[TimelineEvent] = [
    ParticipantJoined(0, "ada", "peer-1", "Ada"),
    TrackOpened(1, make_info()),
    RecordingStarted(2, "rec"),
    NameChanged(3, "ada", "Ada Lovelace"),
    Progress(4, 3),
]


def whole_records(ends: list[int], cut: int) -> int:
    """How many records end at or before `cut`."""
    return sum(end <= cut for end in ends[1:])


def marked(frame: EncodedFrame) -> EncodedFrame:
    flags = frame.flags | FrameFlags.DISCONTINUITY
    return EncodedFrame(frame.media_time, frame.arrival_ns, frame.payload, frame.codec, flags)


def test_track_cut_at_every_byte_gives_a_clean_prefix(tmp_path: Path) -> None:
    data, ends = track_bytes(FRAMES)
    root = lay_down(tmp_path / "log", {})
    for cut in range(len(data) + 1):
        track_path(root, "cam").write_bytes(data[:cut])
        with LogReader(root).track("cam") as track:
            assert drain(track) == FRAMES[: whole_records(ends, cut)], cut
            assert not track.damage


def test_timeline_cut_at_every_byte_gives_a_clean_prefix(tmp_path: Path) -> None:
    data, ends = timeline_bytes(EVENTS)
    root = lay_down(tmp_path / "log", {})
    for cut in range(len(data) + 1):
        timeline_path(root).write_bytes(data[:cut])
        with LogReader(root).timeline() as timeline:
            assert timeline.poll() == EVENTS[: whole_records(ends, cut)], cut
            assert not timeline.damage
            assert timeline.malformed == 0


def test_reader_goes_on_when_a_cut_file_grows_at_every_byte(tmp_path: Path) -> None:
    data, ends = track_bytes(FRAMES)
    root = lay_down(tmp_path / "log", {})
    path = track_path(root, "cam")
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        with LogReader(root).track("cam") as track:
            before = drain(track)
            with path.open("ab") as file:
                file.write(data[cut:])
            after = drain(track)
            assert (len(before), before + after) == (whole_records(ends, cut), FRAMES), cut
            assert not track.damage


def test_reader_follows_a_file_that_grows_byte_by_byte(tmp_path: Path) -> None:
    data, ends = track_bytes(FRAMES)
    root = lay_down(tmp_path / "log", {})
    got: list[EncodedFrame] = []
    with track_path(root, "cam").open("wb", buffering=0) as file, LogReader(root).track("cam") as track:
        for at in range(len(data)):
            file.write(data[at : at + 1])
            got += track.poll()
            assert got == FRAMES[: whole_records(ends, at + 1)]
        assert not track.damage


def test_cut_file_with_zeros_behind_gives_a_clean_prefix(tmp_path: Path) -> None:
    """What a power cut leaves on a file system that had given the file its length, but not yet its bytes."""
    data, ends = track_bytes(FRAMES)
    root = lay_down(tmp_path / "log", {})
    for cut in range(FILE_HEADER_SIZE, len(data) + 1):
        whole = whole_records(ends, cut)
        # zeros may be what the cut record would have had there anyway
        completed = [n for n in range(whole + 1, len(ends)) if data[cut : ends[n]].strip(b"\0") == b""]
        track_path(root, "cam").write_bytes(data[:cut] + bytes(5000))
        assert read_track(root) == FRAMES[: max([whole, *completed])], cut


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 3000), max_size=8),
    cut_at=st.floats(0, 1),
    garbage=st.binary(max_size=400),
)
def test_cut_and_garbage_give_a_clean_prefix(sizes: list[int], cut_at: float, garbage: bytes) -> None:
    frames = [make_frame(n, size) for n, size in enumerate(sizes)]
    data, ends = track_bytes(frames)
    cut = FILE_HEADER_SIZE + int((len(data) - FILE_HEADER_SIZE) * cut_at)
    if data[cut : cut + len(garbage)] == garbage:
        garbage = b""
    with TemporaryDirectory() as folder:
        root = lay_down(Path(folder) / "log", {"cam": data[:cut] + garbage})
        assert read_track(root) == frames[: whole_records(ends, cut)]


def test_damage_at_every_byte_of_a_record_costs_that_record_only(tmp_path: Path) -> None:
    data, ends = track_bytes(FRAMES)
    root = lay_down(tmp_path / "log", {})
    hit = 3
    expected = [*FRAMES[:hit], marked(FRAMES[hit + 1]), *FRAMES[hit + 2 :]]
    for at in range(ends[hit], ends[hit + 1]):
        for change in (0xFF, 0x01, 0x80):
            damaged = bytearray(data)
            damaged[at] ^= change
            track_path(root, "cam").write_bytes(damaged)
            with LogReader(root).track("cam") as track:
                assert drain(track) == expected, (at, change)
                assert (track.damage.regions, track.damage.size_bytes) == (1, ends[hit + 1] - ends[hit])


def test_damaged_last_record_is_a_torn_end(tmp_path: Path) -> None:
    data, ends = track_bytes(FRAMES)
    root = lay_down(tmp_path / "log", {})
    for at in range(ends[-2], ends[-1]):
        damaged = bytearray(data)
        damaged[at] ^= 0x55
        track_path(root, "cam").write_bytes(damaged)
        with LogReader(root).track("cam") as track:
            assert drain(track) == FRAMES[:-1]
            assert not track.damage


def test_damaged_timeline_goes_on_behind_the_damage(tmp_path: Path) -> None:
    data, ends = timeline_bytes(EVENTS)
    damaged = bytearray(data)
    damaged[ends[1] + 30] ^= 0xFF
    root = lay_down(tmp_path / "log", {}, bytes(damaged))
    with LogReader(root).timeline() as timeline:
        assert timeline.poll() == [EVENTS[0], *EVENTS[2:]]
        assert timeline.damage.regions == 1


def test_file_header_damaged_at_every_byte_costs_nothing(tmp_path: Path) -> None:
    data, _ = track_bytes(FRAMES)
    root = lay_down(tmp_path / "log", {})
    for at in range(FILE_HEADER_SIZE):
        damaged = bytearray(data)
        damaged[at] ^= 0x55
        track_path(root, "cam").write_bytes(damaged)
        assert read_track(root) == FRAMES, at


@pytest.mark.parametrize("fill", ["zeros", "noise"])
def test_damage_longer_than_a_read_is_stepped_over(tmp_path: Path, fill: str) -> None:
    frames = [make_frame(n, 10_000) for n in range(120)]
    data, ends = track_bytes(frames)
    length = 2 * CHUNK_BYTES + 4321
    begin = ends[20] + 100
    noise = bytes(length) if fill == "zeros" else random.Random(4).randbytes(length)
    root = lay_down(tmp_path / "log", {"cam": data[:begin] + noise + data[begin + length :]})
    survivor = next(n for n in range(120) if ends[n] >= begin + length)
    with LogReader(root).track("cam") as track:
        assert drain(track) == [*frames[:20], marked(frames[survivor]), *frames[survivor + 1 :]]
        assert (track.damage.regions, track.damage.size_bytes) == (1, ends[survivor] - ends[20])


def test_several_damages_are_counted(tmp_path: Path) -> None:
    frames = [make_frame(n, 500) for n in range(40)]
    data, ends = track_bytes(frames)
    damaged = bytearray(data)
    for n in (5, 6, 20, 30):
        damaged[ends[n] + 40] ^= 1
    root = lay_down(tmp_path / "log", {"cam": bytes(damaged)})
    with LogReader(root).track("cam") as track:
        got = drain(track)
        assert len(got) == 36
        assert [frame.media_time // 3000 for frame in got if frame.flags & FrameFlags.DISCONTINUITY] == [7, 21, 31]
        assert track.damage.regions == 3


def test_records_inside_a_payload_are_never_taken_for_records(tmp_path: Path) -> None:
    """A publisher chooses the bytes of the payload: a log sent as media must not come out as frames after damage."""
    forged = b"".join(pack_frame(salt, fake) + fake.payload for salt in (0, salt_of(SESSION, "mic")) for fake in FRAMES)
    frames = [make_frame(0), EncodedFrame(1, 1, forged * 3, Codec.H264), make_frame(2)]
    data, ends = track_bytes(frames)
    for at in (ends[1], ends[1] + 2, ends[1] + 9, ends[1] + RECORD_HEADER_SIZE + 1):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        root = lay_down(tmp_path / f"log-{at}", {"cam": bytes(damaged)})
        assert read_track(root) == [frames[0], marked(frames[2])]
    root = lay_down(tmp_path / "torn", {"cam": data[: ends[2] - 1]})
    assert read_track(root) == [frames[0]]


def test_events_are_read_whole_from_an_undamaged_timeline(tmp_path: Path) -> None:
    root = lay_down(tmp_path / "log", {}, timeline_bytes(EVENTS)[0])
    assert read_events(root) == EVENTS


@pytest.mark.parametrize("chunk", [*range(29, 95), 150])
def test_damage_is_stepped_over_wherever_a_read_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(cursor_module, "CHUNK_BYTES", chunk)
    data, ends = track_bytes(FRAMES)
    for at in (ends[0] + 5, ends[0] + 40, ends[2] + 4):
        damaged = bytearray(data)
        damaged[at] ^= 0x41
        hit = whole_records(ends, at)
        root = lay_down(tmp_path / f"log-{at}", {"cam": bytes(damaged)})
        assert read_track(root) == [*FRAMES[:hit], marked(FRAMES[hit + 1]), *FRAMES[hit + 2 :]]


def test_reader_follows_a_damaged_file_that_grows_byte_by_byte(tmp_path: Path) -> None:
    """The first record behind the damage is waited for, and found although its beginning was looked at before."""
    data, ends = track_bytes(FRAMES)
    damaged = bytearray(data)
    damaged[ends[1] + 12] ^= 0xFF
    root = lay_down(tmp_path / "log", {})
    got: list[EncodedFrame] = []
    with track_path(root, "cam").open("wb", buffering=0) as file, LogReader(root).track("cam") as track:
        for at in range(len(damaged)):
            file.write(damaged[at : at + 1])
            got += track.poll()
            alive = [n for n in range(whole_records(ends, at + 1)) if n != 1]
            assert [frame.media_time // 3000 for frame in got] == alive
        assert track.damage.regions == 1


def test_end_that_was_searched_in_vain_is_searched_again_when_it_was_written_over(tmp_path: Path) -> None:
    """A long torn end, cut off by a restart; what is written there then is damaged in turn."""
    data, ends = track_bytes([make_frame(n, 60) for n in range(30)])
    root = lay_down(tmp_path / "log", {"cam": data[: ends[1]] + b"torn" * 200})
    with LogReader(root).track("cam") as track:
        assert len(drain(track)) == 1
        damaged = bytearray(data)
        damaged[ends[2] + 50] ^= 1
        track_path(root, "cam").write_bytes(damaged)
        assert [frame.media_time // 3000 for frame in drain(track)] == [1, *range(3, 30)]
