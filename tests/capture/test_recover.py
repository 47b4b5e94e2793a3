"""A process dies, another one goes on with its log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from tests.capture.room import BOOT, MS, ListLog, Room, S

from tapedeck.capture.recover import log_end, new_session, read_left_behind, resumed_session
from tapedeck.capture.session import CaptureSession
from tapedeck.capture.take import Take
from tapedeck.core.errors import NotFoundError
from tapedeck.core.frames import Codec, TrackInfo
from tapedeck.core.timeline import (
    Outage,
    ParticipantJoined,
    ParticipantLeft,
    Progress,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    TimelineEvent,
    TrackClosed,
    TrackOpened,
    recording_spans,
)
from tapedeck.medialog.reader import LogReader

VIDEO = TrackInfo("v", "p", "u", Codec.VP8.kind, Codec.VP8)
ENDED = 30 * S
"Latest time in the log of the process that died."
BACK = 40 * S
"When the next process took over."


def left_room(*takes: Take) -> tuple[Room, ListLog]:
    """A room whose session was left behind with these recordings."""
    log = ListLog()
    room = Room()
    room.session = CaptureSession(
        "session", "meeting", open_log=lambda: log, listener=room, zero_ns=BOOT, started_at=room.started_at
    )
    room.session.adopt(log, list(takes), ENDED, ENDED - 100 * MS, BOOT + BACK)
    room.logs.append(log)
    return room, log


def outage_of(session: CaptureSession) -> int | None:
    return session.outage_from_ns


def test_timeline_tells_what_was_going_on() -> None:
    events: list[TimelineEvent] = [
        ParticipantJoined(0, "u", "p", "Ada"),
        ParticipantJoined(0, "w", "q", "Bob"),
        TrackOpened(0, VIDEO),
        RecordingStarted(1, "running"),
        RecordingStarted(2, "paused"),
        RecordingStarted(3, "stopped"),
        RecordingPaused(4, "paused"),
        RecordingPaused(4, "running"),
        RecordingResumed(5, "running"),
        RecordingStopped(6, "stopped"),
        ParticipantLeft(7, "w", "q"),
        Progress(8, 7),
    ]
    left = read_left_behind(events)
    assert {key: start.at_ns for key, start in left.running.items()} == {"running": 1}
    assert {key: start.at_ns for key, start in left.paused.items()} == {"paused": 2}
    assert left.recording_ids == ("running", "paused")
    assert left.peers == (ParticipantJoined(0, "u", "p", "Ada"),)
    assert left.tracks == ("v",)
    assert left.passed_ns == 7


def test_who_comes_back_continues_the_film_after_one_cut() -> None:
    room, log = left_room(Take.begun(RecordingStarted(S, "r"), BACK))
    assert room.session.recording_ids == ("r",)
    assert room.session.outage_from_ns == ENDED
    video = room.video(room.join("ada", 50 * S), 50 * S)
    room.tick(51 * S)
    assert log.entries == [], "nobody knows yet whether anybody comes back with media"
    video.send(52 * S, key=True)
    room.play([video], 52_040 * MS, 54 * S)
    assert log.told() == [
        Outage(52 * S, ENDED),
        ParticipantJoined(52 * S, "user-ada", "peer-ada-camera", "Ada"),
        TrackOpened(52 * S, video.info),
    ]
    spans = recording_spans([RecordingStarted(S, "r"), *log.events], "r")
    assert [(s.start_ns, s.end_ns) for s in spans] == [(S, ENDED), (52 * S, None)]
    assert room.capturing == [], "it has been capturing all along"
    assert outage_of(room.session) is None
    assert log.of(Progress)[-1].until_ns > 53 * S


async def test_nobody_back_ends_the_film_at_the_outage() -> None:
    room, log = left_room(Take.begun(RecordingStarted(S, "r"), BACK))
    task = await room.stop_soon("r", 100 * S)
    room.tick(100 * S + 50 * MS)
    assert await task is True
    assert log.of(RecordingStopped) == [RecordingStopped(ENDED, "r")]
    assert log.of(Progress)[-1].until_ns >= ENDED
    assert log.of(Outage) == []
    assert room.session.recording_ids == ()


async def test_commands_during_the_outage_cut_where_they_should() -> None:
    room, log = left_room(
        Take.begun(RecordingStarted(S, "r"), BACK), Take.begun(RecordingStarted(2 * S, "other"), BACK)
    )
    await room.pause("r", 60 * S)
    room.resume("r", 70 * S)
    video = room.video(room.join("ada", 80 * S), 80 * S)
    video.send(80 * S, key=True)
    before = [RecordingStarted(S, "r"), RecordingStarted(2 * S, "other")]
    for recording_id, start in (("r", S), ("other", 2 * S)):
        spans = recording_spans([*before, *log.events], recording_id)
        assert [(s.start_ns, s.end_ns) for s in spans] == [(start, ENDED), (80 * S, None)]


async def test_paused_recording_stays_paused_over_the_outage() -> None:
    room, log = left_room(Take.begun(RecordingStarted(S, "r"), None))
    video = room.video(room.join("ada", 50 * S), 50 * S)
    room.play([video], 50 * S, 52 * S)
    assert log.frames == []
    room.resume("r", 52 * S)
    room.play([video], 52 * S, 53 * S)
    before: list[TimelineEvent] = [RecordingStarted(S, "r"), RecordingPaused(20 * S, "r")]
    spans = recording_spans([*before, *log.events], "r")
    assert [(s.start_ns, s.end_ns) for s in spans] == [(S, 20 * S), (52 * S, None)]
    assert room.kept(video)[0] == 52 * S


def test_recording_started_during_the_outage_waits_for_media() -> None:
    room, log = left_room(Take.begun(RecordingStarted(S, "r"), BACK))
    room.start("new", 45 * S)
    assert log.entries == []
    video = room.video(room.join("ada", 50 * S), 50 * S)
    video.send(50 * S + 7 * MS, key=True)
    assert log.of(RecordingStarted) == [RecordingStarted(50 * S + 7 * MS, "new")]
    assert isinstance(log.events[0], Outage)


VICTIM = """
    import asyncio, sys, threading, time
    from datetime import UTC, datetime
    from pathlib import Path
    from tapedeck.capture.recover import new_session
    from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags, TrackInfo
    from tapedeck.ports.sources import PeerInfo

    class Nobody:
        def on_capturing(self, recording_id, at): pass
        def on_problem(self, session_id, text): pass
        def request_keyframe(self): pass

    async def main():
        session = new_session(Path(sys.argv[1]), "session", "meeting", now_utc=datetime.now(UTC),
                              now_ns=time.monotonic_ns(), listener=Nobody())
        peer = session.join(PeerInfo("meeting", "u", "p", "Ada"), time.monotonic_ns())
        sink = peer.open_track(TrackInfo("v", "p", "u", Codec.VP8.kind, Codec.VP8), Nobody(), time.monotonic_ns())
        session.start("r", time.monotonic_ns())
        for number in range(10_000):
            now = time.monotonic_ns()
            flags = FrameFlags.KEY if number % 10 == 0 else FrameFlags.NONE
            sink.frame(EncodedFrame(now * 9 // 100_000, now, b"%d" % number, Codec.VP8, flags))
            session.tick(now)
            print(number, now - session.zero_ns, flush=True)
            await asyncio.to_thread(threading.Event().wait, 0.01)

    asyncio.run(main())
"""


def record_and_die(root: Path) -> list[str]:
    """Number and capture time of each frame that a process handed over before it was killed."""
    command = [sys.executable, "-c", textwrap.dedent(VICTIM), str(root)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        handed = [victim.stdout.readline() for _ in range(150)]
        os.kill(victim.pid, signal.SIGKILL)
        return handed + [line for line in victim.stdout.readlines() if line.endswith("\n")]


class Listener:
    """Hears a session and asks for nothing."""

    def on_capturing(self, recording_id: str, at: datetime) -> None:
        raise AssertionError("the recording has been capturing all along")

    def on_problem(self, session_id: str, text: str | None) -> None:
        raise AssertionError(text)


async def test_killed_process_loses_less_than_a_second_and_the_next_goes_on(tmp_path: Path) -> None:
    root = tmp_path / "log"
    handed = record_and_die(root)
    died_ns = int(handed[-1].split()[1])

    end = log_end(root)
    assert end is not None
    assert timedelta(0) <= datetime.now(UTC) - end < timedelta(seconds=10)
    session = await resumed_session(root, now_utc=datetime.now(UTC), now_ns=time.monotonic_ns(), listener=Listener())
    assert session.recording_ids == ("r",)
    outage = session.outage_from_ns
    assert outage is not None
    assert died_ns - S < outage <= died_ns + 100 * MS
    assert abs(session.utc(outage) - end) < timedelta(milliseconds=500)

    room = Room(session)
    room.now_ns = time.monotonic_ns() - session.zero_ns
    back = room.now_ns
    offset = session.zero_ns - BOOT
    peer = room.join("ada", back + offset)
    video = room.video(peer, back + offset)
    video.send(back + offset, key=True)
    room.tick(back + offset + 300 * MS)
    task = await room.stop_soon("r", back + offset + 400 * MS)
    room.tick(back + offset + 4 * S)
    assert await task is True
    await session.aclose()

    log = LogReader(root)
    with log.timeline() as timeline:
        events = timeline.poll()
    spans = recording_spans(events, "r")
    assert [span.end_ns for span in spans] == [outage, back + 400 * MS]
    assert spans[1].start_ns == back
    assert TrackClosed(outage, "v") in events
    assert ParticipantLeft(outage, "u", "p") in events
    with log.track("v") as track:
        numbers = [int(frame.payload) for frame in track.poll(20_000)]
    assert all(b == a + 1 for a, b in pairwise(numbers)), "no hole in what was kept"
    assert len(handed) - len(numbers) <= 100


async def test_new_session_touches_no_disk_before_the_start(tmp_path: Path) -> None:
    root = tmp_path / "log"
    session = new_session(
        root, "session", "meeting", now_utc=datetime.now(UTC), now_ns=time.monotonic_ns(), listener=Listener()
    )
    assert not root.exists()
    assert not session.has_log
    session.start("r", time.monotonic_ns())
    await session.pause("r", time.monotonic_ns())
    assert LogReader(root).meta.session_id == "session"
    await session.aclose()


async def test_no_log_no_session(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        await resumed_session(tmp_path / "no", now_utc=datetime.now(UTC), now_ns=0, listener=Listener())
    assert log_end(tmp_path / "no") is None
