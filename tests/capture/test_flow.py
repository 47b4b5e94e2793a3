"""How far a track is complete, by what is known of it."""

from __future__ import annotations

from tests.capture.room import MS, S

from tapedeck.capture.flow import MAX_LATE_NS, Flow


def flowing(until_ms: int = 10_000, step_ms: int = 40, late_ms: int = 0) -> Flow:
    flow = Flow(0)
    for at in range(0, until_ms, step_ms):
        flow.frame((at + late_ms) * MS, at * MS)
    return flow


def test_track_that_flows_is_complete_up_to_its_last_frame() -> None:
    flow = flowing()
    assert 9_920 * MS <= flow.complete_until(10 * S, None) <= 9_960 * MS


def test_track_without_a_frame_may_still_have_its_first() -> None:
    flow = Flow(5 * S)
    assert flow.complete_until(6 * S, None) == 5 * S - 1
    assert flow.complete_until(9 * S, None) == 9 * S - MAX_LATE_NS


def test_frames_held_back_are_waited_for_but_not_for_ever() -> None:
    flow = flowing()
    flow.waiting_since_ns = 10 * S
    assert flow.complete_until(12 * S, 12 * S) < 9_960 * MS
    assert flow.complete_until(20 * S, 20 * S) == 20 * S - MAX_LATE_NS


def test_silence_of_a_whole_peer_may_be_its_network() -> None:
    flow = flowing()
    assert flow.complete_until(11 * S, None) <= 9_960 * MS
    assert flow.complete_until(13 * S, None) >= 12_900 * MS, "but not for ever"


def test_silence_of_one_track_is_its_own_when_another_flows() -> None:
    flow = flowing()
    assert 10_600 * MS <= flow.complete_until(11 * S, 10_990 * MS) <= 10_700 * MS


def test_muted_and_sparse_tracks_are_not_waited_for() -> None:
    muted = flowing()
    muted.muted = True
    assert muted.complete_until(10_500 * MS, None) >= 10_400 * MS
    sparse = flowing(step_ms=400)
    assert sparse.complete_until(10_500 * MS, None) >= 10_400 * MS


def test_allowance_follows_how_late_frames_come() -> None:
    assert flowing(late_ms=0).allowance_ns == 50 * MS
    assert flowing(late_ms=100).allowance_ns == 150 * MS
    assert flowing(late_ms=900).allowance_ns == 500 * MS


def test_never_more_than_now() -> None:
    flow = flowing()
    flow.frame(11 * S, 11 * S)
    assert flow.complete_until(10 * S, 30 * S) <= 10 * S
