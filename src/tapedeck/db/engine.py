"""The database: connections, transactions and migrations. The only place where a dialect differs.

SQLite has one writer at a time. Instead of letting writers collide and retry, all writing transactions of the process
share one connection and begin IMMEDIATE; readers have a small pool of their own and never wait for them (WAL).
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Select, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from tapedeck.core.errors import InternalError, InvalidError, UnavailableError
from tapedeck.db.quick import Ask, QuickPool, QuickReader
from tapedeck.db.sqlite import open_connection

__all__ = ["Ask", "Database", "DbSession"]

T = TypeVar("T")

DbSession = AsyncSession
"""An open transaction, as the queries of this folder take it."""

_log = logging.getLogger(__name__)
_MIGRATIONS = Path(__file__).parent / "migrations"
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-16000",
)


class Database:
    """One database. `url` is `sqlite:///path` (or `sqlite+aiosqlite:///path`); the file is made when it is missing.

    InvalidError for any other URL. Everything raises UnavailableError with one plain sentence when the disk is full,
    read-only or gone.
    """

    def __init__(self, url: str, readers: int = 4, busy_timeout_ms: int = 5000) -> None:
        """`busy_timeout_ms`: how long a writer waits for another process's."""
        parsed = _sqlite_url(url)
        pragmas = (*_PRAGMAS, f"PRAGMA busy_timeout={busy_timeout_ms}")
        self._path = Path(str(parsed.database))
        self._writer = _engine(parsed, 1, "BEGIN IMMEDIATE", pragmas)
        self._readers = _engine(parsed, readers, None, pragmas)
        self._snapshots = _engine(parsed, readers, "BEGIN", pragmas)
        self._quick = QuickReader(str(self._path), pragmas)
        self._pool = QuickPool(str(self._path), pragmas, readers)

    async def migrate(self) -> None:
        """Bring the tables to what this version needs. UnavailableError when a newer version made the database."""
        with _plain_words(self._path):
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as exc:
                raise UnavailableError(f"The directory {self._path.parent} cannot be made: {exc.strerror}.") from exc
            async with self._writer.begin() as connection:
                if not await connection.run_sync(_is_current):
                    await connection.run_sync(_upgrade)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Read what is committed, each statement for itself: enough for one statement, or for facts that stay."""
        with _plain_words(self._path):
            async with AsyncSession(self._readers, expire_on_commit=False, autoflush=False) as session:
                yield session

    def ask(self, statement: Select[Any], values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Rows of one finished statement that a unique index answers, as `read` would see them; it runs here."""
        with _plain_words(self._path):
            return self._quick.ask(statement, values)

    async def ask_together(self, work: Callable[[Ask], T]) -> T:
        """What `work` makes of the rows of several finished statements, as `snapshot` would see them.

        It runs in a thread, which is left once and not per statement; for lists, which are asked all the time.
        """
        with _plain_words(self._path):
            return await self._pool.agreeing(work)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncSession]:
        """Read with several statements that must agree: all see the state at the first one."""
        with _plain_words(self._path):
            async with AsyncSession(self._snapshots, expire_on_commit=False, autoflush=False) as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A transaction that writes: committed when the block ends, rolled back when it raises."""
        with _plain_words(self._path):
            async with AsyncSession(self._writer, expire_on_commit=False) as session, session.begin():
                yield session

    def version(self) -> int | None:
        """A number that stays the same only while nobody, of any process, commits anything; None when it is unknown.

        It reads a few bytes of shared memory (SQLite's `data_version`) and waits for nobody: what was read from the
        database under a number is true as long as the number is.
        """
        try:
            return self._quick.version()
        except sqlite3.Error:
            return None

    async def ping(self) -> None:
        """Prove that the database answers."""
        async with self.read() as session:
            await session.execute(text("SELECT 1"))

    async def aclose(self) -> None:
        """Close all connections."""
        self._quick.close()
        self._pool.close()
        await self._readers.dispose()
        await self._snapshots.dispose()
        await self._writer.dispose()


def _sqlite_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise InvalidError("The database URL is not a URL: use sqlite:///path/to/tapedeck.db") from exc
    if parsed.get_backend_name() != "sqlite" or parsed.query or parsed.database in (None, "", ":memory:"):
        raise InvalidError("Only a SQLite file can be the database: use sqlite:///path/to/tapedeck.db")
    return parsed.set(drivername="sqlite+aiosqlite")


def _engine(url: URL, connections: int, begin: str | None, pragmas: Sequence[str]) -> AsyncEngine:
    path = str(url.database)
    return create_async_engine(
        url,
        async_creator=lambda: open_connection(path, begin, pragmas),
        poolclass=AsyncAdaptedQueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=30,
    )


def _is_current(connection: Connection) -> bool:
    """Whether the tables are those of the newest migration; asked without the library, which few starts need."""
    if not inspect(connection).has_table("alembic_version"):
        return False
    newest = max(path.name for path in (_MIGRATIONS / "versions").glob("[0-9]*.py")).partition("_")[0]
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [newest]


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as exc:
        raise UnavailableError(f"The database was made by a newer version of Tapedeck: {exc}") from exc


@contextmanager
def _plain_words(path: Path) -> Iterator[None]:
    """Turn what the driver raises about the disk into one sentence that says what to do.

    The sentence may reach a caller of the API, so it names the file and not its place; the log line has the place.
    """
    name = path.name
    try:
        yield
    except (OperationalError, sqlite3.OperationalError, PoolTimeout) as exc:
        cause = exc.orig if isinstance(exc, OperationalError) else exc
        said = str(cause).lower()
        if "full" in said or "no space" in said:
            words = f"The disk of the database {name} is full: free some space."
        elif "readonly" in said or "read-only" in said or "permission" in said or "unable to open" in said:
            words = f"The database {name} cannot be written: make the directory and its files writable for this user."
        elif "locked" in said or "busy" in said:
            words = f"The database {name} is locked by another process."
        else:
            words = f"The database {name} does not answer: {cause}"
        _log.error(
            "database unavailable", extra={"action": "database_unavailable", "path": str(path), "reason": str(cause)}
        )
        raise UnavailableError(words, retry_after_s=5) from exc
    except DBAPIError as exc:
        if isinstance(exc.orig, sqlite3.IntegrityError):
            raise
        raise InternalError(f"The database {name} refused a statement: {exc.orig}") from exc
