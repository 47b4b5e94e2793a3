"""In which span of a film a frame of a track lies."""

from __future__ import annotations

from tapedeck.core.film import Cut, FilmClock
from tapedeck.render.feed import TimedFrame

__all__ = ["SpanGate"]


class SpanGate:
    """Where the frames of one track stand. Ask in order of their times."""

    def __init__(self, film: FilmClock, *, is_own: bool = False) -> None:
        """`is_own`: no other recording can have asked for the track."""
        self._film = film
        self._is_own = is_own
        self._at = 0
        "The span in which the next frame may lie."

    def cut_of(self, timed: TimedFrame) -> Cut | None:
        """The span a frame lies in; None for one that is not of this recording.

        Capture and render place a frame by what they know, and may differ by some milliseconds: one that came after a
        span began, and that nobody else asked for, is in the log because capture found it inside.
        """
        cuts, at_ns = self._film.cuts, timed.capture_ns
        while self._at < len(cuts):
            cut = cuts[self._at]
            if cut.end_ns is not None and at_ns >= cut.end_ns:
                self._at += 1
                continue
            if at_ns >= cut.start_ns:
                return cut
            came_inside = timed.frame.arrival_ns >= cut.start_ns
            return cut if came_inside and (self._is_own or not self._film.is_of_others(at_ns)) else None
        return None
