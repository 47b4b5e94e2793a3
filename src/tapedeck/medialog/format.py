"""The bytes of a media log, version 1: pure functions from frames and events to bytes and back.

Owns the layout and the checksum, and finding the next whole record in a damaged buffer. Refuses IO, and refuses to
guess: a record whose checksum does not match does not exist.

All integers are little-endian. A log file is one file header and then records without padding between them.

File header, 64 bytes::

    offset size  field
         0    5  magic "TDLOG"
         5    1  format version, 1
         6    1  what the file holds: 1 timeline, 2 track
         7    1  codec negotiated first (core.frames.Codec), 0 in a timeline
         8    1  origin: 0 none, 1 camera, 2 screen
         9    1  audio channels, 0 for video and in a timeline
        10    2  zero
        12    4  salt of the records' checksums
        16   44  track id, or session id in a timeline: ASCII, zero padded
        60    4  CRC-32C of bytes 0..59

Record, 28 bytes and the payload::

    offset size  field
         0    4  u32 length of the payload, at most MAX_PAYLOAD
         4    4  u32 CRC-32C of bytes 8..27 and the payload, continued from the file's salt
         8    1  kind: 1 frame, 2 event
         9    1  flags of a frame (core.frames.FrameFlags), 0 in an event
        10    1  codec of a frame (core.frames.Codec), 0 in an event
        11    1  zero
        12    8  i64 media time of a frame in ticks, unwrapped; 0 in an event
        20    8  u64 ns on the capture clock: arrival of a frame, `at_ns` of an event
        28    -  payload: the encoded frame as sent, or the event's JSON object in ASCII

The checksum (Castagnoli polynomial, RFC 3720 appendix B.4) starts from a salt instead of zero, so that a record is only
valid in the file it was written to. Without it, a frame whose payload contains the bytes of a log, or old disk blocks
that come back after a power cut, could be taken for records when a reader looks for the next whole one. The salt
follows from the session and track ids (`salt_of`), so a file whose header is destroyed can still be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum
from struct import Struct
from typing import NamedTuple

from google_crc32c import extend, value

from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags, Origin, TrackInfo
from tapedeck.core.timeline import TimelineEvent, from_dict, to_dict

__all__ = [
    "FILE_HEADER_SIZE",
    "FORMAT_VERSION",
    "MAX_PAYLOAD",
    "RECORD_HEADER_SIZE",
    "FileHeader",
    "LogKind",
    "Record",
    "RecordKind",
    "Stop",
    "candidates",
    "check_log_id",
    "event_of",
    "frame_of",
    "pack_event",
    "pack_frame",
    "pack_timeline_header",
    "pack_track_header",
    "parse",
    "parse_file_header",
    "record_size",
    "salt_of",
]

FORMAT_VERSION = 1
FILE_HEADER_SIZE = 64
RECORD_HEADER_SIZE = 28
MAX_PAYLOAD = 64 * 1024 * 1024
"""Longest payload in bytes. No codec at a bit rate that a meeting can send comes near it; it bounds what a reader
allocates."""

_MAGIC = b"TDLOG"
_FILE_HEADER = Struct("<5sBBBBBHI44s")
_CRC = Struct("<I")
_PREFIX = Struct("<II")
_BODY = Struct("<BBBBqQ")
_RECORD = Struct("<IIBBBBqQ")
_ORIGINS: dict[Origin, int] = {Origin.CAMERA: 1, Origin.SCREEN: 2}
_CODECS: dict[int, Codec] = {int(codec): codec for codec in Codec}
_FLAGS: tuple[FrameFlags, ...] = tuple(FrameFlags(bits & 7) for bits in range(256))
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode
_LOG_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,43}")


class LogKind(IntEnum):
    """What a file holds."""

    TIMELINE = 1
    TRACK = 2


class RecordKind(IntEnum):
    """What a record holds."""

    FRAME = 1
    EVENT = 2


_SIGNATURES: dict[LogKind, re.Pattern[bytes]] = {
    LogKind.TIMELINE: re.compile(rb"\x02(?=\x00\x00\x00)"),
    LogKind.TRACK: re.compile(rb"\x01(?=[\x00-\xff][\x01-\x07]\x00)"),
}
"""Bytes 8..11 of a record, by which the next record is looked for in a damaged file. They look ahead, since what looks
like a record may begin inside the header of one."""


@dataclass(frozen=True, slots=True)
class FileHeader:
    """The file header, decoded. `codec` and `origin` are None in a timeline."""

    kind: LogKind
    log_id: str
    salt: int
    codec: Codec | None = None
    origin: Origin | None = None
    channels: int = 0


class Record(NamedTuple):
    """One whole record with a right checksum; `offset` is its place in the file."""

    offset: int
    kind: int
    flags: int
    codec: int
    media_time: int
    at_ns: int
    payload: bytes


class Stop(Enum):
    """Why `parse` came to an end."""

    LIMIT = "as much as was asked for"
    SHORT = "the buffer ends inside a record"
    BAD = "what follows is not a record"


def check_log_id(log_id: str) -> str:
    """The id if it can name a file and fit in a header (1 to 44 of `A-Za-z0-9._-`, no leading dot), else ValueError."""
    if _LOG_ID.fullmatch(log_id) is None:
        raise ValueError(f"not a usable log id: {log_id[:60]!r}")
    return log_id


def salt_of(session_id: str, log_id: str) -> int:
    """The salt of the log `log_id` in a session; a timeline's log id is the session id."""
    return int(value(f"{session_id}/{log_id}".encode()))


def pack_timeline_header(session_id: str) -> bytes:
    """The file header of a session's timeline. ValueError: the id cannot name a file."""
    return _pack_file_header(LogKind.TIMELINE, session_id, salt_of(session_id, session_id), 0, 0, 0)


def pack_track_header(session_id: str, track: TrackInfo) -> bytes:
    """The file header of a track's log. ValueError: the id cannot name a file."""
    salt = salt_of(session_id, track.track_id)
    return _pack_file_header(
        LogKind.TRACK, track.track_id, salt, int(track.codec), _ORIGINS[track.origin], track.channels & 0xFF
    )


def _pack_file_header(kind: LogKind, log_id: str, salt: int, codec: int, origin: int, channels: int) -> bytes:
    name = check_log_id(log_id).encode("ascii")
    body = _FILE_HEADER.pack(_MAGIC, FORMAT_VERSION, int(kind), codec, origin, channels, 0, salt, name)
    return body + _CRC.pack(value(body))


def parse_file_header(data: bytes) -> FileHeader | None:
    """The header at the start of `data`; None when it is short, damaged or of another version."""
    if len(data) < FILE_HEADER_SIZE:
        return None
    body = data[: FILE_HEADER_SIZE - 4]
    if _CRC.unpack_from(data, FILE_HEADER_SIZE - 4)[0] != value(body):
        return None
    magic, version, kind, codec, origin, channels, _, salt, name = _FILE_HEADER.unpack(body)
    if magic != _MAGIC or version != FORMAT_VERSION or kind not in (LogKind.TIMELINE, LogKind.TRACK):
        return None
    return FileHeader(
        kind=LogKind(kind),
        log_id=name.rstrip(b"\0").decode("ascii", "replace"),
        salt=salt,
        codec=_CODECS.get(codec),
        origin=next((o for o, number in _ORIGINS.items() if number == origin), None),
        channels=channels,
    )


def pack_frame(salt: int, frame: EncodedFrame, extra_flags: int = 0) -> bytes:
    """The record header of a frame; the payload follows it on disk as it is. ValueError: it cannot be stored."""
    payload = frame.payload
    size = len(payload)
    if size > MAX_PAYLOAD:
        raise ValueError(f"a frame of {size} bytes is too long for a log")
    body = _BODY.pack(1, frame.flags | extra_flags, frame.codec, 0, frame.media_time, frame.arrival_ns)
    return _PREFIX.pack(size, extend(extend(salt, body), payload)) + body


def pack_event(salt: int, event: TimelineEvent) -> bytes:
    """The whole record of a timeline event. ValueError: it is too long."""
    payload = _ENCODE(to_dict(event)).encode("ascii")
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"an event of {len(payload)} bytes is too long for a log")
    body = _BODY.pack(2, 0, 0, 0, 0, event.at_ns)
    return _PREFIX.pack(len(payload), extend(extend(salt, body), payload)) + body + payload


def frame_of(record: Record, extra_flags: int = 0) -> EncodedFrame | None:
    """The frame of a record; None when it is no frame or its codec is unknown to this version."""
    codec = _CODECS.get(record.codec)
    if record.kind != 1 or codec is None:
        return None
    return EncodedFrame(record.media_time, record.at_ns, record.payload, codec, _FLAGS[record.flags | extra_flags])


def event_of(record: Record) -> TimelineEvent | None:
    """The event of a record; None when it is no event or one of a newer version, ValueError when it is malformed."""
    if record.kind != 2:
        return None
    body = json.loads(record.payload.decode())
    if not isinstance(body, dict):
        raise ValueError("a timeline record must hold a JSON object")
    return from_dict(body)


def record_size(buffer: bytes, at: int = 0) -> int | None:
    """Bytes that the record at `at` claims to take; None when its header is not all there or cannot be right."""
    if len(buffer) - at < RECORD_HEADER_SIZE:
        return None
    size, _, _, _, _, reserved, _, _ = _RECORD.unpack_from(buffer, at)
    return None if size > MAX_PAYLOAD or reserved else RECORD_HEADER_SIZE + size


def parse(
    buffer: bytes, salt: int, at: int, max_records: int, max_bytes: int, base: int = 0
) -> tuple[list[Record], int, Stop]:
    """Whole records from `at` on, the place in the buffer after the last of them, and why there are no more.

    Stops (Stop.LIMIT) at `max_records`, or once the payloads sum up to `max_bytes` or more. `base` is where in the
    file the buffer begins.
    """
    records: list[Record] = []
    end = len(buffer)
    unpack = _RECORD.unpack_from
    while max_records > 0 and max_bytes > 0:
        start = at + RECORD_HEADER_SIZE
        if start > end:
            return records, at, Stop.SHORT
        size, crc, kind, flags, codec, reserved, media_time, at_ns = unpack(buffer, at)
        if size > MAX_PAYLOAD or reserved:
            return records, at, Stop.BAD
        after = start + size
        if after > end:
            return records, at, Stop.SHORT
        payload = buffer[start:after]
        if extend(extend(salt, buffer[at + 8 : start]), payload) != crc:
            return records, at, Stop.BAD
        records.append(Record(base + at, kind, flags, codec, media_time, at_ns, payload))
        at = after
        max_records -= 1
        max_bytes -= size
    return records, at, Stop.LIMIT


def candidates(buffer: bytes, at: int, kind: LogKind) -> Iterator[int]:
    """Offsets from `at` on where a record of this kind of log could begin: to be checked with `parse`.

    Only headers that are whole in the buffer are found; look again from `len(buffer) - RECORD_HEADER_SIZE + 1` for
    more.
    """
    for match in _SIGNATURES[kind].finditer(buffer, at + 8):
        start = match.start() - 8
        if record_size(buffer, start) is not None:
            yield start
