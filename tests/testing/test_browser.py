"""The page measures what Chromium's fake devices play, and a film is held against that."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from tests.testing.films import Part, make_film

from tapedeck.sources.synthetic import CAST
from tapedeck.testing.browser import PageBeats, hold_against_page, open_browser
from tapedeck.testing.clock import SharedClock
from tapedeck.testing.watch import watch

ADA = CAST[0]
S = 1_000_000_000
MS = 1_000_000
TILE = (0, 0, 480, 270)
PAGE = PageBeats(
    flashes_ns=tuple(n * S + 25 * MS for n in range(100, 120)), beeps_ns=tuple(n * S + 20 * MS for n in range(100, 120))
)


@pytest.mark.browser
async def test_the_page_sees_a_bar_and_hears_a_beep_each_second(tmp_path: Path) -> None:
    clock = SharedClock()
    async with open_browser(ADA, clock, tmp_path) as person:
        for taken in range(4, 30):
            await person.wait_for_beats(taken)
            beats = await person.beats()
            latest = max(beats.flashes_ns[-4], beats.beeps_ns[-4])
            if not any(b > latest for _, b in beats.gaps_ns + beats.slips_ns):  # a device may stand still now and then
                break
    assert all(0 < at < clock.now_ns() for at in (*beats.flashes_ns, *beats.beeps_ns))
    for found in (beats.flashes_ns[-3:], beats.beeps_ns[-3:]):
        assert [round((b - a) / S) for a, b in pairwise(found)] == [1, 1]
    assert all(abs(b - a - S) < 10 * MS for a, b in pairwise(beats.beeps_ns[-3:]))


@pytest.fixture
def film_path(tmp_path: Path) -> Path:
    return tmp_path / "film.mp4"


def test_a_film_that_keeps_bar_and_beep_as_captured_is_in_step(film_path: Path) -> None:
    make_film(film_path, [Part(ADA, TILE)], [(103.4, 107.9)], size=(480, 270))
    report = hold_against_page(watch(film_path, [ADA]), ADA, PAGE, round(103.2 * S))
    assert (report.flashes, report.flashes_due, report.beeps, report.beeps_due) == (4, 4, 4, 4)
    assert report.seen == 1
    assert len(report.differences_ns) == 4
    assert report.p95_ns < 9 * MS


def test_a_film_is_in_step_whatever_the_devices_were(film_path: Path) -> None:
    """The camera's device ran 0.3 s behind the microphone's, and the film kept that."""
    page = PageBeats(tuple(at + 300 * MS for at in PAGE.flashes_ns), PAGE.beeps_ns)
    make_film(film_path, [Part(ADA, TILE, late_picture_s=0.3)], [(103.4, 107.9)], size=(480, 270))
    assert hold_against_page(watch(film_path, [ADA]), ADA, page, round(103.4 * S)).p95_ns < 9 * MS
    assert hold_against_page(watch(film_path, [ADA]), ADA, PAGE, round(103.4 * S)).flashes == 0


@pytest.mark.parametrize("late_s", [0.05, -0.05])
def test_a_film_out_of_step_with_the_page_shows(film_path: Path, late_s: float) -> None:
    make_film(film_path, [Part(ADA, TILE, late_sound_s=late_s)], [(103.4, 107.9)], size=(480, 270))
    report = hold_against_page(watch(film_path, [ADA]), ADA, PAGE, round(103.4 * S))
    assert report.p95_ns == pytest.approx(50 * MS, abs=9 * MS)


def test_what_the_page_took_while_a_device_stood_still_is_not_judged(film_path: Path) -> None:
    make_film(film_path, [Part(ADA, TILE, heard=lambda n: n != 105)], [(103.4, 107.9)], size=(480, 270))
    stuck = PageBeats(PAGE.flashes_ns, PAGE.beeps_ns, slips_ns=((round(104.9 * S), round(105.01 * S)),))
    report = hold_against_page(watch(film_path, [ADA]), ADA, stuck, round(103.4 * S))
    assert (report.flashes, report.flashes_due, report.beeps, report.beeps_due) == (3, 3, 3, 3)
    other = PageBeats(PAGE.flashes_ns, PAGE.beeps_ns, gaps_ns=((round(106.4 * S), round(106.6 * S)),))
    report = hold_against_page(watch(film_path, [ADA]), ADA, other, round(103.4 * S))
    assert (report.flashes, report.flashes_due, report.beeps, report.beeps_due) == (4, 4, 3, 4)


def test_what_is_missing_in_the_film_is_counted(film_path: Path) -> None:
    make_film(
        film_path,
        [Part(ADA, TILE, heard=lambda n: n != 105, seen=lambda t: not 105.9 < t < 106.2)],
        [(103.4, 107.9)],
        size=(480, 270),
    )
    report = hold_against_page(watch(film_path, [ADA]), ADA, PAGE, round(103.4 * S))
    assert (report.flashes, report.flashes_due, report.beeps, report.beeps_due) == (3, 4, 3, 4)
    assert report.seen == pytest.approx(1 - 9 / 90, abs=0.02)
