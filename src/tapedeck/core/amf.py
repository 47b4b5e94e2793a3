"""AMF0 (Adobe Action Message Format), as far as RTMP and FLV say things in it. Pure; what comes in may be nonsense."""

from __future__ import annotations

import struct
from collections.abc import Mapping

__all__ = ["Value", "pack_values", "read_values"]

Value = float | bool | str | None | Mapping[str, "Value"] | list["Value"]
_DEEPEST = 8


def pack_values(*values: Value) -> bytes:
    """Values, one behind the other."""
    out = b""
    for value in values:
        if value is None:
            out += b"\x05"
        elif isinstance(value, bool):
            out += bytes([1, value])
        elif isinstance(value, float):
            out += b"\x00" + struct.pack(">d", value)
        elif isinstance(value, str):
            out += b"\x02" + _text(value)
        elif isinstance(value, Mapping):
            fields = b"".join(_text(key) + pack_values(item) for key, item in value.items())
            out += b"\x03" + fields + b"\0\0\x09"
    return out


def read_values(body: bytes) -> list[Value]:
    """Values, as far as they can be read."""
    found: list[Value] = []
    at = 0
    try:
        while at < len(body):
            value, at = _value(body, at, 0)
            found.append(value)
    except (IndexError, struct.error, UnicodeDecodeError, RecursionError):
        pass
    return found


def _text(value: str) -> bytes:
    data = value.encode()[:0xFFFF]
    return struct.pack(">H", len(data)) + data


def _value(body: bytes, at: int, depth: int) -> tuple[Value, int]:
    if depth > _DEEPEST:
        raise IndexError
    kind, at = body[at], at + 1
    match kind:
        case 0:
            return float(struct.unpack_from(">d", body, at)[0]), at + 8
        case 1:
            return bool(body[at]), at + 1
        case 2:
            return _read_text(body, at)
        case 3 | 8:
            return _fields(body, at + (4 if kind == 8 else 0), depth)
        case 5 | 6:
            return None, at
        case 10:
            count, at = struct.unpack_from(">I", body, at)[0], at + 4
            items: list[Value] = []
            for _ in range(min(count, len(body))):
                item, at = _value(body, at, depth + 1)
                items.append(item)
            return items, at
    raise IndexError


def _fields(body: bytes, at: int, depth: int) -> tuple[Value, int]:
    fields: dict[str, Value] = {}
    while body[at : at + 3] != b"\0\0\x09":
        name, at = _read_text(body, at)
        fields[name], at = _value(body, at, depth + 1)
    return fields, at + 3


def _read_text(body: bytes, at: int) -> tuple[str, int]:
    size = int(struct.unpack_from(">H", body, at)[0])
    if at + 2 + size > len(body):
        raise IndexError
    return body[at + 2 : at + 2 + size].decode(), at + 2 + size
