"""From the Authorization header to a principal, and from a path to the app it may enter."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from tapedeck.api.describe import Who, operation_of
from tapedeck.core.access import AppPrincipal, ParticipantPrincipal, Principal, TokenScope
from tapedeck.core.errors import DeniedError, LimitError
from tapedeck.core.meeting import App
from tapedeck.core.quota import Limiter
from tapedeck.service.access import AccessService

__all__ = ["Entry", "Gate", "TenantEntry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """Who is in which app."""

    principal: Principal
    app: App


@dataclass(frozen=True, slots=True)
class TenantEntry:
    """Whose key it is, and the tenant."""

    key: AppPrincipal
    app: App


class Gate:
    """What each route asks before anything else. UnauthenticatedError, DeniedError, NotFoundError."""

    def __init__(
        self, access: AccessService, limiter: Limiter | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._access = access
        self._limiter = limiter
        self._monotonic = monotonic

    async def identify(self, request: Request) -> Principal:
        """Whoever sends the request, backend or participant. LimitError when they ask too often."""
        principal = await self._access.authenticate(_bearer(request))
        self._count(request, principal)
        return principal

    async def enter(self, request: Request, account_id: str, app_id: str) -> Entry:
        """A backend that enters an app of its account, with the scope that the route is described with."""
        entry = await self.enter_any(request, account_id, app_id)
        if not isinstance(entry.principal, AppPrincipal):
            raise DeniedError("Forbidden: this route needs an API token")
        _check_scope(request, entry.principal)
        return entry

    async def enter_backend(self, request: Request) -> AppPrincipal:
        """A backend, with the scope that the route is described with; which app it enters is found out afterwards."""
        principal = await self.identify(request)
        if not isinstance(principal, AppPrincipal):
            raise DeniedError("Forbidden: this route needs an API token")
        _check_scope(request, principal)
        return principal

    async def enter_any(self, request: Request, account_id: str, app_id: str) -> Entry:
        """A backend, or a participant of the app: for the routes that people in a meeting may use."""
        entry = Entry(*await self._access.enter(_bearer(request), account_id, app_id))
        self._count(request, entry.principal)
        return entry

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
        if isinstance(principal, AppPrincipal):
            _check_scope(request, principal)
        return principal

    async def enter_tenant(self, request: Request) -> TenantEntry:
        """A tenant of the rooms API, by its key or by a token that stands for it."""
        key = request.headers.get("x-api-key", "").strip()
        entry = TenantEntry(*await self._access.enter_tenant(key or None, _bearer(request)))
        self._count(request, entry.key)
        operation = operation_of(request.scope.get("endpoint"))
        admin = operation is not None and operation.who is Who.TENANT_ADMIN
        if admin and entry.key.token.scope is not TokenScope.ROOMS_ADMIN:
            raise DeniedError("This route needs a key of an administrator")
        return entry

    def _count(self, request: Request, principal: Principal) -> None:
        if self._limiter is None:
            return
        who = principal.token.id if isinstance(principal, AppPrincipal) else principal.participant.id
        refused = self._limiter.ask(who, "/recordings" in request.url.path, self._monotonic())
        if refused is not None:
            limit, wait_s = refused
            raise LimitError(f"Too many requests: {limit.calls} {limit.what} in {limit.seconds} s are allowed", wait_s)


def _check_scope(request: Request, principal: AppPrincipal) -> None:
    """What a route says of itself (`describe`) is what is asked for."""
    operation = operation_of(request.scope.get("endpoint"))
    if operation is not None and operation.who is Who.ADMIN and principal.token.scope is not TokenScope.REALTIME_ADMIN:
        raise DeniedError("Forbidden: this route needs a token with the scope Realtime Admin")


def _bearer(request: Request) -> str | None:
    """Only `Bearer` is known: the legacy key and e-mail headers, and Basic, are as good as nothing."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
