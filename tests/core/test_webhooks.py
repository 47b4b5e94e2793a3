"""When a delivery is tried again and when an endpoint is left alone: the table of the contract, by time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.webhooks import (
    BREAKER_LIMIT,
    BREAKER_PAUSE,
    RETRY_AFTER_S,
    Attempt,
    Breaker,
    DeliveryState,
    Verdict,
    judge,
    next_breaker,
)

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def attempt(status: int | None, is_final: bool = False) -> Attempt:
    return Attempt(NOW, 1, status, is_final=is_final)


def test_the_retry_table() -> None:
    waits = [judge(attempt(500), tries, NOW).next_at for tries in range(1, 7)]
    assert waits == [*(NOW + timedelta(seconds=s) for s in (1, 2, 4, 8, 16)), None]
    assert judge(attempt(None), 5, NOW) == Verdict(DeliveryState.READY, NOW + timedelta(seconds=16))
    assert judge(attempt(None), 6, NOW) == Verdict(DeliveryState.FAILED)


@given(st.integers(100, 599), st.integers(1, 9))
def test_only_5xx_is_tried_again_and_only_2xx_is_success(status: int, tries: int) -> None:
    verdict = judge(attempt(status), tries, NOW)
    assert (verdict.state is DeliveryState.DELIVERED) is (200 <= status < 300)
    assert (verdict.state is DeliveryState.READY) is (status >= 500 and tries <= len(RETRY_AFTER_S))
    assert (verdict.next_at is None) is (verdict.state is not DeliveryState.READY)


@given(st.integers(1, 9))
def test_a_refusal_of_our_own_is_final(tries: int) -> None:
    assert judge(attempt(None, is_final=True), tries, NOW).state is DeliveryState.FAILED


@given(st.lists(st.sampled_from(list(DeliveryState)[1:4]), max_size=80))
def test_the_breaker_opens_after_twenty_failures_in_a_row(states: list[DeliveryState]) -> None:
    """READY, DELIVERED and FAILED in any order; a retry is no failure, and no success either."""
    breaker, row = Breaker(), 0
    for state in states:
        breaker = next_breaker(breaker, Verdict(state), NOW)
        row = 0 if state is DeliveryState.DELIVERED else row + (state is DeliveryState.FAILED)
        assert breaker.failures == row
        assert breaker.paused_until == (NOW + BREAKER_PAUSE if row >= BREAKER_LIMIT else None)
