"""An asyncio connection to SQLite that crosses to its thread once per statement.

SQLAlchemy's adapter awaits a cursor, an execution, the rows and a close, each a hop between threads; here one hop does
all four, and opens the transaction if none is open. Owns the thread of one connection; knows no SQL of ours.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["SqliteConnection", "open_connection"]

T = TypeVar("T")


async def open_connection(path: str, begin: str | None, setup: Sequence[str]) -> SqliteConnection:
    """Connect, and run `setup`. sqlite3.Error as SQLite raises it.

    `begin` opens a transaction before the first statement; with None every statement stands for itself.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix="sqlite")

    def connect() -> sqlite3.Connection:
        # No implicit transactions (isolation_level None): a statement opens one, of the kind that is wanted.
        raw = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            for statement in setup:
                raw.execute(statement).close()
        except BaseException:
            raw.close()
            raise
        return raw

    try:
        raw = await asyncio.get_running_loop().run_in_executor(executor, connect)
    except BaseException:
        executor.shutdown(wait=False)
        raise
    return SqliteConnection(raw, executor, begin)


@dataclass(slots=True)
class _Result:
    description: Any
    rowcount: int
    lastrowid: int
    rows: list[Any]


class SqliteConnection:
    """What SQLAlchemy's asyncio adapter expects of a driver's connection."""

    def __init__(self, raw: sqlite3.Connection, executor: ThreadPoolExecutor, begin: str | None) -> None:
        self._connection: sqlite3.Connection | None = raw  # the adapter asks under this name whether we are open
        self._raw = raw
        self._executor = executor
        self._begin = begin

    def cursor(self) -> _Cursor:
        """A place for one statement and its rows."""
        return _Cursor(self)

    async def create_function(self, *args: Any, **kwargs: Any) -> None:
        """Make a Python function known to SQL."""
        await self._run(lambda: self._raw.create_function(*args, **kwargs))

    async def commit(self) -> None:
        """End the transaction, keeping its changes."""
        await self._run(self._raw.commit)

    async def rollback(self) -> None:
        """End the transaction, if one is open, forgetting its changes."""
        if self._raw.in_transaction:
            await self._run(self._raw.rollback)

    async def close(self) -> None:
        """Close after what is being done. May be repeated."""
        if self._connection is not None:
            self._connection = None
            try:
                await self._run(self._raw.close)
            finally:
                self._executor.shutdown(wait=False)

    def stop(self) -> None:
        """Close without waiting, breaking off what is being done."""
        if self._connection is not None:
            self._connection = None
            self._raw.interrupt()
            self._executor.submit(self._raw.close)
            self._executor.shutdown(wait=False)

    async def execute(self, statement: str, parameters: Any, many: bool) -> _Result:
        """Run a statement and fetch all its rows. Cancelled, it is broken off, not waited for."""
        try:
            return await self._run(lambda: self._execute(statement, parameters, many))
        except asyncio.CancelledError:
            self._raw.interrupt()
            raise

    def _execute(self, statement: str, parameters: Any, many: bool) -> _Result:
        if self._begin is not None and not self._raw.in_transaction:
            self._raw.execute(self._begin).close()
        run = self._raw.executemany if many else self._raw.execute
        cursor = run(statement, parameters)
        rows = cursor.fetchall() if cursor.description else []
        result = _Result(cursor.description, cursor.rowcount, cursor.lastrowid or 0, rows)
        cursor.close()
        return result

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


class _Cursor:
    """A statement that was run: nothing here waits for the thread but the execution."""

    arraysize = 1

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection
        self._result = _Result(None, -1, 0, [])

    async def __aenter__(self) -> _Cursor:
        return self

    @property
    def description(self) -> Any:
        return self._result.description

    @property
    def rowcount(self) -> int:
        return self._result.rowcount

    @property
    def lastrowid(self) -> int:
        return self._result.lastrowid

    async def execute(self, operation: str, parameters: Any = ()) -> None:
        self._result = await self._connection.execute(operation, parameters, many=False)

    async def executemany(self, operation: str, parameters: Any) -> None:
        self._result = await self._connection.execute(operation, parameters, many=True)

    async def fetchall(self) -> list[Any]:
        rows, self._result.rows = self._result.rows, []
        return rows

    async def close(self) -> None:
        self._result.rows = []
