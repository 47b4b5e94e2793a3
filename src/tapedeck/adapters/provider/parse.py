"""Recordings out of answers of the RealtimeKit API (spec B1, B3, D3); ValueError, KeyError, TypeError for nonsense."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from tapedeck.core.ids import is_uuid
from tapedeck.core.naming import is_segment
from tapedeck.core.remote import RemoteFile, RemoteRecording, RemoteStatus
from tapedeck.core.times import parse_time

__all__ = ["read_page", "read_recording"]

_STRANGE = re.compile(r"[^A-Za-z0-9._=+-]+")
_LONGEST = 200


def read_page(body: Mapping[str, Any]) -> tuple[Sequence[RemoteRecording], int | None]:
    """The recordings of a page, and how many there are on all of them, if it says so."""
    total = (body.get("paging") or {}).get("total_count")
    return [read_recording(item) for item in body.get("data") or ()], None if total is None else int(total)


def read_recording(item: Mapping[str, Any]) -> RemoteRecording:
    """One recording; the answer to a start of tracks has it one level deeper."""
    body = item.get("recording") or item
    recording_id, name = str(body["id"]).lower(), str(body.get("output_file_name") or "")
    if not is_uuid(recording_id):
        raise ValueError("a recording has an id that is none")
    links = body.get("download_url")
    is_track = body.get("type") == "TRACK" or isinstance(links, list) or "{{" in name
    meeting = body.get("meeting") or {}
    meeting_id = body.get("meeting_id") or meeting.get("id")
    return RemoteRecording(
        id=recording_id,
        status=RemoteStatus(body["status"]),
        file_name=name,
        invoked_at=parse_time(body["invoked_time"]),
        started_at=_time(body.get("started_time")),
        stopped_at=_time(body.get("stopped_time")),
        seconds=_number(body.get("recording_duration")),
        size_bytes=_number(body.get("file_size")),
        links_end=_time(body.get("download_url_expiry")),
        is_track=is_track,
        files=tuple(_files(links, body.get("audio_download_url"), name)),
        meeting_id=None if meeting_id is None else str(meeting_id),
    )


def _files(links: Any, sound: Any, name: str) -> list[RemoteFile]:
    if isinstance(links, list):
        return [
            RemoteFile("track", _safe(file), str(link["download_url"]), str(layer.get("layer_name") or "default"))
            for layer in links
            for file, link in (layer.get("download_urls") or {}).items()
        ]
    stem = _safe(name).rpartition(".")[0] or "recording"
    return [
        RemoteFile(kind, f"{stem}.{_extension(link) or fallback}", str(link))
        for kind, link, fallback in (("video", links, "mp4"), ("audio", sound, "mp3"))
        if link
    ]


def _safe(name: str) -> str:
    """A name that a key can end with."""
    safe = _STRANGE.sub("-", name)[-_LONGEST:].lstrip(".")
    return safe if is_segment(safe) else "recording.bin"


def _extension(link: str) -> str:
    _, dot, extension = unquote(urlsplit(link).path).rpartition(".")
    return extension.lower() if dot and re.fullmatch(r"[A-Za-z0-9]{1,5}", extension) else ""


def _time(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)


def _number(value: Any) -> int | None:
    return None if value is None else int(float(value))
