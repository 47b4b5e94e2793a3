"""The migrations make exactly the tables of the model, from nothing and again, and know when they are too old."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

import tapedeck.db
from tapedeck.core.errors import UnavailableError
from tapedeck.db.engine import Database
from tapedeck.db.models import Base

VERSIONS = Path(tapedeck.db.__file__).parent / "migrations" / "versions"


async def migrated(path: Path) -> None:
    db = Database(f"sqlite:///{path}")
    try:
        await db.migrate()
    finally:
        await db.aclose()


async def test_migrations_and_model_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    await migrated(path)
    await migrated(path)  # nothing left to do
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "target_metadata": Base.metadata})
        assert compare_metadata(context, Base.metadata) == []
        # The library's comparison passes over the columns of SQLite's indexes; ours does not.
        for table in Base.metadata.sorted_tables:
            made = {index["name"]: index["column_names"] for index in inspect(connection).get_indexes(table.name)}
            assert made == {index.name: [column.name for column in index.columns] for index in table.indexes}
    engine.dispose()


async def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    await migrated(path)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(UnavailableError, match="newer version of Tapedeck"):
        await migrated(path)


def test_each_migration_says_in_its_name_when_it_runs_and_follows_the_one_before() -> None:
    scripts = list(ScriptDirectory(str(VERSIONS.parent)).walk_revisions("base", "heads"))[::-1]
    for number, script in enumerate(scripts, 1):
        assert script.revision == f"{number:04}"
        name = Path(script.path).name
        assert name.startswith((f"{number:04}_pre_", f"{number:04}_post_"))
