"""A sender on paper: tracks with clocks that drift, sender reports with noise, and a network with jitter."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags
from tapedeck.core.timeline import ClockReport

S = 1_000_000_000
MS = 1_000_000


@dataclass
class Sent:
    """One observation: a frame or a sender report, with the true capture time of a frame."""

    arrival_ns: int
    track_id: str
    true_ns: int
    frame: EncodedFrame | None = None
    report: ClockReport | None = None


@dataclass
class SimTrack:
    """One track. `ppm` is its RTP clock against true time; `interval_ns` its frame spacing."""

    track_id: str
    codec: Codec
    interval_ns: int
    ppm: float = 0.0
    start_ns: int = 0
    end_ns: int | None = None
    encode_ns: int = 0
    "Constant delay before the network."
    reports_from_ns: int | None = 0
    "True time of the first sender report; None for none."
    report_interval_ns: int = S
    first_tick: int = 123_456
    is_sending: Callable[[int], bool] = lambda true_ns: True
    flags: dict[int, FrameFlags] = field(default_factory=dict)
    "By frame index."
    again: Callable[[int], int] = lambda true_ns: 0
    "By how much later a frame arrives because it was lost and sent again; those behind it wait for it."
    jump: Callable[[int], int] = lambda true_ns: 0
    "Ticks added to the RTP clock from some time on."

    @property
    def rate(self) -> int:
        return 48_000 if self.codec is Codec.OPUS else 90_000

    @property
    def is_sound(self) -> bool:
        return self.codec is Codec.OPUS

    def tick(self, true_ns: int) -> int:
        elapsed = (true_ns - self.start_ns) * (1 + self.ppm / 1e6)
        return self.first_tick + int(elapsed * self.rate / S) + self.jump(true_ns)


@dataclass
class SimPeer:
    """A peer: tracks, one wall clock, one network path."""

    tracks: list[SimTrack]
    delay: Callable[[random.Random, int], int]
    "Network delay in ns of a packet sent at a true time."
    wallclock: Callable[[int], int] = lambda true_ns: 3_900_000_000 * S + true_ns
    report_noise_ns: int = 0
    seed: int = 1

    def run(self, until_ns: int) -> list[Sent]:
        """Everything that arrives, in order of arrival."""
        sent: list[Sent] = []
        for number, track in enumerate(self.tracks):
            sent += self._frames(track, until_ns, random.Random(self.seed * 1000 + number))
            sent += self._reports(track, until_ns, random.Random(self.seed * 1000 + 500 + number))
        sent.sort(key=lambda s: s.arrival_ns)
        return sent

    def _frames(self, track: SimTrack, until_ns: int, rng: random.Random) -> Iterator[Sent]:
        end = until_ns if track.end_ns is None else min(track.end_ns, until_ns)
        last = handed = 0
        for index, true_ns in enumerate(range(track.start_ns, end, track.interval_ns)):
            if not track.is_sending(true_ns):
                continue
            arrival = true_ns + track.encode_ns + self.delay(rng, true_ns)
            again = track.again(true_ns)
            if not again:
                last = arrival = max(last, arrival)
            handed = max(handed, arrival + again)  # frames are handed on in order
            flags = track.flags.get(index, FrameFlags.NONE)
            frame = EncodedFrame(track.tick(true_ns), arrival + again, b"", track.codec, flags)
            yield Sent(handed, track.track_id, true_ns, frame=frame)

    def _reports(self, track: SimTrack, until_ns: int, rng: random.Random) -> Iterator[Sent]:
        if track.reports_from_ns is None:
            return
        for true_ns in range(max(track.start_ns, track.reports_from_ns), until_ns, track.report_interval_ns):
            noise = rng.randint(-self.report_noise_ns, self.report_noise_ns)
            arrival = true_ns + self.delay(rng, true_ns)
            report = ClockReport(arrival, track.track_id, self.wallclock(true_ns) + noise, track.tick(true_ns))
            yield Sent(arrival, track.track_id, true_ns, report=report)


def audio(**options: object) -> SimTrack:
    """An Opus track: 20 ms packets."""
    return SimTrack("a", Codec.OPUS, 20 * MS, **options)  # type: ignore[arg-type]


def video(**options: object) -> SimTrack:
    """A 30 fps video track whose frames take 15 ms to encode."""
    return SimTrack("v", Codec.VP8, S // 30, encode_ns=15 * MS, **options)  # type: ignore[arg-type]


def jitter(least_ns: int, spread_ns: int) -> Callable[[random.Random, int], int]:
    """A network delay of `least_ns` and up to `spread_ns` more."""
    return lambda rng, true_ns: least_ns + int(rng.random() * spread_ns)
