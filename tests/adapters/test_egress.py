"""Dialling through the guard, from a thread: what the address guard does for aiohttp is in `test_poster`."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from tests.pace import eventually
from tests.ports import free_port

from tapedeck.adapters.egress import Guard


@pytest.mark.parametrize("host", ["a" * 64 + ".example.com", "a..example.com", ".example.com"])
def test_a_name_that_no_host_can_have_is_a_failure_to_connect(host: str) -> None:
    with pytest.raises(socket.gaierror) as failed:
        Guard(allow_private=True).connect(host, 443, 1.0)
    assert failed.value.errno == socket.EAI_NONAME


@contextmanager
def silent() -> Iterator[int]:
    """A port of 127.0.0.1 where nobody answers: its queue is full."""
    with socket.socket() as full, ExitStack() as held:
        full.bind(("127.0.0.1", free_port()))
        full.listen(0)
        port = full.getsockname()[1]
        for _ in range(3):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


def test_a_name_with_many_addresses_that_do_not_answer_takes_no_longer_than_one() -> None:
    """Who waits for a target or a storage is told in time, and why: big sites have a dozen addresses."""
    tried = list[str]()

    class Noting(Guard):
        def check(self, address: str) -> None:
            tried.append(address)

    with silent() as port, pytest.raises(TimeoutError):
        Noting(look_up=lambda *_: [(socket.AF_INET, 0, "127.0.0.1")] * 8).connect("many.example", port, 0.5)
    assert tried == ["127.0.0.1"]


def test_the_next_address_is_tried_while_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapedeck.adapters.dial._LEAST_S", 0.1)
    with silent() as port, socket.create_server(("127.0.0.2", port)):
        found = [(int(socket.AF_INET), 0, address) for address in ("127.0.0.1", "127.0.0.2")]
        with Guard(allow_private=True, look_up=lambda *_: found).connect("two.example", port, 2.0) as made:
            assert made.getpeername() == ("127.0.0.2", port)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_connection_that_nobody_waits_for_any_more_is_closed(when: str) -> None:
    """Given up while it was made, or together with it."""
    asked, answers = threading.Event(), threading.Event()
    made = list[socket.socket]()

    class Slow(Guard):
        def connect(self, host: str, port: int, timeout_s: float) -> socket.socket:
            asked.set()
            assert answers.wait(30)
            made.append(super().connect(host, port, timeout_s))
            return made[0]

    with socket.create_server(("127.0.0.1", 0)) as server:
        dialling = asyncio.create_task(Slow(allow_private=True).dial("127.0.0.1", server.getsockname()[1], 30.0))
        assert await asyncio.to_thread(asked.wait, 30)
        if when == "after":
            answers.set()
            while not made:  # without a turn of the loop, in which it would be handed over
                pass
        dialling.cancel()
        answers.set()
        with pytest.raises(asyncio.CancelledError):
            await dialling

        async def is_closed() -> bool:
            return bool(made) and made[0].fileno() == -1

        await eventually(is_closed)
