"""Connections, transactions, and what is said when the disk is not as it should be."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tapedeck.core.errors import InternalError, InvalidError, UnavailableError
from tapedeck.db.engine import Database, DbSession


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(f"sqlite:///{tmp_path}/deep/er/t.db")
    await made.migrate()
    yield made
    await made.aclose()


@pytest.mark.parametrize(
    "url", ["postgresql://localhost/x", "sqlite://", "sqlite:///:memory:", "mysql://x", "nonsense", ""]
)
def test_only_a_file_can_be_the_database(url: str) -> None:
    with pytest.raises(InvalidError, match="sqlite:///"):
        Database(url)


async def test_connections_are_set_up_for_speed_and_safety(db: Database) -> None:
    for transaction in (db.read, db.write):
        async with transaction() as session:
            values = [
                (await session.execute(text(f"PRAGMA {name}"))).scalar()
                for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
            ]
            assert values == ["wal", 1, 5000, 1]


async def test_writers_of_one_process_never_collide(db: Database) -> None:
    """Read, then write, twenty at once: a deferred transaction would fail or lose."""
    async with db.write() as session:
        await session.execute(text("INSERT INTO accounts VALUES ('n', 0)"))

    async def add() -> None:
        async with db.write() as session:
            seen = (await session.execute(text("SELECT created_at FROM accounts"))).scalar_one()
            await session.execute(text("UPDATE accounts SET created_at = :next"), {"next": seen + 1})

    await asyncio.gather(*(add() for _ in range(20)))
    async with db.read() as session:
        assert (await session.execute(text("SELECT created_at FROM accounts"))).scalar() == 20


async def test_readers_do_not_wait_for_a_writer_and_see_what_is_committed(db: Database) -> None:
    async with db.write() as writing:
        await writing.execute(text("INSERT INTO accounts VALUES ('a', 0)"))
        async with db.read() as reading:
            assert (await reading.execute(text("SELECT count(*) FROM accounts"))).scalar() == 0
    async with db.read() as reading:
        assert (await reading.execute(text("SELECT count(*) FROM accounts"))).scalar() == 1


async def test_a_block_that_raises_leaves_nothing(db: Database) -> None:
    with pytest.raises(RuntimeError):
        async with db.write() as session:
            await session.execute(text("INSERT INTO accounts VALUES ('a', 0)"))
            raise RuntimeError
    async with db.read() as session:
        assert (await session.execute(text("SELECT count(*) FROM accounts"))).scalar() == 0


async def test_a_cancelled_writer_does_not_hold_the_others(db: Database) -> None:
    inside = asyncio.Event()

    async def hang() -> None:
        async with db.write() as session:
            await session.execute(text("INSERT INTO accounts VALUES ('a', 0)"))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await inside.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with db.write() as session:
        assert (await session.execute(text("SELECT count(*) FROM accounts"))).scalar() == 0


async def test_a_statement_whose_caller_is_gone_is_broken_off(db: Database) -> None:
    """It would count for hours; the test's own limit is a minute."""
    endless = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")

    async def count(transaction: Callable[[], AbstractAsyncContextManager[DbSession]]) -> None:
        async with transaction() as session:
            await session.execute(text("SELECT 1"))
            begun.set()
            await session.execute(endless)

    for transaction in (db.read, db.snapshot, db.write):
        begun = asyncio.Event()
        task = asyncio.create_task(count(transaction))
        await begun.wait()
        for _ in range(100):  # let the endless statement reach its thread
            await db.ping()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
    async with db.write() as session:
        await session.execute(text("INSERT INTO accounts VALUES ('a', 0)"))


async def test_a_writer_cancelled_while_another_process_has_the_lock_does_not_take_it_later(tmp_path: Path) -> None:
    """Its BEGIN waits on a thread and may succeed after the caller is gone: the transaction must end all the same."""
    db = Database(f"sqlite:///{tmp_path}/t.db", busy_timeout_ms=20_000)
    await db.migrate()
    other = sqlite3.connect(tmp_path / "t.db", isolation_level=None, timeout=60)
    other.execute("BEGIN IMMEDIATE")
    begun = asyncio.Event()

    async def write() -> None:
        async with db.write() as session:
            asyncio.get_running_loop().call_soon(begun.set)
            await session.execute(text("DELETE FROM outbox"))

    task = asyncio.create_task(write())
    await begun.wait()
    for _ in range(20):
        await asyncio.sleep(0)  # until the statement is on its thread
    task.cancel()
    other.execute("ROLLBACK")
    with pytest.raises(asyncio.CancelledError):
        await task
    other.execute("BEGIN IMMEDIATE")
    other.execute("ROLLBACK")
    other.close()
    await db.aclose()


async def test_a_full_disk_is_one_sentence_and_nothing_is_lost(db: Database) -> None:
    async with db.write() as session:
        await session.execute(text("INSERT INTO accounts VALUES ('a', 0)"))
        pages = (await session.execute(text("PRAGMA page_count"))).scalar_one()
    with pytest.raises(UnavailableError, match=r"disk of the database .* is full: free some space"):
        async with db.write() as session:
            await session.execute(text(f"PRAGMA max_page_count = {pages}"))
            for number in range(10_000):
                name = f"{number:050}"
                await session.execute(text("INSERT INTO accounts VALUES (:name, 0)"), {"name": name})
    async with db.read() as session:
        assert (await session.execute(text("SELECT id FROM accounts"))).scalars().all() == ["a"]


async def test_a_read_only_database_is_one_sentence(db: Database) -> None:
    with pytest.raises(UnavailableError, match="cannot be written: make the directory and its files writable"):
        async with db.write() as session:
            await session.execute(text("PRAGMA query_only = 1"))
            await session.execute(text("INSERT INTO accounts VALUES ('a', 0)"))


async def test_a_directory_in_the_way_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "t.db").mkdir()
    (tmp_path / "file").write_text("x")
    for path in ("t.db", "file/t.db"):
        db = Database(f"sqlite:///{tmp_path}/{path}")
        with pytest.raises(UnavailableError, match=r"cannot be"):
            await db.migrate()
        await db.aclose()


async def test_another_process_with_the_lock_is_one_sentence(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path}/t.db", busy_timeout_ms=1)
    await db.migrate()
    other = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        async with db.read() as session:  # readers go on
            await session.execute(text("SELECT 1"))
        with pytest.raises(UnavailableError, match="locked by another process"):
            async with db.write() as session:
                await session.execute(text("SELECT 1"))
    finally:
        other.close()
        await db.aclose()


async def test_a_file_that_is_no_database_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "t.db").write_bytes(b"not a database at all" * 500)
    db = Database(f"sqlite:///{tmp_path}/t.db")
    with pytest.raises((UnavailableError, InternalError), match="not a database"):
        await db.migrate()
    await db.aclose()


async def test_broken_rules_of_the_tables_stay_what_they_are(db: Database) -> None:
    with pytest.raises(IntegrityError):
        async with db.write() as session:
            await session.execute(
                text("INSERT INTO apps (id, account_id, name, created_at) VALUES ('x', 'nobody', 'n', 0)")
            )
