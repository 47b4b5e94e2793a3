"""Synthetic people in a media log, without any network: what they send is laid down as capture would write it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.render.meetings import DELAY_NS, MS, Meeting, S

from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags, Origin
from tapedeck.core.timeline import AudioLevel, ParticipantLeft, TrackClosed
from tapedeck.media.playback import play_pictures
from tapedeck.render.job import Job, run
from tapedeck.sources.synthetic import Look, SyntheticCamera, SyntheticMicrophone
from tapedeck.testing.expect import Attendance, Edge, Interval, Recorded
from tapedeck.testing.watch import Film, watch

__all__ = ["Troupe"]

SIZE = (320, 180)


@cache
def _camera(look: Look) -> SyntheticCamera:
    return SyntheticCamera(look, width=SIZE[0], height=SIZE[1])


@cache
def _microphone(look: Look) -> SyntheticMicrophone:
    return SyntheticMicrophone(look)


@dataclass
class Troupe:
    """A meeting of people who are told what to do, in seconds of the capture clock."""

    end_s: float
    meeting: Meeting = field(default_factory=lambda: Meeting(jitter_ns=0))
    seen: dict[Look, list[Interval]] = field(default_factory=dict)
    heard: dict[Look, list[Interval]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.meeting.record(S, _ns(self.end_s))

    def join(self, look: Look, from_s: float, until_s: float, take: int = 1) -> None:
        """Be there with a microphone and no camera; another time as a new peer (`take`)."""
        self.meeting.join(look.name, _ns(from_s), peer=f"{look.name}-{take}")
        self._sound(look, from_s, until_s, take)
        self.meeting.event(ParticipantLeft(_ns(until_s), look.name, f"{look.name}-{take}"))

    def camera(self, look: Look, from_s: float, until_s: float, take: int = 1) -> None:
        """Send pictures."""
        self._pictures(look, look.name, from_s, until_s, f"{look.name}-{take}", Origin.CAMERA)

    def there(self, look: Look, from_s: float, until_s: float, take: int = 1) -> None:
        """Join with a camera, and leave."""
        self.join(look, from_s, until_s, take)
        self.camera(look, from_s, until_s, take)

    def share(self, who: Look, screen: Look, from_s: float, until_s: float) -> None:
        """Share a screen."""
        peer = self.meeting.join(who.name, _ns(from_s), peer=f"{who.name}-screen", origin=Origin.SCREEN)
        self._pictures(screen, who.name, from_s, until_s, peer, Origin.SCREEN)
        self.meeting.event(ParticipantLeft(_ns(until_s) + MS, who.name, peer))

    def talk(self, look: Look, from_s: float, until_s: float, take: int = 1) -> None:
        """Be loud, by the levels in the log."""
        for at in range(_ns(from_s), _ns(until_s), 100 * MS):
            self.meeting.event(AudioLevel(at, f"{look.name}-{take}-mic", 20))

    def film(self, root: Path, name: str, looks: list[Look], **job: Any) -> Film:
        """What is in the film that is made of it."""
        log = root / "log"
        if not log.exists():
            self.meeting.lay_down(log, _ns(self.end_s) + 2 * S)
        video = {"width": 640, "height": 360, "preset": "ultrafast", **job.pop("video", {})}
        body = {"log_dir": str(log), "recording_id": "r", "out_dir": str(root), **job}
        run(Job.from_dict({**body, "outputs": [{"file_name": name, "video": video}]}), threading.Event())
        assert next(play_pictures(root / name)) is not None
        return watch(root / name, looks)

    def attendance(self, look: Look) -> Attendance:
        return Attendance(look, tuple(self.seen.get(look, ())), tuple(self.heard.get(look, ())))

    @property
    def recorded(self) -> tuple[Recorded, ...]:
        """The recorded span as seen at the source: what the clock cannot know of the way is taken off."""
        start, end = S - DELAY_NS, _ns(self.end_s) - DELAY_NS
        return (Recorded(Edge(start, start), Edge(end, end)),)

    def _pictures(self, look: Look, who: str, from_s: float, until_s: float, peer: str, origin: Origin) -> None:
        camera, track_id = _camera(look), f"{origin}-{len(self.meeting.tracks)}"
        self.meeting.open(track_id, who, peer, Codec.H264, origin, _ns(from_s))
        index = camera.index_from(_ns(from_s))
        camera.request_keyframe()
        frames = []
        while camera.at_ns(index) < _ns(until_s):
            frame = camera.frame(index)
            flags = FrameFlags.KEY if frame.key else FrameFlags.NONE
            frames.append(EncodedFrame(frame.ticks, 0, frame.payload, Codec.H264, flags))
            index += 1
        self.meeting.frames(track_id, 0, tuple(frames))
        self.meeting.event(TrackClosed(_ns(until_s), track_id), _ns(until_s) + 40 * MS)
        self.seen.setdefault(look, []).append(Interval(_ns(from_s), _ns(until_s)))

    def _sound(self, look: Look, from_s: float, until_s: float, take: int) -> None:
        track_id = f"{look.name}-{take}-mic"
        self.meeting.open(track_id, look.name, f"{look.name}-{take}", Codec.OPUS, Origin.CAMERA, _ns(from_s))
        microphone = _microphone(look)
        packets = []
        for index in range(microphone.index_from(_ns(from_s)), microphone.index_from(_ns(until_s))):
            packet = microphone.packet(index)
            assert packet is not None
            packets.append((packet.at_ns, packet.payload))
        self.meeting.packets(track_id, packets)
        self.heard.setdefault(look, []).append(Interval(_ns(from_s), _ns(until_s)))


def _ns(at_s: float) -> int:
    return round(at_s * S)
