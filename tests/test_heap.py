"""What a server needed for a while does not stay in its memory for good: large blocks of uploads, what migrates."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import tapedeck.db

_WORK = """
import os, sys, threading
if sys.argv[1] == "back":
    from tapedeck.heap import give_back_large_blocks
    give_back_large_blocks()

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

def use():
    for _ in range(4):
        block = b"x" * (8 << 20)
        del block
    meet.wait()

before, meet = resident(), threading.Barrier(9)
threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads:
    thread.start()
meet.wait()
for thread in threads:
    thread.join()
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what glibc does")
def test_large_blocks_are_not_kept() -> None:
    kept, back = (
        int(subprocess.run([sys.executable, "-c", _WORK, how], capture_output=True, check=True, text=True).stdout)
        for how in ("kept", "back")
    )
    assert back < 4, f"MiB after the work; as it is without, {kept}"


_START = """
import asyncio, sqlite3, sys
from tapedeck import wiring
from tapedeck.db.engine import Database

settings = wiring.Settings(data_dir=sys.argv[1])
wiring.migrate_apart(settings)
database = settings.effective_database_url.partition("///")[2]
(made,) = sqlite3.connect(database).execute("SELECT version_num FROM alembic_version").fetchone()

async def look():
    db = Database(settings.effective_database_url)
    await db.migrate()
    await db.aclose()

asyncio.run(look())
print(made, "alembic" in sys.modules)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the server migrates in its own process")
def test_what_migrates_a_database_is_not_kept(tmp_path: Path) -> None:
    """A child makes the tables, and a database that is current is known without the library."""
    versions = Path(tapedeck.db.__file__).parent / "migrations" / "versions"
    newest = max(path.name for path in versions.glob("[0-9]*.py"))
    command = [sys.executable, "-c", _START, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    assert newest.startswith(f"{said[0]}_")
    assert said[1] == "False"
