"""Whatever the store wants and however long the film becomes: every byte goes up once, in order, by the rule."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.parts import (
    LivePlan,
    PartRule,
    PlannedPart,
    aligned_part,
    head_align,
    head_room,
    keeps_room,
    plan_whole,
)

MIB = 1 << 20
S3 = PartRule(5 * MIB, 5 << 30, 10_000, equal=False)
R2 = PartRule(5 * MIB, 5 << 30, 10_000, equal=True)
AZURE = PartRule(1, 4000 * MIB, 50_000, equal=False)
SFTP = PartRule(1, 1 << 30, 1 << 20, equal=False, by_offset=True)
TINY = PartRule(MIB, 8 * MIB, 100, equal=False)
RULES = st.sampled_from([S3, R2, AZURE, SFTP, TINY])
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


@given(
    RULES,
    st.integers(24, 4096),
    st.integers(0, 60),
    st.integers(0, 40 * MIB),
    st.integers(0, 90 * MIB),
    st.sampled_from([0, 5 * MIB, 20 * MIB, 80 * MIB]),
)
def test_a_film_that_went_up_while_it_grew_is_whole(
    rule: PartRule, media_at: int, sent: int, unsent: int, index: int, room: int
) -> None:
    plan = LivePlan.of(rule, media_at, DAY_BYTES, room)
    assert plan is not None
    live = [plan.part(i) for i in range(sent)]
    grown = (live[-1].end if live else media_at) + unsent
    shift = -(-index // plan.align) * plan.align
    parts = plan.finished(sent, shift, grown + shift)
    if parts is None:
        assert not sent or (rule.by_offset and shift != plan.align) or rule is TINY
        return
    keeps(rule, parts, grown + shift)
    moved = [PlannedPart(part.number, part.start + shift, part.size) for part in live]
    again = [part for part in moved if part not in parts]
    assert not again or (again == moved[:1] and moved[0].start < rule.least_bytes), "what is up stays up"
    if rule.by_offset:
        assert [plan.offset(part) for part in live] == [part.start for part in moved]


@given(RULES, st.integers(0, 60 << 30))
def test_a_finished_film_is_cut_by_the_rule(rule: PartRule, size: int) -> None:
    if size > rule.most_bytes * rule.most_parts:
        with pytest.raises(ValueError, match="at most"):
            plan_whole(rule, size)
        return
    keeps(rule, plan_whole(rule, size), size)


@pytest.mark.parametrize("index", [0, 1, 2, 1000, 1001, 1002, 9968])
def test_parts_grow_without_a_gap(index: int) -> None:
    plan = LivePlan.of(S3, 48, DAY_BYTES)
    assert plan is not None
    part = plan.part(index)
    if index:
        assert plan.part(index - 1).end == part.start
        assert plan.part(index - 1).number == part.number - 1
    else:
        assert (part.start, part.size) == (48, 5 * MIB)


def test_ten_thousand_parts_hold_a_day_at_13_mbit_s() -> None:
    plan = LivePlan.of(S3, 48, DAY_BYTES)
    assert plan is not None
    last = plan.part(10_000 - 32)
    assert last.number == 10_000
    assert last.end > 86_400 * 13_000_000 // 8
    with pytest.raises(ValueError, match="no part 10001"):
        plan.part(10_000 - 31)
    assert plan.finished(10_000 - 31, 4096, last.end + 4096 + 1) is None, "one byte too many"


def test_equal_parts_are_as_large_as_the_longest_film_needs() -> None:
    assert aligned_part(DAY_BYTES) == 5 * MIB
    large = LivePlan.of(R2, 48, 200 << 30)
    assert large is not None
    assert large.part(10_000 - 33).end >= 200 << 30
    assert head_align([S3, AZURE], DAY_BYTES) == 1
    assert head_align([S3, R2], 200 << 30) == large.align


def test_room_grows_in_few_steps_and_always_holds_the_index() -> None:
    part = aligned_part(DAY_BYTES)
    assert [head_room(size, part) // MIB for size in (0, 1, part, part + 1, 4 * part, 53 << 20)] == [
        5,
        5,
        5,
        20,
        20,
        80,
    ]
    assert keeps_room([S3, SFTP]) and not keeps_room([S3, R2, AZURE])
    plan = LivePlan.of(SFTP, 48, DAY_BYTES, head_room(53 << 20, part))
    assert plan is not None
    assert plan.offset(plan.part(0)) == 85 * MIB
    grown = plan.part(5).end
    assert plan.finished(6, 80 * MIB, grown + 80 * MIB) is not None
    assert plan.finished(6, 20 * MIB, grown + 20 * MIB) is None, "elsewhere than it was written"


def test_the_index_of_a_long_film_spares_what_was_held_back() -> None:
    plan = LivePlan.of(S3, 48, DAY_BYTES)
    assert plan is not None
    grown = plan.part(5).end
    short, long = plan.finished(6, 4096, grown + 4096), plan.finished(6, 6 * MIB, grown + 6 * MIB)
    assert short is not None and long is not None
    assert short[0] == PlannedPart(32, 0, 4096 + 48 + 5 * MIB), "over what was sent"
    assert long[:2] == [PlannedPart(31, 0, 6 * MIB + 48), PlannedPart(32, 6 * MIB + 48, 5 * MIB)]


def test_a_front_that_fits_no_room_is_refused() -> None:
    plan = LivePlan.of(R2, 48, DAY_BYTES)
    assert plan is not None
    assert plan.finished(2, 40 * plan.align, plan.part(1).end + 40 * plan.align) is None
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
