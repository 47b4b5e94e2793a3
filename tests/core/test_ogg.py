"""Ogg pages to packets, in any pieces."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.ogg import OggPacket, OggReader, VorbisClock


def page(lengths: list[int], body: bytes, granule: int) -> bytes:
    return struct.pack("<4sBBqIIIB", b"OggS", 0, 0, granule, 7, 0, 0, len(lengths)) + bytes(lengths) + body


def pages(packets: list[bytes], most: int) -> bytes:
    """The packets in pages of at most `most` segments; the granule of a page is the number of packets ended by it."""
    segments = [
        (len(piece), piece, len(piece) < 255, index)
        for index, packet in enumerate(packets)
        for piece in [packet[at : at + 255] for at in range(0, len(packet) + 1, 255)]
    ]
    made = b""
    for at in range(0, len(segments), most):
        part = segments[at : at + most]
        ended = [index for _, _, is_last, index in part if is_last]
        body = b"".join(piece for _, piece, _, _ in part)
        made += page([length for length, *_ in part], body, ended[-1] + 1 if ended else -1)
    return made


@given(
    st.lists(st.integers(0, 1100).map(lambda n: bytes(i % 251 for i in range(n))), max_size=12),
    st.integers(1, 9),
    st.integers(1, 700),
)
def test_packets_come_back_whatever_the_pieces(packets: list[bytes], most: int, step: int) -> None:
    data, reader = pages(packets, most), OggReader()
    found = [packet for at in range(0, len(data), step) for packet in reader.feed(data[at : at + step])]
    assert [packet.data for packet in found] == packets
    for index, packet in enumerate(found):
        assert packet.granule in (None, index + 1)
    if found:
        assert found[-1].granule == len(packets)


def test_what_is_no_ogg_is_refused() -> None:
    with pytest.raises(ValueError, match="Ogg"):
        OggReader().feed(b"RIFF" + bytes(40))


def test_vorbis_blocks_overlap_by_halves() -> None:
    clock = VorbisClock(b"\x01vorbis" + bytes(21) + bytes([0xB8]) + b"\x01")
    short, long = b"\x00", b"\x02"
    assert [clock.samples(p) for p in (long, long, short, short, long)] == [0, 1024, 576, 128, 576]
    with pytest.raises(ValueError, match="sound"):
        clock.samples(b"\x01")
    with pytest.raises(ValueError, match="first packet"):
        VorbisClock(b"\x03vorbis" + bytes(40))


def test_an_empty_packet_is_one() -> None:
    assert OggReader().feed(page([0], b"", 5)) == [OggPacket(b"", 5)]
