"""The table of a recording's life, taken as a table, and what each step writes down."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.errors import ConflictError
from tapedeck.core.recording import (
    ACTIVE,
    FINAL,
    LIVE,
    TRANSITIONS,
    Caller,
    CallerKind,
    Command,
    Delivered,
    Dispatched,
    Fail,
    FilmFile,
    LogClosed,
    MediaStored,
    Pause,
    Recording,
    RecordingOptions,
    RecordingState,
    Rendered,
    Resume,
    Stop,
    StopCause,
    WrongStateError,
    advance,
    recorded_seconds,
    snapshot,
)

T0 = datetime(2026, 3, 2, 9, 15, 4, 120_000, tzinfo=UTC)
FILM = FilmFile("video", "f.mp4", 500, 61_400, "c0ffee00", local_path="/x/f.mp4")
COMMANDS: tuple[Command, ...] = (
    Dispatched(),
    MediaStored("s"),
    Pause(),
    Resume(),
    Stop(StopCause.REQUEST),
    LogClosed(),
    Rendered((FILM,)),
    Delivered((FILM,), T0),
    Fail("broken"),
)
S = RecordingState


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def new() -> Recording:
    return Recording("r", "a", "m", "f.mp4", T0)


def after(*steps: tuple[float, Command]) -> Recording:
    recording = new()
    for seconds, command in steps:
        recording, _ = advance(recording, command, at(seconds))
    return recording


def test_every_state_and_every_command_is_decided() -> None:
    """What is allowed from where; `.` is a conflict, `=` changes nothing."""
    words = {
        S.REQUESTED: "starting capturing . . failed . . . failed",
        S.STARTING: "= capturing . . failed . . . failed",
        S.CAPTURING: "= = paused = closing . . . failed",
        S.PAUSED: "= = = capturing closing . . . failed",
        S.CLOSING: "= = . . = rendering uploading . failed",
        S.RENDERING: ". = . . = = uploading . failed",
        S.UPLOADING: ". = . . = = = done failed",
        S.DONE: ". = . . = = = = .",
        S.FAILED: "= = . . . = = = =",
    }
    for state in S:
        for command, word in zip(COMMANDS, words[state].split(), strict=True):
            recording = replace(new(), state=state, started_at=T0, stopped_at=None)
            if word == ".":
                with pytest.raises(WrongStateError) as caught:
                    advance(recording, command, T0)
                assert caught.value.state is state
                continue
            changed, events = advance(recording, command, T0)
            if word == "=":
                assert changed is recording and events == ()
            else:
                assert changed.state == word
                assert [(e.previous, e.state, e.seq) for e in events] == [(state, S(word), 2)]


def test_sets_of_states_fit_the_table() -> None:
    assert set(TRANSITIONS) == set(S)
    assert {state for state in S if Pause in TRANSITIONS[state]} == LIVE
    assert {state for state in S if TRANSITIONS[state].get(Stop) not in (None, state)} == ACTIVE
    assert {state for state in S if all(to is state for to in TRANSITIONS[state].values())} == FINAL


def test_a_conflict_names_action_and_state() -> None:
    with pytest.raises(ConflictError, match="Cannot pause a recording in state requested"):
        advance(new(), Pause(), T0)


def test_first_media_sets_start_and_session() -> None:
    recording = after((0, Dispatched()), (3.0009, MediaStored("s1")))
    assert (recording.started_at, recording.session_id) == (at(3), "s1")
    early, _ = advance(new(), MediaStored("s1"), at(-1))
    assert early.started_at == T0  # clocks of two places may differ; nothing starts before it was asked for


def test_pauses_are_summed_and_left_out_of_the_duration() -> None:
    recording = after(
        (0, MediaStored("s")), (10, Pause()), (15, Resume()), (20, Pause()), (27.5, Stop(StopCause.REQUEST))
    )
    assert recording.paused_ms == 12_500 and recording.paused_at is None
    assert recorded_seconds(recording) == 15


def test_a_clock_that_goes_back_never_makes_a_negative_pause() -> None:
    recording = after((10, MediaStored("s")), (20, Pause()), (5, Resume()), (6, Stop(StopCause.REQUEST)))
    assert recording.paused_ms == 0
    assert recording.stopped_at == recording.started_at
    assert recorded_seconds(recording) == 0


def test_a_stop_may_lie_before_the_moment_it_is_noticed() -> None:
    recording = after((0, MediaStored("s")), (90, Stop(StopCause.FAULT, at=at(40))))
    assert recording.stopped_at == at(40) and recorded_seconds(recording) == 40
    assert recording.stop_cause is StopCause.FAULT


def test_a_stop_before_media_is_a_failure_without_a_duration() -> None:
    caller = Caller(CallerKind.APP, "a", "App")
    recording = after((0, Dispatched()), (5, Stop(StopCause.REQUEST, caller)))
    assert (recording.state, recording.stopped_at, recording.stopped_by) == (S.FAILED, at(5), caller)
    assert recording.failure == "It was stopped before any media was stored."
    assert recorded_seconds(recording) is None


def test_the_films_own_length_counts_once_it_is_known() -> None:
    recording = after((0, MediaStored("s")), (60, Stop(StopCause.REQUEST)), (61, Rendered((FILM,))))
    assert recorded_seconds(recording) == 61
    audio = replace(FILM, kind="audio", duration_ms=1)
    assert after((0, MediaStored("s")), (60, Stop(StopCause.REQUEST)), (61, Rendered((audio, FILM)))).film_ms == 61_400
    assert after((0, MediaStored("s")), (60, Stop(StopCause.REQUEST)), (61, Rendered(()))).film_ms is None


def test_delivery_sums_the_files() -> None:
    sound = replace(FILM, kind="audio", size_bytes=70)
    recording = after(
        (0, MediaStored("s")),
        (60, Stop(StopCause.REQUEST)),
        (61, Rendered((FILM,))),
        (62, Delivered((FILM, sound), at(99))),
    )
    assert (recording.state, recording.size_bytes, recording.expires_at) == (S.DONE, 570, at(99))


def test_a_failure_keeps_the_reason_of_an_earlier_stop() -> None:
    recording = after((0, MediaStored("s")), (9, Stop(StopCause.EMPTY)), (20, Fail("no film")))
    assert (recording.stop_cause, recording.stopped_at, recording.failure) == (StopCause.EMPTY, at(9), "no film")
    recording = after((0, MediaStored("s")), (3, Pause()), (20, Fail("disk gone")))
    assert (recording.stop_cause, recording.stopped_at, recording.paused_at) == (StopCause.FAULT, at(20), None)


@given(st.lists(st.tuples(st.sampled_from(COMMANDS), st.integers(0, 100_000)), max_size=30))
def test_any_history_keeps_the_books(history: list[tuple[Command, int]]) -> None:
    """Changes are numbered without gaps, final states stay, times never contradict each other."""
    recording, seen = new(), [1]
    for command, ms in history:
        before = recording
        try:
            recording, events = advance(recording, command, T0 + timedelta(milliseconds=ms))
        except WrongStateError:
            continue
        assert before.state not in FINAL or recording is before
        assert bool(events) is (recording.state is not before.state)
        seen += [event.seq for event in events]
    assert seen == list(range(1, recording.version + 1))
    assert (recording.state in ACTIVE) is (recording.stopped_at is None)
    assert (recording.state is S.PAUSED) is (recording.paused_at is not None)
    assert recording.paused_ms >= 0
    if recording.started_at and recording.stopped_at:
        assert recording.started_at <= recording.stopped_at
    json.dumps(snapshot(recording))


@given(st.integers(1, 1920), st.integers(1, 1920))
def test_sides_are_even_and_never_smaller_than_asked(width: int, height: int) -> None:
    options = RecordingOptions(width=width, height=height)
    for asked, got in ((width, options.width), (height, options.height)):
        assert got % 2 == 0 and asked <= got <= asked + 1


def test_size_counts_films_sound_and_tracks_but_no_stills() -> None:
    files = [replace(FILM, kind=kind, size_bytes=10**at) for at, kind in enumerate(("video", "audio", "track"))]
    files += [replace(FILM, kind=kind, size_bytes=10_000) for kind in ("poster", "sprite", "storyboard")]
    ready = replace(new(), state=RecordingState.UPLOADING, files=tuple(files))
    done, _ = advance(ready, Delivered(tuple(files), None), T0)
    assert done.size_bytes == 111
