"""Synthetic people who join a real meeting over WebRTC and follow a script.

Owns scripts (`Cue`), their timing on the shared clock, and the truth about what was sent: an `Attendance` per person is
what a film is checked against, not the script. Time stamps are exact however late the event loop is; what is late goes
out at once, nothing is skipped. Refuses to know the API: doors into the meeting are given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tapedeck.core.errors import TapedeckError, UnavailableError
from tapedeck.core.frames import Codec
from tapedeck.sources.publish import DatagramHook, OutgoingTrack, Publisher
from tapedeck.sources.synthetic import LOOP_S, Look, SyntheticCamera, SyntheticMicrophone, frame_ticks
from tapedeck.testing.clock import SharedClock
from tapedeck.testing.door import Door
from tapedeck.testing.expect import Attendance, Interval

__all__ = ["Act", "Cue", "Performer", "Person", "perform"]

_S = 1_000_000_000
_JUMP_S = 60
_PATIENCE_NS = 30 * _S


class Act(StrEnum):
    """What a person does on a cue."""

    JOIN = "join"
    "Connect; camera and microphone play unless an earlier cue turned them off."
    LEAVE = "leave"
    "Say goodbye: RTCP BYE, WHIP DELETE."
    VANISH = "vanish"
    "Be gone without a word."
    REJOIN = "rejoin"
    "Be gone without a word and come back as a new peer, trying for 30 s."
    MUTE = "mute"
    UNMUTE = "unmute"
    CAMERA_OFF = "camera off"
    CAMERA_ON = "camera on"
    SHARE = "share"
    "Share the screen: a second publication."
    UNSHARE = "unshare"
    RESIZE = "resize"
    "Go on with pictures of `Cue.size`, and so with other parameter sets."
    JUMP = "jump"
    "Go on with RTP timestamps a minute later on all tracks, as a sender whose clock was reset."
    NEW_SSRC = "new ssrc"
    "Go on with other SSRCs, sequence numbers and timestamps."


@dataclass(frozen=True, slots=True)
class Cue:
    """What happens when, in seconds of the shared clock."""

    at_s: float
    act: Act
    size: tuple[int, int] = (1280, 720)
    "For RESIZE."


@dataclass(frozen=True, slots=True)
class Person:
    """One participant's part."""

    look: Look
    cues: tuple[Cue, ...]
    screen: Look | None = None
    "How their shared screen looks; needed to SHARE."
    codec: Codec = Codec.H264
    size: tuple[int, int] = (640, 360)
    fps: int = 30
    dtx: bool = False
    messages: bool = False
    "Offers a data channel, to `Performer.say` something."
    link: Callable[[], DatagramHook] | None = None
    "Makes what stands between sender and network, asked once for each direction of each connection."


class _Stream:
    """What one camera, microphone or screen sends: which frame is next, and when something was sent."""

    def __init__(self, source: SyntheticCamera | SyntheticMicrophone) -> None:
        self.source = source
        self.on = True
        self.track: OutgoingTrack | None = None
        self._next = 0
        self._done: list[Interval] = []
        self._start_ns: int | None = None
        self._end_ns = 0

    def due_ns(self) -> int | None:
        """When the next frame is to be sent; None while none is."""
        return self.source.at_ns(self._next) if self.on and self.track is not None else None

    def play(self, now_ns: int, *, on: bool | None = None, track: OutgoingTrack | None = None) -> None:
        """Begin at `now_ns` on a connection, or go on or off."""
        self._close()
        self.on = self.on if on is None else on
        self.track = track or self.track
        self._next = self.source.index_from(now_ns)

    def stop(self) -> None:
        """The connection is gone."""
        self._close()
        self.track = None

    def send(self) -> None:
        """Send the frame that is due."""
        assert self.track is not None
        if isinstance(self.source, SyntheticCamera):
            frame = self.source.frame(self._next)
            self.track.send(frame.payload, frame.ticks)
        elif packet := self.source.packet(self._next):
            self.track.send(packet.payload, packet.at_ns * 48 // 1_000_000, level=packet.dbov)
        if self._start_ns is None:
            self._start_ns = self.source.at_ns(self._next)
        self._next += 1
        self._end_ns = self.source.at_ns(self._next)

    def _close(self) -> None:
        if self._start_ns is not None:
            self._done.append(Interval(self._start_ns, self._end_ns))
        self._start_ns = None

    @property
    def sent(self) -> tuple[Interval, ...]:
        """From the first frame of each stretch to the end of its last."""
        running = () if self._start_ns is None else (Interval(self._start_ns, self._end_ns),)
        return (*self._done, *running)


class _Publication:
    """One WHIP session: camera and microphone, or a screen."""

    def __init__(self, person: Person, clock: SharedClock, door: Door, source: str, streams: Sequence[_Stream]):
        self._clock, self._door, self._source, self._streams = clock, door, source, streams
        hooks = (person.link(), person.link()) if person.link else (None, None)
        self._publisher = Publisher(wallclock_ns=clock.wallclock_ns, send_hook=hooks[0], receive_hook=hooks[1])
        self.tracks = [self._track(stream) for stream in streams]
        if source == "camera" and person.messages:
            self._publisher.add_messages()
        self._session: str | None = None

    def _track(self, stream: _Stream) -> OutgoingTrack:
        source = stream.source
        if isinstance(source, SyntheticMicrophone):
            return self._publisher.add_audio(channels=1, origin_ns=self._clock.origin_ns)

        def on_keyframe_request() -> None:
            if isinstance(stream.source, SyntheticCamera):  # asked each time: a resize replaces it
                stream.source.request_keyframe()

        return self._publisher.add_video(
            source.codec, origin_ns=self._clock.origin_ns, on_keyframe_request=on_keyframe_request
        )

    @property
    def is_up(self) -> bool:
        return self._publisher.connected

    async def say(self, message: str | bytes) -> None:
        await self._publisher.say(message)

    async def open(self) -> None:
        answer, self._session = await self._door.enter(await self._publisher.offer(), self._source)
        await self._publisher.accept(answer)
        for stream, track in zip(self._streams, self.tracks, strict=True):
            stream.play(self._clock.now_ns(), track=track)

    async def close(self, *, politely: bool) -> None:
        for stream in self._streams:
            stream.stop()
        if politely:
            await self._publisher.close()
            if self._session is not None:
                await self._door.leave(self._session)
        else:
            self._publisher.vanish()
            await self._publisher.close(bye=False)


class Performer:
    """Plays one person's part."""

    def __init__(self, person: Person, clock: SharedClock, door: Door) -> None:
        self.person = person
        self._clock, self._door = clock, door
        width, height = person.size
        self._camera = _Stream(
            SyntheticCamera(person.look, width=width, height=height, fps=person.fps, codec=person.codec)
        )
        self._microphone = _Stream(SyntheticMicrophone(person.look, dtx=person.dtx))
        self._screen: _Stream | None = None
        if person.screen is not None:
            camera = SyntheticCamera(person.screen, width=1280, height=720, fps=15, codec=person.codec)
            self._screen = _Stream(camera)
        self._open: dict[str, _Publication] = {}
        self._wake = asyncio.Event()

    def _camera_of(self, size: tuple[int, int]) -> SyntheticCamera:
        who = self.person
        return SyntheticCamera(who.look, width=size[0], height=size[1], fps=who.fps, codec=who.codec)

    @property
    def pictures(self) -> int:
        """How many pictures `prepare` encodes."""
        return len(frame_ticks(self.person.fps)) * LOOP_S

    def prepare(self) -> Iterator[int]:
        """Encode a loop of the camera ahead of time; yields the pictures made so far."""
        assert isinstance(self._camera.source, SyntheticCamera)
        yield from self._camera.source.prepare()

    @property
    def attendance(self) -> tuple[Attendance, ...]:
        """What was sent so far: the person, and their screen if they have one."""
        one = Attendance(self.person.look, camera=self._camera.sent, microphone=self._microphone.sent)
        if self._screen is None or self.person.screen is None:
            return (one,)
        return one, Attendance(self.person.screen, camera=self._screen.sent)

    async def say(self, message: str | bytes) -> int:
        """Send a message on the data channel, and return when it has arrived; when it was sent, on the shared clock."""
        while "camera" not in self._open:
            await self._clock.until(self._clock.now_ns() + _S // 20)
        sent_ns = self._clock.now_ns()
        await self._open["camera"].say(message)
        return sent_ns

    async def run(self) -> None:
        """Play until the last cue, then leave if still there. UnavailableError when the meeting lets nobody in."""
        playing = asyncio.ensure_future(self._play())
        try:
            for cue in sorted(self.person.cues, key=lambda cue: cue.at_s):
                waiting = asyncio.ensure_future(self._clock.until(round(cue.at_s * _S)))
                await asyncio.wait((waiting, playing), return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if playing.done():
                    playing.result()
                await self._act(cue)
                self._wake.set()
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
            for source in list(self._open):
                await self._leave(source, politely=True)

    async def _play(self) -> None:
        """Send what is due, for ever."""
        while True:
            self._wake.clear()
            due = [at_ns for stream in self._streams if (at_ns := stream.due_ns()) is not None]
            if not due:
                await self._wake.wait()
                continue
            await self._clock.until(min(due))
            now_ns = self._clock.now_ns()
            for source, publication in list(self._open.items()):
                if not publication.is_up and any(stream.track for stream in self._of(source)):
                    await self._leave(source, politely=False)  # the other side hung up
            late = True
            while late:
                late = False
                for stream in self._streams:
                    at_ns = stream.due_ns()
                    if at_ns is not None and at_ns <= now_ns:
                        stream.send()
                        late = True

    @property
    def _streams(self) -> tuple[_Stream, ...]:
        return (*self._of("camera"), *self._of("screen"))

    def _of(self, source: str) -> tuple[_Stream, ...]:
        if source == "camera":
            return self._camera, self._microphone
        return () if self._screen is None else (self._screen,)

    async def _act(self, cue: Cue) -> None:
        now_ns = self._clock.now_ns()
        match cue.act:
            case Act.JOIN:
                await self._join("camera")
            case Act.SHARE:
                await self._join("screen")
            case Act.LEAVE:
                for source in list(self._open):
                    await self._leave(source, politely=True)
            case Act.UNSHARE:
                await self._leave("screen", politely=True)
            case Act.VANISH:
                await self._leave("camera", politely=False)
            case Act.REJOIN:
                await self._leave("camera", politely=False)
                await self._join("camera", until_ns=now_ns + _PATIENCE_NS)
            case Act.MUTE | Act.UNMUTE:
                self._microphone.play(now_ns, on=cue.act is Act.UNMUTE)
            case Act.CAMERA_OFF | Act.CAMERA_ON:
                self._camera.play(now_ns, on=cue.act is Act.CAMERA_ON)
            case Act.RESIZE:
                self._camera.source = self._camera_of(cue.size)
            case Act.JUMP | Act.NEW_SSRC:
                for track in self._open["camera"].tracks:
                    if cue.act is Act.JUMP:
                        track.jump_timestamp(_JUMP_S * track.clock_rate)
                    else:
                        track.change_ssrc()

    async def _join(self, source: str, *, until_ns: int = 0) -> None:
        """Connect; before `until_ns` try again twice a second."""
        while True:
            publication = _Publication(self.person, self._clock, self._door, source, self._of(source))
            try:
                await publication.open()
            except TapedeckError as exc:
                await publication.close(politely=False)
                if self._clock.now_ns() >= until_ns:
                    raise UnavailableError(f"{self.person.look.name} cannot join: {exc}") from exc
                await self._clock.until(self._clock.now_ns() + _S // 2)
            else:
                self._open[source] = publication
                return

    async def _leave(self, source: str, *, politely: bool) -> None:
        publication = self._open.pop(source, None)
        if publication is not None:
            await publication.close(politely=politely)


async def perform(performers: Sequence[Performer]) -> tuple[Attendance, ...]:
    """Let people play their parts together; returns who sent what, in their order, screens first.

    The first failure ends all.
    """
    async with asyncio.TaskGroup() as group:
        for performer in performers:
            group.create_task(performer.run())
    sent = [attendance for performer in performers for attendance in performer.attendance]
    return tuple(sorted(sent, key=lambda attendance: attendance.look.pitch_hz != 0))
