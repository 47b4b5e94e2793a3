"""Queries about accounts, apps and tokens. Rows in, core objects out; no rule lives here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, Select, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tapedeck.core.access import Token, TokenOrigin, TokenScope
from tapedeck.core.meeting import App
from tapedeck.core.paging import Listing, Page
from tapedeck.core.recording import RecordingState
from tapedeck.db.models import AccountRow, AppRow, RecordingCountRow, TokenRow

__all__ = [
    "add_account",
    "add_app",
    "add_token",
    "contains",
    "count",
    "empty_timeouts",
    "every_app",
    "find_account",
    "find_app",
    "find_token",
    "find_token_by_id",
    "first_account",
    "first_app",
    "list_accounts",
    "list_apps",
    "list_tokens",
    "named",
    "revive_token",
    "revoke_token",
    "save_app",
    "to_app",
]


_TOKEN_AND_APP = (
    select(TokenRow, AppRow)
    .outerjoin(AppRow, AppRow.id == bindparam("app_id"))
    .where(TokenRow.digest == bindparam("digest"))
)


def contains(text: str) -> str:
    """A LIKE pattern (escape `\\`) for any text that contains `text` literally."""
    return "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


async def named(session: AsyncSession, rows: Select[str, str], search: str) -> list[str]:
    """Of rows of id and name, the ids of those whose name contains the text in any case, of any script.

    For the short lists of names: SQLite's own `lower` knows no letter beyond ASCII.
    """
    wanted = search.casefold()
    return [id_ for id_, name in await session.execute(rows) if wanted in name.casefold()]


async def count(session: AsyncSession, rows: Select[Any]) -> int:
    """How many rows a query has, its order left aside."""
    inner = rows.order_by(None).with_only_columns(func.count(), maintain_column_froms=True)
    return int((await session.execute(inner)).scalar_one())


async def add_account(session: AsyncSession, account_id: str, now: datetime) -> None:
    """Store a new account."""
    session.add(AccountRow(id=account_id, created_at=now))
    await session.flush()


async def find_account(session: AsyncSession, account_id: str) -> str | None:
    """The id itself if there is such an account."""
    row = await session.get(AccountRow, account_id)
    return row.id if row else None


async def first_account(session: AsyncSession) -> str | None:
    """The oldest account."""
    return (await session.execute(select(AccountRow.id).order_by(AccountRow.created_at).limit(1))).scalar()


async def list_accounts(session: AsyncSession) -> Sequence[str]:
    """Ids of all accounts, oldest first."""
    return list((await session.execute(select(AccountRow.id).order_by(AccountRow.created_at, AccountRow.id))).scalars())


async def every_app(session: AsyncSession, account_id: str | None) -> Sequence[App]:
    """Apps of an account, or all, oldest first."""
    rows = select(AppRow).order_by(AppRow.created_at, AppRow.id)
    if account_id is not None:
        rows = rows.where(AppRow.account_id == account_id)
    return [to_app(row) for row in (await session.execute(rows)).scalars()]


async def add_app(session: AsyncSession, app: App) -> None:
    """Store a new app."""
    session.add(
        AppRow(
            id=app.id,
            account_id=app.account_id,
            name=app.name,
            empty_timeout_s=app.empty_timeout_s,
            recording_config=None if app.recording_config is None else dict(app.recording_config),
            created_at=app.created_at,
        )
    )
    await session.flush()
    session.add_all(RecordingCountRow(app_id=app.id, state=state, count=0) for state in RecordingState)
    await session.flush()


async def find_app(session: AsyncSession, app_id: str) -> App | None:
    """An app by its id, of any account."""
    row = await session.get(AppRow, app_id)
    return to_app(row) if row else None


async def first_app(session: AsyncSession, account_id: str) -> App | None:
    """The oldest app of an account."""
    rows = select(AppRow).where(AppRow.account_id == account_id).order_by(AppRow.created_at, AppRow.id).limit(1)
    row = (await session.execute(rows)).scalar()
    return to_app(row) if row else None


async def list_apps(
    session: AsyncSession, account_id: str, page: Page, search: str | None, ascending: bool, only: str | None
) -> Listing[App]:
    """Apps of an account by age; `only` limits to one id."""
    rows = select(AppRow).where(AppRow.account_id == account_id)
    if only is not None:
        rows = rows.where(AppRow.id == only)
    if search is not None:
        rows = rows.where(AppRow.id.in_(await named(session, rows.with_only_columns(AppRow.id, AppRow.name), search)))
    total = await count(session, rows)
    order = (AppRow.created_at, AppRow.id) if ascending else (AppRow.created_at.desc(), AppRow.id.desc())
    found = await session.execute(rows.order_by(*order).limit(page.size).offset(page.offset))
    return Listing([to_app(row) for row in found.scalars()], total, page)


async def save_app(session: AsyncSession, app: App) -> None:
    """Store what changed of an app."""
    config = None if app.recording_config is None else dict(app.recording_config)
    rows = update(AppRow).where(AppRow.id == app.id)
    await session.execute(rows.values(name=app.name, empty_timeout_s=app.empty_timeout_s, recording_config=config))


def to_app(row: AppRow) -> App:
    """The app of a row."""
    return App(row.id, row.account_id, row.name, row.created_at, row.empty_timeout_s, row.recording_config)


async def add_token(session: AsyncSession, token: Token, digest: str) -> None:
    """Store a new token under the digest of its text."""
    session.add(
        TokenRow(
            id=token.id,
            account_id=token.account_id,
            app_id=token.app_id,
            name=token.name,
            scope=token.scope,
            origin=token.origin,
            digest=digest,
            created_at=token.created_at,
            expires_at=token.expires_at,
            revoked_at=token.revoked_at,
        )
    )
    await session.flush()


async def find_token(
    session: AsyncSession, digest: str, app_id: str | None = None
) -> tuple[Token, str, App | None] | None:
    """The token with a digest, the digest as stored, and, in the same breath, an app of any account."""
    row = (await session.execute(_TOKEN_AND_APP, {"digest": digest, "app_id": app_id})).first()
    if row is None:
        return None
    token: TokenRow = row[0]
    app: AppRow | None = row[1]  # an outer join: there may be none
    return _token(token), token.digest, None if app is None else to_app(app)


async def find_token_by_id(session: AsyncSession, token_id: str) -> Token | None:
    """A token by its id, as it is now."""
    row = await session.get(TokenRow, token_id)
    return None if row is None else _token(row)


async def list_tokens(session: AsyncSession, account_id: str | None = None) -> Sequence[Token]:
    """Tokens of an account, or all, oldest first."""
    rows = select(TokenRow).order_by(TokenRow.created_at, TokenRow.id)
    if account_id is not None:
        rows = rows.where(TokenRow.account_id == account_id)
    return [_token(row) for row in (await session.execute(rows)).scalars()]


async def revoke_token(session: AsyncSession, token_id: str, now: datetime) -> bool:
    """Make a token void; False if there is no such token, or it was void before."""
    rows = update(TokenRow).where(TokenRow.id == token_id, TokenRow.revoked_at.is_(None)).values(revoked_at=now)
    return cast("CursorResult[Any]", await session.execute(rows)).rowcount == 1


async def revive_token(session: AsyncSession, token_id: str) -> None:
    """Make a void token valid again: the operator configured its very text."""
    await session.execute(update(TokenRow).where(TokenRow.id == token_id).values(revoked_at=None))


def _token(row: TokenRow) -> Token:
    return Token(
        id=row.id,
        account_id=row.account_id,
        app_id=row.app_id,
        name=row.name,
        scope=TokenScope(row.scope),
        origin=TokenOrigin(row.origin),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


async def empty_timeouts(session: AsyncSession, app_ids: Collection[str]) -> dict[str, float]:
    """Seconds that recordings wait in an empty room, for those apps that have a wish of their own."""
    rows = select(AppRow.id, AppRow.empty_timeout_s).where(AppRow.id.in_(app_ids), AppRow.empty_timeout_s.is_not(None))
    return {row[0]: row[1] for row in await session.execute(rows) if row[1] is not None}
