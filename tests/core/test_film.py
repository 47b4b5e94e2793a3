"""The film clock: spans, cuts and the way between both times."""

from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.film import Cut, FilmClock
from tapedeck.core.frames import Codec, Kind, TrackInfo
from tapedeck.core.timeline import (
    Outage,
    Progress,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    TimelineEvent,
    TrackOpened,
)

S = 1_000_000_000
TRACK = TrackInfo("t", "peer", "p", Kind.VIDEO, Codec.H264)


def clock(*events: TimelineEvent, recording_id: str | None = "r") -> FilmClock:
    film = FilmClock(recording_id)
    film.feed(events)
    return film


def test_a_film_without_pauses_is_one_span() -> None:
    film = clock(RecordingStarted(2 * S, "r"), RecordingStopped(9 * S, "r"))
    assert film.cuts == (Cut(0, 2 * S, 9 * S, 0),)
    assert film.duration_ns == 7 * S and film.end_ns == 9 * S
    cut = film.cut_at_film(3 * S)
    assert cut is not None and cut.to_capture(3 * S) == 5 * S and cut.to_film(5 * S) == 3 * S
    assert film.cut_at_film(7 * S) is None


def test_a_pause_has_no_length_in_the_film() -> None:
    film = clock(
        RecordingStarted(0, "r"),
        RecordingPaused(2 * S, "r"),
        RecordingResumed(10 * S, "r"),
        RecordingStopped(13 * S, "r"),
    )
    assert film.duration_ns == 5 * S
    last, first = film.cut_at_film(2 * S - 1), film.cut_at_film(2 * S)
    assert last is not None and last.to_capture(2 * S - 1) == 2 * S - 1
    assert first is not None and first.to_capture(2 * S) == 10 * S
    assert 2 * S not in film.cuts[0] and 10 * S in film.cuts[1]


def test_another_recording_does_not_matter() -> None:
    film = clock(RecordingStarted(0, "r"), RecordingPaused(S, "other"), RecordingStopped(S, "other"))
    assert film.cuts == (Cut(0, 0, None, 0),) and not film.ended and film.duration_ns is None


def test_an_outage_is_a_cut() -> None:
    film = clock(RecordingStarted(0, "r"), Outage(8 * S, 5 * S), RecordingStopped(10 * S, "r"))
    assert [(c.start_ns, c.end_ns, c.film_ns) for c in film.cuts] == [(0, 5 * S, 0), (8 * S, 10 * S, 5 * S)]


def test_a_log_that_breaks_off_ends_the_film_where_it_was_complete() -> None:
    film = clock(RecordingStarted(0, "r"), Progress(4 * S, 3 * S))
    film.cut_off()
    assert film.ended and film.end_ns == 4 * S
    stopped = clock(RecordingStarted(0, "r"), RecordingStopped(2 * S, "r"), Progress(4 * S, 3 * S))
    stopped.cut_off()
    assert stopped.end_ns == 2 * S


def test_a_film_that_never_began_has_no_length() -> None:
    film = clock(Progress(S, S))
    film.cut_off()
    assert film.cuts == () and film.duration_ns == 0 and film.cut_at_film(0) is None


def test_how_much_of_a_film_is_known() -> None:
    film = clock(RecordingStarted(S, "r"), RecordingPaused(3 * S, "r"), RecordingResumed(7 * S, "r"))
    assert [film.ready_film_ns(n * S) for n in (0, 1, 2, 3, 5, 7, 8)] == [0, 0, S, 2 * S, 2 * S, 2 * S, 3 * S]


def test_everything_in_a_log_is_the_union_of_its_recordings_from_the_first_track() -> None:
    film = clock(
        RecordingStarted(0, "a"),
        TrackOpened(S, TRACK),
        RecordingStarted(3 * S, "b"),
        RecordingStopped(4 * S, "a"),
        RecordingStopped(6 * S, "b"),
        RecordingStarted(8 * S, "c"),
        Progress(9 * S, 9 * S),
        recording_id=None,
    )
    film.cut_off()
    assert [(c.start_ns, c.end_ns, c.film_ns) for c in film.cuts] == [(S, 6 * S, 0), (8 * S, 9 * S, 5 * S)]


def test_a_log_without_recordings_is_a_film_from_its_first_track() -> None:
    film = clock(TrackOpened(S, TRACK), Outage(5 * S, 3 * S), Progress(9 * S, 8 * S), recording_id=None)
    film.cut_off()
    assert [(c.start_ns, c.end_ns) for c in film.cuts] == [(S, 3 * S), (5 * S, 9 * S)]


@given(st.lists(st.integers(1, 5 * S), min_size=1, max_size=9), st.data())
def test_both_ways_lead_back_and_feeding_in_pieces_changes_nothing(steps: list[int], data: st.DataObject) -> None:
    at = 0
    events: list[TimelineEvent] = []
    for number, step in enumerate(steps):
        kind = (RecordingResumed if events else RecordingStarted) if number % 2 == 0 else RecordingPaused
        events.append(kind(at, "r"))
        at += step
    events.append(RecordingStopped(at, "r"))
    whole = clock(*events)
    pieces = FilmClock("r")
    for event in events:
        pieces.feed([event])
    assert pieces.cuts == whole.cuts
    assert whole.duration_ns == sum(steps[::2])
    film_ns = data.draw(st.integers(0, whole.duration_ns - 1))
    cut = whole.cut_at_film(film_ns)
    assert cut is not None
    capture_ns = cut.to_capture(film_ns)
    assert capture_ns in cut and cut.to_film(capture_ns) == film_ns
    assert whole.ready_film_ns(capture_ns) == film_ns
