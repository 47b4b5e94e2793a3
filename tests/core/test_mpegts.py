"""Packets of a transport stream: sizes, stuffing and counters. Whole films are read by FFmpeg in tests/media."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.mpegts import TransportStream, adts


def payload_of(packets: bytes) -> bytes:
    """What packets of one PID carry, by their headers alone."""
    found = b""
    for at in range(0, len(packets), 188):
        packet = packets[at : at + 188]
        assert packet[0] == 0x47 and packet[3] & 0x10
        start = 5 + packet[4] if packet[3] & 0x20 else 4
        assert start < 188, "a packet without a payload"
        found += packet[start:]
    return found


@given(size=st.integers(0, 800), is_key=st.booleans(), reordered=st.booleans())
def test_a_picture_of_any_size_arrives_whole(size: int, is_key: bool, reordered: bool) -> None:
    unit = b"\0\0\0\1\x65" + bytes(i & 0x7F for i in range(size))
    packets = TransportStream().picture(unit, 900_000, 897_000 if reordered else 900_000, is_key=is_key)
    assert len(packets) % 188 == 0
    pes = payload_of(packets)
    assert pes.startswith(b"\0\0\1\xe0") and pes.endswith(b"\0\0\0\1\x09\xf0" + unit)
    assert int.from_bytes(pes[4:6]) == len(pes) - 6
    assert bool(packets[5] & 0x40) is is_key and packets[5] & 0x10


def test_a_picture_that_is_longer_than_a_length_says_none() -> None:
    pes = payload_of(TransportStream().picture(b"\0\0\0\1\x65" + b"x" * 200_000, 0, 0, is_key=True))
    assert pes[4:6] == b"\0\0" and len(pes) > 200_000


@given(st.integers(1, 700))
def test_metadata_of_any_size_arrives_whole(size: int) -> None:
    tag = b"ID3" + bytes(size)
    packets = TransportStream().metadata(tag, 1)
    assert payload_of(packets).endswith(tag) and len(packets) % 188 == 0


def test_metadata_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="holds no"):
        TransportStream().metadata(bytes(65_530), 0)


def test_counters_go_on_for_each_kind() -> None:
    stream = TransportStream()
    counts: dict[int, list[int]] = {}
    for number in range(20):
        packets = stream.tables() + stream.sound([adts(b"x" * 300, 48_000, 2)], number * 1920)
        for at in range(0, len(packets), 188):
            counts.setdefault(int.from_bytes(packets[at + 1 : at + 3]) & 0x1FFF, []).append(packets[at + 3] & 15)
    assert set(counts) == {0, 0x1000, 0x101}
    assert all(found == [n & 15 for n in range(len(found))] for found in counts.values())


def test_times_wrap_after_a_day_and_more() -> None:
    stream = TransportStream()
    assert stream.metadata(b"ID3", (1 << 33) + 5)[4:] == TransportStream().metadata(b"ID3", 5)[4:]


@pytest.mark.parametrize(("rate", "channels"), [(48_000, 2), (48_000, 1), (44_100, 2)])
def test_a_header_of_sound_says_what_follows(rate: int, channels: int) -> None:
    frame = adts(b"z" * 333, rate, channels)
    assert frame[:2] == b"\xff\xf1" and frame[7:] == b"z" * 333
    assert (frame[3] & 3) << 11 | frame[4] << 3 | frame[5] >> 5 == 340
    assert frame[2] >> 6 == 1 and (frame[2] & 1) << 2 | frame[3] >> 6 == channels
    assert {48_000: 3, 44_100: 4}[rate] == frame[2] >> 2 & 15


def test_an_unknown_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="not in"):
        adts(b"", 1234, 2)
