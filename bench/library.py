"""The rooms API: lists of one of a thousand tenants, who have a thousand recordings each.

Served and measured as `bench/api.py` does, beside a bare route that returns the same bytes from memory.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop
from sqlalchemy import text

from bench.api import ROUNDS, asker, say, serve, served, times_of
from bench.row import Row
from tapedeck.core.access import TokenScope
from tapedeck.db.engine import Database
from tapedeck.service.access import AccessService

RECORDINGS = 1_000_000
TENANTS = 1_000
ROOMS = 10
"""Of each tenant."""
_TENANT = "tenant-0500"
_T0 = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=RECORDINGS)
_NUMBERS = "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :last) "
_ROOM = "printf('00000000-0000-4000-8000-%012d', {})"
_APPS = """
INSERT INTO apps (id, account_id, name, created_at)
SELECT printf('tenant-%04d', n), 'bench', 'Tenant ' || n, :t0 FROM numbers
"""
_ROOMS = f"""
INSERT INTO meetings (id, app_id, title, title_folded, status, record_on_start, keep_alive_s, created_at, updated_at)
SELECT {_ROOM.format("n")}, printf('tenant-%04d', n / {ROOMS}), 'Lecture ' || n, 'lecture ' || n, 'active', 0, 60, :t0,
    :t0
FROM numbers
"""
_RECORDINGS = f"""
INSERT INTO recordings (id, app_id, meeting_id, kind, state, version, file_name, options, start_cause, invoked_at,
    started_at, stopped_at, paused_ms, film_ms, files, size_bytes, cautions)
SELECT printf('10000000-0000-4000-8000-%012d', n), printf('tenant-%04d', n % {TENANTS}),
    {_ROOM.format(f"n % {TENANTS} * {ROOMS} + n / {TENANTS} % {ROOMS}")}, 'composite',
    iif(n / {TENANTS} % 100 = 0, 'failed', 'done'), 8, n || '.mp4', '{{}}', 'request', :t0 + n * 60000, :t0 + n * 60000,
    :t0 + n * 60000 + 60000, 0, 60000 + n % 977, json_array(json_object('kind', 'video', 'name', n || '.mp4',
        'size_bytes', 100000000, 'duration_ms', 60000, 'crc32c', '00000000',
        'key', 'recordings/x/' || n || '/film.mp4')),
    100000000 + n % 9973, '[]'
FROM numbers
"""
_LIBRARY = """
INSERT INTO library (recording_id, app_id, meeting_id, provider, imported_at, status, title, title_folded, hold,
    deleted_at, created_at, updated_at)
SELECT r.id, r.app_id, r.meeting_id, 'local', r.invoked_at, iif(r.state = 'done', 'ready', 'failed'), m.title,
    m.title_folded, 0, iif(r.film_ms % 50 = 0, r.invoked_at, NULL), r.invoked_at, r.invoked_at
FROM recordings AS r JOIN meetings AS m ON m.id = r.meeting_id
"""


async def _fill(db: Database, access: AccessService) -> list[str]:
    """A million recordings of a thousand tenants, one of fifty deleted; a key of one tenant."""
    await access.create_account("bench")
    async with db.write() as session:
        t0 = int(_T0.timestamp() * 1000)
        for statement, last in ((_APPS, TENANTS), (_ROOMS, TENANTS * ROOMS), (_RECORDINGS, RECORDINGS)):
            await session.execute(text(_NUMBERS + statement), {"t0": t0, "last": last})
        await session.execute(text(_LIBRARY))
    return [(await access.issue_token("bench", _TENANT, "bench", TokenScope.ROOMS))[0]]


def _list_rows(port: int, peer_port: int, key: str) -> list[Row]:
    rows = []
    room = f"room_00000000-0000-4000-8000-{int(_TENANT[-4:]) * ROOMS:012d}"
    for what, query in (
        ("newest 20", ""),
        ("100 a page", "?limit=100"),
        ("the last page", "?offset=960"),
        ("1 % by status", "?status=failed"),
        ("by text", "?search=lecture%205003"),
        ("of one room", f"?room_id={room}"),
        ("by size", "?sort=-size_bytes"),
        ("by length, of two states", "?sort=duration_seconds&status=ready,processing"),
        ("by name", "?sort=name"),
        ("100 by text and size", "?search=lecture&sort=-size_bytes&limit=100"),
        (
            "of a month",
            f"?from={_T0 + timedelta(days=300):%Y-%m-%d}T00:00:00Z&to={_T0 + timedelta(days=330):%Y-%m-%d}T00:00:00Z",
        ),
    ):
        path = f"/api/v1/recordings{query}"
        times, body = times_of(asker(port, path, {"x-api-key": key}))
        if not json.loads(body)["data"]:
            raise RuntimeError(f"{path} found nothing: {body[:200]!r}")
        put = http.client.HTTPConnection("127.0.0.1", peer_port)
        put.request("PUT", f"/kept/a?content={len(body)}")
        put.getresponse().read()
        bare, _ = times_of(asker(peer_port, "/kept/a"))
        most_ms = 20
        ok = times[int(ROUNDS * 0.99)] <= most_ms
        name = f"library of {RECORDINGS:,} in {TENANTS:,} tenants: {what}"
        rows.append(Row(name, say(times), f"bare route {say(bare)}", f"p99 <= {most_ms} ms", ok))
    return rows


def rows() -> list[Row]:
    """Serve, ask, and stop."""
    with served("bench.library") as said:
        return _list_rows(*said)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1]), _fill))
