"""Senders that change under way: each of these ends in one good file.

Resolution and with it the parameter sets, in H264 and VP8; the RTP clock, by a minute; the SSRC, unannounced.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.kit import LoggedFrame, Viewed, judge, open_house, read_frames

from tapedeck.core.frames import Codec, FrameFlags, Kind
from tapedeck.sources.synthetic import CAST
from tapedeck.testing.expect import Attendance, Recorded
from tapedeck.testing.people import Act, Cue, Person

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ADA, GRACE, LINUS, HEDY = CAST[:4]
LEAVE = Cue(14.4, Act.LEAVE)
PEOPLE = (
    Person(
        ADA,
        (Cue(0.2, Act.JOIN), Cue(5.4, Act.RESIZE, (320, 180)), Cue(9.3, Act.RESIZE, (960, 540)), LEAVE),
    ),
    Person(GRACE, (Cue(0.4, Act.JOIN), Cue(6.4, Act.RESIZE, (320, 180)), LEAVE), codec=Codec.VP8),
    Person(LINUS, (Cue(0.6, Act.JOIN), Cue(7.4, Act.JUMP), LEAVE)),
    Person(HEDY, (Cue(0.8, Act.JOIN), Cue(8.4, Act.NEW_SSRC), LEAVE), codec=Codec.VP8),
)


@dataclass(frozen=True)
class Run:
    viewed: Viewed
    people: tuple[Attendance, ...]
    recorded: tuple[Recorded, ...]
    log: list[LoggedFrame]


async def play(folder: Path) -> Run:
    async with open_house(folder) as house:
        room = await house.room(PEOPLE, "Changes")
        playing = asyncio.create_task(room.play())
        await room.at(2.55)
        take = await room.start()
        await room.at(13.7)
        await take.act("stop")
        people = await playing
        viewed = await take.film([person.look for person in PEOPLE])
        return Run(viewed, people, await take.recorded(), read_frames(await take.log_dir(), room.clock))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return asyncio.run(play(tmp_path_factory.mktemp("changes")))


def test_the_film_is_good_throughout(run: Run) -> None:
    report = judge(run.viewed, run.people, run.recorded)
    assert report.ok, f"\n{report}"


def test_the_changes_were_real(run: Run) -> None:
    """Ada went through three parameter sets; two senders' clocks were reset; only a new SSRC makes decoders wait."""
    sets: dict[str, set[bytes]] = {}
    resets: list[tuple[Codec, bool]] = []
    for logged in run.log:
        if logged.track.kind is not Kind.VIDEO:
            continue
        if logged.frame.flags & FrameFlags.NEW_CLOCK:
            resets.append((logged.frame.codec, bool(logged.frame.flags & FrameFlags.DISCONTINUITY)))
        if logged.frame.codec is Codec.H264 and logged.frame.is_key:
            units = [unit for unit in logged.frame.payload.split(b"\0\0\0\1") if unit and unit[0] & 31 == 7]
            sets.setdefault(logged.track.track_id, set()).update(units)
    assert sorted(len(one) for one in sets.values()) == [1, 3]
    assert sorted(resets) == [(Codec.VP8, True), (Codec.H264, False)]
