"""One WebRTC peer that publishes to us: from its offer to its end.

Owns the life of the connection, the way of each packet from SRTP to its track, and the RTCP we send (receiver reports,
REMB, NACK, PLI). What a packet means for a track is sources.incoming's; sockets and keys are sources.tap's.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from tapedeck.core.errors import TapedeckError
from tapedeck.ports.sources import FrameSink, Ingest, PeerInfo
from tapedeck.sources.icelink import IceLink
from tapedeck.sources.incoming import MUTE_AFTER_NS
from tapedeck.sources.messages import SCTP_PORT, Messages
from tapedeck.sources.negotiate import MediaLine, answer_for, data_section, negotiate
from tapedeck.sources.network import NetworkSettings
from tapedeck.sources.receive import MediaReceiver
from tapedeck.sources.sdp import Description, Fragment, IceCredentials, Transport
from tapedeck.sources.tap import DtlsTransport

__all__ = ["PeerSettings", "WebRtcPeer"]

log = structlog.get_logger()

_TICK_S = 0.5
_EARLY_BYTES = 4 << 20
"Media kept while keys or the sink are not there yet."
_FAULT_LOG_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """How peers are received."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    connect_timeout_s: float = 30.0
    "An offer that does not lead to a connection in this time is forgotten."
    video_bitrate: int = 2_500_000
    "bit/s asked of the sender for each video track (REMB)."
    mute_after_ns: int = MUTE_AFTER_NS
    silence_limit_s: float = 5.0
    "A peer whose participant has published anew ends when nothing was heard of it for this long."


class WebRtcPeer:
    """A publisher's connection. `answer`, then `run` until it is over."""

    def __init__(
        self,
        info: PeerInfo,
        ingest: Ingest,
        settings: PeerSettings,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        on_connected: Callable[[], None] = lambda: None,
    ) -> None:
        """`clock` gives monotonic ns."""
        self.info = info
        self.connected = False
        self.superseded = False
        "The same participant has published the same origin again: this peer may be a ghost."
        self._ingest = ingest
        self._settings = settings
        self._clock = clock
        self._on_connected = on_connected
        self._link = IceLink(
            settings.network,
            on_media=self._keep,
            on_fault=self._on_fault,
            on_lost=lambda: self.end("the peer is not heard any more"),
        )
        self._dtls = DtlsTransport(self._link, lambda: self.end("the peer closed the connection"))
        self._offer = Description()
        self._lines: list[MediaLine] = []
        self._early: list[tuple[bytes, int]] = []
        self._early_bytes = 0
        self._sink: FrameSink | None = None
        self._receiver: MediaReceiver | None = None
        self._messages: Messages | None = None
        self._ended = asyncio.Event()
        self._why = ""
        self._rtt_ns = 0
        self._timer: asyncio.TimerHandle | None = None
        self._faults = 0
        self._fault_logged_ns = 0

    # signalling

    async def answer(self, offer: Description) -> Description:
        """Open sockets and answer. Raises InvalidError for an offer that cannot be taken, UnavailableError when no
        socket can be opened."""
        lines = negotiate(offer)
        if offer.transport.ice_lite:
            self._link.take_control()
        try:
            await self._link.gather()
            await self._link.add_candidates(offer.transport.candidates, end=offer.transport.end_of_candidates)
        except BaseException:
            await self.abandon()
            raise
        self._offer, self._lines = offer, lines
        transport = Transport(
            ice=self._link.credentials,
            fingerprints=self._dtls.fingerprints,
            setup="active" if offer.transport.setup == "passive" else "passive",
            candidates=self._link.candidates,
            end_of_candidates=True,
        )
        return answer_for(offer, lines, transport, random.getrandbits(62), video_bitrate=self._settings.video_bitrate)

    async def abandon(self) -> None:
        """Free what `answer` opened, when `run` will not be called."""
        await self._link.close()

    async def trickle(self, fragment: Fragment) -> None:
        """More candidates of the peer. Raises InvalidError."""
        await self._link.add_candidates(fragment.candidates, end=fragment.end_of_candidates)

    async def restart_ice(self, remote: IceCredentials, fragment: Fragment) -> Fragment:
        """The peer has new credentials: ours in return. Raises InvalidError, UnavailableError; the connection carries
        on as it was until the new way works."""
        await self._link.restart()
        try:
            await self._link.add_candidates(fragment.candidates, end=fragment.end_of_candidates)
        except BaseException:
            await self._link.cancel_restart()
            raise
        self._link.move(remote, timeout_s=self._settings.connect_timeout_s, lite=self._offer.transport.ice_lite)
        return Fragment(self._link.credentials, self._link.candidates, end_of_candidates=True)

    # life

    async def run(self) -> None:
        """Connect, join, receive until either side ends it; leaves nothing open."""
        connecting = asyncio.ensure_future(self._connect())
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait(
                (connecting, ended), timeout=self._settings.connect_timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if connecting.done():
                connecting.result()
                await self._join()
                await ended
            else:
                self.end("no connection came about in time")
        except (TapedeckError, ConnectionError) as exc:
            self.end(str(exc))
        except Exception:
            self.end("internal error")
            log.exception("peer_failed", peer_id=self.info.peer_id)
        finally:
            for task in (connecting, ended):
                task.cancel()
            try:
                await asyncio.gather(connecting, ended, return_exceptions=True)
            finally:  # also when this is cancelled meanwhile: a sink that is left open is somebody who never leaves
                await self._close()
            log.info(
                "peer_ended",
                peer_id=self.info.peer_id,
                why=self._why,
                refused=self._receiver.refused if self._receiver else 0,
                faults=self._faults,
            )

    def end(self, why: str) -> None:
        """End the connection soon: `run` returns. The first reason counts."""
        if not self._ended.is_set():
            self._why = why
            self._ended.set()

    def rename(self, name: str) -> None:
        """The participant's display name changed."""
        if self._sink is not None:
            self._sink.rename(name, self._clock())

    async def _connect(self) -> None:
        remote = self._offer.transport
        if remote.ice is None:
            raise ConnectionError("run before answer")
        await self._link.connect(remote.ice, lite=remote.ice_lite)
        await self._dtls.handshake(remote.fingerprints, server=remote.setup != "passive")

    async def _join(self) -> None:
        reader = self._dtls.reader
        if reader is None or self._ended.is_set():
            return
        at = self._clock()
        sink = self._sink = await self._ingest.join(self.info, at)
        receiver = self._receiver = MediaReceiver(
            self._lines,
            self.info,
            sink,
            dtls=self._dtls,
            reader=reader,
            send=self._link.send_nowait,
            clock=self._clock,
            on_fault=self._on_fault,
            video_bitrate=self._settings.video_bitrate,
            mute_after_ns=self._settings.mute_after_ns,
        )
        self.connected = True
        log.info("peer_connected", peer_id=self.info.peer_id, tracks=len(self._lines))
        self._on_connected()
        early, self._early = self._early, []
        for data, arrival in early:
            try:
                receiver.on_media(data, max(arrival, at))
            except Exception as exc:
                self._on_fault(exc)
        self._link.on_media = receiver.on_media
        receiver.start()
        self._tick()
        channels = data_section(self._offer)
        if channels is not None:
            on_message = lambda message: sink.message(message, self._clock())  # noqa: E731
            self._messages = Messages(self._dtls, on_message, self._on_fault)
            await self._messages.begin(channels.sctp_port or SCTP_PORT)

    async def _close(self) -> None:
        self._link.on_media = _drop
        if self._timer is not None:
            self._timer.cancel()
        self.connected = False
        if self._messages is not None:
            await self._messages.finish()
        if self._receiver is not None:
            self._receiver.close()
        if self._sink is not None:
            self._sink.close(self._clock())
        await self._dtls.stop()
        await self._link.close()

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_TICK_S, self._tick)
        receiver = self._receiver
        if receiver is None:
            return
        if self._link.rtt_ns != self._rtt_ns:
            self._rtt_ns = self._link.rtt_ns
            receiver.observe_rtt(self._rtt_ns)
        if self.superseded:
            silence = self._clock() - max(receiver.heard_at, self._link.heard_at)
            if silence > self._settings.silence_limit_s * 1_000_000_000:
                self.end("replaced by a newer connection of the same participant")

    def _keep(self, data: bytes) -> None:
        """Before there are keys and a sink."""
        if self._early_bytes + len(data) <= _EARLY_BYTES:
            self._early_bytes += len(data)
            self._early.append((data, self._clock()))

    # faults

    def _on_fault(self, exc: Exception) -> None:
        """Something raised while a datagram was handled: count, and say so once a second."""
        self._faults += 1
        now = self._clock()
        if now - self._fault_logged_ns >= _FAULT_LOG_NS:
            self._fault_logged_ns = now
            log.warning("datagram_failed", peer_id=self.info.peer_id, count=self._faults, exc_info=exc)


def _drop(data: bytes) -> None:
    """What arrives after the end."""
