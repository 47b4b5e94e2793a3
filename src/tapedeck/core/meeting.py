"""The things around a recording: apps, meetings, the people invited to them, and what their presets allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from tapedeck.core.times import to_ms

__all__ = ["App", "Attendance", "Meeting", "MeetingStatus", "Participant", "Preset", "Session", "SessionEnd"]


@dataclass(frozen=True, slots=True)
class App:
    """An application of an account; everything else belongs to one."""

    id: str
    account_id: str
    name: str
    created_at: datetime
    empty_timeout_s: float | None = None
    "How long its recordings wait in an empty room; None for the server's own setting."
    recording_config: Mapping[str, Any] | None = None
    "Defaults of its recordings, below those of their meeting; as the API takes them, already validated."


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
    stream_on_start: bool = False
    "Whether each session is shown to viewers from its first join on."


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

    @property
    def view_type(self) -> str | None:
        """What kind of meeting it is for, as the API names it."""
        found = self.config.get("view_type")
        return found if isinstance(found, str) else None

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


class SessionEnd(StrEnum):
    """Why a session is over."""

    EMPTY = "empty"
    "Nobody was there for the keep-alive time of the meeting."
    HOST = "host"
    "It was ended from outside: everybody was kicked, or the meeting made INACTIVE."


@dataclass(frozen=True, slots=True)
class Session:
    """One live run of a meeting, from the first join until a while after the last leave.

    The counts are of people, however many connections each has; hidden participants are in none of them.
    """

    id: str
    meeting_id: str
    started_at: datetime
    ended_at: datetime | None = None
    occupied_since: datetime | None = None
    empty_since: datetime | None = None
    outage_at: datetime | None = None
    end_cause: SessionEnd | None = None
    people: int = 0
    "Who is there now."
    most_people: int = 0
    "Who was there at once, at most."
    stayed_ms: int = 0
    "How long the stays that are over took, together."
    since_sum_ms: int = 0
    "Sum of the instants, in Unix ms, since which those who are there have been there."
    updated_at: datetime | None = None
    "When somebody last came or went, or it ended; None for one that nobody has come to."

    def came(self, at: datetime) -> Session:
        """Somebody is there who was not."""
        people = self.people + 1
        return replace(
            self,
            people=people,
            most_people=max(self.most_people, people),
            since_sum_ms=self.since_sum_ms + to_ms(at),
            updated_at=at,
        )

    def went(self, since: datetime, at: datetime) -> Session:
        """Somebody who was there since `since` is gone; never before they came."""
        at = max(since, at)
        return replace(
            self,
            people=self.people - 1,
            stayed_ms=self.stayed_ms + to_ms(at) - to_ms(since),
            since_sum_ms=self.since_sum_ms - to_ms(since),
            updated_at=at,
        )

    def consumed_ms(self, now: datetime) -> int:
        """How long everybody has been there until `now`, together."""
        return self.stayed_ms + max(0, self.people * to_ms(now) - self.since_sum_ms)


@dataclass(frozen=True, slots=True)
class Attendance:
    """Somebody in a session, or one of their connections, as it is listed afterwards.

    What it says of the participant is what was true when they came: they may have been edited or deleted since.
    """

    peer_id: str
    "The connection; of a person with several the first."
    session_id: str
    participant_id: str
    name: str
    custom_id: str | None
    preset_name: str | None
    view_type: str | None
    joined_at: datetime
    left_at: datetime | None
    "None while they are there."
    stayed_ms: int
    "How long they have been there, absences left out."
