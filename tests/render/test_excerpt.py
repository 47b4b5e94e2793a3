"""A part of a film is exactly that part, and a film of some people is as if nobody else had been there."""

from pathlib import Path

import numpy as np
import pytest
from tests.render.meetings import FPS, MS, SMALL, Meeting, Reel, S

from tapedeck.core.errors import InvalidError
from tapedeck.core.film import FilmClock
from tapedeck.core.timeline import (
    NameChanged,
    ParticipantJoined,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
)
from tapedeck.medialog.reader import LogReader
from tapedeck.render.excerpt import AbsentError, Excerpt, one_of, people_of
from tapedeck.render.film import Film


def make(log: LogReader, excerpt: Excerpt) -> Reel:
    reel = Reel(((80, 45), (40, 45), (120, 45)))
    only = None if excerpt.only is None else people_of(log, excerpt.only)
    film = Film(log, "r", SMALL, reel, part=excerpt.part(FPS), only=only, on_shown=reel.shown.append)
    while not film.is_done:
        if not film.work():
            film.finish()
    film.close()
    return reel


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> LogReader:
    """Ada and Bob, five seconds of film out of seven, a pause in the middle; Eve was there before."""
    meeting = Meeting()
    meeting.event(RecordingStarted(S, "r"))
    meeting.event(RecordingPaused(3 * S, "r"))
    meeting.event(RecordingResumed(5 * S, "r"))
    meeting.event(RecordingStopped(8 * S, "r"))
    meeting.record(0, 20 * S, "other")
    meeting.join("ada", 0)
    meeting.camera("ada", 0, 9 * S)
    meeting.microphone("ada", 0, 9 * S, hertz=440)
    meeting.join("bob", 0)
    meeting.camera("bob", 0, 9 * S, key_every=45)
    meeting.microphone("bob", 0, 9 * S, hertz=1000)
    meeting.event(ParticipantJoined(0, "0b1e", "guest-peer", "Zoë", "guest-7"))
    meeting.event(NameChanged(S, "0b1e", "Zoë B."))
    return meeting.lay_down(tmp_path_factory.mktemp("excerpt") / "log", 10 * S)


@pytest.fixture(scope="module")
def whole(log: LogReader) -> Reel:
    return make(log, Excerpt())


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 1), (30, 90), (59, 61), (60, 150), (61, None), (0, None), (149, 150), (100, 10_000)],
)
def test_a_part_shows_the_moments_of_the_whole_film(log: LogReader, whole: Reel, start: int, end: int | None) -> None:
    """To one picture of a camera, over the pause in the middle too, and beginning anywhere between two key frames."""
    part = make(log, Excerpt(start * S // FPS, None if end is None else end * S // FPS))
    stop = min(end or 150, 150)
    assert len(whole.pictures) == 150 and len(part.pictures) == stop - start
    for who in ("ada", "bob"):
        ours, theirs = part.media_times(f"person:{who}"), whole.media_times(f"person:{who}")[start:stop]
        apart = [
            abs(one - other) for one, other in zip(ours, theirs, strict=True) if one is not None and other is not None
        ]
        assert len(apart) == stop - start and max(apart) <= 90_000 // FPS
        assert not any(apart[FPS:]), "settled after a second"


@pytest.mark.parametrize(("start_ns", "end_ns"), [(S, 4 * S), (2500 * MS, 3 * S), (333 * MS, None)])
def test_its_sound_is_that_of_the_whole_film(log: LogReader, whole: Reel, start_ns: int, end_ns: int | None) -> None:
    excerpt = Excerpt(start_ns, end_ns)
    part = make(log, excerpt)
    exact = excerpt.part(FPS)
    assert exact is not None
    start, end = exact[0] * 48_000 // S, (exact[1] or 5 * S) * 48_000 // S
    assert abs(part.sound.shape[1] - (end - start)) <= 1
    settled = 48_000 // 10  # both ends are faded, and a decoder that begins has heard nothing before
    ours = part.sound[:, settled:-settled]
    theirs = whole.sound[:, start + settled :][:, : ours.shape[1]]
    quiet = float(np.abs(ours - theirs).max())
    assert quiet < 0.02, quiet


def test_only_somebody_is_seen_and_heard(log: LogReader) -> None:
    part = make(log, Excerpt(only=("bob",)))
    assert {tile for _, tile, _ in part.shown} == {"person:bob"}
    spectrum = np.abs(np.fft.rfft(part.sound[0, 24_000:72_000]))
    assert spectrum[1000] > 50 * spectrum[440] > 0
    assert make(log, Excerpt(only=("ada", "bob"))).pictures[60] != part.pictures[60]


def test_a_film_of_some_people_reads_nobody_else(log: LogReader, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    track = LogReader.track

    def noted(self: LogReader, track_id: str) -> object:
        read.append(track_id)
        return track(self, track_id)

    monkeypatch.setattr(LogReader, "track", noted)
    make(log, Excerpt(only=("ada",)))
    assert set(read) == {"ada-camera", "ada-mic"}


@pytest.mark.parametrize("word", ["0b1e", "guest-7", "Zoë", "ZOË B."])
def test_people_are_named_by_id_custom_id_or_name(log: LogReader, word: str) -> None:
    assert people_of(log, (word,)) == {"0b1e"}


@pytest.mark.parametrize("word", ["", "eve", "Zo"])
def test_somebody_who_was_not_there_is_an_error(log: LogReader, word: str) -> None:
    with pytest.raises(InvalidError, match="was not there"):
        people_of(log, ("ada", word))


def test_one_is_meant_among_those_who_are_in_the_film(log: LogReader) -> None:
    assert one_of(log, "ZOË") == one_of(log, "guest-7", frozenset({"0b1e", "ada"})) == "0b1e"
    with pytest.raises(AbsentError, match="not in the film"):
        one_of(log, "Zoë", frozenset({"ada"}))
    with pytest.raises(AbsentError, match="was not there"):
        one_of(log, "eve", frozenset({"ada"}))


def test_a_name_of_several_people_means_none_of_them(tmp_path: Path) -> None:
    meeting = Meeting()
    for person in ("p1", "p2"):
        meeting.event(ParticipantJoined(0, person, f"{person}-peer", "Sam", ""))
    log = meeting.lay_down(tmp_path / "log", S)
    with pytest.raises(AbsentError, match="several people: give the id of one, which is p1 or p2"):
        one_of(log, "sam")
    assert one_of(log, "sam", frozenset({"p2"})) == "p2"


@pytest.mark.parametrize("excerpt", [Excerpt(-1), Excerpt(S, S), Excerpt(2 * S, S), Excerpt(only=())])
def test_an_excerpt_of_nothing_is_refused(excerpt: Excerpt) -> None:
    with pytest.raises(InvalidError):
        excerpt.check()


def test_parts_begin_and_end_on_pictures() -> None:
    assert Excerpt().part(30) is None
    assert Excerpt(S // 60 - 1).part(30) == (0, None)
    assert Excerpt(S // 60 + 1, 2 * S).part(30) == (S // 30 + 1, S // 30 + 1 + 59 * S // 30)
    assert Excerpt(S, S + 1).part(30) == (S, S + S // 30), "one picture at least"


def test_cuts_of_a_part() -> None:
    events = (RecordingStarted(10, "r"), RecordingPaused(20, "r"), RecordingResumed(50, "r"), RecordingStopped(80, "r"))
    for part, cuts in (
        ((0, None), [(10, 20, 0), (50, 80, 10)]),
        ((5, None), [(15, 20, 0), (50, 80, 5)]),
        ((5, 12), [(15, 20, 0), (50, 52, 5)]),
        ((10, 12), [(50, 52, 0)]),
        ((15, 99), [(55, 80, 0)]),
        ((40, None), []),
    ):
        clock = FilmClock("r", part)
        clock.feed(events)
        assert [(cut.start_ns, cut.end_ns, cut.film_ns) for cut in clock.cuts] == cuts
        assert clock.duration_ns == sum(end - start for start, end, _ in cuts)
