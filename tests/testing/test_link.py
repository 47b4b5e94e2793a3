"""testing.link: a bad network that is the same bad network every time."""

from __future__ import annotations

import asyncio

from tapedeck.testing.link import HookedLink, Impairment


def test_fates_depend_on_the_seed_alone() -> None:
    bad = Impairment(loss=0.2, delay_ms=10, jitter_ms=5, reorder=0.1, duplicate=0.1)
    first, again, other = bad.fates(1), bad.fates(1), bad.fates(2)
    fates = [first() for _ in range(200)]
    assert fates == [again() for _ in range(200)]
    assert fates != [other() for _ in range(200)]


def test_shares_are_what_they_are_called() -> None:
    fate = Impairment(loss=0.1, delay_ms=50, jitter_ms=10, reorder=0.2, reorder_ms=100, duplicate=0.05).fates(3)
    fates = [fate() for _ in range(20_000)]
    arrived = [times for times in fates if times]
    assert 0.09 < fates.count(()) / len(fates) < 0.11
    assert 0.04 < sum(len(times) == 2 for times in arrived) / len(arrived) < 0.06
    assert 0.19 < sum(times[0] >= 150 for times in arrived) / len(arrived) < 0.21
    assert all(50 <= times[0] < 60 or 150 <= times[0] < 160 for times in arrived)


def test_clean_network_passes_everything_at_once() -> None:
    fate = Impairment().fates(1)
    assert [fate() for _ in range(10)] == [(0.0,)] * 10


async def test_hooked_link_loses_delays_and_passes() -> None:
    got: list[bytes] = []
    arrived = asyncio.Event()

    def take(data: bytes) -> None:
        got.append(data)
        arrived.set()

    gone = HookedLink(Impairment(loss=1), 1)
    gone(b"lost", take)
    assert (gone.lost, got) == (1, [])
    gone.active = False
    gone(b"passed", take)
    assert got == [b"passed"]

    slow = HookedLink(Impairment(delay_ms=5), 1)
    arrived.clear()
    slow(b"late", take)
    assert got == [b"passed"]
    await arrived.wait()
    assert got == [b"passed", b"late"]
    slow(b"never", take)
    slow.close()
    slow.active = False
    slow(b"last", take)
    assert got == [b"passed", b"late", b"last"]
