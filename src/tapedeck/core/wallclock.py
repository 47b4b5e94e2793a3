"""What a peer's sender reports (RFC 3550 6.4.1) are worth: which wall clock each of its tracks runs on.

Owns telling a usable report from an absurd one, a jump of the sender's wall clock (which must not move a film) from a
reset of one track's RTP clock (which must), and smoothing what is left. A report's wall clock is the sender's word:
many senders take it when they send, not when picture or sound was taken, and nobody else could know. Refuses arrival
times of frames and everything about capture time (`core/sync.py`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["PeerWallclock", "TrackWallclock"]

_MEDIAN_OF = 7
"""So many reports make the offset: one wrong report in a row of seven moves nothing."""

_KEEP_REPORTS = 32
_SLOPE_AFTER_NS = 20_000_000_000
"""The drift between sound card and wall clock is taken from reports at least this far apart."""

_NOISE_NS = 60_000_000
"""Reports of good senders differ by less than this from each other."""

_DRIFT_PPM = 500
_AGREE_NS = 30_000_000
"""Two reports that are off by the same amount, give or take this, are off for a reason."""

_AGREE_WITHIN_NS = 60_000_000_000
_MAX_REJECTED = 3
_SURE_EXCESS_NS = 100_000_000
_MAX_EXCESS_NS = 500_000_000
"""Tracks of one peer come with the same delay, give or take encoding: up to the first a report is believed at once, up
to the second if another says the same (one that is sent while the sender is stuck is wrong by as much); more, and they
do not share a wall clock."""


def _median(values: list[int]) -> int:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) // 2


class TrackWallclock:
    """One track's share: its wall clock minus its media time in ns, without the sender's jumps."""

    def __init__(self) -> None:
        self.last_at_ns = -1
        "Arrival of the last report taken in."
        self.rejected = 0
        self.doubted_ns: int | None = None
        "What the last report said while none was believed."
        self._points: deque[tuple[int, int]] = deque(maxlen=_KEEP_REPORTS)
        self._offset_ns = 0
        self._slope = 0.0

    def offset_at(self, at_ns: int) -> int | None:
        """Wall clock minus media time at a capture time; None while there is no report that can be believed."""
        if not self._points:
            return None
        return self._offset_ns + int(self._slope * (at_ns - self.last_at_ns))

    def accept(self, at_ns: int, offset_ns: int) -> None:
        """Take one report in."""
        self._points.append((at_ns, offset_ns))
        self.last_at_ns = at_ns
        self.rejected = 0
        self._slope = self._drift()
        recent = list(self._points)[-_MEDIAN_OF:]
        self._offset_ns = _median([offset + int(self._slope * (at_ns - at)) for at, offset in recent])

    def _drift(self) -> float:
        """ns per ns: medians of the later and of the earlier half of the reports against each other."""
        points = list(self._points)
        half = len(points) // 2
        if points[-1][0] - points[0][0] < _SLOPE_AFTER_NS or half < 3:
            return 0.0
        early, late = points[:half], points[-half:]
        apart = _median([at for at, _ in late]) - _median([at for at, _ in early])
        if apart <= 0:
            return 0.0
        slope = (_median([offset for _, offset in late]) - _median([offset for _, offset in early])) / apart
        return max(-_DRIFT_PPM / 1e6, min(_DRIFT_PPM / 1e6, slope))

    def shift(self, by_ns: int) -> None:
        """The RTP clock lost so much at once: all reports so far are of the clock as it is now."""
        self._points = deque(((at, offset + by_ns) for at, offset in self._points), maxlen=_KEEP_REPORTS)
        self._offset_ns += by_ns
        self.doubted_ns = None

    def clear(self) -> None:
        """Forget all reports: the RTP clock was reset, or nothing the sender says fits together."""
        self._points.clear()
        self.rejected = 0


@dataclass(frozen=True, slots=True)
class _Suspicion:
    """A report that was off, waiting for another one that is off by the same."""

    at_ns: int
    track: TrackWallclock
    error_ns: int
    contradicted: bool = False
    "Another track reported in line since."


class PeerWallclock:
    """The wall clock that all tracks of a peer share."""

    def __init__(self) -> None:
        self._jumped_ns = 0
        self._suspicion: _Suspicion | None = None

    def report(
        self,
        track: TrackWallclock,
        at_ns: int,
        wallclock_ns: int,
        media_ns: int,
        *,
        floor_ns: int,
        theta_ns: int | None,
        reset_at_ns: int | None,
    ) -> None:
        """Judge one report of `track` and take it in if it can be believed.

        `floor_ns` is the least delay of the track's frames, `theta_ns` the peer's capture clock minus wall clock as far
        as known, `reset_at_ns` when the track's frames last said that their clock may have been reset.
        """
        if wallclock_ns == 0 or not -1_000_000_000 < at_ns - media_ns - floor_ns < 3_000_000_000:
            return  # no wall clock at all, or the RTP time is not of the clock that the frames run on
        offset_ns = wallclock_ns - media_ns - self._jumped_ns
        expected = track.offset_at(at_ns)
        if expected is None:
            excess_ns = 0 if theta_ns is None else abs(floor_ns - offset_ns - theta_ns)
            agrees = track.doubted_ns is not None and abs(offset_ns - track.doubted_ns) < _AGREE_NS
            if excess_ns < (_MAX_EXCESS_NS if agrees else _SURE_EXCESS_NS):
                track.accept(at_ns, offset_ns)
            track.doubted_ns = offset_ns
            return
        error_ns = offset_ns - expected
        if abs(error_ns) <= _NOISE_NS + (at_ns - track.last_at_ns) * _DRIFT_PPM // 1_000_000:
            track.accept(at_ns, offset_ns)
            self._note_good(track)
        elif reset_at_ns is not None and reset_at_ns > track.last_at_ns:
            track.clear()
            track.accept(at_ns, offset_ns)
        else:
            self._note_bad(track, at_ns, offset_ns, error_ns, floor_ns, theta_ns)

    def _note_good(self, track: TrackWallclock) -> None:
        doubt = self._suspicion
        if doubt is None:
            return
        if doubt.track is track:
            self._suspicion = None
        elif not doubt.contradicted:
            self._suspicion = _Suspicion(doubt.at_ns, doubt.track, doubt.error_ns, contradicted=True)

    def _note_bad(
        self, track: TrackWallclock, at_ns: int, offset_ns: int, error_ns: int, floor_ns: int, theta_ns: int | None
    ) -> None:
        doubt = self._suspicion
        agrees = (
            doubt is not None and abs(error_ns - doubt.error_ns) < _AGREE_NS and at_ns - doubt.at_ns < _AGREE_WITHIN_NS
        )
        if doubt is None or not agrees:
            self._suspicion = _Suspicion(at_ns, track, error_ns)
            track.rejected += 1
            if track.rejected >= _MAX_REJECTED:
                track.clear()
            return
        self._suspicion = None
        frames_moved = theta_ns is not None and abs(floor_ns - offset_ns - theta_ns) < abs(
            floor_ns - (offset_ns - error_ns) - theta_ns
        )
        if doubt.track is track and (doubt.contradicted or frames_moved):
            track.clear()
            track.accept(at_ns, offset_ns)
        else:
            self._jumped_ns += error_ns
            track.accept(at_ns, offset_ns - error_ns)
