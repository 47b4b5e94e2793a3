"""Finished statements asked without ceremony answer as the long way does."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Integer, bindparam, func, literal_column, select, text
from tests.pace import beat

from tapedeck.core.errors import UnavailableError
from tapedeck.db.engine import Ask, Database
from tapedeck.db.models import AccountRow

_A = AccountRow.__table__.c
ONE = select(_A.id, _A.created_at).where(_A.id == bindparam("id"))
SINCE = select(_A.id).where(_A.created_at >= bindparam("since", type_=_A.created_at.type)).order_by(_A.id)
AT = datetime(2026, 3, 2, 9, 15, 4, 120_000, UTC)


async def filled(root: Path) -> Database:
    db = Database(f"sqlite:///{root}/t.db", readers=2)
    await db.migrate()
    async with db.write() as session:
        session.add(AccountRow(id="a", created_at=AT))
        session.add(AccountRow(id="b", created_at=AT.replace(year=2027)))
    return db


async def test_values_and_columns_are_converted_like_everywhere(tmp_path: Path) -> None:
    db = await filled(tmp_path)
    assert db.ask(ONE, {"id": "a"}) == [("a", AT)]
    assert db.ask(ONE, {"id": "nobody"}) == []
    assert db.ask(SINCE, {"since": AT.replace(month=4)}) == [("b",)]
    await db.aclose()


async def test_what_is_committed_is_seen_at_once(tmp_path: Path) -> None:
    db = await filled(tmp_path)
    assert db.ask(ONE, {"id": "a"}) == [("a", AT)]
    async with db.write() as session:
        await session.execute(text("DELETE FROM accounts WHERE id = 'a'"))
        assert db.ask(ONE, {"id": "a"}) == [("a", AT)], "a writer that is not done is neither seen nor waited for"
    assert db.ask(ONE, {"id": "a"}) == []
    await db.aclose()


async def test_what_sqlite_cannot_do_is_said_in_plain_words_and_may_be_asked_again(tmp_path: Path) -> None:
    db = await filled(tmp_path)
    async with db.write() as session:
        await session.execute(text("ALTER TABLE accounts RENAME TO away"))
    with pytest.raises(UnavailableError):
        db.ask(ONE, {"id": "a"})
    async with db.write() as session:
        await session.execute(text("ALTER TABLE away RENAME TO accounts"))
    assert db.ask(ONE, {"id": "a"}) == [("a", AT)]
    await db.aclose()


async def test_version_stays_while_nothing_is_committed_by_anybody(tmp_path: Path) -> None:
    db, other = await filled(tmp_path), Database(f"sqlite:///{tmp_path}/t.db")
    seen = [db.version()]
    assert db.version() == seen[-1] is not None
    for writer in (db, other):
        async with writer.write() as session:
            session.add(AccountRow(id=f"c{len(seen)}", created_at=AT))
        assert db.version() not in seen
        seen.append(db.version())
    async with db.read() as session:
        await session.execute(text("SELECT 1"))
    assert db.version() == seen[-1]
    await db.aclose()
    await other.aclose()


async def test_several_questions_see_one_state_and_many_may_be_asked_at_once(tmp_path: Path) -> None:
    db = await filled(tmp_path)
    begun, go = threading.Event(), threading.Event()

    def work(ask: Ask) -> list[list[tuple[Any, ...]]]:
        first = ask(ONE, {"id": "a"})
        begun.set()
        assert go.wait(300)
        return [first, ask(ONE, {"id": "a"})]

    asked = asyncio.create_task(db.ask_together(work))
    await asyncio.to_thread(begun.wait, 300)
    async with db.write() as session:
        await session.execute(text("DELETE FROM accounts WHERE id = 'a'"))
    many = [db.ask_together(lambda ask: ask(ONE, {"id": "a"})) for _ in range(8)]
    assert await asyncio.gather(*many) == [[]] * 8, "beside the one that waits, and what is committed is seen"
    go.set()
    assert await asked == [[("a", AT)]] * 2, "as it was at the first question"
    await db.aclose()


async def test_a_question_that_nobody_waits_for_is_broken_off(tmp_path: Path) -> None:
    db = await filled(tmp_path)
    begun, broken = threading.Event(), threading.Event()
    numbers = select(bindparam("first", type_=Integer).label("n")).cte(recursive=True)
    numbers = numbers.union_all(select(numbers.c.n + literal_column("1")).where(numbers.c.n < bindparam("last")))
    count = select(func.count()).select_from(numbers)
    assert await db.ask_together(lambda ask: ask(count, {"first": 1, "last": 100})) == [(100,)]

    def long(ask: Ask) -> None:
        begun.set()
        try:
            ask(count, {"first": 1, "last": 50_000_000})
        except sqlite3.OperationalError:
            broken.set()
            raise

    for _ in range(5):  # more often than there are readers
        begun.clear()
        asked = asyncio.create_task(db.ask_together(long))
        await asyncio.to_thread(begun.wait, 300)
        await beat(0.1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
    assert await db.ask_together(lambda ask: ask(ONE, {"id": "a"})) == [("a", AT)]
    assert broken.is_set()
    await db.aclose()


async def test_faults_in_a_thread_are_said_in_plain_words_too(tmp_path: Path) -> None:
    db = await filled(tmp_path)
    async with db.write() as session:
        await session.execute(text("ALTER TABLE accounts RENAME TO away"))
    with pytest.raises(UnavailableError):
        await db.ask_together(lambda ask: ask(ONE, {"id": "a"}))
    await db.aclose()
