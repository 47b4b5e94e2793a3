"""Sends a stream to an SRT server as MPEG-TS: a call to the very address that was checked, by libsrt.

Ended when the server takes nothing for `stall_s`.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from pathlib import Path

from tapedeck.adapters.dial import Dialler, RefusedAddressError, in_turn
from tapedeck.adapters.srt import PAYLOAD, BrokenConnectionError, RefusedConnectionError, SrtConnection
from tapedeck.core.errors import UnavailableError
from tapedeck.core.target import SrtPlace
from tapedeck.core.transport import TransportFeed
from tapedeck.media.spool import SpoolReader
from tapedeck.push.report import FailedError, Report

__all__ = ["SrtPush"]

_CONNECT_S = 10.0
_BEAT_S = 0.1
_FAREWELL_S = 2.0
_MOST_WAITING = 1 << 20


class SrtPush:
    """One attempt. `run` blocks until the film ends (True), or `stop` is set (False)."""

    def __init__(self, place: SrtPlace, live_dir: Path, dialler: Dialler, stall_s: float, report: Report) -> None:
        self._place = place
        self._reader = SpoolReader(live_dir)
        self._dialler = dialler
        self._stall_s = stall_s
        self._report = report
        self._rest = b""
        "Packets that do not fill a message."
        self._out: deque[bytes] = deque()
        self._sent = 0
        self._confirmed = 0
        self._moved = time.monotonic()

    def run(self, stop: threading.Event) -> bool:
        """Send until the end. FailedError."""
        wire = self._connect()
        feed = TransportFeed()
        self._moved = time.monotonic()
        try:
            while not stop.is_set():
                self._fill(feed)
                self._flush(wire)
                self._watch(wire)
                if feed.has_begun:
                    self._report.live()
                self._report.alive()
                if self._reader.is_ended and not self._out:
                    break
                stop.wait(_BEAT_S)
            ended = not stop.is_set()
            self._part(wire)
            return ended
        except BrokenConnectionError as exc:
            silent_s = time.monotonic() - self._moved
            raise FailedError(
                self._nothing_taken() if silent_s > self._stall_s * 0.8 else "the server closed the connection"
            ) from exc
        finally:
            wire.close()
            self._reader.close()

    def _connect(self) -> SrtConnection:
        place = self._place
        reason = "its name has no address"
        try:
            found = list(self._dialler.addresses(place.host, place.port))
            for (family, address), share_s in in_turn(found, _CONNECT_S):
                wire = SrtConnection()
                try:
                    wire.connect(
                        family,
                        address,
                        place.port,
                        stream_id=place.stream_id,
                        passphrase=place.passphrase,
                        key_bytes=place.key_bytes,
                        latency_ms=place.latency_ms,
                        timeout_s=share_s,
                        silence_s=self._stall_s,
                    )
                    return wire
                except RefusedConnectionError as exc:
                    reason = str(exc)
                    wire.close()
                    self._report.alive()
        except RefusedAddressError as exc:
            raise FailedError(str(exc), final=True) from exc
        except socket.gaierror as exc:
            raise FailedError("its name is not known") from exc
        except UnavailableError as exc:
            raise FailedError("this machine has no libsrt", final=True) from exc
        raise FailedError(reason)

    def _fill(self, feed: TransportFeed) -> None:
        """Take of the stream as much as is to be on its way, in messages."""
        while sum(map(len, self._out)) < _MOST_WAITING:
            made = self._rest + b"".join(map(feed.send, self._reader.read()))
            if self._reader.is_ended:
                made += feed.finish()
            whole = len(made) - len(made) % PAYLOAD
            self._out += (made[at : at + PAYLOAD] for at in range(0, whole, PAYLOAD))
            self._rest = made[whole:]
            if not self._reader.has_more:
                if self._reader.is_ended and self._rest:
                    self._out.append(self._rest)
                    self._rest = b""
                break

    def _flush(self, wire: SrtConnection) -> None:
        while self._out and wire.send(self._out[0]):
            self._sent += len(self._out.popleft())

    def _watch(self, wire: SrtConnection) -> None:
        """Whether the other side still takes what it is sent."""
        now = time.monotonic()
        unconfirmed = wire.unconfirmed()
        confirmed = self._sent - unconfirmed
        if confirmed > self._confirmed or not (self._out or unconfirmed):
            self._moved, self._confirmed = now, confirmed
        if now - self._moved > self._stall_s:
            raise FailedError(self._nothing_taken())

    def _nothing_taken(self) -> str:
        return f"the server took nothing for {self._stall_s:.0f} s"

    def _part(self, wire: SrtConnection) -> None:
        """Give what is on its way a moment to arrive."""
        deadline = time.monotonic() + _FAREWELL_S
        pause = threading.Event()
        try:
            while (self._out or wire.unconfirmed()) and time.monotonic() < deadline:
                self._flush(wire)
                pause.wait(_BEAT_S / 2)
            pause.wait(wire.latency_s() + _BEAT_S)  # the server holds back what it has for so long, and goodbye ends it
        except BrokenConnectionError:
            pass
