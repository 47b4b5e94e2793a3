"""Where a recording is streamed to while it is made: targets, their addresses and states. Pure.

Owns what of an address may be shown (the key of a stream is a secret, and stands last in it), and how long a target is
left alone after a fault. Refuses to connect anywhere (`tapedeck/push`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from urllib.parse import SplitResult, unquote, urlsplit

from tapedeck.core.egress import read_url
from tapedeck.core.errors import InvalidError

__all__ = [
    "MOST_TARGETS",
    "NO_SRT",
    "NO_STREAMS",
    "STREAMED",
    "Place",
    "SrtPlace",
    "Target",
    "TargetState",
    "address_problem",
    "is_srt",
    "place_of",
    "retry_delay_s",
    "shown_address",
    "srt_place_of",
]

MOST_TARGETS = 8
"""Of one recording at a time."""
NO_STREAMS = "this server makes films after the meeting (RENDER_MODE), so it streams none"
NO_SRT = "this server has no libsrt (Debian: libsrt1.5-openssl), so it streams over rtmp and rtmps only"
HIDDEN = "***"
"""Stands for the key in an address that is shown."""
_PORTS = {"rtmp": 1935, "rtmps": 443}
_SRT_VALUES = {"mode": ("caller",), "transtype": ("live",), "pbkeylen": ("16", "24", "32")}
"""What an address may say of itself, where there is a choice."""
_SRT_FIELDS = frozenset({*_SRT_VALUES, "streamid", "passphrase", "latency"})
_LATENCY_MS, _LONGEST_LATENCY_MS = 500, 10_000
"""How long the server waits for what was lost on the way. The stream is two seconds behind life anyway."""
_FIRST_DELAY_S, _LONGEST_DELAY_S = 1.0, 30.0


class TargetState(StrEnum):
    """How a target does."""

    CONNECTING = "connecting"
    LIVE = "live"
    "The server takes the stream, and was sent the first of it."
    RETRYING = "retrying"
    "It failed, and is tried again; the reason is kept."
    WAITING = "waiting"
    "Another recording of its meeting is streamed there; when that one ends it is this one's turn."
    ENDED = "ended"
    "Removed, or the recording ended, or it can never be reached: then there is a reason."


STREAMED = frozenset({TargetState.CONNECTING, TargetState.LIVE, TargetState.RETRYING})
"""Those that have a process, or soon will."""


@dataclass(frozen=True, slots=True)
class Target:
    """One place that a recording is streamed to."""

    id: str
    recording_id: str
    created_at: datetime
    address: str
    "As it may be shown."
    sealed: str = field(repr=False)
    "The whole of it, which only `ports.sealer` can read."
    state: TargetState = TargetState.CONNECTING
    reason: str | None = None
    "Why it is not live; a sentence without secrets."
    changed_at: datetime | None = None
    failures: int = 0
    "How often it failed."


@dataclass(frozen=True, slots=True)
class Place:
    """An address taken apart as RTMP needs it."""

    host: str
    port: int
    tls: bool
    app: str
    key: str = field(repr=False)
    tc_url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SrtPlace:
    """An address taken apart as SRT needs it."""

    host: str
    port: int
    stream_id: str = field(repr=False)
    passphrase: str = field(repr=False)
    key_bytes: int
    latency_ms: int


def address_problem(url: str) -> str | None:
    """What is wrong with an address to stream to, as the end of a sentence; None when nothing is."""
    try:
        parts = read_url(url, (*_PORTS, "srt"))
    except InvalidError as exc:
        return str(exc)
    if parts.scheme == "srt":
        return _srt_problem(url, parts)
    if not parts.path.strip("/"):
        return "must have a path: the application and the key of the stream"
    if HIDDEN in parts.path.split("/"):
        return f"must have the key of the stream in place of {HIDDEN}"
    return None


def _srt_problem(url: str, parts: SplitResult) -> str | None:
    if parts.port is None:
        return "must have a port: SRT has none of its own"
    if parts.path.strip("/"):
        return "must not have a path: SRT names a stream by streamid"
    if "#" in url:
        return "must have each # of its streamid as %23"
    if HIDDEN in parts.query:
        return f"must have the secrets of the stream in place of {HIDDEN}"
    pairs = [pair.partition("=") for pair in parts.query.split("&")] if parts.query else []
    if len({name for name, _, _ in pairs}) < len(pairs):
        return "must say each parameter once"
    for name, _, raw in pairs:
        value = unquote(raw)
        if name not in _SRT_FIELDS:
            return f"must have no parameters but {', '.join(sorted(_SRT_FIELDS))}"
        if name in _SRT_VALUES and value not in _SRT_VALUES[name]:
            return f"must have {' or '.join(_SRT_VALUES[name])} for its {name}"
        if not value.isprintable():
            return f"must have a {name} that can be printed"
        if name == "passphrase" and not 10 <= len(value.encode()) <= 79:
            return "must have a passphrase of 10 to 79 bytes"
        if name == "streamid" and len(value.encode()) > 512:
            return "must have a streamid of at most 512 bytes"
        if name == "latency" and not (value.isascii() and value.isdecimal() and int(value) <= _LONGEST_LATENCY_MS):
            return f"must have a latency in milliseconds, at most {_LONGEST_LATENCY_MS}"
    return None


def srt_place_of(url: str) -> SrtPlace:
    """An SRT address without a problem, taken apart."""
    parts = urlsplit(url)
    said = {name: unquote(value) for name, _, value in (pair.partition("=") for pair in parts.query.split("&"))}
    key_bytes, latency_ms = int(said.get("pbkeylen", "16")), int(said.get("latency", _LATENCY_MS))
    port = parts.port or 0
    return SrtPlace(
        parts.hostname or "", port, said.get("streamid", ""), said.get("passphrase", ""), key_bytes, latency_ms
    )


def is_srt(url: str) -> bool:
    """Whether an address without a problem is one of SRT."""
    return urlsplit(url).scheme == "srt"


def place_of(url: str) -> Place:
    """An RTMP address without a problem, taken apart: the last part of the path is the key, a `#` in it too."""
    parts = urlsplit(url, allow_fragments=False)
    path = parts.path.strip("/")
    app, _, key = path.rpartition("/")
    if not app:
        app, key = key, ""
    query = f"?{parts.query}" if parts.query else ""
    if key:
        key += query
    else:
        app += query
    port = parts.port or _PORTS[parts.scheme]
    netloc = parts.netloc
    return Place(parts.hostname or "", port, parts.scheme == "rtmps", app, key, f"{parts.scheme}://{netloc}/{app}")


def shown_address(url: str) -> str:
    """The address without what could be a key: its server, and its first folder where more comes behind.

    Of SRT only the server.
    """
    parts = urlsplit(url, allow_fragments=False)
    if parts.scheme == "srt":
        return f"srt://{parts.netloc}{f'?{HIDDEN}' if parts.query else ''}"
    folders = parts.path.strip("/").split("/")
    shown = [folders[0], HIDDEN] if len(folders) > 1 else [HIDDEN]
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{'/'.join(shown)}"


def retry_delay_s(failures: int, chance: float) -> float:
    """How long to leave a target alone after so many failures in a row; `chance` (0 to 1) spreads those of many."""
    delay_s = min(_FIRST_DELAY_S * (1 << min(max(failures - 1, 0), 10)), _LONGEST_DELAY_S)
    return delay_s * (0.5 + chance / 2)
