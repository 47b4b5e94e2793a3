"""Publishing to an RTMP server (Adobe's RTMP 1.0), without a socket and without a clock: bytes in, bytes out.

Owns the handshake, chunks, and the conversation up to a published stream. Plain and unencrypted handshakes only,
which every server takes. Refuses to know addresses, sockets and TLS (`tapedeck/push`). An own one, because the
FFmpeg in PyAV cannot be told which address to dial, nor how long to wait (docs/explain/live.md).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from tapedeck.core.amf import Value, pack_values, read_values
from tapedeck.core.errors import DestinationError
from tapedeck.core.flv import SCRIPT, VIDEO, Tag

__all__ = ["Publication", "RefusedStreamError"]

_HANDSHAKE = 1536
_CHUNK = 4096
"""Bytes of a message that we send at once; servers begin with 128 both ways."""
_MOST_MESSAGE = 1 << 20
"""A server that answers with more is none that we understand; nor is one with more in messages that it does not end."""
_SET_CHUNK, _ACK, _CONTROL, _WINDOW, _BANDWIDTH, _AMF3, _AMF0 = 1, 3, 4, 5, 6, 17, 20
_PING, _PONG = 6, 7
_CONNECT, _RELEASE, _ANNOUNCE, _CREATE, _PUBLISH, _LAST = 1.0, 2.0, 3.0, 4.0, 5.0, 6.0
_LONGEST_TIME = 0xFFFFFF
_CONTROL_LANE, _COMMAND_LANE, _AUDIO_LANE, _DATA_LANE, _VIDEO_LANE = 2, 3, 4, 5, 6


class RefusedStreamError(DestinationError):
    """The server does not take the stream, or what it says makes no sense. The text is safe to show."""


@dataclass(slots=True)
class _Incoming:
    """A message that comes in, chunk by chunk."""

    size: int = 0
    kind: int = 0
    has_long_time: bool = False
    body: bytearray | None = None


class Publication:
    """One attempt to publish. `begin`, then `receive` whatever comes; once `is_live`, `send` tags; `end`."""

    def __init__(self, app: str, key: str, tc_url: str, random: bytes) -> None:
        """`random`: 1528 bytes of anything, for the handshake."""
        self.is_live = False
        self._app, self._key, self._tc_url = app, key, tc_url
        self._random = random[: _HANDSHAKE - 8].ljust(_HANDSHAKE - 8, b"\0")
        self._held = bytearray()
        self._shaken = False
        self._chunk = 128
        self._lanes: dict[int, _Incoming] = {}
        self._begun = 0
        "Bytes in all lanes of messages that are not whole yet."
        self._window = 0
        self._received = self._told = 0
        self._stream = 0
        self._first_ms: int | None = None
        self._last_ms: dict[int, int] = {}
        "By kind: a film that was begun again after a crash may repeat an instant."

    def begin(self) -> bytes:
        """The first bytes to send."""
        return b"\x03" + bytes(8) + self._random

    def receive(self, data: bytes) -> bytes:
        """Take what the server says; what to answer. RefusedStreamError."""
        self._held += data
        self._received += len(data)
        out = b""
        if not self._shaken:
            if len(self._held) < 1 + 2 * _HANDSHAKE:
                return b""
            if self._held[0] != 3:
                raise RefusedStreamError("it is not an RTMP server")
            out = bytes(self._held[1 : 1 + _HANDSHAKE]) + self._connect()
            del self._held[: 1 + 2 * _HANDSHAKE]
            self._shaken = True
        while (message := self._next_message()) is not None:
            out += self._on_message(*message)
        if self._window and self._received - self._told >= self._window // 2:
            self._told = self._received
            out += _message(_ACK, struct.pack(">I", self._received & 0xFFFFFFFF), _CONTROL_LANE)
        return out

    def send(self, tag: Tag) -> bytes:
        """A tag on its way. The first one that is media begins the time of the stream."""
        if tag.kind == SCRIPT:
            return _message(SCRIPT, pack_values("@setDataFrame") + tag.body, _DATA_LANE, self._stream)
        if self._first_ms is None and not tag.is_setup:
            self._first_ms = tag.time_ms
        time_ms = self._last_ms.get(tag.kind, 0)
        if not tag.is_setup and self._first_ms is not None:
            time_ms = self._last_ms[tag.kind] = max(time_ms, tag.time_ms - self._first_ms)
        lane = _VIDEO_LANE if tag.kind == VIDEO else _AUDIO_LANE
        return _message(tag.kind, tag.body, lane, self._stream, time_ms)

    def end(self) -> bytes:
        """Say goodbye."""
        if not self.is_live:
            return b""
        return _command("FCUnpublish", _LAST, None, self._key) + _command(
            "deleteStream", 7.0, None, float(self._stream)
        )

    @property
    def has_begun(self) -> bool:
        """Whether anything was sent that can be seen or heard."""
        return self._first_ms is not None

    def _connect(self) -> bytes:
        about: dict[str, Value] = {
            "app": self._app,
            "type": "nonprivate",
            "flashVer": "FMLE/3.0 (compatible; Tapedeck)",
            "tcUrl": self._tc_url,
        }
        size = _message(_SET_CHUNK, struct.pack(">I", _CHUNK), _CONTROL_LANE)
        return size + _command("connect", _CONNECT, about)

    def _next_message(self) -> tuple[int, bytes] | None:
        while True:
            found = self._next_chunk()
            if found is None:
                return None
            if found.body is not None and len(found.body) >= found.size:
                body, found.body = bytes(found.body), None
                self._begun -= len(body)
                return found.kind, body

    def _next_chunk(self) -> _Incoming | None:
        """Take one chunk off; the message it belongs to. None: it is not whole yet."""
        held = self._held
        if not held:
            return None
        form, lane_id, at = held[0] >> 6, held[0] & 0x3F, 1
        if lane_id < 2:
            width = lane_id + 1
            if len(held) < at + width:
                return None
            lane_id = 64 + int.from_bytes(held[at : at + width], "little")
            at += width
        lane = self._lanes.setdefault(lane_id, _Incoming())
        width = (11, 7, 3, 0)[form]
        if len(held) < at + width:
            return None
        size, kind, is_long = lane.size, lane.kind, lane.has_long_time
        if form < 3:
            is_long = int.from_bytes(held[at : at + 3], "big") == _LONGEST_TIME
        if form < 2:
            size, kind = int.from_bytes(held[at + 3 : at + 6], "big"), held[at + 6]
        at += width + (4 if is_long else 0)
        if size > _MOST_MESSAGE:
            raise RefusedStreamError("it is not an RTMP server")
        done = 0 if lane.body is None else len(lane.body)
        end = at + min(self._chunk, size - done)
        if len(held) < end:
            return None
        lane.size, lane.kind, lane.has_long_time = size, kind, is_long
        if lane.body is None:
            lane.body = bytearray()
        lane.body += held[at:end]
        del held[:end]
        self._begun += end - at
        if self._begun > _MOST_MESSAGE:
            raise RefusedStreamError("it is not an RTMP server")
        return lane

    def _on_message(self, kind: int, body: bytes) -> bytes:
        number = int.from_bytes(body[:4], "big")
        if kind == _SET_CHUNK:
            self._chunk = max(1, min(number & 0x7FFFFFFF, _MOST_MESSAGE))
        elif kind == _WINDOW:
            self._window = number
        elif kind == _CONTROL and body[:2] == _PING.to_bytes(2, "big"):
            return _message(_CONTROL, _PONG.to_bytes(2, "big") + body[2:6], _CONTROL_LANE)
        elif kind == _BANDWIDTH:
            return _message(_WINDOW, body[:4], _CONTROL_LANE)
        elif kind in (_AMF0, _AMF3):
            return self._on_command(read_values(body[1:] if kind == _AMF3 else body))
        return b""

    def _on_command(self, values: list[Value]) -> bytes:
        name, serial = [*values, None, None][:2]
        about = next((v for v in reversed(values) if isinstance(v, Mapping)), {})
        if name == "_error" and serial in (_CONNECT, _CREATE, _PUBLISH):
            raise RefusedStreamError(self._told_why(about))
        if name == "_result" and serial == _CONNECT:
            return (
                _command("releaseStream", _RELEASE, None, self._key)
                + _command("FCPublish", _ANNOUNCE, None, self._key)
                + _command("createStream", _CREATE, None)
            )
        if name == "_result" and serial == _CREATE:
            self._stream = next((int(v) for v in values[2:] if isinstance(v, float) and 0 <= v < 1 << 31), 1)
            return _command("publish", _PUBLISH, None, self._key, "live", lane=_AUDIO_LANE, stream=self._stream)
        if name == "onStatus":
            if about.get("code") == "NetStream.Publish.Start":
                self.is_live = True
            elif about.get("level") == "error":
                raise RefusedStreamError(self._told_why(about))
        if name == "close":
            raise RefusedStreamError("the server ended the stream")
        return b""

    def _told_why(self, about: Mapping[str, Value]) -> str:
        """In the server's words as far as they are a code: a description may repeat what is secret."""
        code = about.get("code")
        known = isinstance(code, str) and code.startswith("Net") and len(code) < 64
        known = known and all(c.isalnum() or c == "." for c in str(code)) and not (self._key and self._key in str(code))
        return f"the server refused the stream ({code})" if known else "the server refused the stream"


def _message(kind: int, body: bytes, lane: int, stream: int = 0, time_ms: int = 0) -> bytes:
    """A message in chunks, each with all of the time in it where it is long."""
    time_ms &= 0xFFFFFFFF
    long = struct.pack(">I", time_ms) if time_ms >= _LONGEST_TIME else b""
    size = len(body)
    head = struct.pack(">BIHB", lane, min(time_ms, _LONGEST_TIME) << 8 | size >> 16, size & 0xFFFF, kind)
    parts = [head, struct.pack("<I", stream), long, body[:_CHUNK]]
    for at in range(_CHUNK, size, _CHUNK):
        parts += (bytes([0xC0 | lane]), long, body[at : at + _CHUNK])
    return b"".join(parts)


def _command(name: str, serial: float, *values: Value, lane: int = _COMMAND_LANE, stream: int = 0) -> bytes:
    return _message(_AMF0, pack_values(name, serial, *values), lane, stream)
