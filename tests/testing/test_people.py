"""People play their parts over real WebRTC on loopback; what arrives is held against what they say they sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise

import pytest
from tests.testing.stage import NotedTrack, Stage

from tapedeck.core.errors import UnavailableError
from tapedeck.core.frames import Codec, Kind
from tapedeck.sources.synthetic import CAST, SCREENS
from tapedeck.testing.clock import SharedClock
from tapedeck.testing.expect import Interval
from tapedeck.testing.link import HookedLink, Impairment
from tapedeck.testing.people import Act, Cue, Performer, Person, perform

ADA, GRACE = CAST[:2]
S = 1_000_000_000
MS = 1_000_000


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.whip.aclose()


def times(clock: SharedClock, track: NotedTrack) -> list[int]:
    """When each frame was taken, on the shared clock."""
    return [track.taken_at(frame) - clock.origin_ns for frame in track.frames]


async def test_every_frame_arrives_with_the_instant_it_was_taken_at(stage: Stage) -> None:
    clock = SharedClock()
    person = Person(ADA, (Cue(0.1, Act.JOIN), Cue(2.3, Act.LEAVE)))
    (sent,) = await perform([Performer(person, clock, stage.door("ada"))])
    (peer,) = stage.peers
    assert peer.closed
    video, audio = peer.track("video"), peer.track("audio")
    camera = Performer(person, clock, stage.door("x"))._camera.source
    (shown,), (heard,) = sent.camera, sent.microphone
    first = camera.index_from(shown.start_ns)
    taken = times(clock, video)
    assert [round(at / 1e5) for at in taken] == [round(camera.at_ns(first + n) / 1e5) for n in range(len(taken))]
    assert abs(taken[-1] - shown.end_ns) < 60 * MS
    assert video.frames[0].is_key
    spoken = times(clock, audio)
    assert all(abs(b - a - 20 * MS) < MS for a, b in pairwise(spoken))
    assert abs(spoken[0] - heard.start_ns) < MS
    assert abs(spoken[-1] + 20 * MS - heard.end_ns) < MS
    assert min(audio.levels) < 25
    assert max(audio.levels) == 127


async def at(clock: SharedClock, at_s: float, do: Callable[[], object]) -> None:
    """Do something at an instant."""
    await clock.until(round(at_s * S))
    result = do()
    if isinstance(result, Awaitable):
        await result


async def test_a_key_frame_is_sent_at_once_when_the_recorder_asks(stage: Stage) -> None:
    clock = SharedClock()
    performer = Performer(Person(ADA, (Cue(0, Act.JOIN), Cue(1.6, Act.LEAVE))), clock, stage.door("ada"))
    async with asyncio.TaskGroup() as group:
        group.create_task(performer.run())
        group.create_task(at(clock, 0.9, lambda: stage.peers[0].track("video").control.request_keyframe()))
    video = stage.peers[0].track("video")
    keys = [at for at, frame in zip(times(clock, video), video.frames, strict=True) if frame.is_key]
    assert len(keys) == 2, "the first, and the one asked for; none comes by itself for eight seconds"
    assert keys[1] > 900 * MS


async def test_mute_and_camera_off_send_nothing_and_are_written_down(stage: Stage) -> None:
    clock = SharedClock()
    cues = (
        Cue(0, Act.JOIN),
        Cue(0.8, Act.MUTE),
        Cue(1.0, Act.CAMERA_OFF),
        Cue(1.6, Act.UNMUTE),
        Cue(1.8, Act.CAMERA_ON),
        Cue(2.4, Act.LEAVE),
    )
    (sent,) = await perform([Performer(Person(ADA, cues), clock, stage.door("ada"))])
    for intervals, kind, off, on in ((sent.microphone, "audio", 0.8, 1.6), (sent.camera, "video", 1.0, 1.8)):
        before, after = intervals
        assert off * S - 60 * MS < before.end_ns < off * S + 300 * MS
        assert on * S - 60 * MS < after.start_ns < on * S + 300 * MS
        taken = times(clock, stage.peers[0].track(kind))
        assert not [at for at in taken if before.end_ns + MS < at < after.start_ns - MS]
        assert [at for at in taken if at > after.start_ns]
    video = stage.peers[0].track("video")
    first_again = next(n for n, at in enumerate(times(clock, video)) if at > 1.7 * S)
    assert video.frames[first_again].is_key


async def test_a_shared_screen_is_a_second_publication(stage: Stage) -> None:
    clock = SharedClock()
    person = Person(
        ADA, (Cue(0, Act.JOIN), Cue(0.4, Act.SHARE), Cue(1.2, Act.UNSHARE), Cue(1.5, Act.LEAVE)), screen=SCREENS[0]
    )
    screen, ada = await perform([Performer(person, clock, stage.door("ada"))])
    assert (screen.look, ada.look) == (SCREENS[0], ADA)
    assert screen.microphone == ()
    assert [peer.info.origin for peer in stage.peers] == ["camera", "screen"]
    assert [track.info.kind for track in stage.peers[1].tracks] == [Kind.VIDEO]
    (shared,) = screen.camera
    (shown,) = ada.camera
    assert shared.start_ns > shown.start_ns
    assert shown.covers(shared.start_ns, shared.end_ns)
    taken = times(clock, stage.peers[0].track("video"))
    assert max(b - a for a, b in pairwise(taken)) < 51 * MS, "the camera went on while the screen connected"


@pytest.mark.parametrize("codec", [Codec.H264, Codec.VP8])
async def test_rejoin_resize_and_jumps_are_played(stage: Stage, codec: Codec) -> None:
    clock = SharedClock()
    cues = (
        Cue(0, Act.JOIN),
        Cue(0.6, Act.RESIZE, size=(320, 180)),
        Cue(0.9, Act.JUMP),
        Cue(1.2, Act.REJOIN),
        Cue(2.0, Act.LEAVE),
    )
    (sent,) = await perform([Performer(Person(ADA, cues, codec=codec), clock, stage.door("ada"))])
    assert [peer.info.participant_id for peer in stage.peers] == ["ada", "ada"]
    first, second = (peer.track("video") for peer in stage.peers)
    assert [track.info.codec for track in (first, second)] == [codec, codec]
    assert second.frames[0].is_key
    assert len(first.frames) > 20
    sizes = {len(frame.payload) for frame in first.frames if frame.is_key}
    assert len(sizes) == 2, "one key frame at the start, a smaller one after the resize"
    assert len(sent.camera) == 2
    assert sent.camera[1].start_ns >= 1.2 * S


async def test_discontinuous_transmission_leaves_gaps(stage: Stage) -> None:
    clock = SharedClock()
    person = Person(ADA, (Cue(0, Act.JOIN), Cue(1.6, Act.LEAVE)), dtx=True)
    (sent,) = await perform([Performer(person, clock, stage.door("ada"))])
    packets = stage.peers[0].track("audio").frames
    (heard,) = sent.microphone
    assert len(packets) < (heard.end_ns - heard.start_ns) / (20 * MS) / 3


async def test_several_people_share_one_clock(stage: Stage) -> None:
    clock = SharedClock()
    people = [Person(look, (Cue(0.1, Act.JOIN), Cue(1.4, Act.LEAVE))) for look in (ADA, GRACE)]
    sent = await perform([Performer(person, clock, stage.door(person.look.name)) for person in people])
    assert [one.look for one in sent] == [ADA, GRACE]
    one, two = (times(clock, peer.track("audio")) for peer in stage.peers)
    assert [round(at / MS) % 20 for at in one[:5]] == [round(at / MS) % 20 for at in two[:5]]


async def test_a_bad_network_is_between_sender_and_recorder(stage: Stage) -> None:
    clock = SharedClock()
    links: list[HookedLink] = []

    def link() -> HookedLink:
        links.append(HookedLink(Impairment(loss=0.1, delay_ms=20, jitter_ms=5), seed=len(links)))
        return links[-1]

    person = Person(ADA, (Cue(0, Act.JOIN), Cue(1.5, Act.LEAVE)), link=link)
    await perform([Performer(person, clock, stage.door("ada"))])
    assert links[0].lost > 0
    assert stage.peers[0].track("video").frames
    for one in links:
        one.close()


async def test_who_is_not_let_in_says_so(stage: Stage) -> None:
    stage.whip.drain()
    performer = Performer(Person(ADA, (Cue(0, Act.JOIN),)), SharedClock(), stage.door("ada"))
    with pytest.raises(UnavailableError, match=r"Ada cannot join: .*shutting down"):
        await performer.run()
    assert performer.attendance[0].camera == ()


async def test_who_is_thrown_out_stops_sending(stage: Stage) -> None:
    clock = SharedClock()
    performer = Performer(Person(ADA, (Cue(0, Act.JOIN), Cue(1.5, Act.LEAVE))), clock, stage.door("ada"))
    async with asyncio.TaskGroup() as group:
        group.create_task(performer.run())
        group.create_task(at(clock, 0.6, lambda: stage.whip.disconnect("meeting", "ada")))
    (shown,) = performer.attendance[0].camera
    assert shown.end_ns < 1.3 * S


def test_intervals_cover_what_lies_within_them() -> None:
    interval = Interval(10, 20)
    assert interval.covers(10, 20)
    assert interval.covers(12, 18, margin_ns=2)
    assert not interval.covers(11, 18, margin_ns=2)
    assert not interval.covers(10, 21)
