"""Which sender reports are believed."""

from __future__ import annotations

from tapedeck.core.wallclock import PeerWallclock, TrackWallclock

S = 1_000_000_000
MS = 1_000_000
EPOCH = 3_900_000_000 * S
FLOOR = 20 * MS
THETA = FLOOR - EPOCH
"Capture clock minus wall clock of a peer whose wall clock is EPOCH at capture time FLOOR."


class Peer:
    """Two tracks with media time equal to true time; reports come every second."""

    def __init__(self) -> None:
        self.peer = PeerWallclock()
        self.sound, self.picture = TrackWallclock(), TrackWallclock()

    def report(
        self,
        track: TrackWallclock,
        second: int,
        *,
        wall_ns: int = 0,
        media_ns: int = 0,
        theta_ns: int | None = THETA,
        reset_at_ns: int | None = None,
    ) -> None:
        """A report of that second, wrong by so much."""
        self.peer.report(
            track,
            second * S + FLOOR,
            EPOCH + second * S + wall_ns,
            second * S + media_ns,
            floor_ns=FLOOR,
            theta_ns=theta_ns,
            reset_at_ns=reset_at_ns,
        )


def test_first_report_counts_at_once() -> None:
    peer = Peer()
    assert peer.sound.offset_at(0) is None
    peer.report(peer.sound, 1, theta_ns=None)
    assert peer.sound.offset_at(2 * S) == EPOCH


def test_first_report_that_is_far_off_counts_when_another_agrees() -> None:
    """One sent while its computer is stuck is wrong by as much; that of a track that takes long to encode is not."""
    peer = Peer()
    peer.report(peer.sound, 1, wall_ns=-250 * MS)
    assert peer.sound.offset_at(S) is None
    peer.report(peer.sound, 6)
    assert peer.sound.offset_at(6 * S) == EPOCH
    peer.report(peer.picture, 1, wall_ns=-150 * MS)
    assert peer.picture.offset_at(S) is None
    peer.report(peer.picture, 2, wall_ns=-150 * MS)
    assert peer.picture.offset_at(2 * S) == EPOCH - 150 * MS


def test_reports_are_moved_with_a_clock_that_lost_time() -> None:
    peer = Peer()
    for second in range(1, 8):
        peer.report(peer.sound, second)
    peer.sound.shift(140 * MS)
    assert peer.sound.offset_at(8 * S) == EPOCH + 140 * MS
    peer.report(peer.sound, 8, wall_ns=140 * MS)
    assert peer.sound.offset_at(8 * S) == EPOCH + 140 * MS


def test_one_wrong_report_moves_nothing() -> None:
    peer = Peer()
    for second in range(1, 10):
        peer.report(peer.sound, second, wall_ns=900 * MS if second == 5 else 0)
        assert peer.sound.offset_at(second * S) == EPOCH


def test_drift_is_taken_out() -> None:
    peer = Peer()
    for second in range(60):
        peer.report(peer.sound, second, wall_ns=second * S // 10_000)
    offset = peer.sound.offset_at(70 * S)
    assert offset is not None
    assert abs(offset - EPOCH - 7 * MS) < MS


def test_jump_of_the_wall_clock_is_the_same_for_all_tracks_and_counts_for_none() -> None:
    peer = Peer()
    for second in range(40):
        jump = 0 if second < 20 else 3600 * S
        for track in (peer.sound, peer.picture):
            peer.report(track, second, wall_ns=jump)
    assert peer.sound.offset_at(40 * S) == EPOCH
    assert peer.picture.offset_at(40 * S) == EPOCH


def test_track_that_moves_alone_was_reset_and_the_other_stays() -> None:
    peer = Peer()
    for second in range(40):
        peer.report(peer.sound, second)
        peer.report(peer.picture, second, wall_ns=0 if second < 20 else 200 * MS)
    assert peer.sound.offset_at(40 * S) == EPOCH
    assert peer.picture.offset_at(40 * S) == EPOCH + 200 * MS


def test_reset_that_frames_told_of_is_believed_at_once() -> None:
    peer = Peer()
    for second in range(10):
        peer.report(peer.picture, second)
    peer.report(peer.picture, 10, wall_ns=200 * MS, reset_at_ns=9 * S + 500 * MS)
    assert peer.picture.offset_at(10 * S + FLOOR) == EPOCH + 200 * MS


def test_report_on_another_rtp_clock_or_without_wall_clock_is_ignored() -> None:
    peer = Peer()
    peer.report(peer.sound, 1, media_ns=60 * S)
    peer.report(peer.sound, 1, wall_ns=-EPOCH - S)
    assert peer.sound.offset_at(0) is None


def test_track_on_a_wall_clock_of_its_own_is_not_locked() -> None:
    peer = Peer()
    peer.report(peer.picture, 1, wall_ns=700 * MS)
    assert peer.picture.offset_at(0) is None


def test_reports_that_never_fit_unlock_the_track() -> None:
    peer = Peer()
    peer.report(peer.sound, 1)
    for second, wall_ns in ((2, 100 * MS), (3, 300 * MS), (4, 900 * MS)):
        peer.report(peer.sound, second, wall_ns=wall_ns)
    assert peer.sound.offset_at(5 * S) is None
