"""Timeline events to JSON and back, and the spans of a film that they make."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.frames import Codec, Kind, Origin, TrackInfo
from tapedeck.core.timeline import (
    EVENT_TYPES,
    AudioLevel,
    ClockReport,
    NameChanged,
    Outage,
    ParticipantJoined,
    Progress,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    Span,
    TimelineEvent,
    TrackOpened,
    from_dict,
    recording_spans,
    to_dict,
)
from tapedeck.core.wanted import TrackChoice, TrackLayer

INFO = TrackInfo("t", "peer", "ada", Kind.AUDIO, Codec.OPUS, Origin.SCREEN, 2)

tracks = st.builds(
    TrackInfo,
    track_id=st.text(),
    peer_id=st.text(),
    participant_id=st.text(),
    kind=st.sampled_from(Kind),
    codec=st.sampled_from(Codec),
    origin=st.sampled_from(Origin),
    channels=st.integers(0, 8),
)
times = st.integers(0, 2**63 - 1)
layers = st.builds(TrackLayer, st.text(), st.sampled_from(["audio", "video"]), st.none() | st.text())
choices = st.builds(TrackChoice, st.lists(layers).map(tuple), st.none() | st.lists(st.text()).map(tuple))


def events_of(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Any event of a class, by the types of its fields."""
    by_type = {
        "int": times,
        "str": st.text(),
        "bool": st.booleans(),
        "str | None": st.none() | st.text(),
        "Origin": st.sampled_from(Origin),
        "TrackInfo": tracks,
        "TrackChoice | None": st.none() | choices,
    }
    return st.builds(cls, **{field.name: by_type[str(field.type)] for field in dataclasses.fields(cls)})


def film(*events: TimelineEvent) -> list[tuple[int, int | None]]:
    return [(span.start_ns, span.end_ns) for span in recording_spans(events, "rec")]


@pytest.mark.parametrize("cls", EVENT_TYPES.values(), ids=list(EVENT_TYPES))
def test_every_event_survives_json(cls: type[Any]) -> None:
    @given(events_of(cls))
    def check(event: TimelineEvent) -> None:
        body = to_dict(event)
        back = from_dict(json.loads(json.dumps(body)))
        assert back == event
        assert type(back) is cls
        assert {type(getattr(back, f.name)) for f in dataclasses.fields(cls)} == {
            type(getattr(event, f.name)) for f in dataclasses.fields(cls)
        }

    check()


def test_every_event_type_has_a_name_and_every_event_is_a_type() -> None:
    assert set(EVENT_TYPES.values()) == set(TimelineEvent.__args__)
    assert len(EVENT_TYPES) == len(TimelineEvent.__args__)


def test_json_of_an_opened_track_is_flat_and_readable() -> None:
    assert to_dict(TrackOpened(7, INFO)) == {
        "e": "opened",
        "at_ns": 7,
        "track_id": "t",
        "peer_id": "peer",
        "participant_id": "ada",
        "kind": "audio",
        "codec": "OPUS",
        "origin": "screen",
        "channels": 2,
    }


def test_json_of_simple_events_is_name_and_fields() -> None:
    assert to_dict(AudioLevel(1, "t", 30)) == {"e": "level", "at_ns": 1, "track_id": "t", "dbov": 30}
    assert to_dict(ClockReport(1, "t", 2, -3)) == {
        "e": "clock",
        "at_ns": 1,
        "track_id": "t",
        "wallclock_ns": 2,
        "media_time": -3,
    }


def test_older_log_without_newer_fields_is_read() -> None:
    opened = to_dict(TrackOpened(7, INFO))
    del opened["origin"], opened["channels"]
    assert from_dict(opened) == TrackOpened(7, dataclasses.replace(INFO, origin=Origin.CAMERA, channels=1))
    joined = {"e": "joined", "at_ns": 1, "participant_id": "ada", "peer_id": "p", "name": "Ada"}
    assert from_dict(joined) == ParticipantJoined(1, "ada", "p", "Ada", "", Origin.CAMERA)


@pytest.mark.parametrize("cls", EVENT_TYPES.values(), ids=list(EVENT_TYPES))
def test_newer_log_with_more_fields_is_read(cls: type[Any]) -> None:
    @given(events_of(cls))
    def check(event: TimelineEvent) -> None:
        assert from_dict({**to_dict(event), "mood": "good"}) == event

    check()


@pytest.mark.parametrize("body", [{"e": "levitated", "at_ns": 1}, {"at_ns": 1}, {}, {"e": None}, {"e": 5}])
def test_unknown_event_is_nothing(body: dict[str, Any]) -> None:
    assert from_dict(body) is None


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_event_without_its_fields_is_malformed(name: str) -> None:
    with pytest.raises(ValueError, match="malformed"):
        from_dict({"e": name})


@pytest.mark.parametrize(
    "change",
    [{"kind": "smell"}, {"codec": "MP3"}, {"codec": 1}, {"origin": "moon"}, {"channels": "many"}, {"at_ns": None}],
)
def test_opened_track_with_a_wrong_field_is_malformed(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="malformed"):
        from_dict({**to_dict(TrackOpened(7, INFO)), **change})


def test_joined_with_a_wrong_origin_is_malformed() -> None:
    with pytest.raises(ValueError, match="malformed"):
        from_dict({**to_dict(ParticipantJoined(1, "ada", "p", "Ada")), "origin": "moon"})


def test_span_has_its_start_and_not_its_end() -> None:
    assert [at in Span(2, 4) for at in (1, 2, 3, 4)] == [False, True, True, False]
    assert 10**18 in Span(2, None)
    assert 1 not in Span(2, None)


def test_film_without_events_has_no_spans() -> None:
    assert film() == []
    assert film(Progress(1, 1), NameChanged(2, "ada", "Ada")) == []


def test_film_runs_from_start_to_stop() -> None:
    assert film(RecordingStarted(5, "rec")) == [(5, None)]
    assert film(RecordingStarted(5, "rec"), RecordingStopped(9, "rec")) == [(5, 9)]


def test_pause_is_a_cut() -> None:
    paused = (RecordingStarted(0, "rec"), RecordingPaused(3, "rec"))
    assert film(*paused) == [(0, 3)]
    assert film(*paused, RecordingResumed(7, "rec")) == [(0, 3), (7, None)]
    assert film(*paused, RecordingResumed(7, "rec"), RecordingStopped(9, "rec")) == [(0, 3), (7, 9)]
    assert film(*paused, RecordingStopped(9, "rec")) == [(0, 3)]


def test_pausing_and_resuming_twice_changes_nothing() -> None:
    events = (
        RecordingStarted(0, "rec"),
        RecordingStarted(1, "rec"),
        RecordingPaused(3, "rec"),
        RecordingPaused(4, "rec"),
        RecordingResumed(7, "rec"),
        RecordingResumed(8, "rec"),
        RecordingStopped(9, "rec"),
    )
    assert film(*events) == [(0, 3), (7, 9)]


def test_outage_is_a_cut_in_what_runs() -> None:
    assert film(RecordingStarted(0, "rec"), Outage(8, 5)) == [(0, 5), (8, None)]
    assert film(RecordingStarted(0, "rec"), Outage(8, 5), RecordingStopped(9, "rec")) == [(0, 5), (8, 9)]


def test_outage_in_a_pause_does_not_resume() -> None:
    events = (RecordingStarted(0, "rec"), RecordingPaused(3, "rec"), Outage(8, 5))
    assert film(*events) == [(0, 3)]
    assert film(*events, RecordingResumed(10, "rec")) == [(0, 3), (10, None)]


def test_outage_before_start_and_after_stop_is_nothing() -> None:
    assert film(Outage(3, 1), RecordingStarted(5, "rec"), RecordingStopped(7, "rec"), Outage(9, 8)) == [(5, 7)]


def test_outage_right_after_start_leaves_no_empty_span() -> None:
    assert film(RecordingStarted(5, "rec"), Outage(8, 5)) == [(8, None)]


def test_spans_of_no_length_are_left_out() -> None:
    assert film(RecordingStarted(5, "rec"), RecordingStopped(5, "rec")) == []
    events = (RecordingStarted(5, "rec"), RecordingPaused(5, "rec"), RecordingResumed(6, "rec"))
    assert film(*events) == [(6, None)]


def test_events_of_other_recordings_are_not_ours() -> None:
    events: list[TimelineEvent] = [
        RecordingStarted(0, "other"),
        RecordingStarted(2, "rec"),
        RecordingPaused(3, "other"),
        RecordingStopped(4, "other"),
        RecordingStopped(6, "rec"),
    ]
    assert film(*events) == [(2, 6)]
    assert recording_spans(events, "other") == [Span(0, 3)]
    assert recording_spans(events, "none") == []


def test_what_comes_after_the_stop_is_not_the_film() -> None:
    assert film(RecordingStarted(1, "rec"), RecordingStopped(2, "rec"), RecordingResumed(3, "rec")) == [(1, 2)]


@given(st.lists(st.tuples(st.sampled_from(["pause", "resume", "outage", "other"]), st.integers(1, 50)), max_size=12))
def test_spans_are_in_order_and_never_touch_a_pause(steps: list[tuple[str, int]]) -> None:
    events: list[TimelineEvent] = [RecordingStarted(0, "rec")]
    running, now = True, 0
    inside: list[int] = []
    for step, length in steps:
        if running:
            inside += range(now, now + length)
        now += length
        if step == "pause":
            events.append(RecordingPaused(now, "rec"))
            running = False
        elif step == "resume":
            events.append(RecordingResumed(now, "rec"))
            running = True
        elif step == "outage":
            events.append(Outage(now + 5, now))
            now += 5
        else:
            events.append(RecordingPaused(now, "other"))
    events.append(RecordingStopped(now, "rec"))
    spans = recording_spans(events, "rec")
    assert [at for at in range(now + 1) if any(at in span for span in spans)] == inside
    assert all(a.end_ns is not None and a.end_ns <= b.start_ns for a, b in pairwise(spans))
