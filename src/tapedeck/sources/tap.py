"""The tap: ICE, DTLS and SRTP of aiortc, with our hands on the datagrams.

This is the only file that uses private names of aiortc, aioice and pylibsrtp; tests/sources/test_tap_contract.py fails
loudly when one of them moves. Owns sockets, candidates, keys, and the short way of a media datagram: from the socket
straight to `on_media`, past STUN parsing, queues and coroutines. Refuses to look into RTP (core.rtp) and SDP
(sources.sdp), and to decide when ICE starts anew (sources.icelink).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from aioice import Candidate, Connection
from aioice import ice as _ice
from aioice import stun as _stun
from aioice.candidate import candidate_foundation, candidate_priority
from aiortc import RTCCertificate, RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport
from aiortc import rtcdtlstransport as _dtls
from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session, ffi, lib  # type: ignore[attr-defined]

from tapedeck.core.errors import InvalidError
from tapedeck.sources.network import NetworkSettings
from tapedeck.sources.sdp import IceCredentials

__all__ = ["DtlsTransport", "IceConnection", "IceOwner", "SrtpReader"]

_MAX_REMOTE_CANDIDATES = 32
_MAX_PEER_ADDRESSES = 64
"Addresses that one authenticated peer may send checks from."
_SOCKET_BUFFER_BYTES = 4 << 20
"Asked of the kernel for each socket, which gives what net.core.rmem_max allows."
_REPLAY_WINDOW = 8192
"Packets (RFC 3711 3.3.2): a resent packet may be two seconds old at 4000 packets per second."
_GATHER_TIMEOUT_S = 5
_ICE_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


class IceOwner(Protocol):
    """Who gets what arrives on the sockets of an IceConnection."""

    network: NetworkSettings
    heard_at: int
    "Monotonic ns of the last STUN message."
    rtt_ns: int
    "Last measured round trip."

    def on_media(self, data: bytes) -> None:
        """A datagram that may be SRTP or SRTCP."""

    def on_dtls(self, data: bytes) -> None:
        """A datagram that may be DTLS."""

    def on_fault(self, exc: Exception) -> None:
        """What a datagram made go wrong."""


class _Socket(_ice.StunProtocol):
    """One socket. Sorts datagrams by their first byte (RFC 7983); nothing that arrives raises out of here."""

    def __init__(self, connection: IceConnection) -> None:
        super().__init__(connection)
        self._owner = connection.owner

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        owner = self._owner
        try:
            first: int = data[0] if data else 0  # type: ignore[assignment]
            if 127 < first < 192:
                owner.on_media(data)  # type: ignore[arg-type]
            elif 19 < first < 64:
                owner.on_dtls(data)  # type: ignore[arg-type]
            else:
                super().datagram_received(data, addr)
                owner.heard_at = time.monotonic_ns()
        except Exception as exc:  # the network's doing, or a fault of ours that must not stop the others
            owner.on_fault(exc)

    async def request(
        self,
        request: _stun.Message,
        addr: tuple[str, int],
        integrity_key: bytes | None = None,
        retransmissions: int | None = None,
    ) -> tuple[_stun.Message, tuple[str, int]]:
        started = time.monotonic_ns()
        result = await super().request(request, addr, integrity_key, retransmissions)
        elapsed = time.monotonic_ns() - started
        if elapsed < _stun.RETRY_RTO * 1_000_000_000:  # else we do not know which of the requests was answered
            self._owner.rtt_ns = elapsed
        return result


class IceConnection(Connection):
    """One ICE session (one pair of credentials) on sockets of our choosing."""

    def __init__(self, owner: IceOwner, *, controlling: bool) -> None:
        self.owner = owner
        source = random.SystemRandom()
        super().__init__(
            ice_controlling=controlling,
            local_username="".join(source.choices(_ICE_CHARACTERS, k=8)),
            local_password="".join(source.choices(_ICE_CHARACTERS, k=32)),
        )

    # of aioice

    async def get_component_candidates(
        self,
        component: int,
        addresses: list[str],
        timeout: int = _GATHER_TIMEOUT_S,  # noqa: ASYNC109  (aioice's signature)
    ) -> list[Candidate]:
        network = self.owner.network
        candidates: list[Candidate] = []
        for address in network.hosts or _host_addresses():
            opened = await self._open(address)
            if opened is not None:
                host, port = opened.transport.get_extra_info("sockname")[:2]
                opened.local_candidate = Candidate(
                    foundation=candidate_foundation("host", "udp", host),
                    component=component,
                    transport="udp",
                    priority=candidate_priority(component, "host"),
                    host=host,
                    port=port,
                    type="host",
                )
                self._protocols.append(opened)
                candidates.append(opened.local_candidate)
        if network.servers:
            tasks = [asyncio.ensure_future(ask) for ask in self._ask_servers(component)]
            try:
                await asyncio.wait(tasks, timeout=timeout)
            finally:  # also when this is cancelled: what a server gave is closed with the connection
                for task in tasks:
                    if not task.done():
                        task.cancel()
                    elif task.exception() is None:
                        candidate, relay = task.result()
                        candidates.append(candidate)
                        if relay is not None:
                            self._protocols.append(relay)
        return candidates

    def check_incoming(self, message: _stun.Message, addr: tuple[str, int], protocol: _ice.StunProtocol) -> None:
        if len(self._remote_candidates) < _MAX_PEER_ADDRESSES or any(
            c._network_host == addr[0] and c.port == addr[1] for c in self._remote_candidates
        ):
            super().check_incoming(message, addr, protocol)

    # ours

    def _ask_servers(self, component: int) -> list[Any]:
        """Coroutines that each get a candidate from a configured server."""
        asks: list[Any] = []
        for server in self.owner.network.servers:
            address = (server.host, server.port)
            if server.turn:
                asks.append(
                    _ice.relayed_candidate(
                        component=component,
                        hide_related_address=False,
                        protocol_factory=lambda: _Socket(self),
                        turn_server=address,
                        turn_username=server.username,
                        turn_password=server.password,
                        turn_ssl=server.tls,
                        turn_transport=server.transport,
                    )
                )
            else:
                asks += [
                    _ice.server_reflexive_candidate(opened, address)
                    for opened in self._protocols
                    if ":" not in opened.local_candidate.host
                ]
        return asks

    async def _open(self, address: str) -> _Socket | None:
        ports = self.owner.network.ports
        tries = random.sample(range(ports[0], ports[1] + 1), ports[1] + 1 - ports[0]) if ports else [0]
        for port in tries:
            # uvloop leaks a socket that it cannot bind, so it gets a bound one
            raw = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
            try:
                raw.setblocking(False)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER_BYTES)
                raw.bind((address, port))
            except OSError:
                raw.close()
                continue
            loop = asyncio.get_running_loop()
            opening = asyncio.ensure_future(loop.create_datagram_endpoint(lambda: _Socket(self), sock=raw))
            try:
                _, opened = await asyncio.shield(opening)
            except asyncio.CancelledError:  # nor does it close one whose opening is cancelled, and its end waits for it
                (await opening)[0].close()
                raise
            return opened
        return None

    def set_remote(self, credentials: IceCredentials, *, lite: bool) -> None:
        """The peer's credentials; needed before `connect`."""
        self.remote_username, self.remote_password = credentials.ufrag, credentials.password
        self.remote_is_lite = lite

    async def add_candidates(self, candidates: Sequence[str], *, end: bool) -> None:
        """The peer's candidates, as values of a=candidate; `end`: no more will come.

        Those we cannot use (TCP, mDNS names, too many) are left out: the peer's own checks reach us anyway. When none
        is left the end is not passed on: aioice would give up at once instead of waiting for them. Raises InvalidError
        for a malformed one.
        """
        for text in candidates:
            try:
                candidate = Candidate.from_sdp(text)
            except (ValueError, IndexError, KeyError) as exc:
                raise InvalidError(f"malformed ICE candidate {text[:40]!r}") from exc
            usable = candidate.transport.lower() == "udp" and candidate.component == 1 and 0 < candidate.port < 65536
            if (
                usable
                and not candidate.host.endswith(".local")
                and len(self._remote_candidates) < _MAX_REMOTE_CANDIDATES
                and not self._remote_candidates_end
            ):
                await self.add_remote_candidate(candidate)
        if end and self._remote_candidates and not self._remote_candidates_end:
            await self.add_remote_candidate(None)

    def send_nowait(self, data: bytes) -> bool:
        """Send on the nominated pair; False when there is none."""
        pair = self._nominated.get(1)
        if pair is None:
            return False
        pair.protocol.transport.sendto(data, pair.remote_addr)
        return True

    @property
    def nominated(self) -> bool:
        return bool(self._nominated)

    def abort(self) -> None:
        """Close the sockets at once, as a crashed machine would."""
        self._closing = True
        if self._query_consent_task is not None:
            self._query_consent_task.cancel()
        for opened in self._protocols:
            opened.transport.abort()


def _host_addresses() -> list[str]:
    """Addresses of this machine that a peer may reach; loopback only when there is no other."""
    return _ice.get_host_addresses(use_ipv4=True, use_ipv6=True) or ["127.0.0.1"]


class SrtpReader:
    """Unprotects into one buffer, without an allocation or an exception per packet."""

    __slots__ = ("_cdata", "_length", "_session", "_srtp", "buffer", "rtp", "size")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._srtp = session._srtp[0]
        self._cdata = session._cdata
        self._length = ffi.new("int *")
        self.buffer = session._buffer
        self.size = len(session._cdata)
        self.rtp: Callable[[bytes], int] = self._rtp_reader()

    def _rtp_reader(self) -> Callable[[bytes], int]:
        """A function on local names only: it runs for every packet."""
        srtp, cdata, length, buffer, limit = self._srtp, self._cdata, self._length, self.buffer, self.size
        unprotect = lib.srtp_unprotect

        def rtp(data: bytes) -> int:
            """Length of the RTP packet now in `buffer`; -1: the datagram is not authentic, a replay, or too long."""
            size = len(data)
            if size > limit:
                return -1
            buffer[0:size] = data
            length[0] = size
            if unprotect(srtp, cdata, length):
                return -1
            return length[0]  # type: ignore[no-any-return]

        return rtp

    def rtcp(self, data: bytes) -> bytes | None:
        """The compound packet in clear, or None."""
        size = len(data)
        if size > self.size:
            return None
        self.buffer[0:size] = data
        self._length[0] = size
        if lib.srtp_unprotect_rtcp(self._srtp, self._cdata, self._length):
            return None
        return cast(bytes, self.buffer[0 : self._length[0]])


class DtlsTransport(RTCDtlsTransport):
    """DTLS-SRTP over anything that has `role`, `_recv` and `_send` as aiortc's ICE transport does."""

    def __init__(self, link: object, on_closed: Callable[[], None]) -> None:
        """`on_closed` is called when the peer has closed the connection, or it failed."""
        super().__init__(cast(Any, link), [RTCCertificate.generateCertificate()])
        self.reader: SrtpReader | None = None
        self._on_closed = on_closed
        self.on("statechange", self._on_state)

    def _on_state(self) -> None:
        if self.state in ("closed", "failed"):
            self._on_closed()

    @property
    def fingerprints(self) -> list[tuple[str, str]]:
        """Of our certificate, as in a=fingerprint."""
        return [(f.algorithm, f.value) for f in self.getLocalParameters().fingerprints if f.algorithm == "sha-256"]

    async def handshake(self, fingerprints: Sequence[tuple[str, str]], *, server: bool) -> None:
        """Return when media can flow. Raises ConnectionError when the peer is not who the SDP says, or gives up."""
        self._set_role("server" if server else "client")
        known = [RTCDtlsFingerprint(a, d) for a, d in fingerprints if a in _dtls.X509_DIGEST_ALGORITHMS]
        await self.start(RTCDtlsParameters(fingerprints=known))
        if self.reader is None:
            raise ConnectionError("the DTLS handshake failed")

    async def _recv_next(self) -> None:
        """aiortc waits with `asyncio.wait_for`, which in Python 3.11 loses a cancellation that comes with a datagram:
        a handshake that was given up would go on until the peer ends it, or OpenSSL has asked for minutes."""
        task = asyncio.current_task()
        asked = 0 if task is None else task.cancelling()
        await super()._recv_next()
        if task is not None and task.cancelling() > asked:
            raise asyncio.CancelledError

    def _setup_srtp(self) -> None:
        super()._setup_srtp()
        tls = self._ssl
        if tls is None or self.state == "failed":
            return
        # Once more, with a replay window as wide as our patience.
        name = tls.get_selected_srtp_profile()
        profile = next(p for p in self._srtp_profiles if p.openssl_profile == name)
        keys = tls.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (profile.key_length + profile.salt_length))
        theirs = 0 if self._role == "server" else 1
        sessions = []
        for index, kind in ((theirs, Policy.SSRC_ANY_INBOUND), (1 - theirs, Policy.SSRC_ANY_OUTBOUND)):
            key = profile.get_key_and_salt(keys, index)
            policy = Policy(key=key, ssrc_type=kind, srtp_profile=profile.libsrtp_profile)
            policy.allow_repeat_tx = True
            policy.window_size = _REPLAY_WINDOW
            sessions.append(Session(policy))
        self._rx_srtp, self._tx_srtp = sessions
        self.reader = SrtpReader(self._rx_srtp)

    async def stop(self) -> None:
        """Close the association; the peer is told even when its handshake was refused."""
        if self.state == "failed" and self._ssl is not None:
            with contextlib.suppress(_dtls.SSL.Error, ConnectionError):  # type: ignore[attr-defined]
                self._ssl.shutdown()
                await self._write_ssl()
        await super().stop()

    def protect_rtp(self, data: bytes) -> bytes:
        """SRTP of a packet; b"" when there are no keys yet, or the packet is too old or too long to be sent."""
        try:
            return self._tx_srtp.protect(data) if self.reader is not None else b""
        except (SrtpError, ValueError):
            return b""

    def protect_rtcp(self, data: bytes) -> bytes:
        """SRTCP of a compound packet; b"" when there are no keys yet."""
        return self._tx_srtp.protect_rtcp(data) if self.reader is not None else b""

    def forget(self, ssrc: int) -> None:
        """Free what SRTP keeps for a source that is gone."""
        if self.reader is not None:
            with contextlib.suppress(SrtpError):
                self._rx_srtp.remove_stream(ssrc)
