"""The words of a library for the states of its recordings (spec I1)."""

from __future__ import annotations

from tapedeck.core.library import status_of
from tapedeck.core.recording import ACTIVE, RecordingState


def test_every_state_has_its_word_of_the_contract() -> None:
    words = {state: str(status_of(state)) for state in RecordingState}
    assert {words[state] for state in ACTIVE} == {"recording"}
    assert words[RecordingState.DONE] == "ready"
    assert words[RecordingState.FAILED] == "failed"
    assert {word for state, word in words.items() if state in ("closing", "rendering", "uploading")} == {"processing"}


def test_only_what_is_finished_can_be_archived() -> None:
    assert {state for state in RecordingState if status_of(state, archived=True) == "archived"} == {RecordingState.DONE}
