"""The ICE side of one peer: a connection that can be restarted under a running DTLS association.

aiortc has no ICE restart. Here each ICE session is an IceConnection of its own (sources.tap); a restart connects a new
one while the old carries on, then moves over (RFC 8445 9, RFC 9725 4.3.3). Owns which ICE session is in use; refuses to
know what the datagrams mean.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from tapedeck.core.errors import UnavailableError
from tapedeck.sources.network import NetworkSettings
from tapedeck.sources.sdp import IceCredentials
from tapedeck.sources.tap import IceConnection

__all__ = ["IceLink"]

T = TypeVar("T")

_OLD_PATH_S = 2.0
"After a restart the old sockets stay this long for packets on their way."
_DTLS_QUEUE = 256
"Datagrams; a handshake needs a handful, more is a flood."


class IceLink:
    """Stands in for aiortc's RTCIceTransport under a DtlsTransport."""

    def __init__(
        self,
        network: NetworkSettings,
        *,
        controlling: bool = False,
        on_media: Callable[[bytes], None],
        on_fault: Callable[[Exception], None],
        on_lost: Callable[[], None],
    ) -> None:
        """`on_media` gets each datagram that may be SRTP or SRTCP; `on_fault` what a datagram made go wrong; `on_lost`
        is called when consent has expired (RFC 7675) and no restart is under way: the link will not come back."""
        self.network = network
        self.heard_at = 0
        self.rtt_ns = 0
        # instance attributes on purpose: one call less per packet
        self.on_media = on_media
        self.on_fault = on_fault
        self._on_lost = on_lost
        self._controlling = controlling
        self._dtls: asyncio.Queue[bytes | None] = asyncio.Queue(_DTLS_QUEUE)
        self._connection = IceConnection(self, controlling=controlling)
        self._next: IceConnection | None = None
        self._old: list[IceConnection] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    # what aiortc's DTLS transport uses

    @property
    def role(self) -> str:
        return "controlling" if self._controlling else "controlled"

    async def _recv(self) -> bytes:
        data = await self._dtls.get()
        if data is None:
            raise ConnectionError("the link is closed")
        return data

    async def _send(self, data: bytes) -> None:
        if self._closed or not self._connection.send_nowait(data):
            raise ConnectionError("the link is closed, or no candidate pair is nominated")

    # ours

    def on_dtls(self, data: bytes) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._dtls.put_nowait(data)

    def send_nowait(self, data: bytes) -> None:
        """Send a datagram; dropped while no pair is nominated, as the network might."""
        if not self._closed:
            self._connection.send_nowait(data)

    @property
    def credentials(self) -> IceCredentials:
        """Ours, of the newest ICE session."""
        newest = self._next or self._connection
        return IceCredentials(newest.local_username, newest.local_password)

    @property
    def candidates(self) -> list[str]:
        """Ours, of the newest ICE session, as values of a=candidate."""
        return [candidate.to_sdp() for candidate in (self._next or self._connection).local_candidates]

    def take_control(self) -> None:
        """Be the controlling agent, because the peer is a lite one (RFC 8445 6.1.1). Before `connect`."""
        self._controlling = self._connection.ice_controlling = True

    async def gather(self) -> None:
        """Open sockets and find candidates. Raises UnavailableError when there is none to offer."""
        await self._gather(self._connection)

    async def _gather(self, connection: IceConnection) -> None:
        try:
            await connection.gather_candidates()
        except BaseException:
            await connection.close()
            raise
        if not connection.local_candidates:
            await connection.close()
            ports = self.network.ports
            why = f"every UDP port from {ports[0]} to {ports[1]} is in use" if ports else "no UDP port can be opened"
            raise UnavailableError(f"no media connection can be offered: {why}", retry_after_s=5)

    async def add_candidates(self, candidates: Sequence[str], *, end: bool = False) -> None:
        """Candidates of the peer's newest ICE session. Raises InvalidError for a malformed one."""
        await (self._next or self._connection).add_candidates(candidates, end=end)

    async def connect(self, remote: IceCredentials, *, lite: bool = False) -> None:
        """Return when a pair is nominated. Raises ConnectionError when none can be; may take for ever."""
        self._connection.set_remote(remote, lite=lite)
        await self._connection.connect()
        self._spawn(self._watch(self._connection), "ice watch")

    async def restart(self) -> None:
        """Begin a new ICE session: new credentials, sockets and candidates. The old one carries on meanwhile.

        Raises UnavailableError.
        """
        connection = IceConnection(self, controlling=self._controlling)
        await self._gather(connection)
        if self._closed:  # meanwhile: nobody else would close these sockets
            await connection.close()
            raise UnavailableError("ICE cannot be restarted: the session has ended")
        abandoned, self._next = self._next, connection
        if abandoned is not None:
            await abandoned.close()

    async def cancel_restart(self) -> None:
        """Give up an ICE session that `restart` began and that is not in use yet."""
        abandoned, self._next = self._next, None
        if abandoned is not None:
            await abandoned.close()

    def move(self, remote: IceCredentials, *, timeout_s: float, lite: bool = False) -> asyncio.Task[bool]:
        """Connect the ICE session begun by `restart` and use it. The task's result: did it connect in time?"""
        connection = self._next
        if connection is None:
            raise RuntimeError("move without restart")
        connection.set_remote(remote, lite=lite)
        return self._spawn(self._move(connection, timeout_s), "ice restart")

    async def _move(self, connection: IceConnection, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await connection.connect()
        except (ConnectionError, TimeoutError):
            if connection is self._next:
                self._next = None
                if not self._connection.nominated:
                    self._lose()
            await connection.close()
            return False
        if self._closed or connection is not self._next:
            return False
        old, self._connection, self._next = self._connection, connection, None
        self._old.append(old)
        self._spawn(self._watch(connection), "ice watch")
        self._spawn(self._retire(old), "ice retire")
        return True

    async def _retire(self, old: IceConnection) -> None:
        await asyncio.sleep(_OLD_PATH_S)
        await old.close()
        self._old.remove(old)

    async def _watch(self, connection: IceConnection) -> None:
        """Wait for the end of an ICE session; it is the end of the link unless another is under way."""
        await connection.get_event()
        if connection is self._connection and self._next is None:
            self._lose()

    def _lose(self) -> None:
        self._on_lost()
        self._end_dtls()

    def _end_dtls(self) -> None:
        if self._dtls.full():
            self._dtls.get_nowait()
        self._dtls.put_nowait(None)

    def _spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Close all sockets."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in (self._connection, self._next, *self._old):
            if connection is not None:
                await connection.close()
        self._end_dtls()

    def vanish(self) -> None:
        """Close the sockets as a crashed machine would: nothing is said to the peer."""
        self._closed = True
        for connection in (self._connection, self._next):
            if connection is not None:
                connection.abort()
