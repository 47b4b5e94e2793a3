"""`tapedeck show`: a log in words that a person can follow."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from tests.medialog.logs import MEETING, SECOND, SESSION, lay_down, make_frame, timeline_bytes, track_bytes

from tapedeck.cli.show import show
from tapedeck.core.errors import NotFoundError
from tapedeck.core.frames import Codec, Kind, Origin, TrackInfo
from tapedeck.core.timeline import (
    EVENT_TYPES,
    AudioLevel,
    ClockReport,
    NameChanged,
    Outage,
    ParticipantJoined,
    ParticipantLeft,
    Progress,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    TimedText,
    TimelineEvent,
    TrackClosed,
    TrackMuted,
    TrackOpened,
    TrackUnmuted,
)

CAM = TrackInfo("cam", "p1", "ada", Kind.VIDEO, Codec.H264, channels=0)
MIC = TrackInfo("mic", "p1", "ada", Kind.AUDIO, Codec.OPUS, channels=2)
SCREEN = TrackInfo("slides", "p2", "bob", Kind.VIDEO, Codec.VP8, Origin.SCREEN, 0)

EVENTS: list[TimelineEvent] = [
    ParticipantJoined(0, "ada", "p1", "Ada"),
    TrackOpened(10_000_000, CAM),
    TrackOpened(20_000_000, MIC),
    RecordingStarted(SECOND, "rec-1"),
    ClockReport(SECOND, "cam", 5, 6),
    AudioLevel(SECOND, "mic", 40),
    AudioLevel(SECOND, "mic", 41),
    TrackMuted(2 * SECOND, "mic"),
    NameChanged(3 * SECOND, "ada", "Ada Lovelace"),
    TrackUnmuted(4 * SECOND, "mic"),
    RecordingPaused(5 * SECOND, "rec-1"),
    RecordingResumed(7 * SECOND, "rec-1"),
    ParticipantJoined(8 * SECOND, "bob", "p2", "", origin=Origin.SCREEN),
    TrackOpened(8 * SECOND, SCREEN),
    TimedText(9 * SECOND, "a quiz begins", None, "ada"),
    Outage(20 * SECOND, 10 * SECOND),
    TrackClosed(21 * SECOND, "cam"),
    TrackMuted(22 * SECOND, "gone-without-trace"),
    ParticipantLeft(23 * SECOND, "ada", "p1"),
    RecordingStopped(3725 * SECOND + 678_999_999, "rec-1"),
    Progress(3726 * SECOND, 3725 * SECOND),
]


def shown(root: Path) -> str:
    out = io.StringIO()
    show(root, Console(file=out, width=160))
    return out.getvalue()


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_log_is_told_from_start_to_end(tmp_path: Path) -> None:
    assert {type(event) for event in EVENTS} == set(EVENT_TYPES.values())
    root = lay_down(tmp_path / "log", {}, timeline_bytes(EVENTS)[0])
    text = lines(shown(root))
    assert f"session {SESSION}" in text
    assert f"meeting {MEETING}" in text
    assert "started 2030-01-02 03:04:05 UTC" in text
    assert "length 1:02:06.000" in text
    told = text[text.index("0:00:00.000 Ada joined") :]
    assert told == [
        "0:00:00.000 Ada joined",
        "0:00:00.010 camera of Ada began (H264, track cam)",
        "0:00:00.020 microphone of Ada began (OPUS, track mic)",
        "0:00:01.000 recording rec-1 started",
        "0:00:02.000 microphone of Ada was muted",
        "0:00:03.000 Ada is now called Ada Lovelace",
        "0:00:04.000 microphone of Ada Lovelace was unmuted",
        "0:00:05.000 recording rec-1 paused",
        "0:00:07.000 recording rec-1 resumed",
        "0:00:08.000 bob joined to share a screen",
        "0:00:08.000 screen of bob began (VP8, track slides)",
        "0:00:09.000 timed metadata of Ada Lovelace: a quiz begins",
        "0:00:20.000 the recorder was back after an outage since 0:00:10.000",
        "0:00:21.000 camera of Ada Lovelace ended",
        "0:00:22.000 track gone-wit was muted",
        "0:00:23.000 Ada Lovelace left",
        "1:02:05.678 recording rec-1 stopped",
        "and 1 clock report, 2 sound levels; complete up to 1:02:05.000",
    ]
    film = next(line for line in text if line.startswith("recording rec-1:"))
    spans = "0:00:01.000 to 0:00:05.000, 0:00:07.000 to 0:00:10.000, 0:00:20.000 to 1:02:05.678"
    assert film == f"recording rec-1: 1:01:52.678 of film: {spans}"


def test_running_recording_runs_to_now(tmp_path: Path) -> None:
    events: list[TimelineEvent] = [RecordingStarted(SECOND, "r"), Progress(4 * SECOND, 3 * SECOND)]
    text = lines(shown(lay_down(tmp_path / "log", {}, timeline_bytes(events)[0])))
    assert "recording r: 0:00:03.000 of film: 0:00:01.000 to now" in text


def test_tracks_are_counted_and_remarks_made(tmp_path: Path) -> None:
    frames = [make_frame(n, 1000, key=n % 10 == 0) for n in range(31)]
    data, ends = track_bytes(frames)
    damaged = bytearray(data)
    damaged[ends[4] + 99] ^= 1
    opened: list[TimelineEvent] = [
        ParticipantJoined(0, "ada", "p1", "Ada"),
        TrackOpened(0, CAM),
        TrackOpened(0, MIC),
        TrackClosed(SECOND, "cam"),
    ]
    files = {"cam": bytes(damaged), "orphan": track_bytes([make_frame(1)], "orphan")[0]}
    text = lines(shown(lay_down(tmp_path / "log", files, timeline_bytes(opened)[0])))

    assert "cam Ada video H264 0:00–0:00 30 4 31.2 KiB 242 1 gap, damaged in 1 place (1.0 KiB)" in text
    assert "mic Ada audio OPUS 0 0 0 B no file, open" in text
    orphan = next(line for line in text if line.startswith("orphan ? H264 "))
    assert orphan.endswith(" not in the timeline")


def test_damaged_timeline_is_said(tmp_path: Path) -> None:
    data, ends = timeline_bytes(EVENTS)
    damaged = bytearray(data)
    damaged[ends[3] + 30] ^= 1
    text = shown(lay_down(tmp_path / "log", {}, bytes(damaged)))
    assert "The timeline is damaged in 1 place" in text
    assert "recording rec-1 stopped" in text


def test_empty_log_is_shown(tmp_path: Path) -> None:
    text = shown(lay_down(tmp_path / "log", {}))
    assert "No tracks." in text
    assert "length     0:00:00.000" in text


def test_names_cannot_steer_the_terminal(tmp_path: Path) -> None:
    nasty = "[bold]\x1b[2Jboo\nrecording x stopped\u202e"
    events: list[TimelineEvent] = [ParticipantJoined(0, "ada", "p1", nasty), TrackOpened(1, CAM)]
    text = shown(lay_down(tmp_path / "log", {"cam": track_bytes([make_frame(1)])[0]}, timeline_bytes(events)[0]))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\nrecording x" not in text
    assert "[bold]\N{REPLACEMENT CHARACTER}[2Jboo\N{REPLACEMENT CHARACTER}recording x stopped" in text


def test_no_log_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        shown(tmp_path)
