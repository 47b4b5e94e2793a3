"""Where a recording is streamed to while it is made: targets, their addresses and states. Pure.

Owns what of an address may be shown (the key of a stream is a secret, and stands last in it), and how long a target is
left alone after a fault. Refuses to connect anywhere (`tapedeck/push`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit

from tapedeck.core.egress import URL_LIMIT

__all__ = [
    "MOST_TARGETS",
    "NO_STREAMS",
    "Place",
    "Target",
    "TargetState",
    "address_problem",
    "place_of",
    "retry_delay_s",
    "shown_address",
]

MOST_TARGETS = 8
"""Of one recording at a time."""
NO_STREAMS = "this server makes films after the meeting (RENDER_MODE), so it streams none"
HIDDEN = "***"
"""Stands for the key in an address that is shown."""
_PORTS = {"rtmp": 1935, "rtmps": 443}
_FIRST_DELAY_S, _LONGEST_DELAY_S = 1.0, 30.0


class TargetState(StrEnum):
    """How a target does."""

    CONNECTING = "connecting"
    LIVE = "live"
    "The server takes the stream, and was sent the first of it."
    RETRYING = "retrying"
    "It failed, and is tried again; the reason is kept."
    ENDED = "ended"
    "Removed, or the recording ended, or it can never be reached: then there is a reason."


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


def address_problem(url: str) -> str | None:
    """What is wrong with an address to stream to, as the end of a sentence; None when nothing is."""
    if len(url) > URL_LIMIT:
        return f"must have at most {URL_LIMIT} characters"
    if not url.isprintable() or any(c.isspace() for c in url) or "\\" in url:
        return "must be a valid uri"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "must be a valid uri"
    if parts.scheme == "srt":
        return "cannot be SRT: this server streams over rtmp and rtmps"
    if parts.scheme not in _PORTS or not host or port == 0:
        return "must be a valid uri with the scheme rtmp or rtmps"
    if parts.username is not None or parts.password is not None:
        return "must not have a user name or password in it"
    if not parts.path.strip("/"):
        return "must have a path: the application and the key of the stream"
    if HIDDEN in parts.path.split("/"):
        return f"must have the key of the stream in place of {HIDDEN}"
    return None


def place_of(url: str) -> Place:
    """An address without a problem, taken apart: the last part of the path is the key."""
    parts = urlsplit(url)
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
    """The address without what could be a key: its server, and its first folder where more comes behind."""
    parts = urlsplit(url)
    folders = parts.path.strip("/").split("/")
    shown = [folders[0], HIDDEN] if len(folders) > 1 else [HIDDEN]
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{'/'.join(shown)}"


def retry_delay_s(failures: int, chance: float) -> float:
    """How long to leave a target alone after so many failures in a row; `chance` (0 to 1) spreads those of many."""
    delay_s = min(_FIRST_DELAY_S * (1 << min(max(failures - 1, 0), 10)), _LONGEST_DELAY_S)
    return delay_s * (0.5 + chance / 2)
