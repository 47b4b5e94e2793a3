"""Two recordings of one meeting with the same picture, the second begun 1.3 s later, the first paused meanwhile.

Both films have what was sent while their recording ran, to the beep, and where both ran the packets of one are those of
the other: they were encoded once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import av
import pytest
from tests.e2e.kit import judge, open_house

from tapedeck.sources.synthetic import CAST
from tapedeck.testing.expect import Bars
from tapedeck.testing.people import Act, Cue, Person

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]

ADA, GRACE = CAST[:2]
SIZE = {"width": 640, "height": 360}


def pictures(path: Path) -> Counter[bytes]:
    with av.open(str(path)) as film:
        return Counter(bytes(packet) for packet in film.demux(video=0) if packet.size)


async def play(folder: Path) -> None:
    async with open_house(folder) as house:
        people = [
            Person(ADA, (Cue(0.2, Act.JOIN), Cue(13.2, Act.LEAVE)), size=(320, 180), fps=20),
            Person(GRACE, (Cue(0.4, Act.JOIN), Cue(13.2, Act.LEAVE)), size=(320, 180), fps=20),
        ]
        room = await house.room(people)
        playing = asyncio.create_task(room.play())
        await room.at(1.45)
        first = await room.start(video_config=SIZE)
        await room.at(2.75)
        second = await room.start(video_config=SIZE, allow_multiple_recordings=True)
        await room.at(6.4)
        await first.act("pause")
        await room.at(7.7)
        await first.act("resume")
        await room.at(12.4)
        await second.act("stop")
        await first.act("stop")
        attendance = await playing
        films = [await take.film((ADA, GRACE)) for take in (first, second)]
        for take, film in zip((first, second), films, strict=True):
            report = judge(film, attendance, await take.recorded(), Bars(in_step=True))
            assert report.ok, str(report)
        one, other = (pictures(film.path) for film in films)
        assert (one & other).total() > 2 * 30, "two seconds and more of both are the same packets"


def test_both_films_have_what_was_sent_and_were_encoded_once(tmp_path: Path) -> None:
    asyncio.run(play(tmp_path))
