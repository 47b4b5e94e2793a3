"""The bytes of the log: what is written is what the format says, and nothing else is read back."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.medialog.logs import SESSION, make_frame, make_info, track_bytes

from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags, Kind, Origin, TrackInfo
from tapedeck.core.timeline import NameChanged, Progress
from tapedeck.medialog.format import (
    FILE_HEADER_SIZE,
    MAX_PAYLOAD,
    RECORD_HEADER_SIZE,
    LogKind,
    Record,
    Stop,
    candidates,
    check_log_id,
    event_of,
    frame_of,
    pack_event,
    pack_frame,
    pack_timeline_header,
    pack_track_header,
    parse,
    parse_file_header,
    salt_of,
)

SALT = 0xC0FFEE

frames = st.builds(
    EncodedFrame,
    media_time=st.integers(-(2**63), 2**63 - 1),
    arrival_ns=st.integers(0, 2**64 - 1),
    payload=st.binary(max_size=200),
    codec=st.sampled_from(Codec),
    flags=st.sampled_from([FrameFlags(bits) for bits in range(4)]),
)


def crc32c(data: bytes, crc: int = 0) -> int:
    """The checksum bit by bit, as the polynomial says (reflected 0x1EDC6F41)."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def parse_all(data: bytes, salt: int = SALT) -> tuple[list[Record], int, Stop]:
    return parse(data, salt, 0, 1_000, 1 << 40)


def test_record_layout_is_as_documented() -> None:
    flags = FrameFlags.KEY | FrameFlags.DISCONTINUITY | FrameFlags.NEW_CLOCK
    frame = EncodedFrame(-2, 3, b"payload", Codec.VP8, flags)
    body = bytes([1, 7, 2, 0]) + struct.pack("<q", -2) + struct.pack("<Q", 3)
    crc = crc32c(body + b"payload", SALT)
    assert pack_frame(SALT, frame) == struct.pack("<II", 7, crc) + body
    assert len(pack_frame(SALT, frame)) == RECORD_HEADER_SIZE


def test_event_layout_is_as_documented() -> None:
    payload = b'{"e":"named","at_ns":9,"participant_id":"p","name":"Zo\\u00eb"}'
    body = bytes([2, 0, 0, 0]) + bytes(8) + struct.pack("<Q", 9)
    expected = struct.pack("<II", len(payload), crc32c(body + payload, SALT)) + body + payload
    assert pack_event(SALT, NameChanged(9, "p", "Zoë")) == expected


def test_name_that_is_no_valid_unicode_is_kept() -> None:
    """JSON bodies can carry half a surrogate pair; a participant must not vanish for it."""
    event = NameChanged(9, "p", "a\ud83dz")
    records, _, _ = parse_all(pack_event(SALT, event))
    assert event_of(records[0]) == event


def test_file_header_layout_is_as_documented() -> None:
    info = TrackInfo("t-1", "peer", "who", Kind.AUDIO, Codec.OPUS, Origin.SCREEN, 2)
    salt = crc32c(f"{SESSION}/t-1".encode())
    body = b"TDLOG" + bytes([1, 2, 1, 2, 2, 0, 0]) + struct.pack("<I", salt) + b"t-1".ljust(44, b"\0")
    assert pack_track_header(SESSION, info) == body + struct.pack("<I", crc32c(body))
    assert len(body) + 4 == FILE_HEADER_SIZE


def test_file_headers_are_read_back() -> None:
    track = parse_file_header(pack_track_header(SESSION, make_info("cam")))
    assert track is not None
    assert (track.kind, track.log_id, track.codec) == (LogKind.TRACK, "cam", Codec.H264)
    assert (track.origin, track.channels, track.salt) == (Origin.CAMERA, 0, salt_of(SESSION, "cam"))
    timeline = parse_file_header(pack_timeline_header(SESSION) + b"more")
    assert timeline is not None
    assert (timeline.kind, timeline.log_id, timeline.codec) == (LogKind.TIMELINE, SESSION, None)


@pytest.mark.parametrize("at", range(FILE_HEADER_SIZE))
def test_file_header_with_any_byte_changed_is_refused(at: int) -> None:
    data = bytearray(pack_timeline_header(SESSION))
    data[at] ^= 0x10
    assert parse_file_header(bytes(data)) is None
    assert parse_file_header(bytes(data[:at])) is None


def test_file_header_of_another_version_is_refused() -> None:
    body = b"TDLOG\x02" + pack_timeline_header(SESSION)[6:-4]
    assert parse_file_header(body + struct.pack("<I", crc32c(body))) is None


@given(st.lists(frames, max_size=6))
def test_frames_are_read_back_as_written(written: list[EncodedFrame]) -> None:
    data = b"".join(pack_frame(SALT, frame) + frame.payload for frame in written)
    records, end, stop = parse_all(data)
    assert [frame_of(record) for record in records] == written
    assert (end, stop) == (len(data), Stop.SHORT)


@given(frames, st.data())
def test_record_with_any_bit_changed_is_refused(frame: EncodedFrame, data: st.DataObject) -> None:
    record = bytearray(pack_frame(SALT, frame) + frame.payload)
    bit = data.draw(st.integers(0, len(record) * 8 - 1))
    record[bit // 8] ^= 1 << bit % 8
    assert parse_all(bytes(record))[0] == []


def test_record_is_valid_in_its_own_file_only() -> None:
    data, ends = track_bytes([make_frame(1)], "cam")
    assert len(parse_all(data[ends[0] :], salt_of(SESSION, "cam"))[0]) == 1
    assert parse_all(data[ends[0] :], salt_of(SESSION, "mic")) == ([], 0, Stop.BAD)
    assert parse_all(data[ends[0] :], salt_of("another", "cam")) == ([], 0, Stop.BAD)


def test_zeros_are_no_record() -> None:
    """A file system may leave zeros where the last writes before a power cut should be."""
    assert parse_all(bytes(200), salt=0)[0] == []
    assert parse_all(bytes(200), salt=salt_of(SESSION, "cam"))[0] == []


def test_parse_stops_at_limits() -> None:
    written = [make_frame(n, size=10) for n in range(5)]
    data = b"".join(pack_frame(SALT, frame) + frame.payload for frame in written)
    size = RECORD_HEADER_SIZE + 10
    assert [r.offset for r in parse(data, SALT, 0, 2, 1000, base=7)[0]] == [7, 7 + size]
    assert parse(data, SALT, 0, 2, 1000)[1:] == (2 * size, Stop.LIMIT)
    assert parse(data, SALT, size, 100, 11)[1:] == (3 * size, Stop.LIMIT)
    assert parse(data, SALT, 0, 0, 11) == ([], 0, Stop.LIMIT)


def test_candidates_contain_every_record_and_hardly_anything_else() -> None:
    written = [make_frame(n, size=4000) for n in range(10)]
    data, ends = track_bytes(written)
    assert set(ends[:-1]) <= set(candidates(data, 0, LogKind.TRACK))
    assert len(list(candidates(data, 0, LogKind.TRACK))) < 30
    assert list(candidates(data[: ends[0] + RECORD_HEADER_SIZE - 1], 0, LogKind.TRACK)) == []


def test_unknown_codec_and_kind_give_no_frame() -> None:
    assert frame_of(Record(0, 1, 0, 99, 0, 0, b"")) is None
    assert frame_of(Record(0, 2, 0, 1, 0, 0, b"")) is None
    assert event_of(Record(0, 1, 0, 0, 0, 0, b"{}")) is None


def test_event_of_newer_version_is_left_out() -> None:
    assert event_of(Record(0, 2, 0, 0, 0, 5, b'{"e":"levitated","at_ns":5}')) is None
    newer = json.dumps({"e": "progress", "at_ns": 5, "until_ns": 4, "mood": "good"}).encode()
    assert event_of(Record(0, 2, 0, 0, 0, 5, newer)) == Progress(5, 4)


@pytest.mark.parametrize("payload", [b"", b"{", b"[1]", b"\xff", b'{"e":"progress"}'])
def test_malformed_event_is_an_error(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        event_of(Record(0, 2, 0, 0, 0, 0, payload))


@pytest.mark.parametrize("log_id", ["", ".", "..", "../x", "a/b", ".hidden", "a b", "é", "x" * 45, "a\0", "a\n"])
def test_ids_that_cannot_name_a_file_are_refused(log_id: str) -> None:
    with pytest.raises(ValueError, match="log id"):
        check_log_id(log_id)


@pytest.mark.parametrize("log_id", ["a", "x" * 44, SESSION, "A_b-3.c"])
def test_ids_that_can_name_a_file_are_taken(log_id: str) -> None:
    assert check_log_id(log_id) == log_id


def test_payload_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        pack_frame(SALT, EncodedFrame(0, 0, bytes(MAX_PAYLOAD + 1), Codec.VP8))
    with pytest.raises(ValueError, match="too long"):
        pack_event(SALT, NameChanged(0, "p", "x" * MAX_PAYLOAD))
