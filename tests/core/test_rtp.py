"""core.rtp: bytes in both directions, and bytes from nobody in particular."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.rtp import (
    Bye,
    KeyframeRequest,
    Nack,
    ReceiverReport,
    Remb,
    ReportBlock,
    RtpPacket,
    SenderReport,
    build_bye,
    build_nacks,
    build_pli,
    build_receiver_report,
    build_remb,
    build_rtp,
    build_sdes,
    build_sender_report,
    is_pli,
    iter_extensions,
    ns_from_ntp,
    ntp_from_ns,
    parse_rtcp,
    parse_rtp,
    unwrap_rtx,
    wrap_rtx,
)

_U32 = st.integers(0, 2**32 - 1)
_EXTENSIONS = st.lists(
    st.tuples(st.integers(1, 14), st.binary(min_size=1, max_size=16)), max_size=4, unique_by=lambda e: e[0]
).map(tuple)
_PACKETS = st.builds(
    RtpPacket,
    _U32,
    st.integers(0, 127),
    st.integers(0, 65535),
    _U32,
    st.booleans(),
    st.binary(max_size=60),
    _EXTENSIONS,
)


@given(_PACKETS, st.integers(0, 255))
def test_rtp_comes_back_as_it_was_built(packet: RtpPacket, padding: int) -> None:
    assert parse_rtp(build_rtp(packet, padding)) == packet


def test_rtp_of_another_stack_is_read() -> None:
    """Two CSRCs, a two-byte extension block and padding, laid out by hand from RFC 3550 5.1 and RFC 8285 4.3."""
    header = bytes.fromhex("b2e01234 89abcdef 01020304 aaaaaaaa bbbbbbbb")
    extension = bytes.fromhex("1000 0002 0502ffee 00 0101 7f")
    found = parse_rtp(header + extension + b"body" + b"\0\0\3")
    assert found is not None
    assert (found.ssrc, found.sequence, found.timestamp) == (0x01020304, 0x1234, 0x89ABCDEF)
    assert (found.payload_type, found.marker, found.payload) == (96, True, b"body")
    assert found.extensions == ((5, b"\xff\xee"), (1, b"\x7f"))


def test_rtp_with_impossible_lengths_is_refused() -> None:
    good = build_rtp(RtpPacket(1, 96, 1, 1, False, b"x", ((1, b"\1"),)))
    assert parse_rtp(good[:11]) is None
    assert parse_rtp(b"\x40" + good[1:]) is None
    assert parse_rtp(good[:14]) is None
    assert parse_rtp(good[:14] + b"\xff\xff" + good[16:]) is None
    assert parse_rtp(bytes((good[0] | 32,)) + good[1:-1] + b"\xff") is None
    assert parse_rtp(bytes((good[0] | 32,)) + good[1:-1] + b"\0") is None


@given(st.binary(max_size=80))
def test_rtp_of_random_bytes_never_raises(data: bytes) -> None:
    packet = parse_rtp(data)
    assert packet is None or len(packet.payload) <= len(data) - 12
    list(iter_extensions(data, 0))
    unwrap_rtx(data)
    parse_rtcp(data)


@given(
    st.lists(st.tuples(st.sampled_from([0x80, 0x81, 0x8F, 0xA1, 0x9F]), st.integers(200, 206), st.binary(max_size=40)))
)
def test_rtcp_of_well_framed_rubbish_never_raises(parts: list[tuple[int, int, bytes]]) -> None:
    data = b""
    for head, kind, body in parts:
        body += bytes(-len(body) % 4)
        data += bytes((head, kind)) + (len(body) // 4).to_bytes(2, "big") + body
    parse_rtcp(data)


def test_extension_block_stops_at_the_reserved_id() -> None:
    data = bytes.fromhex("bede 0002 10aa f0bb 20cc 0000")
    assert list(iter_extensions(data, 0)) == [(1, b"\xaa")]


def test_rtx_is_wrapped_and_unwrapped() -> None:
    packet = RtpPacket(7, 96, 0xABCD, 99, True, b"payload", ((4, b"0"),))
    resent = wrap_rtx(packet, 8, 97, 5)
    assert (resent.ssrc, resent.payload_type, resent.sequence, resent.timestamp) == (8, 97, 5, 99)
    assert resent.marker and resent.extensions == packet.extensions
    assert unwrap_rtx(resent.payload) == (0xABCD, b"payload")
    assert unwrap_rtx(b"") is None


def test_compound_rtcp_is_read_in_order() -> None:
    block = ReportBlock(5, 128, -3, 70000, 900, 0x11223344, 65536)
    report = SenderReport(1, 0x0123456789ABCDEF, 90000, 10, 2000, (block,))
    data = build_sender_report(report) + build_sdes(1, "somebody") + build_pli(1, 9) + build_bye([1, 2])
    assert parse_rtcp(data) == [report, KeyframeRequest(9), Bye((1, 2))]


def test_rtcp_after_a_malformed_message_is_left_out() -> None:
    good = build_pli(1, 9)
    assert parse_rtcp(good + b"\x81\xce\xff\xff" + good) == [KeyframeRequest(9)]


def test_fir_names_its_sources() -> None:
    data = bytes.fromhex("84ce0006 00000001 00000000 00000007 01000000 00000008 02000000")
    assert parse_rtcp(data) == [KeyframeRequest(7), KeyframeRequest(8)]


@given(
    st.lists(
        st.builds(ReportBlock, _U32, st.integers(0, 255), st.integers(-(2**23), 2**23 - 1), _U32, _U32, _U32, _U32),
        max_size=31,
    )
)
def test_receiver_reports_come_back(blocks: list[ReportBlock]) -> None:
    assert parse_rtcp(build_receiver_report(3, blocks)) == [ReceiverReport(3, tuple(blocks))]


def test_lost_packets_are_clamped_to_24_bits() -> None:
    data = build_receiver_report(3, [ReportBlock(1, 0, 1 << 30, 0, 0), ReportBlock(1, 0, -(1 << 30), 0, 0)])
    (report,) = parse_rtcp(data)
    assert isinstance(report, ReceiverReport)
    assert [b.packets_lost for b in report.blocks] == [0x7FFFFF, -0x800000]


@given(st.integers(0, 65535), st.sets(st.integers(0, 5000), min_size=1, max_size=1200))
def test_nacks_name_every_packet_once_across_the_wrap(base: int, offsets: set[int]) -> None:
    sequences = [(base + offset) & 0xFFFF for offset in sorted(offsets)]
    packets = build_nacks(1, 2, sequences)
    assert all(len(packet) <= 1012 for packet in packets)
    asked = [m for packet in packets for m in parse_rtcp(packet)]
    assert all(isinstance(m, Nack) and m.ssrc == 2 for m in asked)
    assert [s for m in asked if isinstance(m, Nack) for s in m.sequences] == sequences


@given(st.integers(1, 2**40), st.lists(_U32, max_size=8))
def test_remb_keeps_eighteen_bits_of_the_rate(bitrate: int, ssrcs: list[int]) -> None:
    (message,) = parse_rtcp(build_remb(1, bitrate, ssrcs))
    assert isinstance(message, Remb)
    assert message.ssrcs == tuple(ssrcs)
    assert bitrate * (1 - 2**-17) <= message.bitrate <= bitrate


@given(st.integers(0, 2**32 * 1_000_000_000 - 1))
def test_ntp_keeps_every_nanosecond(ns: int) -> None:
    assert ns_from_ntp(ntp_from_ns(ns)) == ns


def test_ntp_of_the_unix_epoch() -> None:
    assert ntp_from_ns(2_208_988_800_500_000_000) == 2_208_988_800 << 32 | 1 << 31


def test_picture_loss_indication_is_told_from_other_feedback() -> None:
    assert is_pli(build_pli(1, 2))
    assert not is_pli(build_remb(1, 500_000, [2]))
    assert not any(is_pli(message) for message in build_nacks(1, 2, [3]))
