"""Who is shown as speaking: not every cough, not with every breath off."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.speaker import SpeakerDetector

MS = 1_000_000


def talk(detector: SpeakerDetector, who: str, from_ms: int, until_ms: int, dbov: int = 30) -> None:
    for at in range(from_ms, until_ms, 100):
        detector.level(who, at * MS, dbov)


def test_speech_counts_after_a_moment() -> None:
    detector = SpeakerDetector()
    assert not detector.level("ada", 0, 30)
    assert not detector.level("ada", 100 * MS, 30)
    assert detector.level("ada", 200 * MS, 30)
    assert detector.is_speaking("ada")
    assert not detector.is_speaking("bob")


def test_cough_does_not_count() -> None:
    detector = SpeakerDetector()
    detector.level("ada", 0, 20)
    detector.level("ada", 100 * MS, 80)
    detector.level("ada", 200 * MS, 20)
    detector.advance(500 * MS)
    assert not detector.is_speaking("ada")


def test_two_coughs_with_nothing_in_between_do_not_count() -> None:
    detector = SpeakerDetector()
    detector.level("ada", 0, 20)
    detector.level("ada", 2_000 * MS, 20)
    assert not detector.is_speaking("ada")


def test_breath_does_not_end_speech() -> None:
    detector = SpeakerDetector()
    talk(detector, "ada", 0, 1_000)
    talk(detector, "ada", 1_000, 1_700, dbov=90)
    assert not detector.advance(1_700 * MS)
    assert detector.is_speaking("ada")


def test_quieter_voice_goes_on_but_does_not_begin() -> None:
    detector = SpeakerDetector()
    talk(detector, "ada", 0, 1_000)
    talk(detector, "ada", 1_000, 5_000, dbov=50)
    talk(detector, "bob", 0, 5_000, dbov=50)
    assert detector.is_speaking("ada")
    assert not detector.is_speaking("bob")


def test_silence_ends_speech_with_or_without_levels() -> None:
    for levels in (True, False):
        detector = SpeakerDetector()
        talk(detector, "ada", 0, 1_000)
        if levels:
            talk(detector, "ada", 1_000, 1_800, dbov=127)
        assert detector.advance(1_801 * MS)
        assert not detector.is_speaking("ada")


def test_two_may_speak_at_once() -> None:
    detector = SpeakerDetector()
    talk(detector, "ada", 0, 1_000)
    talk(detector, "bob", 500, 1_000)
    assert detector.is_speaking("ada")
    assert detector.is_speaking("bob")


@given(
    st.lists(st.tuples(st.integers(20, 1_500), st.sampled_from([20, 45, 48, 60, 127])), max_size=40),
    st.lists(st.integers(0, 20_000), max_size=40),
)
def test_asking_more_often_changes_nothing(steps: list[tuple[int, int]], asked: list[int]) -> None:
    patient, curious = SpeakerDetector(), SpeakerDetector()
    at = 0
    questions = sorted(asked)
    for wait, dbov in steps:
        at += wait
        while questions and questions[0] <= at:
            curious.advance(questions.pop(0) * MS)
        patient.level("ada", at * MS, dbov)
        curious.level("ada", at * MS, dbov)
        assert patient.is_speaking("ada") == curious.is_speaking("ada")
