"""Golden JSON of the RealtimeKit face: every key, spelling and null."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from tapedeck.core.errors import FieldProblem
from tapedeck.core.meeting import App, Meeting, MeetingStatus, Participant, Preset
from tapedeck.core.paging import Listing, Page
from tapedeck.core.recording import (
    Caller,
    CallerKind,
    Recording,
    RecordingKind,
    RecordingState,
    StartCause,
    StopCause,
)
from tapedeck.shapes import realtimekit

T0 = datetime(2026, 3, 2, 9, 15, 4, 120_000, tzinfo=UTC)
MEETING = Meeting("m1", "a1", T0, T0 + timedelta(seconds=1), title="Physics")
INVOKED = Recording(
    "r1", "a1", "m1", "f.mp4", T0, started_by=Caller(CallerKind.APP, "a1", "Campus"), state=RecordingState.STARTING
)
UPLOADED = replace(
    INVOKED,
    state=RecordingState.DONE,
    session_id="s1",
    started_at=T0 + timedelta(seconds=3),
    stopped_at=T0 + timedelta(seconds=63),
    stop_cause=StopCause.REQUEST,
    stopped_by=Caller(CallerKind.PARTICIPANT, "p1", "Ada"),
    film_ms=59_600,
    size_bytes=5000,
    expires_at=T0 + timedelta(days=7),
)

BASE_INVOKED: dict[str, Any] = {
    "id": "r1",
    "meeting_id": "m1",
    "type": "COMPOSITE",
    "status": "INVOKED",
    "output_file_name": "f.mp4",
    "invoked_time": "2026-03-02T09:15:04.120Z",
    "started_time": None,
    "stopped_time": None,
    "session_id": None,
    "download_url": None,
    "audio_download_url": None,
    "download_url_expiry": None,
    "file_size": None,
}
BASE_UPLOADED: dict[str, Any] = BASE_INVOKED | {
    "status": "UPLOADED",
    "started_time": "2026-03-02T09:15:07.120Z",
    "stopped_time": "2026-03-02T09:16:07.120Z",
    "session_id": "s1",
    "download_url": "v",
    "audio_download_url": "a",
    "download_url_expiry": "2026-03-09T09:15:04.120Z",
    "file_size": 5000,
    "recording_duration": 60,
}
LISTED_MEETING: dict[str, Any] = {
    "id": "m1",
    "title": "Physics",
    "status": "ACTIVE",
    "created_at": "2026-03-02T09:15:04.120Z",
    "updated_at": "2026-03-02T09:15:05.120Z",
    "record_on_start": False,
    "live_stream_on_start": False,
    "persist_chat": False,
    "summarize_on_end": False,
    "transcribe_on_end": False,
    "session_keep_alive_time_in_secs": 60,
}
START_REASON = {"reason": "API_CALL", "caller": {"type": "ORGANIZATION", "user_Id": "a1", "name": "Campus"}}
STOP_REASON = {"reason": "API_CALL", "caller": {"type": "USER", "user_Id": "p1", "name": "Ada"}}


def test_a_start_answers_with_all_but_the_meeting() -> None:
    body = realtimekit.started_recording(INVOKED, None, None)
    assert body == BASE_INVOKED | {"start_reason": START_REASON, "storage_config": None}


def test_a_get_answers_with_everything() -> None:
    body = realtimekit.full_recording(UPLOADED, MEETING, "v", "a")
    assert body == BASE_UPLOADED | {
        "start_reason": START_REASON,
        "stop_reason": STOP_REASON,
        "storage_config": None,
        "meeting": LISTED_MEETING,
    }


def test_a_list_item_has_no_reasons_and_the_active_one_only_the_base() -> None:
    listed = realtimekit.listed_recording(UPLOADED, MEETING, "v", "a")
    assert listed == BASE_UPLOADED | {"storage_config": None, "meeting": LISTED_MEETING}
    assert realtimekit.active_recording(INVOKED, None, None) == BASE_INVOKED


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (StopCause.REQUEST, {"reason": "API_CALL"}),
        (StopCause.EMPTY, {"reason": "ALL_PEERS_LEFT"}),
        (StopCause.FAULT, {"reason": "INTERNAL_ERROR"}),
        (StopCause.MAX_SECONDS, {"detail": "MAX_SECONDS"}),
        (StopCause.SHUTDOWN, {"detail": "SHUTDOWN"}),
    ],
)
def test_stop_reasons_use_no_word_outside_of_the_enum(cause: StopCause, reason: dict[str, str]) -> None:
    stopped = replace(UPLOADED, stop_cause=cause, stopped_by=None)
    assert realtimekit.started_recording(stopped, None, None)["stop_reason"] == reason


def test_a_recording_of_the_first_join_has_no_caller() -> None:
    made = replace(INVOKED, start_cause=StartCause.FIRST_JOIN, started_by=None, kind=RecordingKind.TRACK)
    body = realtimekit.started_recording(made, None, None)
    assert body["start_reason"] == {"reason": "RECORD_ON_START"} and body["type"] == "TRACK"


def test_every_state_has_a_word_and_every_word_its_states() -> None:
    assert set(realtimekit.STATUS) == set(RecordingState)
    words = set(realtimekit.STATUS.values())
    assert words == {"INVOKED", "RECORDING", "PAUSED", "UPLOADING", "UPLOADED", "ERRORED"}
    for word in words:
        assert {realtimekit.STATUS[state] for state in realtimekit.states_of([word])} == {word}
    assert realtimekit.states_of(words) == frozenset(RecordingState)
    with pytest.raises(KeyError, match="DONE"):
        realtimekit.states_of(["UPLOADED", "DONE"])


def test_a_change_is_told_only_when_the_word_changes() -> None:
    s = RecordingState
    steps = [None, s.REQUESTED, s.STARTING, s.CAPTURING, s.PAUSED, s.CLOSING, s.RENDERING, s.UPLOADING, s.DONE]
    told = [realtimekit.status_change(a, b) for a, b in pairwise(steps) if b is not None]
    assert told == ["INVOKED", None, "RECORDING", "PAUSED", "UPLOADING", None, None, "UPLOADED"]


def test_meetings_leave_out_the_ai_config_in_lists_and_what_was_never_set() -> None:
    configured = replace(
        MEETING,
        title=None,
        status=MeetingStatus.INACTIVE,
        record_on_start=True,
        keep_alive_s=90.5,
        recording_config={"max_seconds": 60},
        ai_config={"transcription": {"language": "de"}},
    )
    changed = {
        "title": None,
        "status": "INACTIVE",
        "record_on_start": True,
        "session_keep_alive_time_in_secs": 90.5,
        "recording_config": {"max_seconds": 60},
    }
    assert realtimekit.meeting_body(MEETING) == LISTED_MEETING
    assert realtimekit.meeting_body(configured, listed=True) == LISTED_MEETING | changed
    whole = realtimekit.meeting_body(configured)
    assert whole == LISTED_MEETING | changed | {"ai_config": {"transcription": {"language": "de"}}}


def test_participants_presets_and_apps() -> None:
    person = Participant("p1", "m1", "ps1", "host", "ada@x", T0, T0, name="Ada")
    body = {
        "id": "p1",
        "name": "Ada",
        "picture": None,
        "custom_participant_id": "ada@x",
        "preset_id": "ps1",
        "preset_name": "host",
        "created_at": "2026-03-02T09:15:04.120Z",
        "updated_at": "2026-03-02T09:15:04.120Z",
    }
    assert realtimekit.participant_body(person) == body
    assert realtimekit.participant_body(person, "t") == body | {"token": "t"}
    gone = {"custom_participant_id", "preset_id", "created_at", "updated_at"}
    assert realtimekit.removed_participant(person) == {key: body[key] for key in gone}
    preset = Preset("ps1", "a1", "host", T0, T0, {"c": 1}, {"p": 2}, {"u": 3})
    item = {"id": "ps1", "name": "host", "created_at": body["created_at"], "updated_at": body["updated_at"]}
    assert realtimekit.preset_item(preset) == item
    assert realtimekit.preset_body(preset) == item | {"config": {"c": 1}, "permissions": {"p": 2}, "ui": {"u": 3}}
    app = {"id": "a1", "name": "Campus", "created_at": body["created_at"]}
    assert realtimekit.app_body(App("a1", "acc", "Campus", T0)) == app


def test_envelopes() -> None:
    assert realtimekit.single(1) == {"success": True, "data": 1}
    page = Listing(["x"], 41, Page(3, 20))
    assert realtimekit.listing(["y"], page) == {
        "success": True,
        "data": ["y"],
        "paging": {"total_count": 41, "start_offset": 41, "end_offset": 41},
    }


def test_errors_are_for_both_kinds_of_reader() -> None:
    assert realtimekit.error_body(404, "gone", 404) == {
        "success": False,
        "error": {"code": 404, "message": "gone"},
        "errors": [{"code": 404, "message": "gone"}],
        "messages": [],
        "result": None,
    }
    problems = (FieldProblem("/a", "one"), FieldProblem("/b/0", "two"))
    assert realtimekit.error_body(422, "one; two", 422, problems)["errors"] == [
        {"code": 422, "message": "one", "source": {"pointer": "/a"}},
        {"code": 422, "message": "two", "source": {"pointer": "/b/0"}},
    ]
