"""How often a token may ask: counts in windows, one for all calls and one for those about recordings.

Pure: time comes in as seconds of any steady clock. Memory is bounded: of more tokens than are kept, the one that has
been quiet the longest begins anew.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

__all__ = ["ALL_CALLS", "RECORDING_CALLS", "Limit", "Limiter"]


@dataclass(frozen=True, slots=True)
class Limit:
    """So many calls in so many seconds, counted from the first of them."""

    calls: int
    seconds: int
    what: str


ALL_CALLS = Limit(3500, 300, "calls")
RECORDING_CALLS = Limit(1000, 50, "calls about recordings")
"""RealtimeKit's published numbers; a call about recordings counts in both."""
_KEPT = 10_000


class Limiter:
    """Counts what each token asks."""

    def __init__(self, every: Limit = ALL_CALLS, recordings: Limit = RECORDING_CALLS, kept: int = _KEPT) -> None:
        self._limits = (every, recordings)
        self._kept = kept
        self._windows: OrderedDict[tuple[str, int], tuple[float, int]] = OrderedDict()
        "By token and limit: when the window began, and how many calls it has seen."

    def ask(self, token: str, about_recordings: bool, now: float) -> tuple[Limit, int] | None:
        """Count one call; None lets it pass, else the limit that is reached and the whole seconds until it is not.

        A call that is refused is not counted.
        """
        windows = []
        for place, limit in enumerate(self._limits[: 2 if about_recordings else 1]):
            begun, count = self._windows.get((token, place), (now, 0))
            if now - begun >= limit.seconds:
                begun, count = now, 0
            if count >= limit.calls:
                return limit, max(1, math.ceil(begun + limit.seconds - now))
            windows.append(((token, place), (begun, count + 1)))
        for key, window in windows:
            self._windows[key] = window
            self._windows.move_to_end(key)
        while len(self._windows) > self._kept:
            self._windows.popitem(last=False)
        return None
