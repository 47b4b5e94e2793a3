"""core.depayload: whole frames out of payloads, for VP8, H264 and Opus."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.depayload import H264Depayloader, OpusDepayloader, Vp8Depayloader, depayloader_for
from tapedeck.core.frames import Codec
from tapedeck.sources.payload import split_annex_b, split_frame

SPS = bytes.fromhex("6742e01f8d68")
PPS = bytes.fromhex("68ce3c80")
PPS_1 = bytes.fromhex("6853ce3c")
"pic_parameter_set_id 1: the byte after the header begins with 010."
IDR = b"\x65\x88" + bytes(range(1, 60))
SLICE = b"\x41\x9a" + bytes(range(1, 40))
START = b"\0\0\0\1"


def annex_b(*nals: bytes) -> bytes:
    return b"".join(START + nal for nal in nals)


# H264


@given(
    st.lists(st.tuples(st.sampled_from([1, 5, 6, 7, 8, 9]), st.integers(1, 4000)), min_size=1, max_size=6),
    st.integers(50, 1400),
)
def test_h264_frames_survive_packets_of_any_size(nals: list[tuple[int, int]], limit: int) -> None:
    """Single NAL units, STAP-A and FU-A, as the sizes have it."""
    units = [bytes((0x60 | kind, 0x88)) + bytes(1 + i % 255 for i in range(size)) for kind, size in nals]
    if not any(kind in (1, 5) for kind, _ in nals):
        units.append(SLICE)
    frame = annex_b(*units)
    payloads = split_frame(Codec.H264, frame, limit)
    assert all(len(payload) <= limit for payload in payloads)
    made = H264Depayloader((SPS, PPS)).assemble(payloads)
    assert made is not None
    assert made.payload.endswith(frame)


def test_h264_key_frame_needs_parameter_sets() -> None:
    depayloader = H264Depayloader()
    assert depayloader.assemble([IDR]) is None
    assert H264Depayloader([SPS]).assemble([IDR]) is None
    assert depayloader.assemble([SPS, PPS, IDR]) == (annex_b(SPS, PPS, IDR), True)
    assert depayloader.assemble([SLICE]) == (annex_b(SLICE), False)


def test_h264_key_frame_without_its_own_sets_gets_the_last_ones_in_front() -> None:
    depayloader = H264Depayloader()
    depayloader.assemble([SPS, PPS, IDR])
    newer = bytes.fromhex("6742e01f8d99")
    depayloader.assemble([newer, PPS_1, SLICE])
    assert depayloader.assemble([IDR]) == (annex_b(newer, PPS, PPS_1, IDR), True)


def test_h264_sets_of_the_sdp_serve_the_first_key_frame() -> None:
    assert H264Depayloader([SPS, PPS]).assemble([IDR]) == (annex_b(SPS, PPS, IDR), True)


def test_h264_sets_sent_by_themselves_make_no_frame_but_are_kept() -> None:
    depayloader = H264Depayloader()
    assert depayloader.assemble([SPS, PPS]) == (b"", False)
    made = depayloader.assemble([IDR])
    assert made is not None and made.key


def test_h264_sets_in_one_aggregation_packet_are_kept() -> None:
    depayloader = H264Depayloader()
    (stap,) = split_frame(Codec.H264, annex_b(SPS, PPS), 1200)
    assert stap[0] & 31 == 24
    assert depayloader.assemble([stap]) == (b"", False)
    assert depayloader.assemble([IDR]) == (annex_b(SPS, PPS, IDR), True)


@pytest.mark.parametrize("drop", [0, 1, 2, -1])
def test_h264_with_a_fragment_missing_is_refused(drop: int) -> None:
    payloads = split_frame(Codec.H264, annex_b(b"\x65\x88" + bytes(5000)), 1200)
    del payloads[drop]
    made = H264Depayloader((SPS, PPS)).assemble(payloads)
    # A middle fragment cannot be missed here: sequence numbers tell (core.jitter).
    assert made is None or drop in (1, 2)


@pytest.mark.parametrize(
    "payload",
    [
        b"\x78",  # STAP-A with nothing in it
        b"\x78\x00",
        b"\x78\x00\x05\x41",  # longer than the packet
        b"\x78\x00\x00\x41",  # an empty NAL unit
        b"\x7c\x85",  # FU-A without data
        b"\x7c\x05\x01",  # FU-A that does not begin
        b"\x7d\x85\x01",  # FU-B
        b"\x79\x00\x00\x00",  # STAP-B
        b"\x00\x01",  # unspecified type
        b"\x7f\x01",
    ],
)
def test_h264_malformed_payload_is_refused(payload: bytes) -> None:
    assert H264Depayloader().assemble([payload]) is None
    assert H264Depayloader().assemble([SLICE, payload]) is None


def test_h264_picture_sent_with_half_of_its_sets_gets_the_others() -> None:
    depayloader = H264Depayloader([SPS, PPS])
    assert depayloader.assemble([SPS, IDR]) == (annex_b(SPS, PPS, SPS, IDR), True)


def test_h264_knows_what_begins_a_picture() -> None:
    depayloader = H264Depayloader()
    (stap,) = split_frame(Codec.H264, annex_b(SPS, PPS), 1200)
    first, second, *_ = split_frame(Codec.H264, annex_b(SLICE * 100), 1200)
    idr_first = split_frame(Codec.H264, annex_b(IDR * 100), 1200)[0]
    second_slice = b"\x41\x12\x34"
    begins = {SPS: True, stap: True, b"\x09\xf0": True, SLICE: True, first: True}
    begins |= {second: False, second_slice: False, IDR: False, idr_first: False, PPS: False}
    assert {payload: depayloader.starts_frame(payload) for payload in begins} == begins
    may = dict.fromkeys(begins, True) | {second: False, second_slice: False}
    assert {payload: depayloader.may_start(payload) for payload in may} == may


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=6))
def test_h264_of_random_bytes_never_raises(payloads: list[bytes]) -> None:
    depayloader = H264Depayloader()
    for payload in payloads:
        depayloader.starts_frame(payload)
        depayloader.may_start(payload)
    depayloader.assemble(payloads)


@given(st.lists(st.binary(min_size=1, max_size=4200).map(lambda b: b"\x67\x42\xe0\x1f" + b), max_size=300))
def test_h264_remembered_sets_are_bounded(sets: list[bytes]) -> None:
    depayloader = H264Depayloader([SPS, PPS])
    for nal in sets:
        depayloader.assemble([nal])
    made = depayloader.assemble([IDR])
    assert made is not None
    assert len(made.payload) <= 33 * 4200 + len(IDR)


def test_annex_b_is_split_at_short_and_long_start_codes() -> None:
    assert split_annex_b(b"\0\0\1" + SPS + b"\0\0\0\1" + PPS + b"\0\0\1" + IDR) == [SPS, PPS, IDR]


# VP8

KEY = b"\x10\x02\x00\x9d\x01\x2a" + bytes(range(200))
DELTA = b"\x31\x02\x00" + bytes(range(100))


@given(st.binary(min_size=1, max_size=6000), st.integers(20, 1400), st.integers(0, 0x7FFF))
def test_vp8_frames_survive_packets_of_any_size(frame: bytes, limit: int, picture: int) -> None:
    payloads = split_frame(Codec.VP8, frame, limit, picture)
    assert all(len(payload) <= limit for payload in payloads)
    assert Vp8Depayloader().assemble(payloads) == (frame, not frame[0] & 1)


@pytest.mark.parametrize(
    "descriptor",
    ["10", "90 00", "90 80 11", "90 80 91 22", "90 e0 91 22 07 60", "90 f0 11 07 60", "b0 40 07"],
)
def test_vp8_descriptor_of_every_length_is_stripped(descriptor: str) -> None:
    head = bytes.fromhex(descriptor)
    depayloader = Vp8Depayloader()
    assert depayloader.starts_frame(head + KEY)
    assert depayloader.assemble([head + KEY]) == (KEY, True)
    assert depayloader.assemble([head + DELTA]) == (DELTA, False)


@pytest.mark.parametrize("payload", ["80", "90", "90 80", "90 80 91", "90 f0 91 22 07 60", "00 aa", "11 aa", "10"])
def test_vp8_without_a_beginning_or_a_body_is_refused(payload: str) -> None:
    assert Vp8Depayloader().assemble([bytes.fromhex(payload)]) is None


@given(st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=4))
def test_vp8_of_random_bytes_never_raises(payloads: list[bytes]) -> None:
    Vp8Depayloader().starts_frame(payloads[0])
    Vp8Depayloader().assemble(payloads)


# Opus


def test_opus_packet_is_a_frame() -> None:
    depayloader = OpusDepayloader()
    assert depayloader.starts_frame(b"\xfc")
    assert depayloader.assemble([b"\xfc\x01"]) == (b"\xfc\x01", True)
    assert depayloader.assemble([b"\xfc", b"\xfc"]) is None


def test_codec_without_payload_format_is_an_error() -> None:
    with pytest.raises(ValueError, match="AV1"):
        depayloader_for(Codec.AV1)
    with pytest.raises(ValueError, match="AV1"):
        split_frame(Codec.AV1, b"x", 1200)
