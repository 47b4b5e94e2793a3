"""How often a token may ask."""

from __future__ import annotations

from tapedeck.core.quota import ALL_CALLS, RECORDING_CALLS, Limit, Limiter


def test_the_published_numbers() -> None:
    assert (ALL_CALLS.calls, ALL_CALLS.seconds) == (3500, 300)
    assert (RECORDING_CALLS.calls, RECORDING_CALLS.seconds) == (1000, 50)


def test_a_window_is_counted_from_its_first_call_and_then_begins_anew() -> None:
    limiter = Limiter(Limit(3, 10, "calls"))
    assert [limiter.ask("a", False, at) for at in (5.0, 6.0, 14.9)] == [None, None, None]
    refused = limiter.ask("a", False, 14.9)
    assert refused is not None and refused[1] == 1
    assert limiter.ask("a", False, 15.0) is None


def test_the_wait_is_whole_seconds_until_the_window_ends() -> None:
    limiter = Limiter(Limit(1, 10, "calls"))
    limiter.ask("a", False, 0.0)
    assert [refused[1] for at in (0.0, 0.5, 9.99) if (refused := limiter.ask("a", False, at))] == [10, 10, 1]


def test_tokens_do_not_count_for_each_other() -> None:
    limiter = Limiter(Limit(1, 10, "calls"))
    assert limiter.ask("a", False, 0.0) is None
    assert limiter.ask("b", False, 0.0) is None
    assert limiter.ask("a", False, 0.0) is not None


def test_recordings_have_a_limit_of_their_own_and_count_in_both() -> None:
    limiter = Limiter(Limit(3, 100, "calls"), Limit(2, 10, "calls about recordings"))
    assert [limiter.ask("a", True, 0.0) for _ in range(2)] == [None, None]
    refused = limiter.ask("a", True, 1.0)
    assert refused is not None and refused[0].what == "calls about recordings"
    assert limiter.ask("a", False, 1.0) is None
    refused = limiter.ask("a", False, 1.0)
    assert refused is not None and refused[0].what == "calls"


def test_what_is_refused_is_not_counted() -> None:
    limiter = Limiter(Limit(2, 100, "calls"), Limit(1, 10, "calls about recordings"))
    assert limiter.ask("a", True, 0.0) is None
    assert all(limiter.ask("a", True, 1.0) for _ in range(5))
    assert limiter.ask("a", False, 1.0) is None


def test_memory_is_bounded_and_the_busy_are_not_forgotten() -> None:
    limiter = Limiter(Limit(2, 100, "calls"), kept=10)
    limiter.ask("busy", False, 0.0)
    for number in range(1000):
        limiter.ask(f"t{number}", False, 1.0)
        if number == 5:
            limiter.ask("busy", False, 1.0)
        if number == 8:
            assert limiter.ask("busy", False, 1.0) is not None
    assert len(limiter._windows) == 10
