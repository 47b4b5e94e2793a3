"""A sender's RTP clock, unwrapped to 64 bits, and what a receiver reports about the stream (RFC 3550 A.1, A.3, A.8).

Owns the judgement whether a timestamp belongs to the clock seen so far or to another one (a reset). Refuses to know
anything about wall clocks: placing tracks on the capture clock is core.sync's.
"""

from __future__ import annotations

from tapedeck.core.rtp import ReportBlock

__all__ = ["MediaClock", "Reception"]

_LEAD_NS = 5_000_000_000
"A timestamp this far ahead of what arrival says is another clock."
_LAG_NS = 30_000_000_000
"A clock may stand still for this long (a sender that was suspended) before it is taken for another one."
_BACK_NS = 1_000_000_000
"Frames may go back in time by less than this (reordered pictures); more is another clock."
_WRAP = 1 << 32


class MediaClock:
    """Unwraps RTP timestamps of one track. Starts with the first timestamp as it is."""

    __slots__ = ("_arrival", "_back", "_lag", "_lead", "_media", "_rate", "_raw", "_stale")

    def __init__(self, rate: int) -> None:
        """`rate` in ticks per second."""
        self._rate = rate
        self._lead = rate * _LEAD_NS // 1_000_000_000
        self._lag = rate * _LAG_NS // 1_000_000_000
        self._back = rate * _BACK_NS // 1_000_000_000
        self._media = 0
        self._raw = -1
        self._arrival = 0
        self._stale = False

    @property
    def started(self) -> bool:
        return self._raw >= 0

    def replace(self) -> None:
        """The next timestamp comes from another clock (new SSRC): continue by arrival, whatever it says."""
        self._stale = self.started

    def map(self, timestamp: int, arrival: int) -> tuple[int, bool]:
        """Unwrapped time of a frame that arrived at `arrival` (ns), and whether the clock was reset.

        After a reset the counter goes on by the time that passed between the arrivals.
        """
        if self._raw < 0:
            self._media = self._raw = timestamp
            self._arrival = arrival
            return timestamp, False
        expected = (arrival - self._arrival) * self._rate // 1_000_000_000
        ahead = self._ahead(timestamp, expected)
        reset = self._stale or ahead < -self._back or ahead > expected + self._lead or ahead < expected - self._lag
        if reset:
            ahead = max(expected, 1)
        self._media += ahead
        self._raw = timestamp
        self._arrival = arrival
        self._stale = False
        return self._media, reset

    def place(self, timestamp: int, arrival: int) -> int | None:
        """Unwrapped time of a timestamp from elsewhere (a sender report); None when it is not of the present clock."""
        if self._raw < 0 or self._stale:
            return None
        expected = (arrival - self._arrival) * self._rate // 1_000_000_000
        ahead = self._ahead(timestamp, expected)
        if expected - self._lag <= ahead <= expected + self._lead:
            return self._media + ahead
        return None

    def _ahead(self, timestamp: int, expected: int) -> int:
        """Ticks from the last timestamp to this one, of all readings of 32 bits the one nearest to `expected`."""
        ahead = (timestamp - self._raw - expected) & (_WRAP - 1)
        if ahead >= _WRAP >> 1:
            ahead -= _WRAP
        return ahead + expected


class Reception:
    """Statistics of one SSRC for receiver reports."""

    __slots__ = (
        "_arrival",
        "_base",
        "_expected_prior",
        "_jitter",
        "_last_sr",
        "_last_sr_at",
        "_rate",
        "_received_prior",
        "_timestamp",
        "highest",
        "received",
        "ssrc",
    )

    def __init__(self, ssrc: int, rate: int) -> None:
        self.ssrc = ssrc
        self.received = 0
        "Packets, duplicates included."
        self.highest = -1
        "Extended highest sequence number."
        self._rate = rate
        self._base = 0
        self._jitter = 0.0
        self._timestamp = -1
        self._arrival = 0
        self._expected_prior = 0
        self._received_prior = 0
        self._last_sr = 0
        self._last_sr_at = 0

    def count(self, sequence: int, timestamp: int, now: int) -> None:
        """A packet arrived at `now` (ns)."""
        self.received += 1
        highest = self.highest
        if highest < 0:
            self._base = self.highest = sequence
        else:
            ahead = (sequence - highest) & 0xFFFF
            if ahead >= 0x8000:
                return
            self.highest = highest + ahead
        if timestamp != self._timestamp:
            if self._timestamp >= 0:
                ticks = (timestamp - self._timestamp) & 0xFFFFFFFF
                if ticks < 0x80000000:
                    drift = (now - self._arrival) * self._rate / 1_000_000_000 - ticks
                    self._jitter += (abs(drift) - self._jitter) / 16
            self._timestamp = timestamp
            self._arrival = now

    def sender_report(self, ntp: int, now: int) -> None:
        """A sender report of this source arrived."""
        self._last_sr = ntp >> 16 & 0xFFFFFFFF
        self._last_sr_at = now

    @property
    def expected(self) -> int:
        """Packets that the sender has sent, by their sequence numbers."""
        return self.highest - self._base + 1 if self.highest >= 0 else 0

    def block(self, now: int) -> ReportBlock:
        """The report block of the interval since the last call."""
        expected, received = self.expected - self._expected_prior, self.received - self._received_prior
        self._expected_prior, self._received_prior = self.expected, self.received
        lost = expected - received
        fraction = min(255, (lost << 8) // expected) if expected > 0 and lost > 0 else 0
        delay = (now - self._last_sr_at) * 65536 // 1_000_000_000 if self._last_sr else 0
        return ReportBlock(
            self.ssrc,
            fraction,
            self.expected - self.received,
            max(self.highest, 0),
            int(self._jitter),
            self._last_sr,
            delay,
        )
