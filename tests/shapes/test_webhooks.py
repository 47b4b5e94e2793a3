"""Webhook bodies: the keys of each status, and bytes that JavaScript writes the same way."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.happenings import (
    Guest,
    Happening,
    HappeningKind,
    StreamNews,
    guest_of,
    guest_snapshot,
    recording_of,
)
from tapedeck.core.livestream import LivestreamStatus
from tapedeck.core.meeting import App, Meeting, Session
from tapedeck.core.recording import (
    Caller,
    CallerKind,
    FilmFile,
    Recording,
    RecordingState,
    StopCause,
    snapshot,
)
from tapedeck.shapes.webhooks import EVENTS, message_of

T0 = datetime(2026, 3, 2, 9, 15, 4, 120_000, tzinfo=UTC)
APP = App("app", "acme", "Campus", T0)
MEETING = Meeting("m", "app", T0, T0, 'Physics 😀 \u2028 \x7f "quoted" \\ \x01 é')
LIVE = Session("s", "m", T0)
FILM = FilmFile("video", "f.mp4", 52_428_800, 1_800_000, "00000000", key="k")
RECORDING = Recording("r", "app", "m", "f.mp4", T0, started_by=Caller(CallerKind.APP, "app", "Campus"))
STARTED = replace(RECORDING, session_id="s", started_at=T0 + timedelta(seconds=3), state=RecordingState.CAPTURING)
STOPPED = replace(
    STARTED,
    state=RecordingState.CLOSING,
    stopped_at=T0 + timedelta(seconds=1803),
    stop_cause=StopCause.REQUEST,
    stopped_by=Caller(CallerKind.PARTICIPANT, "p", "Ada"),
)
DONE = replace(
    STOPPED, state=RecordingState.DONE, files=(FILM,), film_ms=1_800_000, size_bytes=52_428_800,
    expires_at=T0 + timedelta(days=7),
)  # fmt: skip
EARLY = {"id", "recordingId", "status", "meetingId", "organizationId", "outputFileName"}


def told(recording: Recording, previous: RecordingState | None = None, live: Session | None = LIVE) -> dict[str, Any]:
    happening = Happening(1, HappeningKind.RECORDING, T0, APP, MEETING, live, recording, previous)
    message = message_of(happening, "https://media.example.org/f.mp4" if recording.expires_at else None)
    assert message is not None and message.event == "recording.statusUpdate"
    body: dict[str, Any] = json.loads(message.body)
    assert body["event"] == "recording.statusUpdate"
    return body


@pytest.mark.parametrize(
    ("recording", "status", "keys"),
    [
        (RECORDING, "INVOKED", EARLY),
        (STARTED, "RECORDING", EARLY | {"roomUUID", "startedTime"}),
        (replace(STARTED, state=RecordingState.PAUSED, paused_at=T0), "PAUSED", EARLY | {"roomUUID", "startedTime"}),
        (
            STOPPED,
            "UPLOADING",
            EARLY | {"roomUUID", "startedTime", "stoppedTime", "recordingDuration", "stopReason"},
        ),
        (
            DONE,
            "UPLOADED",
            EARLY
            | {"roomUUID", "startedTime", "stoppedTime", "recordingDuration", "stopReason"}
            | {"fileSize", "downloadUrl", "downloadUrlExpiry"},
        ),
        (
            replace(RECORDING, state=RecordingState.FAILED, stopped_at=T0, stop_cause=StopCause.EMPTY),
            "ERRORED",
            EARLY | {"stoppedTime", "stopReason"},
        ),
        (
            replace(STOPPED, state=RecordingState.FAILED, stop_cause=StopCause.FAULT),
            "ERRORED",
            EARLY | {"roomUUID", "startedTime", "stoppedTime", "stopReason"},
        ),
    ],
)
def test_the_keys_of_each_status(recording: Recording, status: str, keys: set[str]) -> None:
    body = told(recording)["recording"]
    assert body["status"] == status and set(body) == keys and None not in body.values()
    assert body["id"] == body["recordingId"] == "r"
    assert recording_of(json.loads(json.dumps(snapshot(recording)))) == recording


def test_a_finished_recording_word_by_word() -> None:
    """[45]"""
    body = told(DONE)
    assert body["recording"]["fileSize"] == "52428800"
    assert body["recording"]["recordingDuration"] == 1800
    assert body["recording"]["downloadUrl"] == "https://media.example.org/f.mp4"
    caller = {"type": "USER", "user_Id": "p", "name": "Ada"}
    assert body["recording"]["stopReason"] == {"reason": "API_CALL", "caller": caller}
    assert body["meeting"] == {
        "id": "m",
        "sessionId": "s",
        "title": MEETING.title,
        "roomName": "m",
        "status": "LIVE",
        "createdAt": "2026-03-02T09:15:04.120Z",
        "startedAt": "2026-03-02T09:15:04.120Z",
        "endedAt": None,
        "organizedBy": {"id": "app", "name": "Campus"},
    }
    assert "sessionId" not in told(RECORDING, live=None)["meeting"]


def test_states_that_the_api_does_not_see_are_not_told() -> None:
    for state, previous in (
        (RecordingState.STARTING, RecordingState.REQUESTED),
        (RecordingState.RENDERING, RecordingState.CLOSING),
    ):
        recording = replace(STOPPED, state=state)
        assert message_of(Happening(1, HappeningKind.RECORDING, T0, APP, MEETING, LIVE, recording, previous)) is None


def test_events_of_meetings() -> None:
    guest = Guest("peer", "p", "Ada", "custom", T0)
    gone = replace(guest, left_at=T0 + timedelta(seconds=9))
    assert guest_of(json.loads(json.dumps(guest_snapshot(gone)))) == gone
    bodies = {}
    for kind in HappeningKind:
        if kind not in (HappeningKind.RECORDING, HappeningKind.LIVESTREAM):
            live = replace(LIVE, ended_at=gone.left_at) if kind is HappeningKind.SESSION_ENDED else LIVE
            who = {HappeningKind.JOINED: guest, HappeningKind.LEFT: gone}.get(kind)
            message = message_of(Happening(1, kind, T0, APP, MEETING, live, guest=who))
            assert message is not None and message.event in EVENTS
            bodies[message.event] = json.loads(message.body)
    assert set(bodies["meeting.started"]) == {"event", "meeting"}
    assert bodies["meeting.ended"]["reason"] == "ALL_PARTICIPANTS_LEFT"
    assert bodies["meeting.ended"]["meeting"]["endedAt"] == "2026-03-02T09:15:13.120Z"
    assert bodies["meeting.ended"]["meeting"]["status"] == "LIVE"  # as the API's own samples have it
    joined = {
        "peerId": "peer",
        "userDisplayName": "Ada",
        "customParticipantId": "custom",
        "clientSpecificId": "custom",
        "joinedAt": "2026-03-02T09:15:04.120Z",
    }
    assert bodies["meeting.participantJoined"]["participant"] == joined
    left = joined | {"leftAt": "2026-03-02T09:15:13.120Z"}
    assert bodies["meeting.participantLeft"]["participant"] == left


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (LivestreamStatus.INVOKED, "IDLE"),
        (LivestreamStatus.LIVE, "LIVE"),
        (LivestreamStatus.IDLE, "OFFLINE"),
        (LivestreamStatus.ERRORED, "OFFLINE"),
    ],
)
def test_livestream_is_told_in_the_words_of_its_event(status: LivestreamStatus, word: str) -> None:
    news = StreamNews("stream", "r", T0, status)
    happening = Happening(1, HappeningKind.LIVESTREAM, T0, APP, MEETING, LIVE, livestream=news)
    message = message_of(happening, playback_url="https://media.example.org/hls/index.m3u8")
    assert message is not None and message.event == "livestreaming.statusUpdate" and happening.key == "r"
    assert json.loads(message.body) == {
        "event": "livestreaming.statusUpdate",
        "streamId": "stream",
        "status": word,
        "manualIngest": False,
        "playbackUrl": "https://media.example.org/hls/index.m3u8",
        "ingestServer": None,
        "streamKey": None,
        "meeting": {
            "id": "m",
            "title": MEETING.title,
            "roomName": "m",
            "status": "LIVE",
            "organizedBy": {"id": "app", "name": "Campus"},
        },
    }


NODE = """
const parts = require('fs').readFileSync(0, 'utf8').split('\\0');
process.stdout.write(parts.map((body) => JSON.stringify(JSON.parse(body))).join('\\0'));
"""


def test_javascript_writes_the_same_bytes() -> None:
    """[47, OC-78] Any title a meeting can have."""
    bodies: list[str] = []

    @given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30))
    def collect(title: str) -> None:
        happening = Happening(1, HappeningKind.SESSION_STARTED, T0, APP, replace(MEETING, title=title), LIVE)
        message = message_of(happening)
        assert message is not None
        bodies.append(message.body)

    collect()
    happening = Happening(1, HappeningKind.RECORDING, T0, APP, MEETING, LIVE, DONE, None)
    finished = message_of(happening, "https://e.org/?a=b&c=/")
    assert finished is not None
    sent = "\0".join([*bodies, finished.body]).encode()
    back = subprocess.run(["node", "-e", NODE], input=sent, capture_output=True, check=True)
    assert back.stdout == sent
    assert "😀" in finished.body and "\\u00e9" not in finished.body
