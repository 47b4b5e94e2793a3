"""Sends a stream to an RTMP server: a connection to the very address that was checked, with TLS for rtmps.

Ended when the server takes nothing for `stall_s`, or has not agreed to take the stream by then. It looks for more of
the stream seven times a second: what a look finds goes out at once, and between two looks nothing is awake.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
import termios
import threading
import time
from pathlib import Path

from tapedeck.adapters.dial import Dialler, RefusedAddressError
from tapedeck.core.rtmp import Publication, RefusedStreamError
from tapedeck.core.target import Place
from tapedeck.media.spool import SpoolReader
from tapedeck.push.report import FailedError, Report

__all__ = ["RtmpPush"]

_CONNECT_S = 10.0
_SEND_BUFFER = 1 << 16
"""Little is on its way: a server that takes nothing is noticed soon."""
_AHEAD = 1 << 17
_MOST_OUT = 4 << 20
"""More than that waits only where a server asks for answers that it does not take."""
_BEAT_S = 0.15
_SHAKE_S = 0.5
"""Until the server takes the stream: it is what it says that is waited for."""
_FAREWELL_S = 2.0


class RtmpPush:
    """One attempt. `run` blocks until the film ends (True), or `stop` is set (False)."""

    def __init__(self, place: Place, live_dir: Path, dialler: Dialler, stall_s: float, report: Report) -> None:
        self._place = place
        self._reader = SpoolReader(live_dir)
        self._dialler = dialler
        self._stall_s = stall_s
        self._report = report
        self._out = bytearray()
        self._sent = 0
        self._again: tuple[type[OSError], ...] = (BlockingIOError,)
        "Raised by the connection when there is nothing to do now."
        self._left = 0
        "Bytes that the server's side had confirmed when they were last looked at."
        self._moved = time.monotonic()

    def run(self, stop: threading.Event) -> bool:
        """Send until the end. FailedError."""
        wire = self._connect()
        publication = Publication(self._place.app, self._place.key, self._place.tc_url, os.urandom(1528))
        try:
            self._out += publication.begin()
            has_news = False
            begun = time.monotonic()
            while not stop.is_set():
                if has_news:
                    self._receive(wire, publication)
                if publication.is_live:
                    self._fill(publication)
                elif time.monotonic() - begun > self._stall_s:
                    raise FailedError(f"the server did not take the stream within {self._stall_s:.0f} s")
                self._flush(wire)
                self._watch(wire)
                if publication.has_begun:
                    self._report.live()
                self._report.alive()
                if self._reader.is_ended and not self._out:
                    break
                has_news = self._wait(wire, _BEAT_S if publication.is_live else _SHAKE_S)
            ended = not stop.is_set()
            self._part(wire, publication)
            return ended
        except RefusedStreamError as exc:
            raise FailedError(str(exc)) from exc
        except OSError as exc:
            broken = self._place.tls and type(exc).__module__ == "ssl"
            raise FailedError(
                "the encrypted connection failed" if broken else "the server closed the connection"
            ) from exc
        finally:
            wire.close()
            self._reader.close()

    def _connect(self) -> socket.socket:
        place = self._place
        try:
            wire = self._dialler.connect(place.host, place.port, _CONNECT_S)
        except RefusedAddressError as exc:
            raise FailedError(str(exc), final=True) from exc
        except socket.gaierror as exc:
            raise FailedError("its name is not known") from exc
        except TimeoutError as exc:
            raise FailedError("the server did not answer in time") from exc
        except OSError as exc:
            raise FailedError(f"it cannot be reached: {(exc.strerror or 'no connection').lower()}") from exc
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        if place.tls:
            wire = self._encrypted(wire)
        wire.setblocking(False)
        return wire

    def _encrypted(self, wire: socket.socket) -> socket.socket:
        import ssl  # a fifth of what a process pays for its start, and most streams are without

        self._again = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        try:
            return ssl.create_default_context().wrap_socket(wire, server_hostname=self._place.host)
        except ssl.SSLCertVerificationError as exc:
            wire.close()
            raise FailedError(_certificate_words(exc.verify_code)) from exc
        except OSError as exc:
            wire.close()
            raise FailedError("the encrypted connection failed") from exc

    def _receive(self, wire: socket.socket, publication: Publication) -> None:
        with contextlib.suppress(*self._again):
            data = wire.recv(1 << 16)
            if not data:
                was_live = publication.is_live
                raise FailedError(
                    "the server closed the connection" if was_live else "the server did not take the stream"
                )
            self._out += publication.receive(data)
            if len(self._out) > _MOST_OUT:
                raise FailedError("the server asks for more than it takes")

    def _fill(self, publication: Publication) -> None:
        """Take of the stream as much as is to be on its way."""
        while len(self._out) < _AHEAD:
            tags = self._reader.read()
            self._out += b"".join(map(publication.send, tags))
            if not self._reader.has_more:
                break

    def _flush(self, wire: socket.socket) -> None:
        """Send what can be sent."""
        with contextlib.suppress(*self._again):
            while self._out:
                count = wire.send(self._out[:_SEND_BUFFER])
                del self._out[:count]
                self._sent += count

    def _wait(self, wire: socket.socket, beat_s: float) -> bool:
        """Until there is something to do, or to look for; whether the server said something."""
        poll = select.poll()
        poll.register(wire, select.POLLIN | (select.POLLOUT if self._out else 0))
        return any(event & ~select.POLLOUT for _, event in poll.poll(beat_s * 1000))

    def _watch(self, wire: socket.socket) -> None:
        """Whether the other side still takes what it is sent."""
        now = time.monotonic()
        queued = struct.unpack("i", fcntl.ioctl(wire.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
        left = self._sent - queued
        if left > self._left or not (self._out or queued):
            self._moved, self._left = now, left
        if now - self._moved > self._stall_s:
            raise FailedError(f"the server took nothing for {self._stall_s:.0f} s")

    def _part(self, wire: socket.socket, publication: Publication) -> None:
        """Say goodbye, and give what is on its way a moment to arrive."""
        self._out += publication.end()
        deadline = time.monotonic() + _FAREWELL_S
        with contextlib.suppress(OSError, ValueError):
            self._flush(wire)
            while self._out and time.monotonic() < deadline:
                self._wait(wire, _BEAT_S)
                self._flush(wire)
            wire.setblocking(True)
            wire.settimeout(_FAREWELL_S)
            wire.shutdown(socket.SHUT_WR)
            while wire.recv(1 << 12) and time.monotonic() < deadline:
                pass


def _certificate_words(code: int) -> str:
    """By OpenSSL's number of what is wrong (x509_vfy.h)."""
    match code:
        case 10:
            return "its certificate has expired"
        case 18 | 19 | 20 | 21:
            return "its certificate was made by nobody that this server trusts"
        case 62 | 64:
            return "its certificate is for another name"
    return "its certificate is not valid"
