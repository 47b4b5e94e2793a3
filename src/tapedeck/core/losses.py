"""Packets that are missing and may still come: since when, until when, and when to ask for them again.

Owns the rhythm of NACK requests and the round trip it follows; what a loss means for a frame is core.jitter's.
"""

from __future__ import annotations

__all__ = ["REORDER_NS", "Loss", "Losses"]

_MS = 1_000_000
REORDER_NS = 20 * _MS
"A packet is not asked for before this: it may only have been overtaken."
_RTT_UNKNOWN_NS = 100 * _MS
_LEAST_WAIT_NS = 50 * _MS
"Between two requests for one packet."


class Loss:
    """One missing packet. Times are monotonic ns."""

    __slots__ = ("ask_at", "asked_at", "guessed", "noticed", "tries", "until")

    def __init__(self, noticed: int, until: int, guessed: bool) -> None:
        self.noticed = noticed
        self.until = until
        "Given up then."
        self.guessed = guessed
        "It is not known whether the packet was ever sent."
        self.ask_at = noticed + REORDER_NS
        self.asked_at = 0
        self.tries = 0


class Losses(dict[int, Loss]):
    """Missing packets by extended sequence number, lowest first."""

    def __init__(self) -> None:
        super().__init__()
        self.rtt = 0
        "Smoothed round trip in ns; 0 when unknown."

    def notice(self, first: int, end: int, now: int, until: int, *, guessed: bool = False) -> None:
        """The packets `first <= number < end` are missing; they are higher than all missing so far."""
        for number in range(first, end):
            self[number] = Loss(now, until, guessed)

    def recover(self, number: int, now: int) -> bool:
        """A packet arrived that is not in order: was it missing?"""
        loss = self.pop(number, None)
        if loss is None:
            return False
        if loss.tries == 1:  # of a packet asked for twice we cannot tell which request was answered
            self.observe_rtt(now - loss.asked_at)
        return True

    def confirm(self, number: int, until: int) -> None:
        """A packet was sent with this number, so those after it were sent too: wait for them until then."""
        for other, loss in self.items():
            if loss.guessed and other > number:
                loss.guessed = False
                loss.until = until

    def due(self, now: int) -> list[int]:
        """Sequence numbers (16 bits, in order) to ask for now."""
        asked: list[int] = []
        wait = max((self.rtt or _RTT_UNKNOWN_NS) * 5 // 4 + 10 * _MS, _LEAST_WAIT_NS)
        for number, loss in self.items():
            if loss.ask_at <= now:
                asked.append(number & 0xFFFF)
                loss.tries += 1
                loss.asked_at = now
                loss.ask_at = now + wait * min(loss.tries + 1, 8) // 2
        return asked

    def observe_rtt(self, rtt: int) -> None:
        """A measured round trip in ns."""
        rtt = min(max(rtt, _MS), 1_000 * _MS)
        self.rtt = (7 * self.rtt + rtt) // 8 if self.rtt else rtt

    @property
    def since(self) -> int | None:
        """When the first of them was noticed; None when nothing is missing."""
        for loss in self.values():
            return loss.noticed
        return None
