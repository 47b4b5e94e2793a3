"""Recordings that run together take their pictures at the same moments."""

from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.film import FilmClock
from tapedeck.core.timeline import (
    Outage,
    Progress,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    TimelineEvent,
)

S, MS = 1_000_000_000, 1_000_000


def clocks(events: list[TimelineEvent], *names: str, fps: int = 30) -> list[FilmClock]:
    made = [FilmClock(name, fps=fps) for name in names]
    for clock in made:
        clock.feed(events)
        clock.feed([Progress(100 * S, 100 * S)])
    return made


def moments(clock: FilmClock, fps: int) -> set[int]:
    """When its pictures are taken, to the microsecond."""
    length_ns = clock.duration_ns or 0
    cuts = ((n * S // fps, clock.cut_at_film(n * S // fps)) for n in range(length_ns * fps // S))
    return {round(cut.to_capture(film_ns) / 1000) for film_ns, cut in cuts if cut is not None}


def test_a_recording_that_has_its_meeting_for_itself_begins_when_it_was_told_to() -> None:
    events: list[TimelineEvent] = [
        RecordingStarted(7_123_456, "a"),
        RecordingPaused(1_500_000_001, "a"),
        RecordingResumed(2_700_000_017, "a"),
        RecordingStopped(4 * S, "a"),
    ]
    (clock,), plain = clocks(events, "a"), FilmClock("a")
    plain.feed(events)
    assert clock.cuts == plain.cuts and [cut.start_ns for cut in clock.cuts] == [7_123_456, 2_700_000_017]


def test_a_web_page_keeps_step_with_nobody() -> None:
    for page_first in (True, False):
        told = (3_000_001, 1_234_567_891) if page_first else (1_234_567_891, 3_000_001)
        started = [RecordingStarted(told[0], "page", page=True), RecordingStarted(told[1], "people")]
        stopped: list[TimelineEvent] = [RecordingStopped(4 * S, "page"), RecordingStopped(4 * S, "people")]
        events = [*sorted(started, key=lambda event: event.at_ns), *stopped]
        assert tuple(clock.cuts[0].start_ns for clock in clocks(events, "page", "people")) == told


@given(
    st.integers(0, 900_000_000),
    st.tuples(*[st.integers(50_000_000, 400_000_000)] * 3),
    st.sampled_from([24, 25, 30, 60]),
)
def test_one_that_comes_later_is_in_step_however_it_pauses(first: int, steps: tuple[int, ...], fps: int) -> None:
    times = [1_000_000_000 + sum(steps[: n + 1]) for n in range(3)]
    events: list[TimelineEvent] = [
        RecordingStarted(first, "a"),
        RecordingStarted(times[0], "b"),
        RecordingPaused(times[1], "b"),
        RecordingResumed(times[2], "b"),
        RecordingStopped(4 * S, "b"),
        RecordingStopped(5 * S, "a"),
    ]
    one, other = clocks(events, "a", "b", fps=fps)
    assert one.cuts[0].start_ns == first, "who runs is left alone"
    near = {at + off for at in moments(one, fps) for off in (-1, 0, 1)}
    assert moments(other, fps) <= near
    for told, cut in zip((times[0], times[2]), other.cuts, strict=True):
        assert 0 <= cut.start_ns - told <= S // fps + 1
    before, after = other.cuts
    assert before.end_ns is not None and 0 <= after.film_ns - before.to_film(before.end_ns) < S // fps + 1
    assert any(abs(after.film_ns - n * S // fps) == 0 for n in range(4 * fps)), "a picture begins with the span"


def test_after_an_outage_all_are_in_step_again() -> None:
    events: list[TimelineEvent] = [
        RecordingStarted(0, "a"),
        RecordingStarted(1_313 * MS, "b"),
        Outage(5 * S, 3_007 * MS),
        RecordingStopped(8 * S, "a"),
        RecordingStopped(8 * S, "b"),
    ]
    one, other = clocks(events, "a", "b")
    near = {at + off for at in moments(one, 30) for off in (-1, 0, 1)}
    assert one.cuts[1].start_ns == 5 * S and moments(other, 30) <= near
