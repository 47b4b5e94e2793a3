"""From RTP payloads to whole encoded frames: VP8 (RFC 7741), H264 (RFC 6184), Opus (RFC 7587).

A depayloader is given the payloads of one frame, complete and in order, and returns what a decoder takes, or None when
the payloads do not make a frame. It finds no losses (core.jitter does) and looks into no picture beyond what tells a
key frame from another. Bytes from the network never raise here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tapedeck.core.frames import Codec

__all__ = ["Assembled", "Depayloader", "H264Depayloader", "OpusDepayloader", "Vp8Depayloader", "depayloader_for"]


class Assembled(NamedTuple):
    """One frame. An empty `payload` means that the packets held no picture (only parameter sets, say)."""

    payload: bytes
    key: bool
    "It can be decoded without any frame before it."


class Depayloader(Protocol):
    """Turns payloads of one codec into frames; one per track and codec, since parameter sets are remembered."""

    def starts_frame(self, payload: bytes) -> bool:
        """This payload is certainly the first of its frame, whatever was lost before it."""

    def may_start(self, payload: bytes) -> bool:
        """This payload can be the first of its frame, if nothing was lost before it."""

    def assemble(self, payloads: Sequence[bytes]) -> Assembled | None:
        """The frame made of all its payloads in order; None when they are malformed or incomplete."""


class OpusDepayloader:
    """One packet is one frame."""

    def starts_frame(self, payload: bytes) -> bool:
        return True

    def may_start(self, payload: bytes) -> bool:
        return True

    def assemble(self, payloads: Sequence[bytes]) -> Assembled | None:
        return Assembled(payloads[0], True) if len(payloads) == 1 and payloads[0] else None


class Vp8Depayloader:
    """Strips the payload descriptor."""

    def starts_frame(self, payload: bytes) -> bool:
        return payload[0] & 0x17 == 0x10

    def may_start(self, payload: bytes) -> bool:
        return payload[0] & 0x17 == 0x10

    def assemble(self, payloads: Sequence[bytes]) -> Assembled | None:
        if payloads[0][0] & 0x17 != 0x10:
            return None
        parts = []
        for payload in payloads:
            start = _vp8_descriptor(payload)
            if start >= len(payload):
                return None
            parts.append(payload[start:])
        frame = b"".join(parts)
        return Assembled(frame, not frame[0] & 1)


def _vp8_descriptor(payload: bytes) -> int:
    """Length of the payload descriptor (RFC 7741 4.2); may be beyond the end of a malformed payload."""
    if not payload[0] & 0x80:
        return 1
    if len(payload) < 3:
        return 3
    extension = payload[1]
    size = 2
    if extension & 0x80:
        size += 2 if payload[2] & 0x80 else 1
    if extension & 0x40:
        size += 1
    if extension & 0x30:
        size += 1
    return size


_START = b"\0\0\0\1"
_NAL_START = [_START + bytes((i,)) for i in range(256)]
_SLICE, _IDR, _SPS, _PPS, _AUD, _STAP_A, _FU_A = 1, 5, 7, 8, 9, 24, 28
_MAX_SETS = 32
_MAX_SET_BYTES = 4096


class H264Depayloader:
    """Single NAL unit packets, STAP-A and FU-A (packetization modes 0 and 1) to Annex B with 4-byte start codes.

    Parameter sets are remembered: an IDR picture that comes without its own gets the last ones seen (or those of the
    SDP) in front, so that every key frame can be decoded by itself; when none are known it is refused. Packets that
    hold parameter sets only make no frame.
    """

    def __init__(self, parameter_sets: Sequence[bytes] = ()) -> None:
        """`parameter_sets`: NAL units of `sprop-parameter-sets`, if any."""
        self._sets: dict[tuple[int, int], bytes] = {}
        for nal in parameter_sets:
            if nal:
                self._remember(nal)

    def starts_frame(self, payload: bytes) -> bool:
        # An IDR slice is not enough: new parameter sets may have been lost in front of it.
        kind = payload[0] & 31
        if kind == _STAP_A and len(payload) > 3:
            kind = payload[3] & 31
        return kind in (_SPS, _AUD) or _first_slice(payload) == _SLICE

    def may_start(self, payload: bytes) -> bool:
        kind = payload[0] & 31
        if kind == _FU_A:
            kind = payload[1] & 31 if len(payload) > 1 and payload[1] > 127 else _SLICE
        return not _SLICE <= kind <= _IDR or _first_slice(payload) > 0

    def assemble(self, payloads: Sequence[bytes]) -> Assembled | None:
        parts: list[bytes] = []
        seen = 0  # one bit per NAL unit type
        fragmented = False
        for payload in payloads:
            kind = payload[0] & 31
            if kind == _FU_A:
                if len(payload) < 3:
                    return None
                head = payload[1]
                if head & 0x80:
                    if fragmented:
                        return None
                    seen |= 1 << (head & 31)
                    parts.append(_NAL_START[payload[0] & 0xE0 | head & 0x1F])
                elif not fragmented:
                    return None
                parts.append(payload[2:])
                fragmented = not head & 0x40
            elif fragmented:
                return None
            elif kind == _STAP_A:
                kinds = self._split(payload, parts)
                if not kinds:
                    return None
                seen |= kinds
            elif 1 <= kind <= 23:
                seen |= 1 << kind
                if kind in (_SPS, _PPS):
                    self._remember(payload)
                parts += (_START, payload)
            else:
                return None
        if fragmented:
            return None
        if not seen & 0b111110:
            return Assembled(b"", False)
        key = bool(seen >> _IDR & 1)
        if key and not (seen >> _SPS & 1 and seen >> _PPS & 1):
            if {kind for kind, _ in self._sets} != {_SPS, _PPS}:
                return None
            parts[:0] = [_START + nal for _, nal in sorted(self._sets.items())]
        return Assembled(b"".join(parts), key)

    def _split(self, payload: bytes, parts: list[bytes]) -> int:
        """The NAL units of a STAP-A; returns their types as bits, 0 when it is malformed."""
        seen = 0
        at, end = 1, len(payload)
        while at < end:
            size = int.from_bytes(payload[at : at + 2], "big")
            nal = payload[at + 2 : at + 2 + size]
            if at + 2 + size > end or not nal:
                return 0
            kind = nal[0] & 31
            seen |= 1 << kind
            if kind in (_SPS, _PPS):
                self._remember(nal)
            parts += (_START, nal)
            at += 2 + size
        return seen

    def _remember(self, nal: bytes) -> None:
        kind = nal[0] & 31
        if kind not in (_SPS, _PPS) or len(nal) > _MAX_SET_BYTES:
            return
        number = _exp_golomb(nal, 4 if kind == _SPS else 1)
        if number is not None and number < _MAX_SETS:
            self._sets[kind, number] = nal


def _first_slice(payload: bytes) -> int:
    """NAL unit type of the slice that begins here, if it is the first of its picture (ITU-T H.264 7.3.3); else 0."""
    kind = payload[0] & 31
    at = 1
    if kind == _FU_A and len(payload) > 2 and payload[1] > 127:
        kind = payload[1] & 31
        at = 2
    return kind if kind in (_SLICE, _IDR) and len(payload) > at and payload[at] > 127 else 0


def _exp_golomb(data: bytes, at: int) -> int | None:
    """The unsigned Exp-Golomb number (ITU-T H.264 9.1) that starts at byte `at`; None when it is not within 4 bytes."""
    bits = data[at : at + 4]
    value = int.from_bytes(bits, "big")
    width = 8 * len(bits)
    zeros = width - value.bit_length()
    if not value or 2 * zeros + 1 > width:
        return None
    return (value >> (width - 2 * zeros - 1)) - 1


def depayloader_for(codec: Codec, parameter_sets: Sequence[bytes] = ()) -> Depayloader:
    """A depayloader for a codec we can store. ValueError for another."""
    if codec is Codec.H264:
        return H264Depayloader(parameter_sets)
    if codec is Codec.VP8:
        return Vp8Depayloader()
    if codec is Codec.OPUS:
        return OpusDepayloader()
    raise ValueError(f"no RTP payload format for {codec.name} is built in")
