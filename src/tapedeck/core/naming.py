"""Names of files and objects, made from ids and prefixes so that nothing a user sends can leave its place."""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import quote

from tapedeck.core.errors import InvalidError
from tapedeck.core.times import to_ms

__all__ = [
    "NAME_LIMIT",
    "PREFIX_LIMIT",
    "TRACK_FILE_TEMPLATE",
    "check_key",
    "content_disposition",
    "is_prefix",
    "is_segment",
    "object_key",
    "output_file_name",
    "track_file_name",
]

PREFIX_LIMIT = 100
"""Longest file name prefix in characters."""
KEY_LIMIT = 1024
"""Longest object key in characters; S3's limit."""

TRACK_FILE_TEMPLATE = "{{file_name_prefix}}_{{user_id}}_{{peer_id}}_{{stream_kind}}_{{media_kind}}_{{date_time}}.webm"
"""What a recording of tracks has in the place of a file name."""
NAME_LIMIT = 200
"""Longest name of a file: whoever writes it has one of his own beside it for a while, and a disk takes 255 bytes."""
_USER_LIMIT = 64
"""Longest part of a user id in a file name; the peer's id beside it tells people apart."""

_PREFIX = re.compile(rf"[A-Za-z0-9_]{{1,{PREFIX_LIMIT}}}")
_STRANGE = re.compile(r"[^A-Za-z0-9._=+-]+")
_SEGMENT = re.compile(r"[A-Za-z0-9._=+-]{1,255}")
_UNQUOTED = "!#$&+-.^_`|~"
"""What RFC 8187 leaves unescaped beside letters and digits."""


def is_prefix(text: str) -> bool:
    """Whether a user may put it before a file name: 1 to 100 letters, digits or `_`."""
    return _PREFIX.fullmatch(text) is not None


def is_segment(text: str) -> bool:
    """Whether it can be the last part of a key."""
    return _SEGMENT.fullmatch(text) is not None and text not in {".", ".."}


def output_file_name(prefix: str | None, room: str, invoked_at: datetime, extension: str = "mp4") -> str:
    """`[{prefix}_]{room}_{Unix ms of the invocation}.{extension}`."""
    stem = f"{room}_{to_ms(invoked_at)}.{extension}"
    return f"{prefix}_{stem}" if prefix else stem


def track_file_name(
    prefix: str, user_id: str, peer_id: str, is_screen: bool, media_kind: str, began_at: datetime, extension: str
) -> str:
    """`TRACK_FILE_TEMPLATE` filled in. What cannot be in a name becomes `-`; a long user id is cut."""
    stream_kind = "screenshare" if is_screen else "peer"
    rest = f"_{peer_id}_{stream_kind}_{media_kind}_{to_ms(began_at)}.{extension}"
    user = _STRANGE.sub("-", user_id)[: min(_USER_LIMIT, NAME_LIMIT - len(prefix) - 1 - len(rest))]
    return f"{prefix}_{user}{rest}"


def object_key(recording_id: str, invoked_at: datetime, file_name: str) -> str:
    """Where a recording's file lies in the bucket: by day, then by recording, so that a person can find it."""
    return check_key(f"recordings/{invoked_at:%Y-%m-%d}/{recording_id}/{file_name}")


def check_key(key: str) -> str:
    """The key itself; InvalidError unless it is a relative path of plain segments that cannot climb."""
    segments = key.split("/")
    if len(key) > KEY_LIMIT or not all(_SEGMENT.fullmatch(s) and s not in {".", ".."} for s in segments):
        raise InvalidError(f"{key[:80]!r} is not an object key")
    return key


def content_disposition(file_name: str) -> str:
    """Header value that offers a download under `file_name` (RFC 6266, RFC 8187 for what is not plain ASCII)."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in file_name)
    value = f'attachment; filename="{plain}"'
    if plain != file_name:
        value += f"; filename*=UTF-8''{quote(file_name, safe=_UNQUOTED, errors='replace')}"
    return value
