"""What a track asks of its sender while it is recorded."""

from tests.capture.room import BOOT, MS, Room, S

from tapedeck.capture.track import KEY_EVERY_NS
from tapedeck.core.frames import Origin
from tapedeck.core.page import page_participant
from tapedeck.ports.sources import PeerInfo


def test_a_sender_who_makes_no_key_frames_is_asked_for_one_now_and_then() -> None:
    """So that whoever is shown again after a while need not be decoded from an hour ago."""
    room = Room()
    peer = room.join("ada")
    video, audio = room.video(peer), room.audio(peer)
    room.start("r", 0)
    video.send(0, key=True)
    asked = len(video.asked)
    room.play([video, audio], 40 * MS, 65 * S, key_every_ns=1000 * S)
    later = video.asked[asked:]
    assert [round(at / S) for at in later] == [20, 40, 60]
    assert audio.asked == []


def test_a_page_is_asked_for_a_key_frame_every_two_seconds() -> None:
    """Its pictures may be in a film as they were sent, and players begin at key frames."""
    room = Room()
    peer = PeerInfo("meeting", page_participant("r"), "page-peer", "", origin=Origin.SCREEN)
    video = room.video(room.session.join(peer, BOOT))
    room.session.start("r", BOOT, page=True)
    video.send(0, key=True)
    asked = len(video.asked)
    room.play([video], 40 * MS, 9 * S, key_every_ns=1000 * S)
    assert [round(at / S) for at in video.asked[asked:]] == [2, 4, 6, 8]


def test_a_sender_who_makes_key_frames_is_left_alone() -> None:
    room = Room()
    video = room.video(room.join("ada"))
    room.start("r", 0)
    video.send(0, key=True)
    asked = len(video.asked)
    room.play([video], 40 * MS, 90 * S, key_every_ns=KEY_EVERY_NS)
    assert len(video.asked) == asked


def test_nobody_is_asked_who_is_not_recorded() -> None:
    room = Room()
    video = room.video(room.join("ada"))
    room.play([video], 0, 65 * S, key_every_ns=1000 * S)
    assert video.asked == []
