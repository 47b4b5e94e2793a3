"""core.mediaclock: RTP time without wraps, resets noticed, reception statistics."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.mediaclock import MediaClock, Reception

S = 1_000_000_000
RATE = 90_000


def test_first_timestamp_is_taken_as_it_is() -> None:
    clock = MediaClock(RATE)
    assert not clock.started
    assert clock.map(12345, 7 * S) == (12345, False)
    assert clock.started


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 20 * S), min_size=1, max_size=50))
def test_steady_clock_unwraps_without_resets(base: int, steps: list[int]) -> None:
    """Any pauses between frames up to 20 s each, over the wrap and back."""
    clock = MediaClock(RATE)
    now, true = 0, base
    assert clock.map(base, 0) == (base, False)
    for step in steps:
        now += step
        true = base + now * RATE // S
        assert clock.map(true & 0xFFFFFFFF, now) == (true, False)


def test_silence_of_a_day_is_counted_in_full() -> None:
    """A day is two wraps of 32 bits at 90 kHz: arrival says how many."""
    clock = MediaClock(RATE)
    clock.map(1000, 0)
    day = 86_400
    assert clock.map((1000 + day * RATE) & 0xFFFFFFFF, day * S) == (1000 + day * RATE, False)


def test_reordered_pictures_go_back_without_a_reset() -> None:
    clock = MediaClock(RATE)
    clock.map(90_000, 0)
    assert clock.map(96_000, S // 30) == (96_000, False)
    assert clock.map(93_000, 2 * S // 30) == (93_000, False)


def test_reset_clock_continues_by_arrival() -> None:
    for jump in (-3 * RATE, 3_000_000_000, 6 * RATE, -1_900_000_000):
        clock = MediaClock(RATE)
        clock.map(0x80000000, 0)
        media, reset = clock.map((0x80000000 + 9000 + jump) & 0xFFFFFFFF, S // 10)
        assert reset
        assert media == 0x80000000 + 9000
        assert clock.map((0x80000000 + 18_000 + jump) & 0xFFFFFFFF, S // 5) == (media + 9000, False)


def test_sender_that_stood_still_is_not_a_reset_before_half_a_minute() -> None:
    clock = MediaClock(RATE)
    clock.map(0, 0)
    assert clock.map(3000, 20 * S) == (3000, False)
    media, reset = clock.map(6000, 60 * S)
    assert reset
    assert media == 3000 + 40 * RATE


def test_replaced_clock_continues_by_arrival_whatever_it_says() -> None:
    clock = MediaClock(RATE)
    clock.map(500, 0)
    clock.replace()
    assert clock.place(600, S) is None
    assert clock.map(400, 2 * S) == (500 + 2 * RATE, True)
    assert clock.map(3400, 2 * S + S // 30) == (500 + 2 * RATE + 3000, False)


def test_sender_report_is_placed_on_the_same_counter() -> None:
    clock = MediaClock(RATE)
    assert clock.place(0, 0) is None
    clock.map(0xFFFFFF00, 0)
    assert clock.place(0x00000100, S) == 0x100000100
    assert clock.place(0xFFFFFE00, 0) == 0xFFFFFE00
    assert clock.place(0x40000000, S) is None


# Reception


def test_loss_is_reported_per_interval_and_in_sum() -> None:
    reception = Reception(9, RATE)
    for sequence in (65534, 65535, 1, 2):
        reception.count(sequence, 0, 0)
    block = reception.block(S)
    assert (block.ssrc, block.packets_lost, block.highest_sequence) == (9, 1, 65536 + 2)
    assert block.fraction_lost == 256 // 5
    for sequence in (3, 4):
        reception.count(sequence, 0, 0)
    block = reception.block(2 * S)
    assert (block.packets_lost, block.fraction_lost) == (1, 0)


def test_duplicates_do_not_make_loss_negative_in_the_interval() -> None:
    reception = Reception(9, RATE)
    for sequence in (5, 5, 5):
        reception.count(sequence, 0, 0)
    assert reception.block(S).fraction_lost == 0


def test_jitter_of_an_even_stream_is_nothing_and_grows_with_delay() -> None:
    even, uneven = Reception(1, RATE), Reception(2, RATE)
    for i in range(200):
        even.count(i, i * 3000, i * S // 30)
        uneven.count(i, i * 3000, i * S // 30 + (i % 2) * 10_000_000)
    assert even.block(S).jitter == 0
    assert 850 <= uneven.block(S).jitter <= 900


def test_delay_since_sender_report_is_in_65536ths() -> None:
    reception = Reception(1, RATE)
    assert reception.block(S).last_sr == 0
    reception.sender_report(0x0123456789ABCDEF, S)
    block = reception.block(3 * S // 2)
    assert (block.last_sr, block.delay_since_sr) == (0x456789AB, 32768)


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 2**32 - 1), st.integers(0, 10 * S)), max_size=60))
def test_any_packets_make_a_report_that_fits(packets: list[tuple[int, int, int]]) -> None:
    reception = Reception(1, RATE)
    for packet in packets:
        reception.count(*packet)
        block = reception.block(packet[2])
        assert 0 <= block.fraction_lost <= 255
