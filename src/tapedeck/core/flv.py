"""Tags of an FLV stream (Adobe Flash Video File Format 10.1, annex E): what of it a live stream has to know. Pure.

Owns where a tag ends, and which of them a stream can be begun with. Refuses to know what is in the media of a tag.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tapedeck.core.errors import MediaError

__all__ = ["AUDIO", "SCRIPT", "VIDEO", "Tag", "TagReader"]

AUDIO, VIDEO, SCRIPT = 8, 9, 18
_HEADER, _SIZE = 11, 4
_KINDS = frozenset({AUDIO, VIDEO, SCRIPT})
_KEY_FRAME, _AVC, _AAC, _CONFIGURATION = 1, 7, 10, 0


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
        size = len(self.body)
        head = struct.pack(">B", self.kind) + size.to_bytes(3, "big")
        time = (self.time_ms & 0xFFFFFF).to_bytes(3, "big") + bytes([self.time_ms >> 24 & 0xFF])
        return head + time + bytes(3) + self.body + (size + _HEADER).to_bytes(4, "big")


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
