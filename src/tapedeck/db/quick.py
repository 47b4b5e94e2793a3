"""Finished statements asked without ceremony: compiled once, run on connections of their own.

For the questions that are asked all the time: SQLAlchemy's way from a statement to rows costs many times what SQLite
needs. Only for a SELECT over plain columns with single values as parameters. What a unique index answers is asked where
the caller is; what may take longer is asked in a thread, all statements of a question at once.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.dialects import sqlite

__all__ = ["Ask", "QuickPool", "QuickReader"]

T = TypeVar("T")
Ask = Callable[[Select[Any], Mapping[str, Any]], list[tuple[Any, ...]]]
"""Rows of a finished statement."""

_DIALECT = sqlite.dialect()
_Process = Any
"""What turns one value into another: SQLAlchemy has no public name for it."""
_Input = tuple[str | None, _Process | None, Any]


class QuickReader:
    """Asks a SQLite file, on the loop's own thread.

    A question that an index answers takes ten microseconds or so, and a reader of a WAL waits for no writer; giving it
    to a thread and taking the answer back costs many times that, and on a busy machine a turn of the scheduler twice.
    """

    def __init__(self, path: str, pragmas: Sequence[str]) -> None:
        self._path = path
        self._pragmas = pragmas
        self._connection: sqlite3.Connection | None = None

    def ask(self, statement: Select[Any], values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows; sqlite3.Error as SQLite raises it."""
        text, wanted, made = _compiled(statement)
        given = [fixed if name is None else p(values[name]) if p else values[name] for name, p, fixed in wanted]
        rows = self._open().execute(text, given).fetchall()
        return [tuple([v if p is None or v is None else p(v) for p, v in zip(made, row, strict=True)]) for row in rows]

    def agreeing(self, work: Callable[[Ask], T]) -> T:
        """Do what asks several statements that all see one state: that at the first of them."""
        connection = self._open()
        connection.execute("BEGIN").close()
        try:
            return work(self.ask)
        finally:
            connection.rollback()

    def interrupt(self) -> None:
        """Break off what is being asked, in whichever thread."""
        if self._connection is not None:
            self._connection.interrupt()

    def version(self) -> int:
        """SQLite's `data_version`: a few bytes of shared memory."""
        return int(self._open().execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Close what is open."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
            for pragma in self._pragmas:
                connection.execute(pragma).close()
            self._connection = connection
        return self._connection


class QuickPool:
    """Asks questions of several statements in threads, each with a connection of its own."""

    def __init__(self, path: str, pragmas: Sequence[str], readers: int) -> None:
        self._threads = ThreadPoolExecutor(readers, thread_name_prefix="quick")
        self._free = asyncio.Semaphore(readers)
        self._idle = [(QuickReader(path, pragmas), threading.Lock()) for _ in range(readers)]
        self._all = tuple(reader for reader, _ in self._idle)

    async def agreeing(self, work: Callable[[Ask], T]) -> T:
        """As of `QuickReader`, in a thread: one way there and back, however many statements. Cancelled, it is broken
        off, not waited for."""
        async with self._free:
            reader, lock = self._idle.pop()

            def locked() -> T:
                with lock:  # one that was broken off may have a moment left
                    return reader.agreeing(work)

            try:
                return await asyncio.get_running_loop().run_in_executor(self._threads, locked)
            except asyncio.CancelledError:
                reader.interrupt()
                raise
            finally:
                self._idle.append((reader, lock))

    def close(self) -> None:
        """Close what is open, after what is being asked."""
        self._threads.shutdown()
        for reader in self._all:
            reader.close()


@lru_cache(512)
def _compiled(
    statement: Select[Any],
) -> tuple[str, list[tuple[str | None, _Process | None, Any]], list[_Process | None]]:
    """The text, what is done to each parameter in its order (no name: what it is, always), and to each column."""
    compiled = statement.compile(dialect=_DIALECT)
    wanted: list[_Input] = []
    for name in compiled.positiontup or ():
        bind = compiled.binds[name]
        process = bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
        fixed = None if bind.required or process is None else process(bind.value)
        wanted.append((name if bind.required else None, process, bind.value if process is None else fixed))
    made = [c.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None) for c in statement.selected_columns]
    return str(compiled), wanted, made
