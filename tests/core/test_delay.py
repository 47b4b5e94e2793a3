"""The least delay of a track, exact and quick."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.delay import BIN_NS, DelayFloor, RecentDelay

S = 1_000_000_000
MS = 1_000_000

arrivals = st.lists(st.tuples(st.integers(0, 40 * S), st.integers(0, 300 * MS)), min_size=1, max_size=200)


@given(arrivals, st.randoms(use_true_random=False))
def test_floor_does_not_depend_on_the_order_of_observations(
    observed: list[tuple[int, int]], rng: random.Random
) -> None:
    shuffled = observed.copy()
    rng.shuffle(shuffled)
    one, other = DelayFloor(0), DelayFloor(0)
    for arrival, delay in observed:
        one.observe(arrival, delay)
    for arrival, delay in shuffled:
        other.observe(arrival, delay)
    for until in range(BIN_NS, 45 * S, 4 * BIN_NS):
        one.advance(until)
        other.advance(until)
        assert (one.value_ns, one.least_ns) == (other.value_ns, other.least_ns)


@given(arrivals)
def test_floor_is_never_above_what_arrived_lately(observed: list[tuple[int, int]]) -> None:
    floor = DelayFloor(0)
    for arrival, delay in observed:
        floor.observe(arrival, delay)
    for until in range(BIN_NS, 45 * S, BIN_NS):
        floor.advance(until)
        lately = [delay for arrival, delay in observed if until - 15 * S <= arrival < until]
        if lately:
            assert floor.least_ns == min(lately)
            assert floor.value_ns <= floor.least_ns


def test_floor_rises_like_a_clock_not_like_a_queue() -> None:
    floor = DelayFloor(0)
    for second in range(60):
        floor.observe(second * S, 0 if second < 10 else 80 * MS)
        floor.advance((second + 1) * S)
    # the window forgets the low delays after 25 s; then 35 s at 500 ppm
    assert floor.least_ns == 80 * MS
    assert 15 * MS <= floor.value_ns <= 18 * MS


def test_recent_delay_follows_down_at_once_and_forgets_within_20_s() -> None:
    recent = RecentDelay()
    assert recent.observe(0, 50 * MS) == 50 * MS
    assert recent.observe(20 * MS, 30 * MS) == 30 * MS
    assert recent.observe(40 * MS, 90 * MS) == 30 * MS
    values = [recent.observe(at * 100 * MS, 40 * MS) for at in range(1, 250)]
    assert values[0] == 30 * MS
    assert values[-1] == 40 * MS


def test_recent_delay_knows_a_reset_from_a_late_packet() -> None:
    recent = RecentDelay()
    recent.observe(0, 10 * MS)
    for late in (2_500 * MS, 10 * S):
        assert recent.observe(S, 10 * MS + late) == 10 * MS
        assert recent.observe(S, 10 * MS) == 10 * MS
    for at in range(100, 202):
        recent.observe(at * 20 * MS, 60 * S)
    assert recent.value_ns == 60 * S, "a second of frames that are a minute late"


def test_recent_delay_takes_a_leap_ahead_for_a_reset_when_it_is_confirmed() -> None:
    recent = RecentDelay()
    recent.observe(0, 10 * MS)
    assert recent.observe(20 * MS, -60 * S) == -60 * S, "the frame itself counts as just captured"
    assert recent.observe(40 * MS, 10 * MS) == 10 * MS, "and moves nothing"
    assert recent.observe(60 * MS, -90 * S) == -90 * S
    assert recent.observe(80 * MS, -90 * S) == -90 * S
    assert recent.value_ns == -90 * S


def test_recent_delay_finds_a_clock_that_stood_still() -> None:
    recent = RecentDelay()
    for at in range(0, 2_000, 20):
        recent.observe(at * MS, 10 * MS)
    for at in range(4_000, 5_100, 20):  # muted for 2 s, in which the sender's clock did not run
        recent.observe(at * MS, 1_990 * MS)
    assert recent.value_ns == 1_990 * MS


def test_recent_delay_is_not_fooled_by_a_network_that_stood_still() -> None:
    recent = RecentDelay()
    for at in range(0, 2_000, 20):
        recent.observe(at * MS, 10 * MS)
    for late in range(1_980, 0, -20):  # 2 s of media in a burst
        assert recent.observe(4_000 * MS, 10 * MS + late * MS) == 10 * MS
    for at in range(4_020, 6_000, 20):
        assert recent.observe(at * MS, 10 * MS) == 10 * MS
