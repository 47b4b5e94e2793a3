"""People, the real receiver, capture and render together, without HTTP: the film is right to the frame."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.testing.studio import open_studio

from tapedeck.core.frames import Codec
from tapedeck.sources.synthetic import CAST, SCREENS
from tapedeck.testing.browser import hold_against_page, open_browser
from tapedeck.testing.check import check
from tapedeck.testing.clock import SharedClock
from tapedeck.testing.expect import Attendance, Bars, Expectation, Recorded
from tapedeck.testing.link import HookedLink, Impairment
from tapedeck.testing.people import Act, Cue, Performer, Person, perform
from tapedeck.testing.report import Report
from tapedeck.testing.watch import watch

pytestmark = pytest.mark.e2e

ADA, GRACE, LINUS = CAST[:3]
S = 1_000_000_000


async def record(
    root: Path, people: list[Person], spans: list[tuple[float, float]]
) -> tuple[Path, tuple[Attendance, ...], tuple[Recorded, ...]]:
    """Let people meet, record these spans of the shared clock, make the film."""
    async with open_studio(root) as studio:
        clock = SharedClock()
        performers = [Performer(person, clock, studio.door(person.look.name)) for person in people]
        for performer in performers:
            list(performer.prepare())
        clock.begin()
        async with asyncio.TaskGroup() as group:
            playing = group.create_task(perform(performers))
            for number, (start_s, end_s) in enumerate(spans):
                await clock.until(round(start_s * S))
                studio.resume() if number else studio.start()
                await clock.until(round(end_s * S))
                await (studio.pause() if number + 1 < len(spans) else studio.stop())
        film = await asyncio.to_thread(studio.render, "film.mp4")
        assert studio.problems == []
        return film, playing.result(), studio.recorded(clock)


def judge(film: Path, sent: tuple[Attendance, ...], recorded: tuple[Recorded, ...], bars: Bars) -> Report:
    return check(watch(film, [one.look for one in sent]), Expectation(sent, recorded, bars))


async def test_late_muted_leaving_and_paused_people_are_in_the_film_when_and_only_when_they_should(
    tmp_path: Path,
) -> None:
    end = Cue(13.0, Act.LEAVE)
    people = [
        Person(ADA, (Cue(0.2, Act.JOIN), Cue(4.3, Act.MUTE), Cue(6.4, Act.UNMUTE), end)),
        Person(GRACE, (Cue(0.4, Act.JOIN), Cue(10.4, Act.LEAVE)), codec=Codec.VP8, screen=SCREENS[0]),
        Person(LINUS, (Cue(3.1, Act.JOIN), Cue(9.2, Act.CAMERA_OFF), end), dtx=True),
    ]
    film, sent, recorded = await record(tmp_path, people, [(1.3, 6.87), (8.6, 12.5)])
    report = judge(film, sent, recorded, Bars())
    assert report.ok, f"{report}\n{report.problems}"


async def test_a_lossy_slow_network_costs_little_and_corrupts_nothing(tmp_path: Path) -> None:
    links: list[HookedLink] = []

    def link() -> HookedLink:
        links.append(HookedLink(Impairment(loss=0.05, delay_ms=80, jitter_ms=10, reorder=0.02), seed=len(links)))
        return links[-1]

    end = Cue(11.0, Act.LEAVE)
    people = [
        Person(ADA, (Cue(0.1, Act.JOIN), end), link=link),
        Person(GRACE, (Cue(0.8, Act.JOIN), end), codec=Codec.VP8, link=link),
    ]
    film, sent, recorded = await record(tmp_path, people, [(2.3, 10.4)])
    assert sum(one.lost for one in links) > 30
    bars = Bars(presence=0.97, way_ns=100_000_000)  # nobody can tell 80 ms of network from 80 ms of clock
    report = judge(film, sent, recorded, bars)
    assert report.ok, f"{report}\n{report.problems}"
    for one in links:
        one.close()


@pytest.mark.browser
@pytest.mark.parametrize("codec", [Codec.VP8, Codec.H264])
async def test_chromium_is_in_the_film_as_its_page_captured_it(tmp_path: Path, codec: Codec) -> None:
    clock = SharedClock()
    async with open_studio(tmp_path) as studio:
        async with open_browser(ADA, clock, tmp_path) as person:
            await person.publish(studio.door("ada"), codec)
            await person.wait_for_beats(3)
            studio.start()
            await person.wait_for_beats(13)
            await studio.stop()
            page = await person.beats()
            stats = await person.stats()
            await person.leave()
        path = await asyncio.to_thread(studio.render, "film.mp4")
        (recorded,) = studio.recorded(clock)
    assert stats["video"]["plis"] >= 1, "the recorder asks for a key frame at the start"
    film = watch(path, [ADA])
    report = hold_against_page(film, ADA, page, recorded.start.middle_ns)
    assert report.flashes_due >= 9
    assert report.flashes >= report.flashes_due - 1, "a busy browser may leave a picture out"
    assert report.beeps == report.beeps_due
    assert len(report.differences_ns) >= 8
    assert report.p95_ns <= 20_000_000, report
    assert report.seen >= 0.99
    assert max(film.sights["Ada"].strange) < 0.03
