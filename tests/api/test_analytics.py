"""Counts by day, through the official SDK."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cloudflare import AsyncCloudflare
from sqlalchemy import update
from tests.api.kit import Site

from tapedeck.db.models import RecordingRow


def ids(site: Site) -> dict[str, Any]:
    return {"account_id": site.world.account_id, "app_id": site.world.app.id}


async def test_recordings_and_sessions_are_counted_by_day(client: AsyncCloudflare, live_site: Site) -> None:
    world = live_site.world
    for seconds in (90, 30):
        meeting = await world.meeting()
        recording = await world.start(meeting)
        await world.live(meeting)
        async with world.db.write() as session:
            row = update(RecordingRow).where(RecordingRow.id == recording.id)
            await session.execute(row.values(film_ms=seconds * 1000))
    world.clock.move(60)
    today = world.clock.now().date()
    app, account = world.app.id, world.account_id
    raw = await client.realtime_kit.analytics.get_org_analytics(
        app, account_id=account, start_date=str(today - timedelta(days=2)), end_date=str(today)
    )
    assert raw.data is not None and raw.data.recording_stats is not None and raw.data.session_stats is not None
    stats = raw.data.recording_stats
    assert stats.recording_count == 2 and stats.day_stats is not None
    assert [(day.day, day.total_recordings) for day in stats.day_stats] == [
        (str(today - timedelta(days=2)), 0),
        (str(today - timedelta(days=1)), 0),
        (str(today), 2),
    ]
    assert stats.recording_minutes_consumed == 2
    assert raw.data.session_stats.sessions_count == 2
    assert raw.data.session_stats.sessions_minutes_consumed == 2
    default = await client.realtime_kit.analytics.get_org_analytics(app, account_id=account)
    assert default.data is not None and default.data.recording_stats is not None
    assert len(default.data.recording_stats.day_stats or ()) == 30


@pytest.mark.parametrize(
    "query",
    [
        "start_date=2026-3-2",
        "end_date=20260302",
        "start_date=2026-03-02T00:00",
        "start_date=2026-03-03&end_date=2026-03-02",
        "start_date=2020-01-01&end_date=2026-01-01",
        "start_date=%00",
    ],
)
async def test_days_that_are_none_are_400(site: Site, query: str) -> None:
    assert (await site.ask("GET", f"analytics/daywise?{query}")).status_code == 400


@pytest.mark.parametrize(
    "query", ["start_date=0001-01-01&end_date=0001-01-05", "end_date=9999-12-31", "end_date=0001-01-02"]
)
async def test_days_at_the_ends_of_time_are_no_fault(site: Site, query: str) -> None:
    assert (await site.ask("GET", f"analytics/daywise?{query}")).status_code == 200
