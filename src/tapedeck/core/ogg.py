"""Ogg pages to the Vorbis packets in them, and how long each packet lasts.

Owns the framing of Ogg (RFC 3533) for one stream without errors, as an encoder in the same process writes it, and the
lengths of Vorbis I packets (specification 4.3.1 and 4.3.8: half of what two neighbours overlap). Refuses damaged and
mixed streams: it reads what we made ourselves.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = ["OggPacket", "OggReader", "VorbisClock"]

_HEADER = struct.Struct("<4sBBqIIIB")
_NO_PACKET_ENDS = -1
_IDENTIFICATION = b"\x01vorbis"


@dataclass(frozen=True, slots=True)
class OggPacket:
    """One packet. `granule` is given with the last one that ends on a page: samples presented up to its end."""

    data: bytes
    granule: int | None


class OggReader:
    """Pages in, in any pieces; packets out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._begun = b""
        "Of a packet that goes on on the next page."

    def feed(self, data: bytes) -> list[OggPacket]:
        """The packets that are whole after `data`. ValueError: that is no Ogg."""
        self._buffer += data
        packets: list[OggPacket] = []
        while len(self._buffer) >= _HEADER.size:
            magic, version, _, granule, _, _, _, count = _HEADER.unpack_from(self._buffer)
            if magic != b"OggS" or version:
                raise ValueError("not an Ogg page")
            body_at = _HEADER.size + count
            lengths = bytes(self._buffer[_HEADER.size : body_at])
            end = body_at + sum(lengths)
            if len(lengths) < count or len(self._buffer) < end:
                break
            packets += self._packets(lengths, bytes(self._buffer[body_at:end]), granule)
            del self._buffer[:end]
        return packets

    def _packets(self, lengths: bytes, body: bytes, granule: int) -> list[OggPacket]:
        packets: list[OggPacket] = []
        at = 0
        for length in lengths:
            self._begun += body[at : at + length]
            at += length
            if length < 255:
                packets.append(OggPacket(self._begun, None))
                self._begun = b""
        if packets and granule != _NO_PACKET_ENDS:
            packets[-1] = OggPacket(packets[-1].data, granule)
        return packets


class VorbisClock:
    """How many samples each packet adds, in streams with two modes, a short and a long block, as libvorbis has."""

    def __init__(self, identification: bytes) -> None:
        """From the first header packet. ValueError: it is none."""
        if not identification.startswith(_IDENTIFICATION) or len(identification) < 30:
            raise ValueError("not the first packet of a Vorbis stream")
        exponents = identification[28]
        self._blocks = (1 << (exponents & 15), 1 << (exponents >> 4))
        self._last: int | None = None

    def samples(self, packet: bytes) -> int:
        """Samples (per channel) that are finished by the next audio packet; the first one finishes none."""
        if not packet or packet[0] & 1:
            raise ValueError("not a packet of sound")
        block = self._blocks[packet[0] >> 1 & 1]
        done = 0 if self._last is None else (self._last + block) // 4
        self._last = block
        return done
