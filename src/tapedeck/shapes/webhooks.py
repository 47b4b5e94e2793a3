"""What webhooks say, and what is said about them: happenings in the words of RealtimeKit's webhooks. Pure.

Bodies are compact JSON with every character as itself, so that a receiver who parses and writes them anew in JavaScript
gets the bytes that were signed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

from tapedeck.core.happenings import Guest, Happening, HappeningKind, Message, StreamNews
from tapedeck.core.livestream import LivestreamStatus
from tapedeck.core.meeting import SessionEnd
from tapedeck.core.recording import Recording, RecordingState, recorded_seconds
from tapedeck.core.times import format_time
from tapedeck.core.webhooks import Attempt, Delivery, Webhook
from tapedeck.shapes.realtimekit import STATUS, Download, started_recording, status_change

__all__ = ["EVENTS", "EventName", "SentEventName", "delivery_body", "event_name", "message_of", "webhook_body"]

SentEventName = Literal[
    "meeting.started",
    "meeting.ended",
    "meeting.participantJoined",
    "meeting.participantLeft",
    "recording.statusUpdate",
    "livestreaming.statusUpdate",
]
"""Events that this server has reason to send: it has no chat and no transcript."""
EventName = Literal[
    SentEventName,
    "meeting.chatSynced",
    "meeting.transcript",
    "meeting.summary",
]
"""Events that a webhook may ask for."""
EVENTS: tuple[str, ...] = get_args(EventName)

_NAMES: Mapping[HappeningKind, SentEventName] = MappingProxyType(
    {
        HappeningKind.RECORDING: "recording.statusUpdate",
        HappeningKind.SESSION_STARTED: "meeting.started",
        HappeningKind.SESSION_ENDED: "meeting.ended",
        HappeningKind.JOINED: "meeting.participantJoined",
        HappeningKind.LEFT: "meeting.participantLeft",
        HappeningKind.LIVESTREAM: "livestreaming.statusUpdate",
    }
)
_STREAM: Mapping[LivestreamStatus, str] = MappingProxyType(
    {
        LivestreamStatus.INVOKED: "IDLE",
        LivestreamStatus.LIVE: "LIVE",
        LivestreamStatus.IDLE: "OFFLINE",
        LivestreamStatus.ERRORED: "OFFLINE",
    }
)
"""Events have other words than answers: IDLE is one that has nothing to show yet."""
_STOPPED = frozenset({"UPLOADING", "UPLOADED", "ERRORED"})


def event_name(happening: Happening) -> str | None:
    """The event a happening is told by; None for a change of state that the API does not see."""
    recording = happening.recording
    if recording is not None and status_change(happening.previous, recording.state) is None:
        return None
    return _NAMES[happening.kind]


def message_of(
    happening: Happening, video_url: Download = None, audio_url: str | None = None, playback_url: str | None = None
) -> Message | None:
    """The message a happening is told by, with links to the files of a finished recording, or to watch; None: none."""
    event = event_name(happening)
    if event is None:
        return None
    body: dict[str, Any] = {"event": event}
    if happening.recording is not None:
        body["recording"] = _recording(happening.recording, video_url, audio_url)
    if happening.livestream is not None:
        body |= _livestream(happening.livestream, playback_url)
    body["meeting"] = _meeting(happening)
    if happening.guest is not None:
        body["participant"] = _guest(happening.guest)
    if happening.kind is HappeningKind.SESSION_ENDED:
        by_host = happening.session is not None and happening.session.end_cause is SessionEnd.HOST
        body["reason"] = "HOST_ENDED_MEETING" if by_host else "ALL_PARTICIPANTS_LEFT"
    return Message(event, _text(body))


def _text(body: Mapping[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _recording(recording: Recording, video_url: Download, audio_url: str | None) -> dict[str, Any]:
    """The keys that the API sends in each status, and no other: nothing here is ever null."""
    status = STATUS[recording.state]
    body: dict[str, Any] = {
        "id": recording.id,
        "recordingId": recording.id,
        "status": status,
        "meetingId": recording.meeting_id,
        "organizationId": recording.app_id,
    }
    if recording.session_id is not None:
        body["roomUUID"] = recording.session_id
    body["outputFileName"] = recording.file_name
    if recording.started_at is not None:
        body["startedTime"] = format_time(recording.started_at)
    if status not in _STOPPED:
        return body
    if recording.stopped_at is not None:
        body["stoppedTime"] = format_time(recording.stopped_at)
    seconds = recorded_seconds(recording)
    if seconds is not None and recording.state is not RecordingState.FAILED:
        body["recordingDuration"] = seconds
    if recording.state is RecordingState.DONE:
        if recording.size_bytes is not None:
            body["fileSize"] = str(recording.size_bytes)
        links = {"downloadUrl": video_url, "audioDownloadUrl": audio_url}
        body |= {key: url for key, url in links.items() if url is not None}
        if recording.expires_at is not None and any(links.values()):
            body["downloadUrlExpiry"] = format_time(recording.expires_at)
    if recording.stop_cause is not None:
        body["stopReason"] = started_recording(recording, None, None)["stop_reason"]
    return body


def _livestream(news: StreamNews, playback_url: str | None) -> dict[str, Any]:
    """Nobody pushes into a livestream of this server."""
    return {
        "streamId": news.id,
        "status": _STREAM[news.status],
        "manualIngest": False,
        "playbackUrl": playback_url,
        "ingestServer": None,
        "streamKey": None,
    }


def _meeting(happening: Happening) -> dict[str, Any]:
    """The block that all events share. A recording that has no session yet says nothing of one, a livestream never."""
    meeting, app = happening.meeting, happening.app
    live = happening.session if happening.livestream is None else None
    body: dict[str, Any] = {"id": meeting.id}
    if live is not None:
        body["sessionId"] = live.id
    body |= {"title": meeting.title, "roomName": meeting.id, "status": "LIVE"}
    if live is not None:
        begun = format_time(live.started_at)
        over = live.ended_at is not None and happening.kind is not HappeningKind.SESSION_STARTED
        body |= {"createdAt": begun, "startedAt": begun}
        body["endedAt"] = format_time(live.ended_at) if live.ended_at is not None and over else None
    body["organizedBy"] = {"id": app.id, "name": app.name}
    return body


def _guest(guest: Guest) -> dict[str, Any]:
    body: dict[str, Any] = {
        "peerId": guest.peer_id,
        "userDisplayName": guest.name,
        "customParticipantId": guest.custom_id,
        "clientSpecificId": guest.custom_id,
        "joinedAt": format_time(guest.joined_at),
    }
    if guest.left_at is not None:
        body["leftAt"] = format_time(guest.left_at)
    return body


# What is said about webhooks


def webhook_body(webhook: Webhook) -> dict[str, Any]:
    """A webhook."""
    return {
        "id": webhook.id,
        "name": webhook.name,
        "url": webhook.url,
        "events": list(webhook.events),
        "enabled": webhook.enabled,
        "created_at": format_time(webhook.created_at),
        "updated_at": format_time(webhook.updated_at),
    }


def delivery_body(delivery: Delivery) -> dict[str, Any]:
    """A delivery: what was or will be sent, and how each attempt went."""
    return {
        "id": delivery.id,
        "webhook_id": delivery.webhook_id,
        "event": delivery.event,
        "key": delivery.key,
        "status": str(delivery.state).upper(),
        "created_at": format_time(delivery.created_at),
        "next_attempt_at": None if delivery.next_at is None else format_time(delivery.next_at),
        "finished_at": None if delivery.finished_at is None else format_time(delivery.finished_at),
        "request": {"url": delivery.url, "body": delivery.body},
        "attempts": [_attempt(attempt) for attempt in delivery.attempts],
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "at": format_time(attempt.at),
        "took_ms": attempt.took_ms,
        "status": attempt.status,
        "answer": attempt.answer,
        "error": attempt.error,
    }
