"""Reports reach the service in order, whatever the database does meanwhile."""

from __future__ import annotations

import asyncio

from tapedeck.core.errors import NotFoundError, UnavailableError
from tapedeck.workers.reports import Report, Reports


def saying(said: list[str], word: str, *faults: Exception) -> Report:
    left = list(faults)

    async def report() -> None:
        if left:
            raise left.pop(0)
        said.append(word)

    return report


async def test_a_locked_database_delays_reports_and_loses_none() -> None:
    said: list[str] = []
    reports = Reports("s", first_delay_s=0)
    reports.put(saying(said, "first media", *[UnavailableError("locked")] * 40))
    reports.put(saying(said, "left"))
    await reports.finish()
    assert said == ["first media", "left"]


async def test_what_the_service_does_not_know_is_not_tried_again() -> None:
    said: list[str] = []
    reports = Reports("s", first_delay_s=0)
    reports.put(saying(said, "of a meeting that is gone", NotFoundError("gone")))
    reports.put(saying(said, "next"))
    await reports.finish()
    assert said == ["next"]


async def test_a_report_that_always_fails_does_not_hold_up_the_others() -> None:
    said: list[str] = []
    reports = Reports("s", first_delay_s=0)
    reports.put(saying(said, "broken", *[RuntimeError("a bug")] * 100))
    reports.put(saying(said, "next"))
    await reports.finish()
    assert said == ["next"]


async def test_the_end_of_the_process_does_not_wait_for_ever() -> None:
    said: list[str] = []
    reports = Reports("s", first_delay_s=1000)
    reports.put(saying(said, "never", UnavailableError("locked")))
    async with asyncio.timeout(60):
        await reports.finish(0.01)
    assert said == []


async def test_who_waits_for_the_news_waits_for_what_was_put_before_and_not_for_ever() -> None:
    said: list[str] = []
    reports = Reports("s", first_delay_s=0.01)
    reports.put(saying(said, "left", *[UnavailableError("locked")] * 3))
    await reports.caught_up(20)
    assert said == ["left"]
    reports.put(saying(said, "later", *[UnavailableError("locked")] * 5))
    await reports.caught_up(0)
    assert said == ["left"]
    await reports.finish()
    assert said == ["left", "later"]
