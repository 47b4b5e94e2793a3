"""The migrations make exactly the tables of the model, from nothing and again, and know when they are too old."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
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


async def test_sessions_of_before_they_were_counted_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    config = Config()
    config.set_main_option("script_location", str(VERSIONS.parent))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        for statement in (
            "INSERT INTO accounts VALUES ('acme', 0)",
            "INSERT INTO apps VALUES ('campus', 'acme', 'n', NULL, 0)",
            "INSERT INTO presets VALUES ('p', 'campus', 'host', '{\"view_type\": \"WEBINAR\"}', '{}', '{}', 0, 0)",
            "INSERT INTO meetings VALUES ('m', 'campus', 't', 't', 'active', 0, 60, NULL, NULL, 0, 0)",
            "INSERT INTO participants VALUES ('ada', 'm', 'p', 'Custom', NULL, NULL, 1, 0, 0)",
            "INSERT INTO sessions VALUES ('s', 'm', 0, 9000, NULL, 500, NULL)",
            "INSERT INTO sessions VALUES ('live', 'm', 9500, NULL, 9500, NULL, NULL)",
            "INSERT INTO peers VALUES ('a', 's', 'ada', 'Ada', 0, 100, 200)",
            "INSERT INTO peers VALUES ('b', 's', 'ada', 'Ada', 0, 150, 300)",
            "INSERT INTO peers VALUES ('c', 's', 'ada', 'Ada', 0, 400, 500)",
            "INSERT INTO peers VALUES ('d', 's', 'gone', 'Gone', 0, 300, 410)",
            "INSERT INTO peers VALUES ('e', 's', 'ghost', 'Ghost', 1, 100, 9000)",
            "INSERT INTO peers VALUES ('f', 'live', 'ada', 'Ada', 0, 9500, NULL)",
            "INSERT INTO peers VALUES ('g', 'live', 'ada', 'Ada', 0, 9600, 9700)",
        ):
            connection.execute(text(statement.replace(":", r"\:")))
    engine.dispose()
    await migrated(path)
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        counts = "SELECT app_id, end_cause, people, most_people, stayed_ms, since_sum_ms, updated_at FROM sessions"
        assert [tuple(row) for row in connection.execute(text(counts + " ORDER BY id DESC"))] == [
            ("campus", "empty", 0, 2, 410, 0, 9000),
            ("campus", None, 1, 1, 0, 9500, 9500),
        ]
        people = (
            "SELECT session_id, participant_id, peer_id, folded, custom_id, preset_name, view_type, joined_at, left_at,"
            " here_since, stayed_ms FROM attendances ORDER BY session_id DESC, participant_id"
        )
        ada = ("ada\ncustom\nada", "Custom", "host", "WEBINAR")
        assert [tuple(row) for row in connection.execute(text(people))] == [
            ("s", "ada", "a", *ada, 100, 500, None, 300),
            ("s", "gone", "d", "gone\ngone", None, None, None, 300, 410, None, 110),
            ("live", "ada", "f", *ada, 9500, None, 9500, 0),
        ]
    engine.dispose()


async def test_recordings_of_before_the_library_are_in_it(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    config = Config()
    config.set_main_option("script_location", str(VERSIONS.parent))
    engine = create_engine(f"sqlite:///{path}")
    states = ("requested", "paused", "closing", "uploading", "done", "failed")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
        for statement in (
            "INSERT INTO accounts VALUES ('acme', 0)",
            "INSERT INTO apps (id, account_id, name, created_at) VALUES ('campus', 'acme', 'n', 0)",
            "INSERT INTO meetings VALUES ('m', 'campus', 'Straße', 'strasse', 'active', 0, 60, NULL, NULL, 0, 0)",
            *(
                "INSERT INTO recordings (id, app_id, meeting_id, kind, state, version, file_name, options,"
                f" start_cause, invoked_at, paused_ms, files) VALUES ('{state}', 'campus', 'm', 'composite', '{state}',"
                f" 1, 'f', '{{}}', 'request', {number}, 0, '[]')"
                for number, state in enumerate(states)
            ),
        ):
            connection.execute(text(statement))
    engine.dispose()
    await migrated(path)
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT status, title, title_folded, imported_at FROM library ORDER BY created_at")
        )
        words = ("recording", "recording", "processing", "processing", "ready", "failed")
        assert [tuple(row) for row in rows] == [(word, "Straße", "strasse", None) for word in words]
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
