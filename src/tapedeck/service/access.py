"""Accounts, apps and everything that proves who is asking. Owns the texts of tokens: no other module sees one.

API tokens are random and kept as a SHA-256 digest. Participant tokens are JSON Web Tokens signed by this server
(HS256); they carry the version of the participant's tokens, which an edit or a deletion makes void. A tenant's key is
an API token for the rooms API of one app; a tenant's token is a short-lived JSON Web Token made with a key, void when
the key is.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt

from tapedeck.core.access import (
    TENANT_SCOPES,
    AppPrincipal,
    ParticipantPrincipal,
    Principal,
    Token,
    TokenOrigin,
    TokenScope,
)
from tapedeck.core.errors import ConflictError, DeniedError, InvalidError, NotFoundError, UnauthenticatedError
from tapedeck.core.ids import is_account_id, is_app_id
from tapedeck.core.meeting import App, Participant, Preset
from tapedeck.core.paging import Listing, Page
from tapedeck.core.presets import DEFAULT_PRESETS
from tapedeck.core.signing import derive_key
from tapedeck.core.times import from_ms, to_ms, whole_ms
from tapedeck.db import access as tables
from tapedeck.db import rooms
from tapedeck.db.engine import Database, DbSession
from tapedeck.ports.clock import Clock

__all__ = ["AccessService", "Bootstrap"]

_MIN_TOKEN = 16
_KNOWN_TOKENS = 4096
_UNKNOWN = "The token is unknown, revoked or expired"


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What a server can be used with at once."""

    account_id: str
    app: App
    token: str | None
    "The text of a token made just now, to be shown once; None when there was one already, or it was configured."


class AccessService:
    """Who may do what. `secret` is the server's secret; participant tokens live for `token_ttl`."""

    def __init__(
        self, db: Database, clock: Clock, secret: str | bytes, token_ttl: timedelta = timedelta(hours=24)
    ) -> None:
        self._db = db
        self._clock = clock
        self._jwt_key = derive_key(secret, "participant-token")
        self._tenant_key = derive_key(secret, "tenant-token")
        self._token_ttl = token_ttl
        self._known: dict[tuple[str, str | None], tuple[int, Token, App | None]] = {}
        "API tokens by digest and app, each with the version of the database it was read from."

    # Proving

    async def authenticate(self, bearer: str | None) -> Principal:
        """Who holds this token. UnauthenticatedError without one, or with one that is not (or no longer) good."""
        return (await self._identify(bearer, None))[0]

    async def enter(self, bearer: str | None, account_id: str, app_id: str) -> tuple[Principal, App]:
        """Who holds this token, and the app they address.

        UnauthenticatedError as `authenticate`; DeniedError if the token is not for the app; NotFoundError if the app
        is not there.
        """
        principal, app = await self._identify(bearer, app_id)
        if isinstance(principal, ParticipantPrincipal):
            if principal.app.account_id != account_id or principal.app.id != app_id:
                raise DeniedError("Forbidden: the token is not valid for this account and app")
            return principal, principal.app
        self.enter_account(principal, account_id)
        if principal.token.app_id not in (None, app_id):
            raise DeniedError("Forbidden: the token is not valid for this app")
        if app is None or app.account_id != account_id:
            raise NotFoundError(f"App not found: {app_id}")
        return principal, app

    async def _identify(self, bearer: str | None, app_id: str | None) -> tuple[Principal, App | None]:
        """Who holds this token; with an API token also the app, in one question to the database."""
        if not bearer:
            raise UnauthenticatedError("Authentication is required: send Authorization: Bearer <token>")
        if bearer.count(".") == 2:
            claims = self._claims(bearer)
            if claims is not None:
                return await self._participant(claims), None
        token, app = await self._api_token(_digest(bearer), app_id)
        if token is None or not token.is_valid(self._clock.now()):
            raise UnauthenticatedError(_UNKNOWN)
        if token.scope in TENANT_SCOPES:
            raise DeniedError("Forbidden: a tenant's key is good on the rooms API alone")
        return AppPrincipal(token), app

    async def _api_token(self, digest: str, app_id: str | None) -> tuple[Token | None, App | None]:
        """A token and an app. What was read before is believed while nothing was committed since, by any process."""
        version = self._db.version()
        known = self._known.get((digest, app_id))
        if known is not None and version is not None and known[0] == version:
            return known[1], known[2]
        async with self._db.read() as session:
            found = await tables.find_token(session, digest, app_id)
        if found is None or not hmac.compare_digest(found[1], digest):
            return None, None
        if version is not None:
            if len(self._known) >= _KNOWN_TOKENS:
                self._known.clear()
            self._known[digest, app_id] = version, found[0], found[2]
        return found[0], found[2]

    def enter_account(self, principal: Principal, account_id: str) -> None:
        """Pass if an API token is good for an account, else DeniedError."""
        if not isinstance(principal, AppPrincipal) or principal.token.account_id != account_id:
            raise DeniedError("Forbidden: the token is not valid for this account")

    # Tenants of the rooms API

    async def enter_tenant(self, key: str | None, bearer: str | None) -> tuple[AppPrincipal, App]:
        """Whose key this is, or whose token, and the app that is the tenant; a key goes before a token.

        UnauthenticatedError without one that is good; DeniedError for a token of another API.
        """
        token, app = None, None
        if key:
            digest = _digest(key)
            token, _ = await self._api_token(digest, None)
            if token is not None and token.app_id is not None:
                token, app = await self._api_token(digest, token.app_id)
        elif bearer:
            token, app = await self._tenant_of(bearer)
        else:
            raise UnauthenticatedError("Authentication is required: send X-API-Key, or Authorization: Bearer <token>")
        if token is None or not token.is_valid(self._clock.now()):
            raise UnauthenticatedError("The key is unknown, revoked or expired")
        if token.scope not in TENANT_SCOPES or app is None:
            raise DeniedError("The rooms API needs a tenant's key")
        return AppPrincipal(token), app

    def tenant_token(self, token: Token, ttl_s: int) -> tuple[str, datetime]:
        """A token that stands for a tenant's key for so many seconds, and when it ends."""
        now = to_ms(self._clock.now()) // 1000
        claims = {"tenant": token.app_id, "key": token.id, "iat": now, "exp": now + ttl_s}
        return jwt.encode(claims, self._tenant_key, algorithm="HS256"), from_ms((now + ttl_s) * 1000)

    async def _tenant_of(self, text: str) -> tuple[Token | None, App | None]:
        claims = self._read_claims(text, self._tenant_key, ["tenant", "key", "iat", "exp"])
        if claims is None:
            return None, None
        async with self._db.read() as session:
            token = await tables.find_token_by_id(session, str(claims["key"]))
            app = None if token is None or token.app_id is None else await tables.find_app(session, token.app_id)
        return (token, app) if app is not None and app.id == claims["tenant"] else (None, None)

    # Participant tokens

    def participant_token(self, app: App, participant: Participant) -> str:
        """A token the participant can join and, if the preset allows, record with."""
        now = to_ms(self._clock.now()) // 1000
        claims = {
            "orgId": app.id,
            "meetingId": participant.meeting_id,
            "participantId": participant.id,
            "presetId": participant.preset_id,
            "iat": now,
            "exp": now + int(self._token_ttl.total_seconds()),
            "ver": participant.token_version,
        }
        return jwt.encode(claims, self._jwt_key, algorithm="HS256")

    def _claims(self, text: str) -> dict[str, Any] | None:
        """Claims of a participant token of ours; None if it is none, UnauthenticatedError if it has expired."""
        wanted = ["orgId", "meetingId", "participantId", "presetId", "iat", "exp", "ver"]
        return self._read_claims(text, self._jwt_key, wanted)

    def _read_claims(self, text: str, key: bytes, wanted: list[str]) -> dict[str, Any] | None:
        # Times are compared with our clock below, not with the library's.
        options: Any = {"require": wanted, "verify_exp": False, "verify_iat": False, "verify_nbf": False}
        try:
            claims: dict[str, Any] = jwt.decode(text, key, algorithms=["HS256"], options=options)
        except jwt.PyJWTError:
            return None
        if not isinstance(claims["exp"], int) or claims["exp"] * 1000 <= to_ms(self._clock.now()):
            raise UnauthenticatedError(_UNKNOWN)
        return claims

    async def _participant(self, claims: dict[str, Any]) -> ParticipantPrincipal:
        async with self._db.read() as session:
            found = await rooms.find_invited(session, str(claims["participantId"]))
        if found is None:
            raise UnauthenticatedError(_UNKNOWN)
        participant, preset, app = found
        present = (app.id, participant.meeting_id, participant.token_version)
        if present != (claims["orgId"], claims["meetingId"], claims["ver"]):
            raise UnauthenticatedError(_UNKNOWN)
        return ParticipantPrincipal(app, participant, preset)

    # API tokens

    async def issue_token(
        self,
        account_id: str,
        app_id: str | None = None,
        name: str = "token",
        scope: TokenScope = TokenScope.REALTIME_ADMIN,
        expires_at: datetime | None = None,
    ) -> tuple[str, Token]:
        """Make a token; its text is returned here and never again. NotFoundError for an unknown account or app."""
        if (scope in TENANT_SCOPES) and app_id is None:
            raise InvalidError("A tenant's key is for one app: name it")
        text = f"{'tdr' if scope in TENANT_SCOPES else 'tdk'}_{secrets.token_urlsafe(32)}"
        async with self._db.write() as session:
            if await tables.find_account(session, account_id) is None:
                raise NotFoundError(f"Account not found: {account_id}")
            app = None if app_id is None else await tables.find_app(session, app_id)
            if app_id is not None and (app is None or app.account_id != account_id):
                raise NotFoundError(f"App not found: {app_id}")
            token = self._new_token(account_id, app_id, name, scope, TokenOrigin.ISSUED, expires_at)
            await tables.add_token(session, token, _digest(text))
        return text, token

    async def list_tokens(self, account_id: str | None = None) -> Sequence[Token]:
        """Tokens of an account, or all: what is known of them, without their texts."""
        async with self._db.read() as session:
            return await tables.list_tokens(session, account_id)

    async def revoke_token(self, token_id: str) -> None:
        """Make a token void at once. NotFoundError if there is none that is valid."""
        async with self._db.write() as session:
            if not await tables.revoke_token(session, token_id, self._clock.now()):
                raise NotFoundError(f"Token not found: {token_id}")

    def _new_token(
        self,
        account_id: str,
        app_id: str | None,
        name: str,
        scope: TokenScope,
        origin: TokenOrigin,
        expires_at: datetime | None = None,
    ) -> Token:
        now = whole_ms(self._clock.now())
        return Token(str(uuid4()), account_id, app_id, name, scope, origin, now, expires_at)

    # Accounts and apps

    async def create_account(self, account_id: str | None = None) -> str:
        """A new account, under this id or a random one. InvalidError, ConflictError when there is one."""
        chosen = account_id or uuid4().hex
        _check_settings(chosen, None, None)
        async with self._db.write() as session:
            if await tables.find_account(session, chosen) is not None:
                raise ConflictError(f"There is an account {chosen} already")
            await tables.add_account(session, chosen, whole_ms(self._clock.now()))
        return chosen

    async def list_accounts(self) -> Sequence[str]:
        """Ids of all accounts, oldest first."""
        async with self._db.read() as session:
            return await tables.list_accounts(session)

    async def every_app(self, account_id: str | None = None) -> Sequence[App]:
        """Apps of an account, or all, oldest first."""
        async with self._db.read() as session:
            return await tables.every_app(session, account_id)

    async def bootstrap_ids(self, account_id: str = "", app_id: str = "") -> tuple[str, str]:
        """The account and the app that are meant when none is named: those of `bootstrap`, made when there are none."""
        boot = await self.bootstrap(account_id or None, app_id or None, show_token=False)
        return boot.account_id, boot.app.id

    async def create_app(self, account_id: str, name: str, app_id: str | None = None) -> App:
        """A new app with the presets every app has.

        NotFoundError for an unknown account; InvalidError, ConflictError for an id that cannot be or is there.
        """
        _check_settings(None, app_id, None)
        async with self._db.write() as session:
            if await tables.find_account(session, account_id) is None:
                raise NotFoundError(f"Account not found: {account_id}")
            if app_id is not None and await tables.find_app(session, app_id) is not None:
                raise ConflictError(f"There is an app {app_id} already")
            return await self._add_app(session, account_id, app_id or str(uuid4()), name)

    async def list_apps(
        self, principal: Principal, account_id: str, page: Page, search: str | None, ascending: bool
    ) -> Listing[App]:
        """The apps of an account that the token may see."""
        self.enter_account(principal, account_id)
        only = principal.token.app_id if isinstance(principal, AppPrincipal) else None
        async with self._db.read() as session:
            return await tables.list_apps(session, account_id, page, search, ascending, only)

    async def _add_app(self, session: DbSession, account_id: str, app_id: str, name: str) -> App:
        now = whole_ms(self._clock.now())
        app = App(app_id, account_id, name, now)
        await tables.add_app(session, app)
        for preset_name, parts in DEFAULT_PRESETS.items():
            preset = Preset(str(uuid4()), app_id, preset_name, now, now, **parts)
            await rooms.add_preset(session, preset)
        return app

    # First start

    async def bootstrap(
        self,
        account_id: str | None = None,
        app_id: str | None = None,
        api_token: str | None = None,
        show_token: bool = True,
    ) -> Bootstrap:
        """See to an account, an app and a token: the configured ones, else those that are there, else new ones.

        InvalidError when a configured id or token cannot be used. A configured token that replaces another makes that
        one void. Without `show_token` no token is made.
        """
        _check_settings(account_id, app_id, api_token)
        now = whole_ms(self._clock.now())
        async with self._db.write() as session:
            chosen = account_id or await tables.first_account(session) or uuid4().hex
            if await tables.find_account(session, chosen) is None:
                await tables.add_account(session, chosen, now)
            app = await (tables.find_app(session, app_id) if app_id else tables.first_app(session, chosen))
            if app is None:
                app = await self._add_app(session, chosen, app_id or str(uuid4()), "Tapedeck")
            elif app.account_id != chosen:
                raise InvalidError(f"APP_ID {app.id} belongs to another account")
            text: str | None = None
            tokens = await tables.list_tokens(session)
            if api_token is None and show_token and not any(t.account_id == chosen and t.is_valid(now) for t in tokens):
                text = f"tdk_{secrets.token_urlsafe(32)}"
                token = self._new_token(chosen, None, "first", TokenScope.REALTIME_ADMIN, TokenOrigin.ISSUED)
                await tables.add_token(session, token, _digest(text))
            elif api_token is not None:
                await self._configure_token(session, chosen, api_token, tokens, now)
        return Bootstrap(chosen, app, text)

    async def _configure_token(
        self, session: DbSession, account_id: str, api_token: str, tokens: Sequence[Token], now: datetime
    ) -> None:
        known = await tables.find_token(session, _digest(api_token))
        for other in tokens:
            if other.origin is TokenOrigin.SETTINGS and (known is None or other.id != known[0].id):
                await tables.revoke_token(session, other.id, now)
        if known is None:
            scope, origin = TokenScope.REALTIME_ADMIN, TokenOrigin.SETTINGS
            token = self._new_token(account_id, None, "settings", scope, origin)
            await tables.add_token(session, token, _digest(api_token))
        elif known[0].account_id != account_id:
            raise InvalidError("API_TOKEN is already in use for another account")
        elif known[0].revoked_at is not None:
            if known[0].origin is not TokenOrigin.SETTINGS:
                raise InvalidError("API_TOKEN is a token that was revoked: choose another")
            await tables.revive_token(session, known[0].id)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _check_settings(account_id: str | None, app_id: str | None, api_token: str | None) -> None:
    if account_id is not None and not is_account_id(account_id):
        raise InvalidError("ACCOUNT_ID must be 1 to 64 letters, digits, _ or -")
    if app_id is not None and not is_app_id(app_id):
        raise InvalidError("APP_ID must be 1 to 64 letters, digits, or one of . _ ~ -, and not be 'apps'")
    if api_token is not None and (len(api_token) < _MIN_TOKEN or not api_token.isascii() or " " in api_token):
        raise InvalidError(f"API_TOKEN must be at least {_MIN_TOKEN} ASCII characters without a space")
