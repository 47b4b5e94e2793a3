"""How far a log says that it is complete, and therefore where what comes now may be placed.

Owns Progress: that it never goes back, and when the next is due. A live render may be as far as was said last, so no
event of now is placed before that. Refuses to write, and to know what is there to be complete (`capture.presence`).
"""

from __future__ import annotations

from tapedeck.core.timeline import Progress

__all__ = ["Horizon"]

_PROGRESS_NS = 250_000_000


class Horizon:
    """Of one session. Times are on its capture clock."""

    __slots__ = ("_due_ns", "_least_ns", "_until_ns", "passed_at_ns")

    def __init__(self) -> None:
        self.passed_at_ns = 0
        "When the last Progress was written: what comes now came later."
        self._until_ns = -1
        "Up to where that said the log is complete."
        self._least_ns = 0
        "No event of now may be placed before this."
        self._due_ns = 0

    @property
    def least_ns(self) -> int:
        """Where a live render may be by now."""
        return self._least_ns

    def not_before(self, at_ns: int) -> int:
        """`at_ns`, or where a live render may be by now if that is later."""
        return max(at_ns, self._least_ns)

    def is_due(self, now_ns: int) -> bool:
        """Whether it is time for Progress."""
        return now_ns >= self._due_ns

    def told(self, now_ns: int) -> None:
        """Progress is told now, by the clock: the next is due `_PROGRESS_NS` later."""
        self._due_ns = now_ns + _PROGRESS_NS

    def progress(self, now_ns: int, until_ns: int) -> Progress:
        """Say that the log is complete up to `until_ns`. Never less than before, never more than now."""
        now_ns = max(now_ns, self.passed_at_ns)
        self._until_ns = max(self._until_ns, min(until_ns, now_ns))
        self.passed_at_ns = now_ns
        self._least_ns = max(self._least_ns, self._until_ns + 1)
        return Progress(now_ns, self._until_ns)

    def back_at(self, at_ns: int) -> None:
        """Media came again after an outage: nothing is placed in it any more."""
        self._least_ns = at_ns

    def adopt(self, ended_ns: int, until_ns: int) -> None:
        """Go on with a log whose latest time is `ended_ns` and that said it is complete up to `until_ns`."""
        self._until_ns = until_ns
        self.passed_at_ns = max(ended_ns, 0)
        self._least_ns = max(until_ns, 0)
