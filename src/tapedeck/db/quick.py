"""Finished statements asked without ceremony: compiled once, run on a connection of their own.

For the few questions that are asked all the time and that a unique index answers, nothing else: SQLAlchemy's way from a
statement to rows costs many times what SQLite needs. Only for a SELECT over plain columns with single values as
parameters.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Select
from sqlalchemy.dialects import sqlite

__all__ = ["QuickReader"]

_DIALECT = sqlite.dialect()
_Process = Any
"""What turns one value into another: SQLAlchemy has no public name for it."""


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
        given = [values[name] if process is None else process(values[name]) for name, process in wanted]
        rows = self._open().execute(text, given).fetchall()
        return [tuple([v if p is None or v is None else p(v) for p, v in zip(made, row, strict=True)]) for row in rows]

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


@lru_cache(256)
def _compiled(statement: Select[Any]) -> tuple[str, list[tuple[str, _Process | None]], list[_Process | None]]:
    """The text, what is done to each parameter in its order, and to each column."""
    compiled = statement.compile(dialect=_DIALECT)
    wanted = [
        (name, compiled.binds[name].type.dialect_impl(_DIALECT).bind_processor(_DIALECT))
        for name in compiled.positiontup or ()
    ]
    made = [c.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None) for c in statement.selected_columns]
    return str(compiled), wanted, made
