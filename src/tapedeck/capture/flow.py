"""How far a track is complete: up to which capture time nothing of it will come any more.

Owns the rule behind Progress and behind how long a stop waits. Frames come in media order, so a track that flows is
complete up to its last frame; one that is silent may be muted, sparse or cut off by its network, and what is known of
it and of its peer's other tracks tells which. A frame that breaks the rule is kept all the same: it is placed behind
what was already said to be complete (`core/sync.py`). Refuses to write anything.
"""

from __future__ import annotations

__all__ = ["MAX_LATE_NS", "Flow"]

MAX_LATE_NS = 2_500_000_000
"""No frame is waited for longer: the receiver asks for packets for 2 s, and what is later counts as captured later."""

_MARGIN_NS = 20_000_000
"""Capture's estimate of a capture time may be so much later than the render's, which has sender reports."""

_SPARSE_NS = 200_000_000
"""A track with longer waits between frames (DTX, a still screen) is not missed when it is silent."""

_PATH_NS = 300_000_000
"""What one track of a peer may be later than another on the same path: encoding, pacing of key frames."""

_LEAST_ALLOWANCE_NS, _MOST_ALLOWANCE_NS = 50_000_000, 500_000_000


class Flow:
    """What is known of one track's frames. Times are on the capture clock."""

    __slots__ = ("_gap_ns", "_late_ns", "last_arrival_ns", "last_ns", "muted", "opened_ns", "waiting_since_ns")

    def __init__(self, opened_ns: int) -> None:
        self.opened_ns = opened_ns
        self.last_ns: int | None = None
        "Capture time of the last frame handed on."
        self.last_arrival_ns = opened_ns
        self.muted = False
        self.waiting_since_ns: int | None = None
        "The receiver holds frames back for a missing packet since then."
        self._gap_ns = 0
        self._late_ns = 0

    def frame(self, arrival_ns: int, at_ns: int) -> None:
        """A frame captured at `at_ns` was handed on."""
        last = self.last_ns
        if last is None or at_ns > last:
            if last is not None:
                self._gap_ns += (min(at_ns - last, 1_000_000_000) - self._gap_ns) >> 2
            self.last_ns = at_ns
        if arrival_ns > self.last_arrival_ns:
            self.last_arrival_ns = arrival_ns
        late = arrival_ns - at_ns
        if late > self._late_ns:
            self._late_ns = late
        else:
            self._late_ns -= (self._late_ns - late) >> 6

    @property
    def allowance_ns(self) -> int:
        """How late its frames come, generously."""
        return min(max(self._late_ns + (self._late_ns >> 1), _LEAST_ALLOWANCE_NS), _MOST_ALLOWANCE_NS)

    def is_prompt(self, now_ns: int) -> bool:
        """Frames come densely, and none is overdue."""
        return (
            self.last_ns is not None
            and self._gap_ns < _SPARSE_NS
            and now_ns - self.last_arrival_ns <= 3 * self._gap_ns + self.allowance_ns
        )

    def complete_until(self, now_ns: int, path_ns: int | None) -> int:
        """Capture time up to which nothing of the track will come any more.

        `path_ns`: capture time of the last frame of the peer's tracks that flow; None when none does.
        """
        least = now_ns - MAX_LATE_NS
        if self.last_ns is None:
            return max(least, min(self.opened_ns, now_ns) - 1)
        handed_on = max(least, self.last_ns - _MARGIN_NS)
        if self.waiting_since_ns is not None or self.is_prompt(now_ns):
            return min(handed_on, now_ns)
        idle = now_ns - self.allowance_ns
        if self.muted or self._gap_ns >= _SPARSE_NS or now_ns - self.last_arrival_ns > MAX_LATE_NS:
            return max(idle, min(handed_on, now_ns))
        if path_ns is not None:
            return min(max(handed_on, path_ns - _PATH_NS), now_ns)
        return min(handed_on, now_ns)
