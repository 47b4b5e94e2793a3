"""From the Authorization header to a principal, and from a path to the app it may enter."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from tapedeck.core.access import AppPrincipal, ParticipantPrincipal, Principal
from tapedeck.core.errors import DeniedError
from tapedeck.core.meeting import App
from tapedeck.service.access import AccessService

__all__ = ["Entry", "Gate"]


@dataclass(frozen=True, slots=True)
class Entry:
    """Who is in which app."""

    principal: Principal
    app: App


class Gate:
    """What each route asks before anything else. UnauthenticatedError, DeniedError, NotFoundError."""

    def __init__(self, access: AccessService) -> None:
        self._access = access

    async def identify(self, request: Request) -> Principal:
        """Whoever sends the request, backend or participant."""
        return await self._access.authenticate(_bearer(request))

    async def enter(self, request: Request, account_id: str, app_id: str) -> Entry:
        """A backend that enters an app of its account."""
        entry = await self.enter_any(request, account_id, app_id)
        if not isinstance(entry.principal, AppPrincipal):
            raise DeniedError("Forbidden: this route needs an API token")
        return entry

    async def enter_any(self, request: Request, account_id: str, app_id: str) -> Entry:
        """A backend, or a participant of the app: for the routes that people in a meeting may use."""
        return Entry(*await self._access.enter(_bearer(request), account_id, app_id))

    async def enter_browser(self, request: Request) -> Entry:
        """A participant; the app is the token's."""
        principal = await self.identify(request)
        if not isinstance(principal, ParticipantPrincipal):
            raise DeniedError("Forbidden: this route needs a participant token")
        return Entry(principal, principal.app)

    async def enter_account(self, request: Request, account_id: str) -> Principal:
        """A backend of an account."""
        principal = await self.identify(request)
        self._access.enter_account(principal, account_id)
        return principal


def _bearer(request: Request) -> str | None:
    """Only `Bearer` is known: the legacy key and e-mail headers, and Basic, are as good as nothing."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
