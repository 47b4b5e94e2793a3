"""What the rooms API takes and says of archives and retention. Pure; decides nothing."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from tapedeck.core.archive import MOST_RESTORE_DAYS
from tapedeck.core.retention import MOST_DAYS, Due, Policy
from tapedeck.shapes.bodies import Body
from tapedeck.shapes.library import RecId, RoomId, Seconds
from tapedeck.shapes.rooms import format_seconds, rec_id, room_id

__all__ = [
    "DueStep",
    "Held",
    "HoldBody",
    "Purged",
    "RestoreBody",
    "Restoring",
    "Retention",
    "RetentionBody",
    "due_body",
    "policy_body",
]

_Days = Annotated[int, Field(ge=0, le=MOST_DAYS)]


class RestoreBody(Body):
    """POST recordings/{id}/restore."""

    tier: Literal["standard", "bulk", "expedited"] = "standard"
    days: Annotated[int, Field(ge=1, le=MOST_RESTORE_DAYS)] = 7


class HoldBody(Body):
    """PUT recordings/{id}/hold."""

    hold: bool


class RetentionBody(Body):
    """PUT retention: what is not given, or `null`, never happens; of a room, what is not given is its tenant's."""

    archive_after_days: _Days | None = None
    delete_after_days: _Days | None = None
    purge_after_days: _Days | None = None

    def values(self) -> dict[str, Any]:
        """What was given."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set & type(self).model_fields.keys())}


class Restoring(TypedDict):
    """A recording whose files are asked for."""

    id: RecId
    status: Literal["archived"]
    archive_state: Literal["restoring", "restored"]
    tier: Annotated[str, Field(examples=["standard"])]
    days: Annotated[int, Field(ge=1, examples=[7])]
    restored_until: NotRequired[Seconds]


class Held(TypedDict):
    """Whether a recording is on hold."""

    id: RecId
    hold: bool


class Purged(TypedDict):
    """A recording that is gone for good."""

    id: RecId
    purged: Literal[True]
    purged_at: Seconds


class Retention(TypedDict):
    """After how many days; `null` is never."""

    archive_after_days: int | None
    delete_after_days: int | None
    purge_after_days: int | None


class DueStep(TypedDict):
    """What would be done to a recording."""

    id: RecId
    room_id: RoomId
    action: Literal["archive", "delete", "purge"]
    due_since: Seconds


def policy_body(policy: Policy) -> dict[str, Any]:
    """The rules that hold."""
    return {
        "archive_after_days": policy.archive_after_days,
        "delete_after_days": policy.delete_after_days,
        "purge_after_days": policy.purge_after_days,
    }


def due_body(due: Due) -> dict[str, Any]:
    """One line of a dry run."""
    return {
        "id": rec_id(due.recording_id),
        "room_id": room_id(due.room_id),
        "action": str(due.step),
        "due_since": format_seconds(due.since),
    }
