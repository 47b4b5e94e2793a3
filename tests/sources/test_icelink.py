"""sources.icelink and the tap below it: what is given up in the middle leaves nothing open and goes on nowhere."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
import uvloop
from tests.pace import beat
from tests.sources.kit import LOOPBACK

from tapedeck.core.errors import UnavailableError
from tapedeck.sources import icelink
from tapedeck.sources.icelink import IceLink
from tapedeck.sources.network import NetworkSettings
from tapedeck.sources.tap import DtlsTransport, IceConnection


class Wire:
    """What a DTLS transport talks over; its other end says nothing but what a test puts here."""

    role = "controlled"

    def __init__(self) -> None:
        self.arriving: asyncio.Queue[bytes] = asyncio.Queue()

    async def _recv(self) -> bytes:
        return await self.arriving.get()

    async def _send(self, data: bytes) -> None:
        pass


def open_link(network: NetworkSettings = LOOPBACK) -> IceLink:
    return IceLink(network, on_media=lambda data: None, on_fault=lambda exc: None, on_lost=lambda: None)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[IceConnection]:
    """All that links make, in order."""
    made: list[IceConnection] = []

    class Known(IceConnection):
        def __init__(self, owner: IceLink, *, controlling: bool) -> None:
            super().__init__(owner, controlling=controlling)
            made.append(self)

    monkeypatch.setattr(icelink, "IceConnection", Known)
    return made


@pytest.mark.parametrize("steps", range(5))
async def test_a_handshake_is_given_up_in_whatever_moment_a_datagram_comes(steps: int) -> None:
    """With it, too: asyncio.wait_for, by which aiortc waits, returns it then and forgets that it was cancelled."""
    wire = Wire()
    dtls = DtlsTransport(wire, lambda: None)
    task = asyncio.create_task(dtls.handshake([("sha-256", "00")], server=False))
    for _ in range(10):
        await beat(0)
    wire.arriving.put_nowait(b"\x16rubbish")
    for _ in range(steps):
        await beat(0)
    task.cancel()
    await asyncio.wait({task}, timeout=10)
    was_cancelled = task.cancelled()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert was_cancelled


@pytest.mark.parametrize("steps", range(5))
async def test_restart_of_a_link_that_closes_meanwhile_leaves_no_socket(
    steps: int, connections: list[IceConnection]
) -> None:
    link = open_link()
    await link.gather()
    restarting = asyncio.create_task(link.restart())
    for _ in range(steps):
        await beat(0)
    await link.close()
    with contextlib.suppress(UnavailableError):
        await restarting
    assert [connection._protocols for connection in connections] == [[], []]


@pytest.mark.parametrize("steps", range(5))
async def test_restart_that_is_cancelled_leaves_no_socket(steps: int, connections: list[IceConnection]) -> None:
    """While a server is asked for an address, and answers nothing."""
    link = open_link(NetworkSettings(hosts=("127.0.0.1",), ice_servers=("stun:127.0.0.1:9",)))
    restarting = asyncio.create_task(link.restart())
    for _ in range(steps):
        await beat(0)
    restarting.cancel()
    await asyncio.gather(restarting, return_exceptions=True)
    await link.close()
    assert not any(connection._protocols for connection in connections)
    assert not [task for task in asyncio.all_tasks() if "server_reflexive" in repr(task)]


@pytest.mark.parametrize("steps", range(4))
def test_sockets_that_are_opened_when_it_is_given_up_are_closed(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the loop that serves, which would leave them open for ever, and wait for them at its own end."""
    made: list[socket.socket] = []

    class Known(socket.socket):
        def __init__(self, *args: int) -> None:
            super().__init__(*args)
            made.append(self)

    async def scenario() -> None:
        monkeypatch.setattr("tapedeck.sources.tap.socket.socket", Known)
        link = open_link()
        gathering = asyncio.create_task(link.gather())
        for _ in range(steps):
            await beat(0)
        gathering.cancel()
        await asyncio.gather(gathering, return_exceptions=True)
        await link.close()
        for _ in range(4):
            await beat(0)
        assert all(one.fileno() == -1 for one in made)

    uvloop.run(scenario())
