"""Whatever the store wants and however long the film becomes: every byte goes up once, in order, by the rule."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.parts import LivePlan, PartRule, PlannedPart, plan_whole

MIB = 1 << 20
S3 = PartRule(5 * MIB, 5 << 30, 10_000, equal=False)
R2 = PartRule(5 * MIB, 5 << 30, 10_000, equal=True)
AZURE = PartRule(1, 4000 * MIB, 50_000, equal=False)
TINY = PartRule(MIB, 8 * MIB, 100, equal=False)
RULES = st.sampled_from([S3, R2, AZURE, TINY])
DAY_BYTES = 26 << 30


def keeps(rule: PartRule, parts: Sequence[PlannedPart], size: int) -> None:
    """What every store checks, and what makes the bytes those of the film."""
    assert parts[0].start == 0
    assert all(a.end == b.start for a, b in pairwise(parts))
    assert parts[-1].end == size
    numbers = [part.number for part in parts]
    assert numbers == sorted(set(numbers))
    assert 1 <= numbers[0] and numbers[-1] <= rule.most_parts
    assert all(rule.least_bytes <= part.size <= rule.most_bytes for part in parts[:-1])
    assert parts[-1].size <= rule.most_bytes
    if rule.equal:
        assert len({part.size for part in parts[:-1]}) <= 1
        assert parts[-1].size <= parts[0].size


@given(RULES, st.integers(24, 4096), st.integers(0, 60), st.integers(0, 40 * MIB), st.integers(0, 90 * MIB))
def test_a_film_that_went_up_while_it_grew_is_whole(
    rule: PartRule, media_at: int, sent: int, unsent: int, head: int
) -> None:
    plan = LivePlan.of(rule, media_at, DAY_BYTES) if rule is not TINY else LivePlan.of(rule, media_at, 50 * MIB)
    assert plan is not None
    live = [plan.part(i) for i in range(sent)]
    grown = (live[-1].end if live else plan.held_until) + unsent
    shift = -(-head // plan.align) * plan.align
    parts = plan.finished(sent, shift, grown + shift)
    if parts is None:
        assert not sent or shift + plan.held_until > plan.room * plan.part_bytes or rule is TINY
        return
    keeps(rule, parts, grown + shift)
    moved = [PlannedPart(part.number, part.start + shift, part.size) for part in live]
    assert set(moved) <= set(parts), "what is up stays up"


@given(RULES, st.integers(0, 60 << 30))
def test_a_finished_film_is_cut_by_the_rule(rule: PartRule, size: int) -> None:
    if size > rule.most_bytes * rule.most_parts:
        with pytest.raises(ValueError, match="at most"):
            plan_whole(rule, size)
        return
    keeps(rule, plan_whole(rule, size), size)


@pytest.mark.parametrize("index", [0, 1, 999, 1000, 1001, 3999, 4000, 4001, 9983])
def test_parts_grow_without_a_gap(index: int) -> None:
    plan = LivePlan.of(S3, 48, DAY_BYTES)
    assert plan is not None
    part = plan.part(index)
    assert part.number == plan.room + 1 + index
    if index:
        assert plan.part(index - 1).end == part.start
    else:
        assert part.start == 48 + 5 * MIB


def test_ten_thousand_parts_hold_a_day_of_4k() -> None:
    plan = LivePlan.of(S3, 48, DAY_BYTES)
    assert plan is not None
    last = plan.part(10_000 - plan.room - 1)
    assert last.number == 10_000
    assert last.end > 86_400 * 20_000_000 // 8
    with pytest.raises(ValueError, match="no part 10001"):
        plan.part(10_000 - plan.room)
    assert plan.finished(10_000 - plan.room, 4096, last.end + 4096 + 1) is None, "one byte too many"


def test_equal_parts_are_as_large_as_the_longest_film_needs() -> None:
    small, large = LivePlan.of(R2, 48, DAY_BYTES), LivePlan.of(R2, 48, 200 << 30)
    assert small is not None and large is not None
    assert small.part_bytes == 5 * MIB
    assert large.part(10_000 - large.room - 1).end >= 200 << 30


def test_a_front_that_fits_no_room_is_refused() -> None:
    plan = LivePlan.of(R2, 48, DAY_BYTES)
    assert plan is not None
    shift = 40 * plan.part_bytes
    assert plan.finished(2, shift, plan.part(1).end + shift) is None
    assert plan.finished(2, plan.align + 1, plan.part(1).end + plan.align + 1) is None, "not a whole part"


def test_a_film_that_became_shorter_is_refused() -> None:
    """A film made again may be; what was sent of the first one is then of no use."""
    plan = LivePlan.of(S3, 48, DAY_BYTES)
    assert plan is not None
    assert plan.finished(3, 4096, plan.part(2).end + 4095) is None
    assert plan.finished(3, 4096, plan.part(1).end + 4096) is None
    assert plan.finished(3, 4096, plan.part(2).end + 4096) is not None


def test_a_store_that_cannot_is_known_before_anything_is_sent() -> None:
    assert LivePlan.of(PartRule(1, 1 << 30, 1, equal=False), 48, DAY_BYTES) is None
    assert LivePlan.of(PartRule(1, MIB, 100, equal=True), 48, DAY_BYTES) is None
