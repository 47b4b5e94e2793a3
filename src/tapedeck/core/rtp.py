"""RTP and RTCP on the wire: parse and build, nothing else.

Owns the byte layouts of RFC 3550 (RTP, SR, RR, SDES, BYE), RFC 8285 (header extensions), RFC 4585 (NACK, PLI), RFC 5104
(FIR), RFC 4588 (RTX) and the REMB message. Keeps no state and refuses by returning None or leaving out what is
malformed: bytes from the network never raise here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

__all__ = [
    "HEADER",
    "Bye",
    "KeyframeRequest",
    "Nack",
    "ReceiverReport",
    "Remb",
    "ReportBlock",
    "RtpPacket",
    "SenderReport",
    "build_bye",
    "build_nacks",
    "build_pli",
    "build_receiver_report",
    "build_remb",
    "build_rtp",
    "build_sdes",
    "build_sender_report",
    "is_pli",
    "iter_extensions",
    "ns_from_ntp",
    "ntp_from_ns",
    "parse_rtcp",
    "parse_rtp",
    "unwrap_rtx",
    "wrap_rtx",
]

HEADER = struct.Struct("!BBHII")
"The fixed RTP header (RFC 3550 5.1): V/P/X/CC, M/PT, sequence number, timestamp, SSRC."

_WORD = struct.Struct("!I")
_BLOCK = struct.Struct("!IIIIII")
_SENDER = struct.Struct("!IQIII")
_PAIR = struct.Struct("!II")

_SR, _RR, _SDES, _BYE, _RTPFB, _PSFB = 200, 201, 202, 203, 205, 206
_ONE_BYTE, _TWO_BYTE = 0xBEDE, 0x1000
_NACK_ITEMS = 250
"FCI entries per NACK packet: 1000 bytes, within any path MTU."


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One RTP packet in clear. `payload` has no padding."""

    ssrc: int
    payload_type: int
    sequence: int
    timestamp: int
    marker: bool
    payload: bytes
    extensions: tuple[tuple[int, bytes], ...] = ()


def parse_rtp(data: bytes) -> RtpPacket | None:
    """Parse a whole packet; None when it is malformed."""
    if len(data) < 12 or data[0] >> 6 != 2:
        return None
    first, second, sequence, timestamp, ssrc = HEADER.unpack_from(data)
    start = 12 + 4 * (first & 15)
    extensions: tuple[tuple[int, bytes], ...] = ()
    if first & 16:
        if len(data) < start + 4:
            return None
        extensions = tuple(iter_extensions(data, start))
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    end = len(data)
    if first & 32:
        if not data[-1]:
            return None
        end -= data[-1]
    if end < start:
        return None
    return RtpPacket(ssrc, second & 127, sequence, timestamp, second > 127, data[start:end], extensions)


def iter_extensions(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Header extension elements (id, value) of the extension block that starts at `at`, one- or two-byte form.

    Stops at the first malformed element.
    """
    if len(data) < at + 4:
        return
    profile = data[at] << 8 | data[at + 1]
    end = at + 4 + 4 * (data[at + 2] << 8 | data[at + 3])
    if end > len(data):
        return
    at += 4
    if profile == _ONE_BYTE:
        while at < end:
            head = data[at]
            at += 1
            if head == 0:
                continue
            number, length = head >> 4, (head & 15) + 1
            if number == 15 or at + length > end:
                return
            yield number, data[at : at + length]
            at += length
    elif profile & 0xFFF0 == _TWO_BYTE:
        while at < end:
            number = data[at]
            at += 1
            if number == 0:
                continue
            if at >= end or at + 1 + data[at] > end:
                return
            yield number, data[at + 1 : at + 1 + data[at]]
            at += 1 + data[at]


def build_rtp(packet: RtpPacket, padding: int = 0) -> bytes:
    """The bytes of a packet, with `padding` bytes (0 to 255) behind the payload.

    Extensions use the one-byte form; ids must be 1 to 14 and values 1 to 16 bytes long.
    """
    first = 0x80 | (32 if padding else 0) | (16 if packet.extensions else 0)
    second = packet.payload_type | (128 if packet.marker else 0)
    parts = [HEADER.pack(first, second, packet.sequence & 0xFFFF, packet.timestamp & 0xFFFFFFFF, packet.ssrc)]
    if packet.extensions:
        body = b"".join(bytes((number << 4 | len(value) - 1,)) + value for number, value in packet.extensions)
        body += bytes(-len(body) % 4)
        parts += [struct.pack("!HH", _ONE_BYTE, len(body) // 4), body]
    parts.append(packet.payload)
    if padding:
        parts.append(bytes(padding - 1) + bytes((padding,)))
    return b"".join(parts)


def wrap_rtx(packet: RtpPacket, ssrc: int, payload_type: int, sequence: int) -> RtpPacket:
    """The retransmission of a packet on its RTX stream (RFC 4588 4)."""
    payload = packet.sequence.to_bytes(2, "big") + packet.payload
    return RtpPacket(ssrc, payload_type, sequence, packet.timestamp, packet.marker, payload, packet.extensions)


def unwrap_rtx(payload: bytes) -> tuple[int, bytes] | None:
    """Original sequence number and payload of an RTX payload; None for padding or too short a packet."""
    if len(payload) < 2:
        return None
    return payload[0] << 8 | payload[1], payload[2:]


# RTCP


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """One reception report (RFC 3550 6.4.1)."""

    ssrc: int
    fraction_lost: int
    "Of the last interval, in 1/256."
    packets_lost: int
    "Since the start; clamped to 24 bits signed."
    highest_sequence: int
    "Extended highest sequence number received, 32 bits."
    jitter: int
    "In timestamp ticks."
    last_sr: int = 0
    "Middle 32 bits of the NTP time of the last sender report."
    delay_since_sr: int = 0
    "In 1/65536 s."


@dataclass(frozen=True, slots=True)
class SenderReport:
    """What a sender says of its clocks and counters."""

    ssrc: int
    ntp: int
    "NTP time, 64 bits: seconds since 1900 and fraction."
    timestamp: int
    packets: int = 0
    octets: int = 0
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """What a receiver says of the streams it gets."""

    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class Bye:
    """These sources send no more."""

    ssrcs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Nack:
    """Packets asked for again."""

    ssrc: int
    sequences: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KeyframeRequest:
    """PLI or FIR for one source."""

    ssrc: int


@dataclass(frozen=True, slots=True)
class Remb:
    """The receiver's idea of the highest total bit rate of these sources."""

    bitrate: int
    ssrcs: tuple[int, ...]


Rtcp = SenderReport | ReceiverReport | Bye | Nack | KeyframeRequest | Remb


def parse_rtcp(data: bytes) -> list[Rtcp]:
    """The messages of a compound packet that we know, in order; parsing stops at the first malformed one."""
    found: list[Rtcp] = []
    at = 0
    while at + 4 <= len(data):
        head, kind = data[at], data[at + 1]
        end = at + 4 + 4 * (data[at + 2] << 8 | data[at + 3])
        if head >> 6 != 2 or end > len(data):
            break
        body = data[at + 4 : end]
        if head & 32:
            if not body or not 0 < body[-1] <= len(body):
                break
            body = body[: -body[-1]]
        found += _parse_one(kind, head & 31, body)
        at = end
    return found


def _parse_one(kind: int, count: int, body: bytes) -> Iterable[Rtcp]:
    if kind == _SR and len(body) >= 24 + 24 * count:
        ssrc, ntp, timestamp, packets, octets = _SENDER.unpack_from(body)
        return (SenderReport(ssrc, ntp, timestamp, packets, octets, _blocks(body, 24, count)),)
    if kind == _RR and len(body) >= 4 + 24 * count:
        return (ReceiverReport(_WORD.unpack_from(body)[0], _blocks(body, 4, count)),)
    if kind == _BYE and len(body) >= 4 * count:
        return (Bye(struct.unpack_from(f"!{count}I", body)),)
    if kind == _RTPFB and count == 1 and len(body) >= 8:
        lost: list[int] = []
        for i in range(8, len(body) - 3, 4):
            first, mask = body[i] << 8 | body[i + 1], body[i + 2] << 8 | body[i + 3]
            lost.append(first)
            lost += [first + 1 + bit & 0xFFFF for bit in range(16) if mask >> bit & 1]
        return (Nack(_WORD.unpack_from(body, 4)[0], tuple(lost)),)
    if kind == _PSFB and len(body) >= 8:
        if count == 1:
            return (KeyframeRequest(_WORD.unpack_from(body, 4)[0]),)
        if count == 4:
            return [KeyframeRequest(_WORD.unpack_from(body, i)[0]) for i in range(8, len(body) - 7, 8)]
        if count == 15 and body[8:12] == b"REMB" and len(body) >= 16 + 4 * body[12]:
            bitrate = ((body[13] & 3) << 16 | body[14] << 8 | body[15]) << (body[13] >> 2)
            return (Remb(bitrate, struct.unpack_from(f"!{body[12]}I", body, 16)),)
    return ()


def _blocks(body: bytes, at: int, count: int) -> tuple[ReportBlock, ...]:
    blocks = []
    for i in range(at, at + 24 * count, 24):
        ssrc, loss, highest, jitter, last_sr, delay = _BLOCK.unpack_from(body, i)
        lost = loss & 0xFFFFFF
        blocks.append(
            ReportBlock(ssrc, loss >> 24, lost - (lost >> 23 << 24), highest, jitter, last_sr, delay),
        )
    return tuple(blocks)


def _rtcp(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


def _pack_blocks(blocks: Sequence[ReportBlock]) -> bytes:
    return b"".join(
        _BLOCK.pack(
            b.ssrc,
            b.fraction_lost << 24 | max(-0x800000, min(b.packets_lost, 0x7FFFFF)) & 0xFFFFFF,
            b.highest_sequence & 0xFFFFFFFF,
            min(b.jitter, 0xFFFFFFFF),
            b.last_sr,
            min(b.delay_since_sr, 0xFFFFFFFF),
        )
        for b in blocks
    )


def build_sender_report(report: SenderReport) -> bytes:
    """SR with up to 31 report blocks."""
    info = _SENDER.pack(
        report.ssrc, report.ntp, report.timestamp & 0xFFFFFFFF, report.packets & 0xFFFFFFFF, report.octets & 0xFFFFFFFF
    )
    return _rtcp(_SR, len(report.blocks), info + _pack_blocks(report.blocks))


def build_receiver_report(ssrc: int, blocks: Sequence[ReportBlock] = ()) -> bytes:
    """RR with up to 31 report blocks."""
    return _rtcp(_RR, len(blocks), _WORD.pack(ssrc) + _pack_blocks(blocks))


def build_sdes(ssrc: int, cname: str) -> bytes:
    """SDES with a CNAME of at most 255 bytes, the one item that RFC 3550 6.5 demands."""
    name = cname.encode()
    chunk = _WORD.pack(ssrc) + bytes((1, len(name))) + name
    return _rtcp(_SDES, 1, chunk + bytes(4 - len(chunk) % 4))


def build_bye(ssrcs: Sequence[int]) -> bytes:
    """BYE for up to 31 sources."""
    return _rtcp(_BYE, len(ssrcs), struct.pack(f"!{len(ssrcs)}I", *ssrcs))


def build_nacks(sender: int, ssrc: int, sequences: Sequence[int]) -> list[bytes]:
    """Generic NACKs (RFC 4585 6.2.1) for sequence numbers in sending order, each at most 1012 bytes long."""
    items: list[int] = []
    for sequence in sequences:
        ahead = (sequence - (items[-1] >> 16)) & 0xFFFF if items else 0
        if items and 1 <= ahead <= 16:
            items[-1] |= 1 << (ahead - 1)
        else:
            items.append((sequence & 0xFFFF) << 16)
    head = _PAIR.pack(sender, ssrc)
    groups = [items[i : i + _NACK_ITEMS] for i in range(0, len(items), _NACK_ITEMS)]
    return [_rtcp(_RTPFB, 1, head + struct.pack(f"!{len(group)}I", *group)) for group in groups]


def build_pli(sender: int, ssrc: int) -> bytes:
    """Picture Loss Indication (RFC 4585 6.3.1)."""
    return _rtcp(_PSFB, 1, _PAIR.pack(sender, ssrc))


def is_pli(message: bytes) -> bool:
    """Whether an RTCP message is a Picture Loss Indication."""
    return message[1] == _PSFB and message[0] & 31 == 1


def build_remb(sender: int, bitrate: int, ssrcs: Sequence[int]) -> bytes:
    """Receiver Estimated Maximum Bitrate (draft-alvestrand-rmcat-remb-03) in bit/s for up to 255 sources."""
    exponent = max(0, bitrate.bit_length() - 18)
    value = len(ssrcs) << 24 | exponent << 18 | bitrate >> exponent
    body = _PAIR.pack(sender, 0) + b"REMB" + struct.pack(f"!{1 + len(ssrcs)}I", value, *ssrcs)
    return _rtcp(_PSFB, 15, body)


def ns_from_ntp(ntp: int) -> int:
    """NTP time (32.32 fixed point) as ns since 1900, rounded to the nearest."""
    return (ntp * 1_000_000_000 + (1 << 31)) >> 32


def ntp_from_ns(ns: int) -> int:
    """ns since 1900 as NTP time (64 bits), rounded to the nearest."""
    return (((ns << 32) + 500_000_000) // 1_000_000_000) & 0xFFFFFFFFFFFFFFFF
