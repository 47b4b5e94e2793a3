"""Recordings of chosen tracks: nothing of anybody else gets into the log, unless another recording asks for it."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from tests.capture.room import MS, Room, S, Sender, settle

from tapedeck.capture.take import Take
from tapedeck.core.timeline import (
    AudioLevel,
    ClockReport,
    Outage,
    ParticipantJoined,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    TrackMuted,
    from_dict,
    to_dict,
)
from tapedeck.core.wanted import TrackChoice, TrackLayer

SOUND = TrackLayer("default")
PICTURE = TrackLayer("default-video", "video")
ADA = TrackChoice((SOUND, PICTURE), ("user-ada",))
ADAS_VOICE = TrackChoice((SOUND,), ("user-ada",))


def people(room: Room, *names: str, at_ns: int = 0) -> list[Sender]:
    senders = []
    for name in names:
        peer = room.join(name, at_ns)
        senders += [room.audio(peer, at_ns), room.video(peer, at_ns)]
    return senders


def tell_all(senders: list[Sender], at_ns: int) -> None:
    """Whatever a source may say of a track."""
    for sender in senders:
        at = 77 * S + at_ns
        sender.sink.clock_report(at, at, at)
        sender.sink.audio_level(at, 20)
        sender.sink.muted(at, True)
        sender.sink.muted(at, False)


def said(room: Room) -> str:
    """Everything in the log as text, and which files it has."""
    return repr([to_dict(event) for event in room.log.events]) + repr(room.log.frames) + repr(room.log.opened)


async def test_nothing_is_said_of_who_is_not_chosen() -> None:
    room = Room()
    senders = people(room, "ada", "bob")
    room.start_tracks("t", S, ADA)
    room.play(senders, S, 2 * S)
    senders += people(room, "cem", at_ns=2 * S)
    tell_all(senders, 2 * S)
    room.play(senders, 2 * S, 3 * S)
    senders[2].sink.peer.rename("Robert", 77 * S + 3 * S)
    senders[2].sink.peer.close(77 * S + 3 * S)
    await room.pause("t", 3 * S)
    room.play(senders[:2] + senders[4:], 3 * S, 4 * S)
    room.resume("t", 4 * S)
    room.play(senders[:2] + senders[4:], 4 * S, 5 * S)
    stop = await room.stop_soon("t", 5 * S)
    room.play(senders[:2] + senders[4:], 5 * S, 6 * S)
    assert await stop is True
    for name in ("bob", "Bob", "Robert", "cem", "Cem"):
        assert name not in said(room), name
    assert [e.participant_id for e in room.log.of(ParticipantJoined)] == ["user-ada"]
    assert len(room.kept(senders[0])) == pytest.approx(150, abs=5)
    assert room.log.of(AudioLevel)
    assert room.log.of(ClockReport)
    assert room.log.of(TrackMuted)


async def test_who_comes_later_is_kept_if_chosen() -> None:
    room = Room()
    senders = people(room, "bob")
    room.start_tracks("t", S, ADA)
    room.play(senders, S, 2 * S)
    senders += people(room, "ada", at_ns=2 * S)
    room.play(senders, 2 * S, 3 * S)
    assert room.kept(senders[2])[0] == pytest.approx(2 * S, abs=20 * MS)
    assert room.kept(senders[0]) == []


async def test_only_sound_is_kept_if_only_sound_is_asked_for() -> None:
    room = Room()
    voice, camera = people(room, "ada")
    room.start_tracks("t", S, ADAS_VOICE)
    room.play([voice, camera], S, 2 * S)
    assert room.kept(voice) and not room.kept(camera)
    assert camera.asked == [], "nobody needs a key frame"


async def test_a_film_of_everybody_beside_it_shares_the_log_and_its_end_is_an_end() -> None:
    room = Room()
    senders = people(room, "ada", "bob")
    ada, bob = senders[0], senders[2]
    room.start_tracks("t", S, ADA)
    room.play(senders, S, 2 * S)
    room.start("film", 2 * S)
    room.play(senders, 2 * S, 3 * S)
    stop = await room.stop_soon("film", 3 * S)
    room.play(senders, 3 * S, 4 * S)
    assert await stop is True
    before = said(room)
    tell_all(senders[2:], 4 * S)
    senders[2].sink.peer.close(77 * S + 4 * S)
    assert said(room) == before, "he is nobody's business any more"
    room.start("again", 5 * S)
    assert said(room).count("'left'") == 1, "who begins to look is told that he left"
    frames = room.kept(bob)
    assert min(frames) >= 2 * S and max(frames) < 3 * S and len(frames) == 50
    assert room.kept(ada) == list(range(S, 4 * S, 20 * MS)), "once each, and all of them"


async def test_a_recording_of_tracks_starts_with_the_command_and_may_stay_empty() -> None:
    room = Room()
    senders = people(room, "bob")
    room.start_tracks("t", S, ADA)
    assert room.capturing == [("t", room.utc(S))]
    room.play(senders, S, 2 * S)
    stop = await room.stop_soon("t", 2 * S)
    room.play(senders, 2 * S, 3 * S)
    assert await stop is True, "there is a recording, of nobody"
    assert room.log.frames == []
    assert [e for e in room.log.told()] == [RecordingStarted(S, "t", ADA), RecordingStopped(2 * S, "t")]


async def test_pauses_are_each_recordings_own() -> None:
    room = Room()
    senders = people(room, "ada")
    room.start("film", S)
    room.play(senders, S, 2 * S)
    room.start_tracks("t", 2 * S, ADA)
    await room.pause("film", 3 * S)
    room.play(senders, 2 * S, 4 * S)
    await room.pause("t", 4 * S)
    room.play(senders, 4 * S, 5 * S)
    room.resume("t", 5 * S)
    room.play(senders, 5 * S, 6 * S)
    kept = room.kept(senders[0])
    assert not [at for at in kept if 4 * S <= at < 5 * S]
    assert [at for at in kept if 3 * S <= at < 4 * S] and [at for at in kept if at >= 5 * S]
    assert RecordingPaused(4 * S, "t") in room.log.told() and RecordingResumed(5 * S, "t") in room.log.told()


async def test_a_stop_does_not_wait_for_who_is_not_chosen() -> None:
    room = Room()
    senders = people(room, "ada", "bob")
    room.start_tracks("t", S, ADA)
    room.play(senders, S, 2 * S)
    room.play(senders[:2], 2 * S, 2500 * MS)  # Bob's network stands still
    stop = await room.stop_soon("t", 2500 * MS)
    room.play(senders[:2], 2500 * MS, 2700 * MS)
    await settle()
    assert stop.done() and stop.result() is True


async def test_after_a_crash_it_still_is_for_the_chosen_alone() -> None:
    start = from_dict(to_dict(RecordingStarted(S, "t", ADA)))
    assert isinstance(start, RecordingStarted) and start.tracks == ADA
    room = Room()
    log = room._open()
    room.session.adopt(log, [Take.begun(RecordingStarted(S, "t", start.tracks), 5 * S)], 4 * S, 4 * S, 77 * S + 5 * S)
    senders = people(room, "bob", at_ns=5 * S)
    room.play(senders, 5 * S, 6 * S)
    assert log.entries == []
    senders += people(room, "ada", at_ns=6 * S)
    room.play(senders, 6 * S, 7 * S)
    assert [e.from_ns for e in room.log.of(Outage)] == [4 * S]
    assert "bob" not in said(room) and room.kept(senders[2])


def test_a_damaged_choice_is_no_choice_of_everybody() -> None:
    body = to_dict(RecordingStarted(S, "t", ADA))
    broken: list[object] = [{"layers": []}, {"user_ids": None}, [], {"layers": 1, "user_ids": None}, "x"]
    for damaged in broken:
        with pytest.raises(ValueError, match="malformed"):
            from_dict(body | {"tracks": damaged})


def test_people_are_chosen_by_either_id_and_never_by_an_empty_one() -> None:
    choice = TrackChoice((SOUND,), ("user-7", "0B1C5A0E-0A54-4D0D-9A39-2F3F0C6A1D11", ""))
    assert choice.name_of("p", "user-7") == "user-7"
    assert choice.name_of("0b1c5a0e-0a54-4d0d-9a39-2f3f0c6a1d11", "") == "0B1C5A0E-0A54-4D0D-9A39-2F3F0C6A1D11"
    assert choice.name_of("p", "") is None and choice.name_of("p", "USER-7") is None
    assert TrackChoice((SOUND,)).name_of("p", "x") == "p"
    assert TrackChoice((), ()).name_of("p", "") is None, "an empty list is nobody"
    assert asdict(choice)["user_ids"] == choice.user_ids
