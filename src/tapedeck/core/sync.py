"""Where each frame belongs on the capture clock: media time of a peer's tracks to capture time.

Owns the mapping: tracks of a peer are locked to each other by their sender reports, the peer to the capture clock by
its least delayed arrivals. The mapping is a chain of knots per track, one per second of capture time, straight in
between, so drift is a slope and never a jump; only a reset of a track's RTP clock and a silence of seconds begin a new
chain. A knot is made of what arrived before it and of nothing else, so a live render and a later one see one mapping.
Capture time here is the true time of capture plus the least network delay of the peer, which nobody here can know.
Assumes that media order is order of capture: VP8 and WebRTC's constrained baseline H264 have no B-frames (RFC 7742).
Refuses wall clocks across peers: two connections of a participant may be two devices; each is placed by its arrivals.
"""

from __future__ import annotations

import bisect
import heapq

from tapedeck.core.chain import KNOT_NS, SILENCE_NS, Chain
from tapedeck.core.delay import BIN_NS, EVIDENCE_BINS, FREEZE_NS, DelayFloor, rise, slipped, stood_still
from tapedeck.core.frames import EncodedFrame, FrameFlags
from tapedeck.core.timeline import ClockReport, Progress
from tapedeck.core.wallclock import PeerWallclock, TrackWallclock

__all__ = ["PeerClock"]

_S = 1_000_000_000
_MAYBE_RESET = int(FrameFlags.DISCONTINUITY | FrameFlags.NEW_CLOCK)
_JUMP_NS = 3 * _S
"""No frame is that late: its clock was reset, whatever its flags say."""

_SUSPECT_NS = 500_000_000
"""A second impossible frame as near as this to the first makes it a reset; one alone is a slip of the sender."""

_FLAGGED_JUMP_NS = 400_000_000
_SETTLED_NS = 500_000_000
"""Half a second of arrivals tells a track's least delay well enough for a beginning."""

_LATE_NS = 30_000_000
"""A sound card that lost samples while its computer was busy shows first as a packet that is later than the one before
it by more than this."""

_SAME_NS = 30_000_000
"""Delays before and after a supposed reset that differ by less are of one clock."""

_MAX_EXCESS_NS = 200_000_000
_WALLCLOCK_PPM = 150
"""The wall clocks of two computers drift apart by less: a faster rise of the delay is a queue or a longer path."""

_NEAR_PPM, _FAR_PPM = 10_000, 20_000
"""Fastest correction, up to 100 ms off and beyond it: 1 % is hard to hear, and no error lasts."""

_FAR_NS = 100_000_000


def _slew(value_ns: int, target_ns: int, step_ns: int) -> int:
    """`value_ns` moved towards `target_ns`: half of the way per second, but not faster than a tape may run."""
    error = target_ns - value_ns
    limit = step_ns * (_FAR_PPM if abs(error) > _FAR_NS else _NEAR_PPM) // 1_000_000
    return value_ns + max(-limit, min(limit, error * min(step_ns, 2 * _S) // (2 * _S)))


class _Track:
    """State of one track. Chains get their frames as these are fed, and their knots one chain after the other."""

    def __init__(self, clock_rate: int, is_sound: bool) -> None:
        self.clock_rate = clock_rate
        self.is_sound = is_sound
        self.chains: list[Chain] = []
        self.head = 0
        "Chains before this one have all their knots."
        self.current: Chain | None = None
        "The chain that got a knot last."
        self.wallclock = TrackWallclock()
        self.sigma_ns: int | None = None
        "Wall clock minus media time as applied; None while the track is placed by its own arrivals."
        self.excess_ns = 0
        "How much later than the peer's least delayed track this one arrives."
        self.flagged_ns: list[int] = []
        "Arrivals, in order, of frames that said that the clock may have been reset."
        self.reports: list[tuple[int, int, ClockReport]] = []
        "Heap of those not judged yet, by arrival and order."
        self.n_reports = 0
        self.reference_ns = 0
        "Delay to expect of the next frame: falls at once, rises slowly."
        self.late_ns: int | None = None
        "Arrival of the last frame, if it was late behind a gap: it tells no least delay."
        self.gap_ns = 0
        "How long that gap was."
        self.suspect_ns: int | None = None
        "Delay of the last frame, if it did not fit."


class PeerClock:
    """Maps media time of one peer's tracks to the capture clock.

    Feed `frame` in each track's own order and `report` in the timeline's; how tracks are interleaved does not matter.
    Then call `progress` (or `advance`): it promises that everything that arrived before has been fed, and makes the
    mapping final up to `ready_until_ns`. What is final never changes, whatever is fed later.
    """

    def __init__(self) -> None:
        self._tracks: dict[str, _Track] = {}
        self._wallclock = PeerWallclock()
        self._theta_ns: int | None = None
        "Capture clock minus wall clock, as applied."
        self._theta_at_ns = 0
        self._least_theta_ns = 0
        "The same by the least delayed arrivals, to which the applied one is moved."
        self._until_ns = -1
        self._passed_at: list[int] = []
        self._passed_until: list[int] = []

    @property
    def ready_until_ns(self) -> int:
        """Capture time up to which the mapping is final and no further frame will be placed.

        Never more than what `progress` said, and at most a second less while media flows.
        """
        ready = self._until_ns
        for track in self._tracks.values():
            for chain in track.chains[track.head :]:
                first = chain.ats[-1] if chain.ats else max(self._passed(chain.start_ns), chain.start_ns - _JUMP_NS)
                ready = min(ready, first - 1)
        return ready

    def add_track(self, track_id: str, clock_rate: int, *, is_sound: bool = False) -> None:
        """Make a track known, once; `clock_rate` in Hz. Knowing it twice is no error.

        The clock of sound counts samples, and so loses time when the sender loses samples.
        """
        if track_id not in self._tracks:
            self._tracks[track_id] = _Track(clock_rate, is_sound)

    def frame(self, track_id: str, frame: EncodedFrame) -> None:
        """A frame of a known track was stored. KeyError: `add_track` was not called."""
        track = self._tracks[track_id]
        arrival_ns = frame.arrival_ns
        discontinuity = frame.has(_MAYBE_RESET)
        x = frame.media_time * _S // track.clock_rate
        delay = arrival_ns - x
        if discontinuity:
            bisect.insort(track.flagged_ns, arrival_ns)
        if not track.chains:
            self._begin(track, x, arrival_ns)
        else:
            chain = track.chains[-1]
            off = delay - track.reference_ns
            gap = arrival_ns - chain.last_arrival_ns
            if -_FLAGGED_JUMP_NS < off < _FLAGGED_JUMP_NS:
                if gap > SILENCE_NS:
                    self._begin(track, x, arrival_ns)
                elif track.is_sound and self._may_have_slipped(track, chain, x, arrival_ns):
                    self._begin(track, x, arrival_ns, suspected=True, slip=True, frozen_ns=track.gap_ns)
            elif discontinuity or gap > SILENCE_NS:
                self._begin(track, x, arrival_ns, suspected=True)
            elif gap > FREEZE_NS and x - chain.last_x < gap // 2:
                self._begin(track, x, arrival_ns, suspected=True, frozen_ns=gap)
            elif not -_JUMP_NS < off < _JUMP_NS:
                if track.suspect_ns is None or abs(delay - track.suspect_ns) > _SUSPECT_NS:
                    track.suspect_ns = delay
                    return
                self._begin(track, x, arrival_ns, suspected=True)
        track.suspect_ns = None
        chain = track.chains[-1]
        track.reference_ns = min(delay, track.reference_ns + ((delay - track.reference_ns) >> 6))
        chain.last_arrival_ns = max(chain.last_arrival_ns, arrival_ns)
        chain.last_x = max(chain.last_x, x)
        if track.late_ns is None:
            chain.floor.observe(arrival_ns, delay)

    def report(self, report: ClockReport) -> None:
        """A sender report. One of an unknown track is ignored."""
        track = self._tracks.get(report.track_id)
        if track is not None:
            track.n_reports += 1
            heapq.heappush(track.reports, (report.at_ns, track.n_reports, report))

    def progress(self, progress: Progress) -> None:
        """The log is complete up to `progress.until_ns`: what arrives after `progress.at_ns` is placed behind it."""
        if not self._passed_at or progress.at_ns > self._passed_at[-1]:
            self._passed_at.append(progress.at_ns)
            self._passed_until.append(progress.until_ns)
        self.advance(progress.until_ns)

    def advance(self, until_ns: int) -> None:
        """Everything that arrived before `until_ns` has been fed; going back is no error and does nothing."""
        self._until_ns = max(self._until_ns, until_ns)
        while True:
            due: tuple[int, _Track, Chain] | None = None
            for track in self._tracks.values():
                chain = self._head(track)
                if (
                    chain is not None
                    and chain.next_knot_ns <= self._until_ns
                    and (due is None or chain.next_knot_ns < due[0])
                ):
                    due = (chain.next_knot_ns, track, chain)
            if due is None:
                return
            self._make_knot(*due)

    def _head(self, track: _Track) -> Chain | None:
        """The chain whose knot comes next; None while the track is silent."""
        while track.head < len(track.chains):
            chain = track.chains[track.head]
            if chain.next_knot_ns <= chain.until_ns or chain.until_ns >= self._until_ns:
                return chain
            track.head += 1
        return None

    def finish(self) -> None:
        """Nothing more will be fed: the whole mapping is final."""
        self.advance(1 << 62)

    def capture_ns(self, track_id: str, media_time: int, arrival_ns: int) -> int:
        """Capture time of a fed frame. Final if it is not greater than `ready_until_ns`; else an estimate.

        KeyError: unknown track. A frame that does not fit its track's clock is placed near its arrival.
        """
        track = self._tracks[track_id]
        x = media_time * _S // track.clock_rate
        passed = self._passed(arrival_ns)
        chain = self._chain(track, x, arrival_ns)
        if chain is None or not chain.ats:
            return max(passed, arrival_ns)
        at = chain.at(x)
        if not -_JUMP_NS < arrival_ns - at < _JUMP_NS:
            at = arrival_ns
        return max(at, chain.least_at_ns, passed)

    def _passed(self, arrival_ns: int) -> int:
        """The earliest place for a frame that arrived then: the film may have been made up to the last progress."""
        index = bisect.bisect_right(self._passed_at, arrival_ns)
        return self._passed_until[index - 1] + 1 if index else 0

    @staticmethod
    def _may_have_slipped(track: _Track, chain: Chain, x: int, arrival_ns: int) -> bool:
        """The last packet was late behind a gap, and this one did not arrive before it.

        A packet that was sent again is late alone. Asked at most once per knot, so that what follows a gap is long
        enough to tell what it was.
        """
        late_ns, track.late_ns = track.late_ns, None
        if late_ns is not None:
            settled_ns = KNOT_NS if chain.suspected else _SETTLED_NS
            return arrival_ns >= late_ns and arrival_ns - chain.start_ns > settled_ns
        gap = arrival_ns - chain.last_arrival_ns
        if x > chain.last_x and gap - (x - chain.last_x) > _LATE_NS:
            track.late_ns, track.gap_ns = arrival_ns, gap
        return False

    @staticmethod
    def _begin(
        track: _Track, x: int, arrival_ns: int, *, suspected: bool = False, frozen_ns: int = 0, slip: bool = False
    ) -> None:
        start = arrival_ns
        if track.chains:
            start = max(start, track.chains[-1].start_ns)
            track.chains[-1].ended_ns = start
        first_knot = start // BIN_NS * BIN_NS + KNOT_NS
        floor = DelayFloor(arrival_ns - x)
        chain = Chain(
            start, start, x, suspected, frozen_ns, slip, first_knot, floor, last_arrival_ns=arrival_ns, last_x=x
        )
        track.chains.append(chain)
        track.late_ns = None
        track.reference_ns = arrival_ns - x

    @staticmethod
    def _chain(track: _Track, x: int, arrival_ns: int) -> Chain | None:
        """The chain of a frame: the last that had begun, unless the frame is a straggler of the one before."""
        if len(track.chains) == 1:  # nearly always, and asked for every frame
            return track.chains[0]
        index = bisect.bisect_right(track.chains, arrival_ns, key=lambda chain: chain.holds_from_ns) - 1
        if index < 0:
            return track.chains[0] if track.chains else None
        while index and track.chains[index].slip and not track.chains[index].ats:
            index -= 1  # until it is known whether anything happened, nothing has
        chain = track.chains[index]
        if index and chain.slip:
            return chain if x > track.chains[index - 1].last_x else track.chains[index - 1]
        if index and arrival_ns - chain.holds_from_ns < _JUMP_NS:
            before = track.chains[index - 1]
            delay, old = arrival_ns - x, before.last_arrival_ns - before.last_x
            new = chain.holds_from_ns - chain.first_x
            if chain.holds_from_ns - before.last_arrival_ns < _JUMP_NS and abs(delay - old) < abs(delay - new):
                return before
        return chain

    def _make_knot(self, at_ns: int, track: _Track, chain: Chain) -> None:
        before = None if chain.ats else track.current
        step = at_ns - chain.ats[-1] if chain.ats else KNOT_NS
        fresh = not chain.ats if before is None else self._join(track, before, chain, at_ns)
        chain.floor.advance(at_ns)
        self._take_reports(track, at_ns, chain.floor.value_ns)
        previous = None if fresh else chain.offset_ns
        after_silence = before is not None and not chain.suspected
        chain.offset_ns = self._place(track, chain.floor, at_ns, step, previous, after_silence)
        chain.xs.append(at_ns - chain.offset_ns)
        chain.ats.append(at_ns)
        track.current = chain

    def _join(self, track: _Track, before: Chain, chain: Chain, at_ns: int) -> bool:
        """Connect a new chain to the one before it; True if the clock was reset and the chain stands on its own."""
        chain.offset_ns = before.offset_ns
        fresh = chain.floor.new_before(at_ns)
        if chain.slip:
            self._join_slip(track, before, chain, fresh, at_ns)
            return False
        chain.least_at_ns = max(before.least_at_ns, before.at(before.last_x) + 1)
        if chain.suspected and fresh:
            moved = min(fresh) - before.floor.value_ns
            if chain.frozen_ns:
                reset = len(fresh) >= EVIDENCE_BINS and stood_still(moved, chain.frozen_ns)
            else:
                reset = abs(moved) > _SAME_NS
            if reset:
                track.wallclock.clear()
                track.sigma_ns = None
                return True
        chain.floor.inherit(before.floor)
        return False

    def _join_slip(self, track: _Track, before: Chain, chain: Chain, fresh: list[int], at_ns: int) -> None:
        """Connect a chain behind a gap: later by what the sender lost in it, or as if there had been no gap."""
        others = (other.current for other in self._tracks.values() if other is not track)
        witnesses = [other.floor for other in others if other is not None]
        slip_ns = slipped(before.floor, fresh, witnesses, chain.start_ns - chain.frozen_ns, chain.start_ns, at_ns)
        if slip_ns:
            chain.least_at_ns = max(before.least_at_ns, before.at(before.last_x) + 1)
            chain.offset_ns += slip_ns
            track.wallclock.shift(slip_ns)
            if track.sigma_ns is not None:
                track.sigma_ns += slip_ns
            return
        chain.least_at_ns = before.least_at_ns
        chain.floor.inherit(before.floor)
        chain.go_on(before, self._passed(chain.start_ns))
        track.head -= 1
        del track.chains[track.head]

    def _take_reports(self, track: _Track, at_ns: int, floor_ns: int) -> None:
        """Judge the track's reports that arrived before a knot."""
        while track.reports and track.reports[0][0] < at_ns:
            report = heapq.heappop(track.reports)[2]
            flagged = bisect.bisect_right(track.flagged_ns, report.at_ns)
            self._wallclock.report(
                track.wallclock,
                report.at_ns,
                report.wallclock_ns,
                report.media_time * _S // track.clock_rate,
                floor_ns=floor_ns,
                theta_ns=self._theta_ns,
                reset_at_ns=track.flagged_ns[flagged - 1] if flagged else None,
            )

    def _place(
        self, track: _Track, floor: DelayFloor, at_ns: int, step_ns: int, previous_ns: int | None, after_silence: bool
    ) -> int:
        """The offset to apply at a knot, given that at the last one (None: there is none)."""
        wallclock = track.wallclock.offset_at(at_ns)
        if wallclock is None:
            track.sigma_ns = None
            target = floor.value_ns - track.excess_ns
            return target if after_silence or previous_ns is None else _slew(previous_ns, target, step_ns)
        first = (floor.value_ns if previous_ns is None else previous_ns) - wallclock
        theta = self._move_theta(track, at_ns, floor.least_ns - wallclock, first, after_silence)
        if track.sigma_ns is None and previous_ns is not None:
            track.sigma_ns = previous_ns - theta
        elif track.sigma_ns is None or after_silence:
            track.sigma_ns = wallclock
        track.sigma_ns = _slew(track.sigma_ns, wallclock, step_ns)
        track.excess_ns = max(0, min(_MAX_EXCESS_NS, floor.value_ns - wallclock - self._least_theta_ns))
        return track.sigma_ns + theta

    def _move_theta(self, track: _Track, at_ns: int, least_ns: int, first_ns: int, after_silence: bool) -> int:
        """Capture clock minus wall clock to apply, by the least delayed of the tracks that flow."""
        alone = True
        for other in self._tracks.values():
            chain, offset = other.current, other.wallclock.offset_at(at_ns)
            if other is not track and chain is not None and chain.until_ns >= at_ns:
                alone = False
                if offset is not None:
                    least_ns = min(least_ns, chain.floor.least_ns - offset)
        if self._theta_ns is None:
            self._theta_ns = first_ns
            self._least_theta_ns = least_ns
        else:
            elapsed = at_ns - self._theta_at_ns
            self._least_theta_ns = rise(self._least_theta_ns, least_ns, elapsed, _WALLCLOCK_PPM)
            if after_silence and alone:
                self._theta_ns = self._least_theta_ns
            else:
                self._theta_ns = _slew(self._theta_ns, self._least_theta_ns, elapsed)
        self._theta_at_ns = at_ns
        return self._theta_ns
