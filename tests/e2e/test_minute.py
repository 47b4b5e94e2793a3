"""`max_seconds` at its least: a minute of waiting, spent beside other tests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.e2e.kit import SMALL, judge, open_house

from tapedeck.sources.synthetic import CAST
from tapedeck.testing.people import Act, Cue, Person

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(300)]

BEA = Person(CAST[1], (Cue(0.4, Act.JOIN), Cue(64.0, Act.LEAVE)), size=(320, 180), fps=20)


async def test_max_seconds_ends_a_recording_by_itself(tmp_path: Path) -> None:
    """[28]"""
    async with open_house(tmp_path) as house:
        room = await house.room([BEA], "A minute")
        playing = asyncio.create_task(room.play())
        await room.at(1.45)
        take = await room.start(max_seconds=60, **SMALL)
        people = await playing
        viewed = await take.film([BEA.look], limit_s=90)
        recorded = await take.recorded()
    recording = viewed.recording
    assert recording.started_time is not None and recording.stopped_time is not None
    assert (recording.stopped_time - recording.started_time).total_seconds() == pytest.approx(60, abs=2)
    assert recording.recording_duration == 60
    assert recording.stop_reason is not None and recording.stop_reason.caller is None
    report = judge(viewed, people, recorded)
    assert report.ok, f"\n{report}"
