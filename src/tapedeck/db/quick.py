"""Finished statements asked without ceremony: compiled once, run on a connection of their own in one hop to its thread.

For the few questions that are asked all the time: SQLAlchemy's way from a statement to rows costs several times what
SQLite needs to answer. Only for a SELECT over plain columns whose parameters are single values.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Select
from sqlalchemy.dialects import sqlite

from tapedeck.db.sqlite import SqliteConnection, open_connection

__all__ = ["QuickReader"]

_DIALECT = sqlite.dialect()
_Process = Any
"""What turns one value into another: SQLAlchemy has no public name for it."""


class QuickReader:
    """Asks a SQLite file. `connections`: how many questions may be asked at once."""

    def __init__(self, path: str, pragmas: Sequence[str], connections: int) -> None:
        self._path = path
        self._pragmas = pragmas
        self._turns = asyncio.Semaphore(connections)
        self._idle: list[SqliteConnection] = []

    async def ask(self, statement: Select[Any], values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows; sqlite3.Error as SQLite raises it."""
        text, wanted, made = _compiled(statement)
        given = [values[name] if process is None else process(values[name]) for name, process in wanted]
        async with self._turns:
            connection = self._idle.pop() if self._idle else await open_connection(self._path, None, self._pragmas)
            try:
                rows = (await connection.execute(text, given, many=False)).rows
            except BaseException:
                connection.stop()
                raise
            self._idle.append(connection)
        return [tuple([v if p is None or v is None else p(v) for p, v in zip(made, row, strict=True)]) for row in rows]

    async def aclose(self) -> None:
        """Close what is open."""
        while self._idle:
            await self._idle.pop().close()


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
