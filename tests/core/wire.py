"""A sender, a bad network and a jitter buffer in simulated time, for test_jitter.

The sender numbers and packs given frames, remembers two seconds of packets and answers NACK and key-frame requests;
both ways lead over a seeded impairment. Time jumps from event to event.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags, Kind
from tapedeck.core.jitter import JitterBuffer
from tapedeck.sources.payload import split_frame
from tapedeck.testing.link import Impairment

MS = 1_000_000
S = 1_000 * MS
SETS = b"\0\0\0\1\x67\x42\xe0\x1f\x8d\x68" + b"\0\0\0\1\x68\xce\x3c\x80"


def h264_frame(number: int, size: int, *, key: bool) -> bytes:
    """A frame with valid NAL headers that no other number has."""
    body = b"%08d" % number + bytes(1 + (number * 7 + i) % 255 for i in range(size))
    return SETS + b"\0\0\0\1\x65\x88" + body if key else b"\0\0\0\1\x41\x9a" + body


@dataclass
class Wire:
    """One track from a sender to a jitter buffer."""

    forward: Impairment = field(default_factory=Impairment)
    back: Impairment = field(default_factory=Impairment)
    seed: int = 1
    codec: Codec = Codec.H264
    nack: bool = True
    answers_nack: bool = True
    sequence: int = 65_000
    timestamp: int = 0xFFFFF000
    now: int = 0

    def __post_init__(self) -> None:
        kind = Kind.AUDIO if self.codec is Codec.OPUS else Kind.VIDEO
        self.buffer = JitterBuffer(kind, self.codec, nack=self.nack)
        self.received: list[EncodedFrame] = []
        self.sent: dict[bytes, int] = {}
        self.key_wanted = False
        self.key_requests = 0
        self.asked = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._fates = self.forward.fates(self.seed), self.back.fates(self.seed + 1)
        self._history: dict[int, tuple[int, tuple[int, bool, bytes]]] = {}
        self._frames = 0
        self._source = random.Random(self.seed)

    def at(self, time: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), what))

    def send(self, frame: bytes, timestamp: int) -> None:
        """Put a frame on the wire now."""
        self.sent[frame] = len(self.sent)
        pieces = split_frame(self.codec, frame, 1000, self._frames)
        self._frames += 1
        for i, piece in enumerate(pieces):
            marker = i == len(pieces) - 1
            self._history[self.sequence & 0xFFFF] = (self.now, (timestamp & 0xFFFFFFFF, marker, piece))
            self._launch(self.sequence & 0xFFFF)
            self.sequence += 1

    def _launch(self, sequence: int) -> None:
        timestamp, marker, payload = self._history[sequence][1]
        for delay_ms in self._fates[0]():
            self.at(
                self.now + int(delay_ms * MS),
                lambda: self._take(self.buffer.push(sequence, timestamp, marker, self.codec, payload, self.now)),
            )

    def _take(self, frames: object) -> None:
        assert isinstance(frames, list | tuple)
        self.received += frames

    def tick(self) -> None:
        """What the receiver does every 20 ms."""
        self._take(self.buffer.poll(self.now))
        asked = self.buffer.nacks(self.now)
        self.asked += len(asked)
        if asked and self.answers_nack:
            for delay_ms in self._fates[1]():
                self.at(self.now + int(delay_ms * MS), lambda: self._resend(asked))
        if self.buffer.take_keyframe_request(self.now):
            self.key_requests += 1
            for delay_ms in self._fates[1]():
                self.at(self.now + int(delay_ms * MS), self._want_key)

    def _want_key(self) -> None:
        self.key_wanted = True

    def _resend(self, sequences: list[int]) -> None:
        for sequence in sequences:
            if sequence in self._history and self.now - self._history[sequence][0] <= 2 * S:
                self._launch(sequence)

    def run_until(self, time: int) -> None:
        """Let events happen, and a tick every 20 ms."""
        next_tick = self.now - self.now % (20 * MS) + 20 * MS
        while True:
            due = min(self._events[0][0] if self._events else time, next_tick)
            if due > time:
                self.now = time
                return
            self.now = due
            if due == next_tick:
                self.tick()
                next_tick += 20 * MS
            if self._events and self._events[0][0] <= due:
                heapq.heappop(self._events)[2]()
            elif due == time:
                return

    def play(self, seconds: float, *, key_every: int = 0, fps: int = 30) -> None:
        """Send video for a while: a key frame first and when asked, and every so many frames."""
        for i in range(int(seconds * fps)):
            key = self.key_wanted or not self.sent or bool(key_every and i % key_every == 0)
            self.key_wanted = False
            size = self._source.randrange(200, 6000) * (4 if key else 1)
            self.send(h264_frame(len(self.sent), size, key=key), self.timestamp)
            self.timestamp += 90_000 // fps
            self.run_until(self.now + S // fps)

    def settle(self, seconds: float = 4) -> None:
        """Send nothing more and let everything arrive."""
        self.run_until(self.now + int(seconds * S))

    def check(self) -> list[int]:
        """No frame is damaged, late or twice, and gaps are marked. Returns the numbers of the frames received."""
        numbers: list[int] = []
        for frame in self.received:
            assert frame.payload in self.sent, "a frame that was never sent"
            number = self.sent[frame.payload]
            if numbers:
                assert number > numbers[-1], "order"
                if number != numbers[-1] + 1:
                    assert frame.flags & FrameFlags.DISCONTINUITY, "a gap that is not marked"
            numbers.append(number)
        return numbers
