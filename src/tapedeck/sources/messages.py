"""Data channels of a peer: SCTP over its DTLS, by aiortc, with limits (RFC 8831, 8832).

Beside `sources/tap.py` the only file that uses private names of aiortc; tests/sources/test_tap_contract.py fails loudly
when one of them moves. Owns that nothing a peer sends here ends its media or takes memory without bound: who does not
keep to the window loses the association, and media goes on. Refuses to know what messages mean.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpCapabilities, RTCSctpTransport
from aiortc import rtcsctptransport as _sctp

from tapedeck.core.timed import MESSAGE_LIMIT
from tapedeck.sources.tap import DtlsTransport

__all__ = ["SCTP_PORT", "Messages"]

SCTP_PORT = 5000
_WINDOW_BYTES = 1 << 18
_MOST_STREAMS = 64
_MOST_PIECES = 1024
"""Pieces of messages that are not whole yet, and packets behind one that is missing."""
_WORDS = {
    _sctp.WEBRTC_STRING: False,
    _sctp.WEBRTC_BINARY: False,
    _sctp.WEBRTC_STRING_EMPTY: True,
    _sctp.WEBRTC_BINARY_EMPTY: True,
}
"""What a message says it is, and whether it is an empty one."""


class Messages(RTCSctpTransport):
    """Both ends: `begin` when there are keys, `finish` before DTLS ends."""

    def __init__(
        self, dtls: DtlsTransport, on_message: Callable[[bytes], None], on_fault: Callable[[Exception], None]
    ) -> None:
        """`on_message` gets each message of any channel; `on_fault` what a packet made go wrong."""
        super().__init__(dtls, SCTP_PORT)
        self._on_message = on_message
        self._on_fault = on_fault
        self._advertised_rwnd = _WINDOW_BYTES
        self._inbound_streams_max = _MOST_STREAMS
        self._is_over = False

    async def begin(self, port: int) -> None:
        """Connect with the peer's `port`; returns at once. A link that is gone is no error."""
        await self.start(RTCSctpCapabilities(maxMessageSize=MESSAGE_LIMIT), port)

    async def finish(self) -> None:
        """End the association. Nothing comes any more."""
        self._is_over = True
        await self.stop()
        self._inbound_streams.clear()
        self._sack_misordered.clear()

    def open(self, label: str = "messages") -> RTCDataChannel:
        """A channel of ours, to send on."""
        return RTCDataChannel(self, RTCDataChannelParameters(label=label))

    @property
    def is_idle(self) -> bool:
        """Whether the peer has taken all that was sent."""
        return not (self._data_channel_queue or self._outbound_queue or self._sent_queue)

    # of aiortc

    async def _send_chunk(self, chunk: Any) -> None:
        with contextlib.suppress(ConnectionError):  # the link is going; aiortc's timers have nobody to tell
            await super()._send_chunk(chunk)

    async def _handle_data(self, data: bytes) -> None:
        if self._is_over:
            return
        try:
            await super()._handle_data(data)
        except Exception as exc:  # the peer's doing: aiortc stops with assertions, and would end the DTLS with it
            self._on_fault(exc)
        if self._is_too_much():
            self._on_fault(ValueError("the peer does not keep to the limits of its data channels"))
            await self.finish()

    def _is_too_much(self) -> bool:
        streams = self._inbound_streams
        return (
            self._advertised_rwnd < 0
            or len(self._sack_misordered) > _MOST_PIECES
            or len(streams) > _MOST_STREAMS
            or len(self._data_channels) > _MOST_STREAMS
            or sum(len(stream.reassembly) for stream in streams.values()) > _MOST_PIECES
        )

    async def _data_channel_receive(self, stream_id: int, pp_id: int, data: bytes) -> None:
        is_empty = _WORDS.get(pp_id)
        if is_empty is None:
            await super()._data_channel_receive(stream_id, pp_id, data)
        elif not self._is_over:
            self._on_message(b"" if is_empty else data)
