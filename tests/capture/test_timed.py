"""Timed metadata in the log: what is said to whom, and when it is not kept."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from tests.capture.room import BOOT, MS, ListLog, Room, S

from tapedeck.capture.recover import read_left_behind
from tapedeck.capture.session import CaptureSession
from tapedeck.capture.take import Take
from tapedeck.core.film import FilmClock
from tapedeck.core.timed import CLOSE, TimedTexts
from tapedeck.core.timeline import Progress, RecordingStarted, TimedText, TimelineEvent


def said(room: Room) -> list[tuple[int, str, str | None]]:
    return [(event.at_ns, event.text, event.recording_id) for event in room.log.of(TimedText)]


def in_film(events: Sequence[TimelineEvent], recording_id: str) -> list[str]:
    """What a film of the log has of it."""
    clock, texts = FilmClock(recording_id), TimedTexts(recording_id)
    clock.feed(events)
    clock.cut_off()
    texts.feed(events)
    return [text for _, text in texts.take(clock.cuts)]


def recorded(*timed: str, others: Sequence[str] = ()) -> tuple[Room, object]:
    """A room in which recordings run from 3 s on."""
    room = Room()
    peer = room.join("ada")
    video = room.video(peer)
    room.play([video], 0, 3 * S)
    for recording_id in (*timed, *others):
        room.session.start(recording_id, BOOT + 3 * S, timed=recording_id in timed)
    room.play([video], 3 * S, 4 * S)
    return room, peer


def test_a_text_is_an_event_of_its_moment() -> None:
    room, _ = recorded("r")
    assert room.log.of(RecordingStarted) == [RecordingStarted(3 * S, "r", timed=True)]
    assert room.session.say("now", BOOT + 4 * S + 7, "r")
    assert said(room) == [(4 * S + 7, "now", "r")]


def test_it_never_lies_in_what_the_log_called_complete() -> None:
    room, _ = recorded("r")
    passed = max(event.until_ns for event in room.log.of(Progress))
    assert room.session.say("late", BOOT + passed - 500 * MS)
    assert said(room) == [(passed + 1, "late", None)]


def test_a_message_of_the_meeting_is_for_every_recording_that_asked_for_them() -> None:
    room, peer = recorded("r", "s", others=["film"])
    peer.message(json.dumps({"type": "ID3Data", "payload": {"quiz": 1}}), BOOT + 4 * S)  # type: ignore[attr-defined]
    assert room.log.of(TimedText) == [TimedText(4 * S, '{"quiz":1}', None, "user-ada")]


@pytest.mark.parametrize("message", ["nonsense", b"\xff", '{"type":"chat","payload":"hello"}'])
def test_other_messages_leave_no_trace(message: str | bytes) -> None:
    room, peer = recorded("r")
    peer.message(message, BOOT + 4 * S)  # type: ignore[attr-defined]
    assert said(room) == []


def test_too_many_messages_are_nothing() -> None:
    room, peer = recorded("r")
    for number in range(500):
        peer.message(json.dumps({"type": "ID3Data", "payload": number}), BOOT + 4 * S)  # type: ignore[attr-defined]
    assert len(said(room)) == 100


def test_nothing_is_kept_that_no_recording_asked_for() -> None:
    room, peer = recorded(others=["film"])
    assert not room.session.say("hello", BOOT + 4 * S)
    peer.message('{"type":"ID3Data","payload":"hello"}', BOOT + 4 * S)  # type: ignore[attr-defined]
    assert said(room) == []


def test_before_the_first_media_nobody_listens() -> None:
    room = Room()
    room.session.start("r", BOOT + S, timed=True)
    assert not room.session.say("early", BOOT + 2 * S, "r")
    assert room.log.told() == []


async def test_nothing_is_kept_of_a_pause_but_its_end() -> None:
    room, _ = recorded("r")
    await room.pause("r", 4 * S)
    assert not room.session.say("paused", BOOT + 4 * S + 500 * MS, "r")
    room.resume("r", 5 * S)
    assert room.session.say("again", BOOT + 5 * S + 1, "r")
    assert [text for _, text, _ in said(room)] == ["again"]


async def test_what_was_closed_stays_closed() -> None:
    room, _ = recorded("r", "s")
    assert room.session.say(CLOSE, BOOT + 4 * S, "r")
    assert not room.session.say("to r", BOOT + 4 * S + 1, "r")
    assert room.session.say("to all", BOOT + 4 * S + 2)
    await room.pause("s", 5 * S)
    assert room.session.say(CLOSE, BOOT + 5 * S + 1), "also in a pause"
    assert room.session.say(CLOSE, BOOT + 5 * S + 2, "s"), "again is no error"
    room.resume("s", 6 * S)
    assert not room.session.say("too late", BOOT + 6 * S + 1)
    events = room.log.told()
    assert in_film(events, "r") == [] and in_film(events, "s") == ["to all"]
    assert read_left_behind(events).closed == {"r", "s"}


async def test_after_the_stop_nothing_is_heard() -> None:
    room, _ = recorded("r")
    await room.stop_soon("r", 5 * S)
    assert not room.session.say("late", BOOT + 5 * S, "r")
    assert said(room) == []


@pytest.mark.parametrize("is_closed", [False, True])
def test_after_a_crash_it_goes_on_as_it_was(is_closed: bool) -> None:
    log = ListLog()
    room = Room()
    room.session = CaptureSession(
        "session", "meeting", open_log=lambda: log, listener=room, zero_ns=BOOT, started_at=room.started_at
    )
    take = Take.begun(RecordingStarted(S, "r", timed=True), 40 * S, is_closed=is_closed)
    room.session.adopt(log, [take], 30 * S, 30 * S, BOOT + 40 * S)
    room.logs.append(log)
    assert not room.session.say("nobody is back", BOOT + 41 * S, "r")
    video = room.video(room.join("ada", 42 * S), 42 * S)
    video.send(42 * S + MS, key=True)
    assert room.session.say("back", BOOT + 43 * S, "r") is not is_closed
