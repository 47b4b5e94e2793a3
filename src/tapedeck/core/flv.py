"""Tags of an FLV stream (Adobe Flash Video File Format 10.1, annex E): what of it a live stream has to know. Pure.

Owns where a tag begins and ends, how H264 and AAC stand in one, and which of them a stream can be begun with. Refuses
to know what is in the media of a tag.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tapedeck.core.amf import Value, pack_values
from tapedeck.core.errors import MediaError

__all__ = ["AUDIO", "SCRIPT", "VIDEO", "Tag", "TagReader", "metadata_tag", "picture_tag", "setup_tag", "sound_tag"]

AUDIO, VIDEO, SCRIPT = 8, 9, 18
_HEADER, _SIZE = 11, 4
_KINDS = frozenset({AUDIO, VIDEO, SCRIPT})
_KEY_FRAME, _INTER_FRAME, _AVC, _AAC, _CONFIGURATION, _MEDIA = 1, 2, 7, 10, 0, 1
_AAC_HEAD = _AAC << 4 | 0x0F
"""44.1 kHz, 16 bits, stereo: what a tag of AAC says whatever it is (E.4.2.1)."""
_AAC_MEDIA = bytes([_AAC_HEAD, _MEDIA])


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag. `body` is what an RTMP message of the same type has as its payload."""

    kind: int
    time_ms: int
    body: bytes

    @property
    def is_setup(self) -> bool:
        """Whether it describes a stream (parameter sets, metadata), and whoever comes later needs it too."""
        if self.kind == SCRIPT or len(self.body) < 2:
            return self.kind == SCRIPT
        codec = self.body[0] & 0x0F if self.kind == VIDEO else self.body[0] >> 4
        return codec == (_AVC if self.kind == VIDEO else _AAC) and self.body[1] == _CONFIGURATION

    @property
    def is_key(self) -> bool:
        """Whether a decoder can begin with it."""
        return self.kind == VIDEO and self.body[:1] != b"" and self.body[0] >> 4 == _KEY_FRAME and not self.is_setup

    def __bytes__(self) -> bytes:
        """As it stands in a file, the size behind it included."""
        return _pack(self.kind, self.time_ms, self.body)


def picture_tag(frame: bytes, time_ms: int, delay_ms: int, *, is_key: bool) -> bytes:
    """A frame of H264 with the lengths of its NAL units, decoded at `time_ms` and shown `delay_ms` later."""
    form = (_KEY_FRAME if is_key else _INTER_FRAME) << 4 | _AVC
    return _pack(VIDEO, time_ms, struct.pack(">BBHB", form, _MEDIA, delay_ms >> 8, delay_ms & 0xFF), frame)


def sound_tag(frame: bytes, time_ms: int) -> bytes:
    """A frame of AAC."""
    return _pack(AUDIO, time_ms, _AAC_MEDIA, frame)


def setup_tag(kind: int, config: bytes) -> bytes:
    """What a decoder must know first: an AVCDecoderConfigurationRecord, or an AudioSpecificConfig."""
    head = bytes([_KEY_FRAME << 4 | _AVC, _CONFIGURATION, 0, 0, 0]) if kind == VIDEO else bytes([_AAC_HEAD, 0])
    return _pack(kind, 0, head, config)


def metadata_tag(**fields: Value) -> bytes:
    """`onMetaData`."""
    return _pack(SCRIPT, 0, pack_values("onMetaData", fields))


def _pack(kind: int, time_ms: int, *body: bytes) -> bytes:
    size = sum(map(len, body))
    time = (time_ms & 0xFFFFFF) << 8 | time_ms >> 24 & 0xFF
    return b"".join((struct.pack(">II3x", kind << 24 | size, time), *body, (size + _HEADER).to_bytes(4, "big")))


class TagReader:
    """Finds the tags in a stream that comes in pieces of any size."""

    def __init__(self, *, has_header: bool) -> None:
        """`has_header`: the stream begins with the header of a file."""
        self._held = bytearray()
        self._in_header = has_header

    def feed(self, data: bytes) -> list[Tag]:
        """The tags that are whole now. MediaError when the stream is not FLV."""
        held = self._held
        held += data
        if self._in_header:
            if len(held) < 9:
                return []
            length = int.from_bytes(held[5:9], "big") + _SIZE
            if held[:3] != b"FLV":
                raise MediaError("The stream is not FLV.")
            if len(held) < length:
                return []
            del held[:length]
            self._in_header = False
        tags: list[Tag] = []
        at = 0
        while len(held) - at >= _HEADER:
            size = int.from_bytes(held[at + 1 : at + 4], "big")
            end = at + _HEADER + size + _SIZE
            kind = held[at]
            if kind not in _KINDS:
                raise MediaError("The stream is not FLV.")
            if len(held) < end:
                break
            time_ms = int.from_bytes(held[at + 4 : at + 7], "big") | held[at + 7] << 24
            tags.append(Tag(kind, time_ms, bytes(held[at + _HEADER : end - _SIZE])))
            at = end
        del held[:at]
        return tags

    @property
    def held_bytes(self) -> int:
        """Of a tag that is not whole yet."""
        return len(self._held)
