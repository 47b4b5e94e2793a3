"""Who is asking: API tokens of an application's backend, and participants with what their preset allows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tapedeck.core.meeting import App, Participant, Preset
from tapedeck.core.recording import Caller, CallerKind

__all__ = ["TENANT_SCOPES", "AppPrincipal", "ParticipantPrincipal", "Principal", "Token", "TokenOrigin", "TokenScope"]


class TokenScope(StrEnum):
    """What a token may do: RealtimeKit's own routes take both, as published; what changes things under `/v1`, one."""

    REALTIME_ADMIN = "realtime_admin"
    "Everything."
    REALTIME = "realtime"
    "All of the RealtimeKit face; under `/v1` only reading."
    ROOMS = "rooms"
    "A tenant's key: all of the rooms API of one app, and nothing else."
    ROOMS_ADMIN = "rooms_admin"
    "A tenant's key that also sees what was deleted."


TENANT_SCOPES = frozenset({TokenScope.ROOMS, TokenScope.ROOMS_ADMIN})
"""Good on the rooms API alone, where no other token is."""


class TokenOrigin(StrEnum):
    """Where a token came from: a configured one is void once the configuration names another."""

    ISSUED = "issued"
    SETTINGS = "settings"


@dataclass(frozen=True, slots=True)
class Token:
    """An API token without its text, which is known only to whoever was given it."""

    id: str
    account_id: str
    app_id: str | None
    "The only app it is good for; None for all of its account."
    name: str
    scope: TokenScope
    origin: TokenOrigin
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class AppPrincipal:
    """A backend with an API token."""

    token: Token

    def caller(self, app: App) -> Caller:
        """How it is named in the recordings it starts and stops."""
        return Caller(CallerKind.APP, app.id, app.name)


@dataclass(frozen=True, slots=True)
class ParticipantPrincipal:
    """A person in a meeting with a participant token."""

    app: App
    participant: Participant
    preset: Preset

    @property
    def meeting_id(self) -> str:
        """The only meeting the token is good for."""
        return self.participant.meeting_id

    def caller(self, app: App) -> Caller:
        """How the person is named in the recordings they start and stop."""
        return Caller(CallerKind.PARTICIPANT, self.participant.id, self.participant.display_name)


Principal = AppPrincipal | ParticipantPrincipal
