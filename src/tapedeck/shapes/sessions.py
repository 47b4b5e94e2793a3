"""What the RealtimeKit face says and takes of sessions and the people in them. Pure.

Times people spend are given in minutes with fractions of them, exact to the millisecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired
from uuid import NAMESPACE_OID, uuid5

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from tapedeck.core import meeting as core
from tapedeck.core.meeting import Attendance, Meeting, Participant
from tapedeck.core.paging import Listing
from tapedeck.core.times import format_time
from tapedeck.shapes.answers import Id, Paging, Time

__all__ = [
    "KickBody",
    "Kicked",
    "KickedAll",
    "OneParticipant",
    "ParticipantPage",
    "Session",
    "SessionPage",
    "attendance_body",
    "kicked_all",
    "kicked_body",
    "participant_listing",
    "session_body",
    "session_listing",
]

_MOST_KICKED = 1000
_Ids = Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=_MOST_KICKED)]


class KickBody(BaseModel):
    """POST kick: whom, by either kind of id."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    participant_ids: _Ids | None = None
    custom_participant_ids: _Ids | None = None

    @model_validator(mode="after")
    def _somebody(self) -> KickBody:
        if not self.participant_ids and not self.custom_participant_ids:
            raise PydanticCustomError("refused", "must name somebody by participant_ids or custom_participant_ids")
        return self


Minutes = Annotated[float, Field(ge=0, description="Minutes, with fractions.", examples=[12.5])]


class Session(TypedDict):
    """One live run of a meeting. Counts are of visible people, however many connections each has."""

    id: Id
    associated_id: Annotated[Id, Field(description="The meeting.")]
    meeting_display_name: Annotated[
        str, Field(description="Title of the meeting; empty without.", examples=["Physics"])
    ]
    type: Literal["meeting"]
    status: Literal["LIVE", "ENDED"]
    live_participants: Annotated[int, Field(ge=0, examples=[2])]
    max_concurrent_participants: Annotated[int, Field(ge=0, examples=[3])]
    minutes_consumed: Annotated[Minutes, Field(description="Of all people, together.")]
    organization_id: Annotated[str, Field(description="The app.", examples=["campus"])]
    started_at: Time
    ended_at: Annotated[Time | None, Field(description="Null while it is LIVE.")]
    created_at: Time
    updated_at: Annotated[Time, Field(description="When somebody last came or went, or it ended.")]
    breakout_rooms: NotRequired[Annotated[list[str], Field(max_length=0, examples=[[]], description="There are none.")]]


class SessionList(TypedDict):
    """Sessions."""

    sessions: list[Session]


class SessionPage(TypedDict):
    """A page of sessions."""

    success: Literal[True]
    data: SessionList
    paging: Paging


class PeerEvent(TypedDict):
    """A connection came or went."""

    id: Id
    event_name: Literal["PEER_JOINING", "PEER_LEAVING"]
    peer_id: Id
    participant_id: Id
    session_id: Id
    preset_view_type: Annotated[str | None, Field(examples=["GROUP_CALL"])]
    minutes_consumed: Minutes
    created_at: Time
    updated_at: Time


class SessionParticipant(TypedDict):
    """Somebody in a session, or one of their connections, as they were when they came."""

    id: Annotated[Id, Field(description="The connection; of a person with several the first.")]
    user_id: Annotated[Id, Field(description="The participant.")]
    custom_participant_id: Annotated[str | None, Field(examples=["user-7"])]
    display_name: Annotated[str, Field(examples=["Ada"])]
    preset_name: Annotated[str | None, Field(examples=["group_call_host"])]
    joined_at: Time
    left_at: Annotated[Time | None, Field(description="Null while they are there.")]
    duration: Minutes
    created_at: Time
    updated_at: Time
    peer_events: NotRequired[Annotated[list[PeerEvent], Field(description="Where they were asked for.")]]
    session_id: NotRequired[Id]


class OneParticipant(TypedDict):
    """Somebody in a session."""

    participant: SessionParticipant


class ParticipantList(TypedDict):
    """People of a session."""

    participants: list[SessionParticipant]


class ParticipantPage(TypedDict):
    """A page of the people of a session."""

    success: Literal[True]
    data: ParticipantList
    paging: Paging


class KickedParticipant(TypedDict):
    """Somebody who was kicked."""

    id: Id
    custom_participant_id: Annotated[str, Field(examples=["user-7"])]
    name: Annotated[str | None, Field(examples=["Ada"])]
    picture: Annotated[str | None, Field(examples=["https://example.org/ada.png"])]
    created_at: Time
    updated_at: Time


class Kicked(TypedDict):
    """Who was there and was kicked."""

    action: Literal["kick"]
    participants: list[KickedParticipant]


class KickedAll(TypedDict):
    """How many were there."""

    action: Literal["kick-all"]
    kicked_participants_count: Annotated[int, Field(ge=0, examples=[2])]


def session_body(
    live: core.Session, meeting: Meeting, consumed_ms: int, breakout_rooms: bool = False
) -> dict[str, Any]:
    """A session; with the list of its breakout rooms, of which it has none, where that was asked for."""
    begun = format_time(live.started_at)
    body: dict[str, Any] = {
        "id": live.id,
        "associated_id": meeting.id,
        "meeting_display_name": meeting.title or "",
        "type": "meeting",
        "status": "LIVE" if live.ended_at is None else "ENDED",
        "live_participants": live.people,
        "max_concurrent_participants": live.most_people,
        "minutes_consumed": _minutes(consumed_ms),
        "organization_id": meeting.app_id,
        "started_at": begun,
        "ended_at": _time(live.ended_at),
        "created_at": begun,
        "updated_at": _time(live.updated_at) or begun,
    }
    return body | {"breakout_rooms": []} if breakout_rooms else body


def session_listing(items: Sequence[dict[str, Any]], page: Listing[Any]) -> dict[str, Any]:
    """A page of sessions, in the envelope that only they have."""
    return {"success": True, "data": {"sessions": list(items)}, "paging": _paging(page)}


def participant_listing(items: Sequence[dict[str, Any]], page: Listing[Any]) -> dict[str, Any]:
    """A page of the people of a session."""
    return {"success": True, "data": {"participants": list(items)}, "paging": _paging(page)}


def attendance_body(attendance: Attendance, connections: Sequence[Attendance] | None = None) -> dict[str, Any]:
    """Somebody in a session, or a connection, with the events of `connections` where those were asked for."""
    body: dict[str, Any] = {
        "id": attendance.peer_id,
        "user_id": attendance.participant_id,
        "custom_participant_id": attendance.custom_id,
        "display_name": attendance.name,
        "preset_name": attendance.preset_name,
        "joined_at": format_time(attendance.joined_at),
        "left_at": _time(attendance.left_at),
        "duration": _minutes(attendance.stayed_ms),
        "created_at": format_time(attendance.joined_at),
        "updated_at": format_time(attendance.left_at or attendance.joined_at),
    }
    if connections is not None:
        body["peer_events"] = [event for connection in connections for event in _events(connection)]
    return body


def kicked_body(kicked: Sequence[Participant]) -> dict[str, Any]:
    """Who was kicked."""
    return {"action": "kick", "participants": [_kicked(participant) for participant in kicked]}


def kicked_all(count: int) -> dict[str, Any]:
    """How many were kicked."""
    return {"action": "kick-all", "kicked_participants_count": count}


def _kicked(participant: Participant) -> dict[str, Any]:
    return {
        "id": participant.id,
        "custom_participant_id": participant.custom_id,
        "name": participant.name,
        "picture": participant.picture,
        "created_at": format_time(participant.created_at),
        "updated_at": format_time(participant.updated_at),
    }


def _events(connection: Attendance) -> list[dict[str, Any]]:
    """That a connection came and, with the time it took, that it went."""
    events = [_event(connection, "PEER_JOINING", connection.joined_at, 0)]
    if connection.left_at is not None:
        events.append(_event(connection, "PEER_LEAVING", connection.left_at, connection.stayed_ms))
    return events


def _event(connection: Attendance, name: str, at: datetime, consumed_ms: int) -> dict[str, Any]:
    return {
        "id": str(uuid5(NAMESPACE_OID, f"{connection.peer_id} {name}")),
        "event_name": name,
        "peer_id": connection.peer_id,
        "participant_id": connection.participant_id,
        "session_id": connection.session_id,
        "preset_view_type": connection.view_type,
        "minutes_consumed": _minutes(consumed_ms),
        "created_at": format_time(at),
        "updated_at": format_time(at),
    }


def _minutes(value_ms: int) -> float:
    return value_ms // 60_000 if value_ms % 60_000 == 0 else round(value_ms / 60_000, 5)


def _time(at: datetime | None) -> str | None:
    return None if at is None else format_time(at)


def _paging(page: Listing[Any]) -> dict[str, Any]:
    return {"total_count": page.total_count, "start_offset": page.start_offset, "end_offset": page.end_offset}
