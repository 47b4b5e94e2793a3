"""The process of one live target: `python -m tapedeck.push`. Sends a film's stream to an RTMP server.

Takes `{"url", "live_dir", "allow_private", "stall_s"}` as one JSON line on standard input and answers with JSON lines:
`{"event": "live"}` once the server was sent the first of the film, `{"event": "alive"}` every second, and last either
`{"event": "ended"}` (the film has ended) or `{"event": "failed", "reason", "final"}`; `final`: trying again is of no
use. Neither the address nor the key of the stream is in anything it says.

Owns a connection: to the very address that was checked, ended when the server takes nothing for `stall_s`. Is of the
composition root, like `outlets`: it joins the guard of `adapters` with the stream in `media`. Refuses to try again
(`workers/streams.py`), and to know films.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import ssl
import struct
import sys
import termios
import threading
import time
from pathlib import Path
from typing import TextIO

from tapedeck.adapters.egress import Guard, RefusedAddressError
from tapedeck.core.errors import TapedeckError
from tapedeck.core.rtmp import Publication, RefusedStreamError
from tapedeck.core.target import Place, place_of
from tapedeck.media.spool import SpoolReader

__all__ = ["Pusher", "main"]

_CONNECT_S = 10.0
_SEND_BUFFER = 1 << 16
"""Little is on its way: a server that takes nothing is noticed soon."""
_AHEAD = 1 << 17
_TICK_S = 0.05
_ALIVE_S = 1.0
_FAREWELL_S = 2.0
_NICE = 5
_PR_SET_PDEATHSIG = 1


class _Failed(Exception):
    """The attempt is over; the text may be shown."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


class Pusher:
    """One attempt. `run` blocks until the film ends (True), or `stop` is set (False)."""

    def __init__(self, place: Place, live_dir: Path, guard: Guard, stall_s: float, sink: TextIO) -> None:
        self._place = place
        self._reader = SpoolReader(live_dir)
        self._guard = guard
        self._stall_s = stall_s
        self._sink = sink
        self._out = bytearray()
        self._sent = 0
        self._left = 0
        "Bytes that the server's side had confirmed when they were last looked at."
        self._moved = time.monotonic()
        self._told = 0.0

    def run(self, stop: threading.Event) -> bool:
        """Send until the end. `_Failed`."""
        wire = self._connect()
        publication = Publication(self._place.app, self._place.key, self._place.tc_url, os.urandom(1528))
        try:
            self._out += publication.begin()
            said_live = False
            while not stop.is_set():
                self._receive(wire, publication)
                if publication.is_live:
                    self._fill(publication)
                self._flush(wire)
                if publication.has_begun and not said_live:
                    self._say(event="live")
                    said_live = True
                self._watch(wire)
                if self._reader.is_ended and not self._out:
                    break
            ended = not stop.is_set()
            self._part(wire, publication)
            return ended
        except RefusedStreamError as exc:
            raise _Failed(str(exc)) from exc
        except ssl.SSLError as exc:
            raise _Failed("the encrypted connection failed") from exc
        except OSError as exc:
            raise _Failed("the server closed the connection") from exc
        finally:
            wire.close()
            self._reader.close()

    def _connect(self) -> socket.socket:
        place = self._place
        try:
            wire = self._guard.connect(place.host, place.port, _CONNECT_S)
        except RefusedAddressError as exc:
            raise _Failed(str(exc), final=True) from exc
        except socket.gaierror as exc:
            raise _Failed("its name is not known") from exc
        except TimeoutError as exc:
            raise _Failed("the server did not answer in time") from exc
        except OSError as exc:
            raise _Failed(f"it cannot be reached: {(exc.strerror or 'no connection').lower()}") from exc
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        if place.tls:
            try:
                wire = ssl.create_default_context().wrap_socket(wire, server_hostname=place.host)
            except ssl.SSLCertVerificationError as exc:
                wire.close()
                raise _Failed("its certificate is not valid for its name") from exc
            except OSError as exc:
                wire.close()
                raise _Failed("the encrypted connection failed") from exc
        wire.setblocking(False)
        return wire

    def _receive(self, wire: socket.socket, publication: Publication) -> None:
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            data = wire.recv(1 << 16)
            if not data:
                was_live = publication.is_live
                raise _Failed("the server closed the connection" if was_live else "the server did not take the stream")
            self._out += publication.receive(data)

    def _fill(self, publication: Publication) -> None:
        """Take of the stream as much as is to be on its way."""
        while len(self._out) < _AHEAD and (tags := self._reader.read()):
            for tag in tags:
                self._out += publication.send(tag)

    def _flush(self, wire: socket.socket) -> None:
        """Send what can be sent, then wait a little for more to do."""
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while self._out:
                count = wire.send(self._out[:_SEND_BUFFER])
                del self._out[:count]
                self._sent += count
        select.select([wire], [wire] if self._out else [], [], _TICK_S)

    def _watch(self, wire: socket.socket) -> None:
        """Whether the other side still takes what it is sent."""
        now = time.monotonic()
        queued = struct.unpack("i", fcntl.ioctl(wire.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
        left = self._sent - queued
        if left > self._left or not (self._out or queued):
            self._moved, self._left = now, left
        if now - self._moved > self._stall_s:
            raise _Failed(f"the server took nothing for {self._stall_s:.0f} s")
        if now - self._told >= _ALIVE_S:
            self._say(event="alive")
            self._told = now

    def _part(self, wire: socket.socket, publication: Publication) -> None:
        """Say goodbye, and give what is on its way a moment to arrive."""
        self._out += publication.end()
        deadline = time.monotonic() + _FAREWELL_S
        with contextlib.suppress(OSError, ValueError):
            while self._out and time.monotonic() < deadline:
                self._flush(wire)
            wire.setblocking(True)
            wire.settimeout(_FAREWELL_S)
            wire.shutdown(socket.SHUT_WR)
            while wire.recv(1 << 12) and time.monotonic() < deadline:
                pass

    def _say(self, **message: object) -> None:
        say(self._sink, **message)


def say(sink: TextIO, **message: object) -> None:
    """A line to the parent. OSError when it is gone."""
    sink.write(json.dumps(message) + "\n")
    sink.flush()


def main(source: TextIO | None = None, sink: TextIO | None = None) -> int:
    """Read what to do from `source`, do it, answer on `sink`; the exit code."""
    source, sink = source or sys.stdin, sink or sys.stdout
    _behave()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal's Ctrl-C the parent decides
    body = json.loads(source.readline())
    threading.Thread(target=_watch_parent, args=(source, stop), name="parent", daemon=True).start()
    guard = Guard(allow_private=bool(body["allow_private"]))
    pusher = Pusher(place_of(body["url"]), Path(body["live_dir"]), guard, float(body["stall_s"]), sink)
    try:
        if pusher.run(stop):
            say(sink, event="ended")
        return 0
    except _Failed as exc:
        say(sink, event="failed", reason=str(exc), final=exc.final)
    except TapedeckError:
        say(sink, event="failed", reason="the stream of the film was interrupted", final=False)
    return 1


def _watch_parent(source: TextIO, stop: threading.Event) -> None:
    with contextlib.suppress(OSError, ValueError):
        while source.readline():
            pass
    stop.set()


def _behave() -> None:
    """Behind capture in priority, and gone with the parent. What a system does not offer is left out."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(_NICE)
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
