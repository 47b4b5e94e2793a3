"""Livestreams that are not there, and counts by day, through the official SDK."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import cloudflare
import pytest
from cloudflare import AsyncCloudflare
from sqlalchemy import update
from tests.api.kit import Site

from tapedeck.db.models import RecordingRow


def ids(site: Site) -> dict[str, Any]:
    return {"account_id": site.world.account_id, "app_id": site.world.app.id}


async def test_starting_and_stopping_a_livestream_is_refused_in_words(client: AsyncCloudflare, live_site: Site) -> None:
    meeting = await live_site.world.meeting()
    live = client.realtime_kit.livestreams
    for asking in (
        live.start_livestreaming_a_meeting(meeting.id, **ids(live_site), name="n", video_config={"width": 1280}),
        live.stop_livestreaming_a_meeting(meeting.id, **ids(live_site)),
    ):
        with pytest.raises(cloudflare.BadRequestError) as refused:
            await asking
        assert refused.value.body["error"]["message"] == "Livestreams are not available"  # type: ignore[index]
    assert len(live_site.requests) == 2, "a refusal is not asked for again"


async def test_reading_livestreams_finds_none(client: AsyncCloudflare, live_site: Site) -> None:
    meeting = await live_site.world.meeting()
    live, app = client.realtime_kit.livestreams, live_site.world.app.id
    account = live_site.world.account_id
    for asking in (
        live.get_meeting_active_livestreams(meeting.id, **ids(live_site)),
        live.get_livestream_session_for_livestream_id("x", **ids(live_site)),
        live.get_livestream_session_details_for_session_id("x", **ids(live_site)),
        live.get_active_livestreams_for_livestream_id("x", **ids(live_site)),
    ):
        with pytest.raises(cloudflare.NotFoundError):
            await asking
    listed = await live.get_all_livestreams(app, account_id=account, sort_order="DSC", per_page=5, status="LIVE")
    assert listed.data is not None and listed.data.paging is not None and listed.data.paging.total_count == 0
    total = await live.get_livestream_analytics_complete(app, account_id=account, start_time=1)
    assert total.data is not None and total.data.count == 0
    days = await live.get_livestream_analytics_daywise(app, account_id=account)
    assert days.data == []


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
