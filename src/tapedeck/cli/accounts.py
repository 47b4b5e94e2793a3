"""Accounts, apps and tokens from the command line. All of it works beside a running server, which sees it at once."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.console import Console

from tapedeck.cli.late import LateModule
from tapedeck.core.access import TENANT_SCOPES, Token, TokenScope
from tapedeck.core.errors import InvalidError
from tapedeck.core.meeting import App
from tapedeck.core.remote import RemoteAccount
from tapedeck.core.times import format_time, parse_time

if TYPE_CHECKING:
    from tapedeck import wiring
    from tapedeck.service.access import AccessService
else:
    wiring = LateModule("tapedeck.wiring")

__all__ = [
    "bind_room",
    "create_account",
    "create_app",
    "create_key",
    "create_tenant",
    "create_token",
    "list_accounts",
    "list_apps",
    "list_keys",
    "list_tokens",
    "parse_expiry",
    "revoke_token",
    "set_recorder",
]

_SPAN = re.compile(r"(\d{1,6})([smhd])")
_LONGEST_NAME = 256
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_expiry(text: str, now: datetime) -> datetime:
    """`12h`, `30d`, or an ISO 8601 date-time that is still to come; InvalidError."""
    if found := _SPAN.fullmatch(text):
        return now + timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        at = parse_time(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidError(f"--expires: {text!r} is neither a span such as 12h or 30d nor an ISO 8601 time") from None
    if at <= now:
        raise InvalidError(f"--expires: {text} is over")
    return at


def _named(name: str) -> str:
    """A name that fits into a line of a list and of the audit trail; InvalidError."""
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
        raise InvalidError(f"A name must have 1 to {_LONGEST_NAME} characters, none of them a line break or the like")
    return name


async def create_account(settings: wiring.Settings, account_id: str | None, console: Console) -> None:
    """Make an account, with an id of the caller's or a random one."""
    async with wiring.open_access(settings) as access:
        _say(console, "account", await access.create_account(account_id))


async def list_accounts(settings: wiring.Settings, console: Console) -> None:
    """Accounts, oldest first, one a line."""
    async with wiring.open_access(settings) as access:
        for account_id in await access.list_accounts():
            console.print(account_id, highlight=False, soft_wrap=True, markup=False)


async def create_app(
    settings: wiring.Settings, name: str, account_id: str | None, app_id: str | None, console: Console
) -> None:
    """Make an app with the presets every app has."""
    async with wiring.open_access(settings) as access:
        account = account_id or (await access.bootstrap_ids(settings.account_id, settings.app_id))[0]
        app = await access.create_app(account, _named(name), app_id)
        _say(console, "account", account)
        _say(console, "app", app.id)


async def list_apps(settings: wiring.Settings, account_id: str | None, console: Console) -> None:
    """Account, id and name of each app."""
    async with wiring.open_access(settings) as access:
        for app in await access.every_app(account_id):
            console.print(f"{app.account_id}  {app.id}  {app.name}", highlight=False, soft_wrap=True, markup=False)


async def create_token(
    settings: wiring.Settings,
    name: str,
    account_id: str | None,
    app_id: str | None,
    scope: TokenScope,
    expires: str | None,
    console: Console,
) -> None:
    """Make a token and print it: its text is shown here and never again."""
    expires_at = None if expires is None else parse_expiry(expires, datetime.now(UTC))
    async with wiring.open_access(settings) as access:
        account, first_app = account_id, app_id
        if account is None or first_app is None:
            known = await access.bootstrap_ids(settings.account_id, settings.app_id)
            first_app = first_app or (known[1] if account in (None, known[0]) else "any")
            account = account or known[0]
        text, token = await access.issue_token(account, app_id, _named(name), scope, expires_at)
        _say(console, "account", account)
        _say(console, "app", first_app)
        _say(console, "token", text)
        _say(console, "id", token.id)


async def list_tokens(settings: wiring.Settings, account_id: str | None, console: Console) -> None:
    """What is known of each token, without its text."""
    now = datetime.now(UTC)
    async with wiring.open_access(settings) as access:
        for token in await access.list_tokens(account_id):
            line = f"{token.id}  {token.account_id}  {token.app_id or 'all apps'}  {token.scope}  {_life(token, now)}"
            console.print(f"{line}  {token.name}", highlight=False, soft_wrap=True, markup=False)


async def revoke_token(settings: wiring.Settings, token_id: str, console: Console) -> None:
    """Make a token void at once, on a running server too."""
    async with wiring.open_access(settings) as access:
        await access.revoke_token(token_id)
        _say(console, "revoked", token_id)


async def create_tenant(
    settings: wiring.Settings, name: str, account_id: str | None, app_id: str | None, console: Console
) -> None:
    """Make a tenant of the rooms API, which is an app with a key, and print the key: it is shown once."""
    async with wiring.open_access(settings) as access:
        account = account_id or (await access.bootstrap_ids(settings.account_id, settings.app_id))[0]
        app = await access.create_app(account, _named(name), app_id)
        text, token = await access.issue_token(account, app.id, name, TokenScope.ROOMS_ADMIN)
        _say(console, "tenant", app.id)
        _say(console, "key", text)
        _say(console, "id", token.id)


async def set_recorder(settings: wiring.Settings, tenant: str, account: RemoteAccount | None, console: Console) -> None:
    """Have another recorder record the rooms of a tenant, or this server again."""
    async with wiring.open_remote(settings) as (access, remote):
        await remote.set_account(await _tenant(access, tenant), account)
        _say(console, "tenant", tenant)
        _say(console, "recorder", "this server" if account is None else account.base_url)


async def bind_room(settings: wiring.Settings, tenant: str, room: str, meeting: str, console: Console) -> None:
    """Let a room of a tenant be a meeting that its recorder has already."""
    async with wiring.open_remote(settings) as (access, remote):
        await remote.bind(await _tenant(access, tenant), room.removeprefix("room_").lower(), meeting)
        _say(console, "room", room)
        _say(console, "meeting", meeting)


async def _tenant(access: AccessService, tenant: str) -> App:
    found = next((app for app in await access.every_app() if app.id == tenant), None)
    if found is None:
        raise InvalidError(f"There is no tenant {tenant}")
    return found


async def create_key(
    settings: wiring.Settings, tenant: str, name: str, admin: bool, expires: str | None, console: Console
) -> None:
    """Make another key of a tenant and print it: it is shown once."""
    expires_at = None if expires is None else parse_expiry(expires, datetime.now(UTC))
    scope = TokenScope.ROOMS_ADMIN if admin else TokenScope.ROOMS
    async with wiring.open_access(settings) as access:
        account = next((app.account_id for app in await access.every_app() if app.id == tenant), None)
        if account is None:
            raise InvalidError(f"There is no tenant {tenant}")
        text, token = await access.issue_token(account, tenant, _named(name), scope, expires_at)
        _say(console, "tenant", tenant)
        _say(console, "key", text)
        _say(console, "id", token.id)


async def list_keys(settings: wiring.Settings, tenant: str | None, console: Console) -> None:
    """What is known of each tenant's key, without its text."""
    now = datetime.now(UTC)
    async with wiring.open_access(settings) as access:
        for token in await access.list_tokens():
            if token.scope in TENANT_SCOPES and tenant in (None, token.app_id):
                line = f"{token.id}  {token.app_id}  {token.scope}  {_life(token, now)}  {token.name}"
                console.print(line, highlight=False, soft_wrap=True, markup=False)


def _life(token: Token, now: datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    if token.expires_at is None:
        return "valid"
    return f"expires {format_time(token.expires_at)}" if token.is_valid(now) else "expired"


def _say(console: Console, what: str, text: str) -> None:
    console.print(f"{what:<8} {text}", highlight=False, soft_wrap=True, markup=False)
