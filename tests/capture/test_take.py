"""One recording's stretches, and what the log is told when its first media comes."""

from __future__ import annotations

from tests.capture.room import MS, S

from tapedeck.capture.take import FLOWING_NS, Take
from tapedeck.core.timeline import RecordingPaused, RecordingResumed, RecordingStarted, RecordingStopped


def test_film_starts_at_the_command_when_media_flows() -> None:
    take = Take("r")
    take.run(5 * S, flowing=True)
    assert take.begin(5 * S + 30 * MS, 0) == [RecordingStarted(5 * S, "r")]
    assert take.started_ns == 5 * S


def test_film_starts_with_the_media_when_none_flowed_or_it_took_long() -> None:
    for flowing, after in ((False, 30 * MS), (True, FLOWING_NS)):
        take = Take("r")
        take.run(5 * S, flowing=flowing)
        assert take.begin(5 * S + after, 0) == [RecordingStarted(5 * S + after, "r")]


def test_film_never_starts_before_what_a_render_may_have_passed() -> None:
    take = Take("r")
    take.run(5 * S, flowing=True)
    assert take.begin(5 * S + 30 * MS, 5 * S + 10 * MS) == [RecordingStarted(5 * S + 10 * MS, "r")]


def test_commands_before_the_first_media_are_told_with_it() -> None:
    take = Take("r")
    take.run(1 * S, flowing=True)
    take.pause(2 * S)
    take.run(3 * S, flowing=False)
    take.stop(4 * S)
    assert take.begin(1 * S + 10 * MS, 0) == [
        RecordingStarted(1 * S, "r"),
        RecordingPaused(2 * S, "r"),
        RecordingResumed(3 * S, "r"),
        RecordingStopped(4 * S, "r"),
    ]


def test_stretch_without_media_is_not_part_of_the_film() -> None:
    take = Take("r")
    take.run(1 * S, flowing=False)
    take.pause(2 * S)
    take.run(3 * S, flowing=False)
    assert take.begin(3_500 * MS, 0) == [RecordingStarted(3_500 * MS, "r")]


def test_covers_is_exact_to_the_nanosecond() -> None:
    take = Take("r")
    take.run(10, flowing=True)
    take.pause(20)
    take.run(30, flowing=True)
    take.stop(40)
    take.run(50, flowing=True)
    assert [at for at in range(60) if take.covers(at)] == [*range(10, 20), *range(30, 40)]
    assert take.stopped_ns == 40
    assert not take.is_running
