"""FFmpeg's WHIP muxer publishes a synthetic person over the server's real HTTP; the film is looked at."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.kit import MS, S, Viewed, open_house
from tests.sources.test_ffmpeg import write_certificate

from tapedeck.sources.synthetic import BAR_NS, BEEP_NS, CAST
from tapedeck.testing.expect import Recorded

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SECONDS = 9


@dataclass(frozen=True)
class Run:
    viewed: Viewed
    recorded: tuple[Recorded, ...]
    code: int


async def play(folder: Path) -> Run:
    async with open_house(folder) as house:
        room = await house.room([], "FFmpeg", record_on_start=True)
        token = await house.participant(room.id, "Ada")
        script = Path(__file__).with_name("ffmpeg_person.py")
        url = f"{house.server.base_url}/rtc/{room.id}/whip"
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), url, token, *write_certificate(folder), str(SECONDS), cwd=Path.cwd()
        )
        code = await process.wait()
        (take,) = await room.recordings()
        await take.act("stop")
        viewed = await take.film(CAST[:1])
        return Run(viewed, await take.recorded(), code)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return asyncio.run(play(tmp_path_factory.mktemp("ffmpeg")))


def test_the_film_has_picture_and_sound_in_step(run: Run) -> None:
    """The muxer stamps both by one clock, so bar and beep of a second must begin together in the film."""
    assert run.code == 0
    film = run.viewed.film
    flashes = [flash.middle_ns - BAR_NS // 2 for flash in film.flashes["Ada"]]
    beeps = [beep.middle_ns - BEEP_NS // 2 for beep in film.beeps["Ada"]]
    assert len(flashes) >= SECONDS - 1
    assert len(beeps) >= SECONDS - 1
    apart = sorted(min(abs(one - other) for other in beeps) for one in flashes if one > 300 * MS)
    print(f"\nFFmpeg: {[round(value / MS, 1) for value in apart]} ms apart")  # noqa: T201
    assert apart[-1] <= 20 * MS


def test_the_film_is_as_long_as_what_was_sent_and_opens_at_once(run: Run) -> None:
    film, (span,) = run.viewed.film, run.recorded
    assert film.end_ns == pytest.approx(span.end.middle_ns - span.start.middle_ns, abs=55 * MS)
    assert film.end_ns >= SECONDS * S - 500 * MS
    there = [start for start, box in zip(film.starts_ns, film.sights["Ada"].boxes, strict=True) if box is not None]
    assert there[0] <= 300 * MS
    assert len(there) >= 0.99 * 30 * (SECONDS - 1)
