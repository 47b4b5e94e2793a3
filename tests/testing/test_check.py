"""The checker passes a perfect film and fails every film that is wrong, for the reason it is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.testing.films import Part, make_film

from tapedeck.sources.synthetic import CAST
from tapedeck.testing.check import apart, check
from tapedeck.testing.expect import Attendance, Bars, Edge, Expectation, Interval, Recorded
from tapedeck.testing.report import Report
from tapedeck.testing.watch import Film, watch

ADA, GRACE = CAST[:2]
S = 1_000_000_000
LEFT, RIGHT = (8, 50, 228, 128), (244, 50, 228, 128)
ALWAYS = (Interval(0, 1_000 * S),)
SPAN = (3.3, 6.8)


def span(start_s: float, end_s: float, loose_s: float = 0.0) -> Recorded:
    start, end, loose = round(start_s * S), round(end_s * S), round(loose_s * S)
    return Recorded(Edge(start - loose, start + loose), Edge(end - loose, end + loose))


def expect(*people: Attendance, recorded: Sequence[Recorded] = (span(*SPAN),), **more: Any) -> Expectation:
    return Expectation(
        people or (Attendance(ADA, ALWAYS, ALWAYS), Attendance(GRACE, ALWAYS, ALWAYS)), tuple(recorded), **more
    )


class Judge:
    """Makes a film of two people, changed by a test, and checks it. The same film is made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.watched: dict[object, Film] = {}

    def __call__(
        self,
        expected: Expectation,
        *parts: Part,
        spans: Sequence[tuple[float, float]] = (SPAN,),
        spoil: Callable[..., None] | None = None,
        centred: bool = True,
    ) -> Report:
        key = (parts, tuple(spans), spoil, centred)
        if key not in self.watched:
            path = self.folder / f"{len(self.watched)}.mp4"
            make_film(path, parts, spans, size=(480, 270), spoil=spoil, centred=centred)
            self.watched[key] = watch(path, [person.look for person in expected.people])
        return check(self.watched[key], expected)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    return Judge(tmp_path_factory.mktemp("films"))


def failed(report: Report) -> set[str]:
    assert not report.ok
    assert "BAD" in str(report)
    return {finding.what for finding in report.findings if not finding.ok}


def test_a_perfect_film_passes(judge: Judge) -> None:
    report = judge(expect(), Part(ADA, LEFT), Part(GRACE, RIGHT))
    assert report.ok, report.problems
    ada = report.rows[0]
    assert (ada.seen, ada.seen_due) == (105, 105)
    assert (ada.flashes, ada.flashes_due, ada.beeps, ada.beeps_due) == (3, 3, 3, 3)
    assert "verdict: good" in str(report)


def test_a_perfect_film_with_a_pause_passes_and_its_cut_is_found_to_the_picture(judge: Judge) -> None:
    report = judge(
        expect(recorded=(span(3.3, 5.3), span(9.62, 11.12))),
        Part(ADA, LEFT),
        Part(GRACE, RIGHT),
        spans=((3.3, 5.3), (9.62, 11.12)),
    )
    assert report.ok, report.problems
    cut = next(finding for finding in report.findings if finding.what == "start of span 2")
    assert cut.text == "clock 9.620 s, 0 ms off"


@pytest.mark.parametrize("phase_s", [0.0, 0.008, 0.016, 0.025])
def test_a_perfect_film_is_within_the_quantisation_the_checker_states(judge: Judge, phase_s: float) -> None:
    report = judge(
        expect(recorded=(span(3.9 + phase_s, 6.4 + phase_s),)),
        Part(ADA, LEFT),
        Part(GRACE, RIGHT),
        spans=((3.9 + phase_s, 6.4 + phase_s),),
    )
    assert report.ok, report.problems
    assert report.rows[0].av_p95_ns is not None
    assert report.rows[0].av_p95_ns <= 8_400_000


def test_a_film_that_shows_each_picture_a_frame_late_fails_where_the_grid_falls_badly(judge: Judge) -> None:
    report = judge(
        expect(recorded=(span(3.915, 6.415),)),
        Part(ADA, LEFT),
        Part(GRACE, RIGHT),
        spans=((3.915, 6.415),),
        centred=False,
    )
    assert failed(report) == {"Ada sound against picture", "Grace sound against picture"}


@pytest.mark.parametrize("late_s", [0.03, -0.03, 0.09])
def test_sound_out_of_step_fails_for_that_person_only(judge: Judge, late_s: float) -> None:
    report = judge(expect(), Part(ADA, LEFT), Part(GRACE, RIGHT, late_sound_s=late_s))
    assert "Grace sound against picture" in failed(report)
    assert "Ada sound against picture" not in failed(report) or abs(late_s) > 0.05


def test_a_person_who_is_not_in_the_film_fails(judge: Judge) -> None:
    report = judge(expect(), Part(ADA, LEFT), Part(GRACE, RIGHT, seen=lambda _: False, heard=lambda _: False))
    assert {"Grace seen", "Grace flashes", "Grace heard", "Grace opening"} == failed(report)


def test_a_picture_missing_for_a_moment_fails(judge: Judge) -> None:
    report = judge(expect(), Part(ADA, LEFT), Part(GRACE, RIGHT, seen=lambda t: not 4.3 < t < 4.4))
    assert failed(report) == {"Grace seen"}


def test_a_missing_moment_passes_under_the_bar_for_a_lossy_network(judge: Judge) -> None:
    report = judge(
        expect(bars=Bars(presence=0.95)), Part(ADA, LEFT), Part(GRACE, RIGHT, seen=lambda t: not 4.3 < t < 4.4)
    )
    assert report.ok, report.problems


def test_a_frozen_picture_is_not_presence(judge: Judge) -> None:
    report = judge(expect(), Part(ADA, LEFT), Part(GRACE, RIGHT, late_picture_s=0.15))
    assert {"Grace seen", "Grace flashes", "Grace opening"} <= failed(report)
    assert not any(name.startswith("Ada") for name in failed(report))


def test_a_beep_that_is_missing_fails(judge: Judge) -> None:
    report = judge(expect(), Part(ADA, LEFT), Part(GRACE, RIGHT, heard=lambda n: n != 5))
    assert failed(report) == {"Grace heard"}


def test_a_muted_person_who_is_heard_fails(judge: Judge) -> None:
    muted = Attendance(GRACE, ALWAYS, (Interval(0, round(4.5 * S)),))
    report = judge(expect(Attendance(ADA, ALWAYS, ALWAYS), muted), Part(ADA, LEFT), Part(GRACE, RIGHT))
    assert failed(report) == {"Grace forbidden"}
    assert report.rows[1].forbidden == 2
    quiet = judge(
        expect(Attendance(ADA, ALWAYS, ALWAYS), muted), Part(ADA, LEFT), Part(GRACE, RIGHT, heard=lambda n: n < 5)
    )
    assert quiet.ok, quiet.problems


def test_a_person_who_left_and_is_seen_fails(judge: Judge) -> None:
    left = Attendance(GRACE, (Interval(0, round(4.5 * S)),), (Interval(0, round(4.5 * S)),))
    expected = expect(Attendance(ADA, ALWAYS, ALWAYS), left)
    report = judge(expected, Part(ADA, LEFT), Part(GRACE, RIGHT, heard=lambda n: n < 5))
    assert failed(report) == {"Grace forbidden"}
    gone = judge(expected, Part(ADA, LEFT), Part(GRACE, RIGHT, seen=lambda t: t < 4.5, heard=lambda n: n < 5))
    assert gone.ok, gone.problems


def test_media_of_a_paused_span_fails(judge: Judge) -> None:
    """The film goes on for 0.3 s after the pause, over a second that is not in the recording."""
    report = judge(
        expect(recorded=(span(3.3, 4.9), span(8.4, 10.4))),
        Part(ADA, LEFT),
        Part(GRACE, RIGHT),
        spans=((3.3, 5.2), (8.4, 10.4)),
    )
    assert {"duration", "end of span 1", "Ada forbidden", "Grace forbidden"} == failed(report)


def test_a_cut_a_tenth_of_a_second_late_fails(judge: Judge) -> None:
    report = judge(
        expect(recorded=(span(3.3, 4.7), span(8.4, 10.4))),
        Part(ADA, LEFT),
        Part(GRACE, RIGHT),
        spans=((3.3, 4.8), (8.5, 10.4)),
    )
    assert {"end of span 1", "start of span 2"} <= failed(report)


def test_a_film_in_step_may_keep_a_picture_per_pause(judge: Judge) -> None:
    recorded = (span(3.3, 4.67), span(8.4, 10.37))
    parts, spans = (Part(ADA, LEFT), Part(GRACE, RIGHT)), ((3.3, 4.7), (8.4, 10.4))
    assert failed(judge(expect(recorded=recorded), *parts, spans=spans)) == {"duration"}
    report = judge(expect(recorded=recorded, bars=Bars(in_step=True)), *parts, spans=spans)
    assert report.ok, report.problems


def test_a_film_that_begins_late_fails(judge: Judge) -> None:
    report = judge(expect(), Part(ADA, LEFT), Part(GRACE, RIGHT), spans=((3.9, 6.8),))
    assert failed(report) == {"duration", "start of span 1"}


def test_a_film_that_opens_on_an_empty_canvas_fails(judge: Judge) -> None:
    report = judge(expect(bars=Bars(presence=0.5)), Part(ADA, LEFT), Part(GRACE, RIGHT, seen=lambda t: t > 3.7))
    assert failed(report) == {"Grace opening"}


def test_the_time_a_key_frame_may_take_at_a_start_is_not_absence(judge: Judge) -> None:
    report = judge(
        expect(recorded=(span(3.85, 6.8),)),
        Part(ADA, LEFT),
        Part(GRACE, RIGHT, seen=lambda t: t > 4.1),
        spans=((3.85, 6.8),),
    )
    assert report.ok, report.problems
    assert (report.rows[0].flashes_due, report.rows[0].beeps_due) == (2, 3)


def test_edges_known_only_roughly_are_taken_as_such(judge: Judge) -> None:
    report = judge(expect(recorded=(span(3.4, 6.7, loose_s=0.15),)), Part(ADA, LEFT), Part(GRACE, RIGHT))
    assert report.ok, report.problems


def test_people_who_change_places_fail(judge: Judge) -> None:
    def early(t: float) -> bool:
        return t < 5

    def late(t: float) -> bool:
        return t >= 5

    report = judge(
        expect(),
        Part(ADA, LEFT, seen=early),
        Part(ADA, RIGHT, seen=late, heard=lambda _: False),
        Part(GRACE, RIGHT, seen=early),
        Part(GRACE, LEFT, seen=late, heard=lambda _: False),
    )
    assert failed(report) == {"tiles"}


def test_people_in_the_wrong_order_fail_unless_order_does_not_matter(judge: Judge) -> None:
    assert failed(judge(expect(), Part(ADA, RIGHT), Part(GRACE, LEFT))) == {"tiles"}
    assert judge(expect(in_order=False), Part(ADA, RIGHT), Part(GRACE, LEFT)).ok


def test_tiles_that_overlap_fail(judge: Judge) -> None:
    report = judge(expect(), Part(ADA, LEFT), Part(GRACE, (60, 90, 96, 54)))
    assert "tiles" in failed(report)


def test_one_corrupt_picture_fails(judge: Judge) -> None:
    def smear(index: int, _y: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
        if index == 40:
            u[40:60, 20:60], v[40:60, 20:60] = 44, 60

    report = judge(expect(), Part(ADA, LEFT), Part(GRACE, RIGHT), spoil=smear)
    assert failed(report) == {"Ada corrupt"}
    assert report.rows[0].strange >= 1


def test_two_films_of_one_recording_are_compared_event_by_event(tmp_path: Path) -> None:
    one, two = tmp_path / "live.mp4", tmp_path / "later.mp4"
    make_film(one, [Part(ADA, LEFT), Part(GRACE, RIGHT)], [SPAN], size=(480, 270))
    make_film(
        two,
        [Part(ADA, LEFT, late_picture_s=1 / 30), Part(GRACE, RIGHT, late_sound_s=0.01, heard=lambda n: n != 5)],
        [SPAN],
        size=(480, 270),
    )
    first, second = (watch(path, [ADA, GRACE]) for path in (one, two))
    same = apart(first, first)
    assert (same.flash_ns, same.beep_ns, same.missing) == (0, 0, 0)
    other = apart(first, second)
    assert other.missing == 1
    assert 9_000_000 < other.beep_ns < 11_000_000
    assert 30_000_000 < other.flash_ns < 36_000_000


def test_the_bar_for_sound_is_what_is_judged(judge: Judge) -> None:
    strict = replace(Bars(), av_p95_ns=1)
    report = judge(expect(bars=strict), Part(ADA, LEFT), Part(GRACE, RIGHT))
    assert {"Ada sound against picture", "Grace sound against picture"} == failed(report)
