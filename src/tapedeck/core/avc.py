"""H264 as files want it: NAL units with their lengths instead of start codes, and what a file must know of the stream.

Owns the few fields that are read out of parameter sets (ITU-T H.264 7.3.2.1). Nothing is decoded, and nothing is left
out: parameter sets stay where they were sent, so that a stream may change its size at any key frame.
"""

from __future__ import annotations

__all__ = [
    "config_sets",
    "decoder_config",
    "from_lengths",
    "has_parameter_sets",
    "is_config",
    "nal_units",
    "parameter_sets",
    "picture_size",
    "to_lengths",
]

_SPS, _PPS = 7, 8
_START = b"\0\0\1"
_HEAD = 1024
"Bytes of a frame in which its parameter sets are, if it has any: they are in front."
_HIGH = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})
"""Profiles whose parameter sets say more of colour."""


def nal_units(payload: bytes) -> list[bytes]:
    """The NAL units of a frame in Annex B, in order."""
    pieces = payload.split(_START)
    units = [piece[:-1] if piece.endswith(b"\0") else piece for piece in pieces[1:-1]]  # a start code may have 4 bytes
    return [unit for unit in (*units, pieces[-1]) if unit] if len(pieces) > 1 else []


def to_lengths(payload: bytes) -> bytes:
    """A frame in Annex B with the length of each NAL unit in four bytes in front of it."""
    # As `nal_units` finds them, with one look and one copy: called for each picture of each film that goes out.
    view = memoryview(payload)
    parts: list[bytes | memoryview] = []
    code = payload.find(_START)
    while code >= 0:
        start, code = code + 3, payload.find(_START, code + 3)
        end = len(payload) if code < 0 else code - (code > start and payload[code - 1] == 0)
        if end > start:
            parts += ((end - start).to_bytes(4), view[start:end])
    return b"".join(parts)


def from_lengths(payload: bytes) -> bytes:
    """The other way round. ValueError when it breaks off."""
    parts: list[bytes] = []
    at = 0
    while at < len(payload):
        start = at + 4
        at = start + int.from_bytes(payload[at:start])
        parts += (b"\0\0\0\1", payload[start:at])
    if at != len(payload):
        raise ValueError("a NAL unit ends too early")
    return b"".join(parts)


def parameter_sets(payload: bytes) -> tuple[bytes, bytes] | None:
    """The first sequence and the first picture parameter set in a frame; None when it has not both."""
    units = nal_units(payload)
    sequence = next((unit for unit in units if unit[0] & 31 == _SPS and len(unit) > 4), None)
    picture = next((unit for unit in units if unit[0] & 31 == _PPS), None)
    return None if sequence is None or picture is None else (sequence, picture)


def decoder_config(sequence: bytes, picture: bytes) -> bytes:
    """AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3.1) of one set of each kind, lengths of four bytes."""
    return b"".join(
        (
            b"\1" + sequence[1:4] + b"\xff\xe1",
            len(sequence).to_bytes(2) + sequence,
            b"\1" + len(picture).to_bytes(2) + picture,
        )
    )


def has_parameter_sets(payload: bytes) -> bool:
    """Whether a frame in Annex B has a sequence parameter set before its first slice."""
    return any(unit[0] & 31 == _SPS for unit in nal_units(payload[:_HEAD]))


def is_config(description: bytes) -> bool:
    """Whether an encoder describes its stream by an AVCDecoderConfigurationRecord, so that its frames carry lengths.

    Else by parameter sets in Annex B, or not at all, and its frames have start codes. A record begins with its version,
    which is 1; Annex B begins with zeros.
    """
    return description.startswith(b"\1")


def config_sets(record: bytes) -> bytes:
    """The parameter sets of an AVCDecoderConfigurationRecord in Annex B.

    ValueError when it breaks off, or when lengths are not of four bytes, as `from_lengths` reads them.
    """
    if len(record) > 4 and record[4] & 3 != 3:
        raise ValueError("NAL units have lengths of other than four bytes")
    units: list[bytes] = []
    at = 5
    for mask in (31, 255):
        if at >= len(record):
            raise ValueError("a configuration record ends too early")
        count = record[at] & mask
        at += 1
        for _ in range(count):
            start = at + 2
            at = start + int.from_bytes(record[at:start])
            units += (b"\0\0\0\1", record[start:at])
    if at > len(record):
        raise ValueError("a configuration record ends too early")
    return b"".join(units)


def picture_size(sequence: bytes) -> tuple[int, int]:
    """Width and height in pixels by a sequence parameter set. ValueError when it ends too early."""
    bits = _Bits(sequence[1:].replace(b"\0\0\3", b"\0\0"))
    profile = bits.take(8)
    bits.take(16)
    bits.unsigned()
    chroma = 1
    if profile in _HIGH:
        chroma = bits.unsigned()
        if chroma == 3:
            bits.take(1)
        bits.unsigned()
        bits.unsigned()
        bits.take(1)
        if bits.take(1):
            for index in range(8 if chroma != 3 else 12):
                if bits.take(1):
                    bits.skip_scaling(16 if index < 6 else 64)
    bits.unsigned()
    order = bits.unsigned()
    if order == 0:
        bits.unsigned()
    elif order == 1:
        bits.take(1)
        bits.unsigned()
        bits.unsigned()
        for _ in range(bits.unsigned() & 0xFF):
            bits.unsigned()
    bits.unsigned()
    bits.take(1)
    width = 16 * (bits.unsigned() + 1)
    height = 16 * (bits.unsigned() + 1)
    frames_only = bits.take(1)
    height *= 2 - frames_only
    if not frames_only:
        bits.take(1)
    bits.take(1)
    if bits.take(1):
        step_x = 2 if chroma in (1, 2) else 1
        step_y = (2 if chroma == 1 else 1) * (2 - frames_only)
        left, right, top, bottom = (bits.unsigned() for _ in range(4))
        width -= step_x * (left + right)
        height -= step_y * (top + bottom)
    return width, height


class _Bits:
    """Reads bits, most significant first. ValueError at the end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data)
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """The next bits as a number."""
        self._left -= count
        if self._left < 0:
            raise ValueError("the parameter set ends too early")
        return self._value >> self._left & ((1 << count) - 1)

    def unsigned(self) -> int:
        """A number in Exp-Golomb code (9.1)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def skip_scaling(self, count: int) -> None:
        """A scaling list (7.3.2.1.1.1)."""
        last = following = 8
        for _ in range(count):
            if following:
                code = self.unsigned()
                following = (last + ((code + 1) // 2 if code & 1 else -(code // 2))) & 0xFF
            last = following or last
