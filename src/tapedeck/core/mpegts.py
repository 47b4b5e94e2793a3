"""An MPEG-2 transport stream of one programme: H264, AAC in ADTS, and timed metadata in ID3 (ISO/IEC 13818-1).

Owns tables, PES packets and their way into packets of 188 bytes, as "Timed Metadata for HTTP Live Streaming" (Apple,
2011) wants them: both descriptors of the metadata, `private_stream_1`, aligned. libavformat's own muxer leaves one of
the descriptors out, and can neither repeat its tables where a segment begins nor go on counting there. Bytes and times
in, bytes out: refuses to know encoders, files and segments.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["CLOCK", "TransportStream", "adts"]

CLOCK = 90_000
"""Ticks of a second, of every time here."""

_PACKET = 188
_ROOM = _PACKET - 4
_PMT_PID, _PICTURE_PID, _SOUND_PID, _METADATA_PID = 0x1000, 0x100, 0x101, 0x102
_PICTURE_ID, _SOUND_ID, _PRIVATE_1 = 0xE0, 0xC0, 0xBD
_H264, _ADTS, _METADATA = 0x1B, 0x0F, 0x15
_TIMES = (1 << 33) - 1
_PCR_LEAD = CLOCK // 2
"""What is sent is wanted so much later: the room of a decoder's buffer."""
_MOST_PES = 65_535
_ID3 = b"\xff\xffID3 \xffID3 \x00"
"""Format of the metadata by its registered name, in both descriptors; service 0."""
_POINTER = b"\x25\x0f" + _ID3 + b"\x1f\x00\x01"
"""metadata_pointer_descriptor (2.6.58): it is in this programme, number 1."""
_DESCRIPTOR = b"\x26\x0d" + _ID3 + b"\x0f"
"""metadata_descriptor (2.6.60) without a decoder's configuration."""
_DELIMITER = b"\0\0\0\1\x09\xf0"
_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350)


def adts(frame: bytes, sample_rate: int, channels: int) -> bytes:
    """A frame of AAC LC with its header (ISO/IEC 14496-3, 1.A.2.2). ValueError for a rate that has no number."""
    rate, size = _RATES.index(sample_rate), len(frame) + 7
    fields = (0xFFF1 << 40) | (1 << 38) | (rate << 34) | (channels << 30) | (size << 13) | (0x7FF << 2)
    return fields.to_bytes(7) + frame


class TransportStream:
    """Makes packets, and counts them per PID from the first to the last segment."""

    def __init__(self, *, has_picture: bool = True, has_metadata: bool = True) -> None:
        """The clock goes with the picture, and where there is none with the sound."""
        self._counts: dict[int, int] = {}
        self._has_picture = has_picture
        pictures = _stream(_H264, _PICTURE_PID, b"") if has_picture else b""
        metadata = _stream(_METADATA, _METADATA_PID, _DESCRIPTOR) if has_metadata else b""
        clock, pointer = _PICTURE_PID if has_picture else _SOUND_PID, _POINTER if has_metadata else b""
        programme = (0xE000 | clock).to_bytes(2) + (0xF000 | len(pointer)).to_bytes(2) + pointer
        programme += pictures + _stream(_ADTS, _SOUND_PID, b"") + metadata
        self._pat = _section(0x00, b"\x00\x01" + (0xE000 | _PMT_PID).to_bytes(2))
        self._pmt = _section(0x02, programme)

    def tables(self) -> bytes:
        """What a decoder must know first: at the start of each segment."""
        return self._packets(0, b"\0" + self._pat, pad=True) + self._packets(_PMT_PID, b"\0" + self._pmt, pad=True)

    def picture(self, payload: bytes, pts: int, dts: int, *, is_key: bool) -> bytes:
        """An access unit in Annex B; it gets the delimiter that Annex B of a transport stream must have (2.14.1)."""
        if not payload.startswith(_DELIMITER[:5]):
            payload = _DELIMITER + payload
        return self._packets(_PICTURE_PID, _pes(_PICTURE_ID, payload, pts, dts), _clock(dts, is_key=is_key))

    def sound(self, frames: Iterable[bytes], pts: int) -> bytes:
        """Frames with ADTS headers, the first at `pts`. ValueError: more than one PES packet holds."""
        clock = b"" if self._has_picture else _clock(pts, is_key=True)
        return self._packets(_SOUND_PID, _pes(_SOUND_ID, b"".join(frames), pts), clock)

    def metadata(self, tag: bytes, pts: int) -> bytes:
        """One ID3 tag. ValueError: it is too long for a PES packet."""
        return self._packets(_METADATA_PID, _pes(_PRIVATE_1, tag, pts))

    def _packets(self, pid: int, data: bytes, adaptation: bytes = b"", *, pad: bool = False) -> bytes:
        """`data` in packets of `pid`; the last is filled up with 0xFF behind the data (`pad`: tables), or before it."""
        made: list[bytes] = []
        count, at = self._counts.get(pid, 0), 0
        start = 0x4000
        while at < len(data) or not made:
            field = b"" if not adaptation or made else bytes((len(adaptation),)) + adaptation
            left = _ROOM - len(field)
            chunk = data[at : at + left]
            at += len(chunk)
            missing = left - len(chunk)
            if missing and pad:
                chunk += b"\xff" * missing
            elif missing:
                field = _stuffed(field, missing)
            control = (0x30 if field else 0x10) | count
            made.append(b"\x47" + (start | pid).to_bytes(2) + bytes((control,)) + field + chunk)
            count, start = (count + 1) & 15, 0
        self._counts[pid] = count
        return b"".join(made)


def _clock(dts: int, *, is_key: bool) -> bytes:
    """The body of an adaptation field with the programme's clock (2.4.3.5)."""
    clock = max(dts - _PCR_LEAD, 0) & _TIMES
    return bytes((0x50 if is_key else 0x10,)) + ((clock << 15) | (0x3F << 9)).to_bytes(6)


def _stuffed(field: bytes, missing: int) -> bytes:
    """An adaptation field that is longer by `missing` bytes."""
    if field:
        return bytes((field[0] + missing,)) + field[1:] + b"\xff" * missing
    return b"\x00" if missing == 1 else bytes((missing - 1, 0)) + b"\xff" * (missing - 2)


def _pes(stream_id: int, payload: bytes, pts: int, dts: int | None = None) -> bytes:
    """A PES packet (2.4.3.6) that begins with an access unit. A picture may be longer than its length can say."""
    times = _time(2, pts) if dts is None or dts == pts else _time(3, pts) + _time(1, dts)
    size = len(payload) + len(times) + 3
    if size > _MOST_PES:
        if stream_id != _PICTURE_ID:
            raise ValueError(f"a PES packet holds no {len(payload)} bytes")
        size = 0
    flags = bytes((0x84, 0x80 if len(times) == 5 else 0xC0, len(times)))
    return b"\x00\x00\x01" + bytes((stream_id,)) + size.to_bytes(2) + flags + times + payload


def _time(prefix: int, ticks: int) -> bytes:
    ticks &= _TIMES
    high, middle, low = ticks >> 30, ticks >> 15 & 0x7FFF, ticks & 0x7FFF
    return bytes((prefix << 4 | high << 1 | 1,)) + (middle << 1 | 1).to_bytes(2) + (low << 1 | 1).to_bytes(2)


def _stream(kind: int, pid: int, descriptors: bytes) -> bytes:
    size = (0xF000 | len(descriptors)).to_bytes(2)
    return bytes((kind,)) + (0xE000 | pid).to_bytes(2) + size + descriptors


def _section(table: int, body: bytes) -> bytes:
    """A section of version 0 of the table (2.4.4), with its CRC."""
    head = bytes((table,)) + (0xB000 | len(body) + 9).to_bytes(2) + b"\x00\x01\xc1\x00\x00"
    return head + body + _crc(head + body).to_bytes(4)


def _crc(data: bytes) -> int:
    """CRC-32/MPEG-2 (annex A)."""
    crc = 0xFFFF_FFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C1_1DB7 if crc >> 31 else crc << 1) & 0xFFFF_FFFF
    return crc
