"""The things around a recording: apps, meetings, the people invited to them, and what their presets allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

__all__ = ["App", "Meeting", "MeetingStatus", "Participant", "Preset", "Session"]


@dataclass(frozen=True, slots=True)
class App:
    """An application of an account; everything else belongs to one."""

    id: str
    account_id: str
    name: str
    created_at: datetime
    empty_timeout_s: float | None = None
    "How long its recordings wait in an empty room; None for the server's own setting."


class MeetingStatus(StrEnum):
    """Whether a meeting takes people."""

    ACTIVE = "active"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class Meeting:
    """A room. It never starts or ends; its sessions do."""

    id: str
    app_id: str
    created_at: datetime
    updated_at: datetime
    title: str | None = None
    status: MeetingStatus = MeetingStatus.ACTIVE
    record_on_start: bool = False
    keep_alive_s: float = 60.0
    recording_config: Mapping[str, Any] | None = None
    "Defaults of its recordings, as the API takes them, already validated."
    ai_config: Mapping[str, Any] | None = None
    "Stored and given back; this server transcribes nothing."


@dataclass(frozen=True, slots=True)
class Preset:
    """What a participant may do. The three parts are kept as the API shows them."""

    id: str
    app_id: str
    name: str
    created_at: datetime
    updated_at: datetime
    config: Mapping[str, Any]
    permissions: Mapping[str, Any]
    ui: Mapping[str, Any]

    @property
    def can_record(self) -> bool:
        """May start, pause, resume and stop recordings."""
        return self.permissions.get("can_record") is True

    @property
    def is_hidden(self) -> bool:
        """Counts as nobody: the recorder itself, or a silent watcher."""
        return self.permissions.get("hidden_participant") is True

    def can_produce(self, kind: str) -> bool:
        """May send `audio`, `video` or `screenshare`."""
        media = self.permissions.get("media")
        part = media.get(kind) if isinstance(media, Mapping) else None
        return isinstance(part, Mapping) and part.get("can_produce") == "ALLOWED"


@dataclass(frozen=True, slots=True)
class Participant:
    """A person invited to a meeting."""

    id: str
    meeting_id: str
    preset_id: str
    preset_name: str
    custom_id: str
    created_at: datetime
    updated_at: datetime
    name: str | None = None
    picture: str | None = None
    token_version: int = 1

    @property
    def display_name(self) -> str:
        """What is written under the picture."""
        return self.name or self.custom_id


@dataclass(frozen=True, slots=True)
class Session:
    """One live run of a meeting, from the first join until a while after the last leave."""

    id: str
    meeting_id: str
    started_at: datetime
    ended_at: datetime | None = None
    occupied_since: datetime | None = None
    empty_since: datetime | None = None
    outage_at: datetime | None = None
