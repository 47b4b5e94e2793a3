"""Real SRT servers for tests: Debian's ffmpeg (whose libsrt ours uses too) listens, and keeps what it receives; and
libsrt itself, which tells what a caller asked for."""

from __future__ import annotations

import contextlib
import ctypes
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from tests.ports import free_port

from tapedeck.adapters import srt

__all__ = ["PASSPHRASE", "Caller", "SrtServer", "listening", "srt_server"]

PASSPHRASE = "s3cret-s3cret"
_RECEIVING_LATENCY = 43
"SRTO_RCVLATENCY."


class SrtServer:
    """Takes one stream at each start, into a file of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self.port = free_port()
        self._count = 0
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, passphrase: str = PASSPHRASE) -> str:
        """Where to stream to; nothing is given up as late on a busy machine."""
        return f"srt://127.0.0.1:{self.port}?streamid=s3cret-stream&passphrase={passphrase}&latency=4000"

    def start(self) -> None:
        """Listen, soon."""
        program = shutil.which("ffmpeg")
        assert program, "ffmpeg is missing: make test installs it"
        self._count += 1
        source = f"srt://127.0.0.1:{self.port}?mode=listener&passphrase={PASSPHRASE}"
        command = [program, "-v", "error", "-i", source, "-c", "copy", "-f", "mpegts", "-flush_packets", "1"]
        out = str(self._folder / f"{self._count}.ts")
        self.process = subprocess.Popen([*command, out], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        """End it without a word."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def recorded(self) -> list[Path]:
        """What it received, a file per stream, oldest first; without those that hold no media."""
        return sorted(path for path in self._folder.glob("*.ts") if path.stat().st_size > 10_000)


@dataclass(frozen=True)
class Caller:
    """What a caller asked for, as the connection that was made with it says."""

    stream_id: str
    latency_ms: int
    key_bytes: int


@contextlib.contextmanager
def listening() -> Iterator[tuple[int, Future[Caller]]]:
    """A listener that takes one caller: its port, and who came."""
    library = srt._library()
    assert library is not None
    library.srt_startup()
    server, came = library.srt_create_socket(), Future[Caller]()
    assert library.srt_setsockflag(server, srt._PASSPHRASE, PASSPHRASE.encode(), len(PASSPHRASE)) == 0
    port = free_port()
    name = srt._sockaddr(socket.AF_INET, "127.0.0.1", port)
    assert library.srt_bind(server, name, len(name)) == 0 and library.srt_listen(server, 1) == 0
    callers: list[int] = []

    def number(option: int) -> int:
        value, size = ctypes.c_int32(), ctypes.c_int(4)
        library.srt_getsockflag(callers[0], option, ctypes.byref(value), ctypes.byref(size))
        return value.value

    def accept() -> None:
        callers.append(library.srt_accept(server, None, None))
        text, size = ctypes.create_string_buffer(513), ctypes.c_int(513)
        library.srt_getsockflag(callers[0], srt._STREAMID, text, ctypes.byref(size))
        came.set_result(Caller(text.value.decode(), number(_RECEIVING_LATENCY), number(srt._PBKEYLEN)))

    thread = Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield port, came
    finally:
        library.srt_close(server)  # which ends the wait for somebody who did not come
        thread.join(30)
        for one in callers:
            library.srt_close(one)
        if not thread.is_alive():
            library.srt_cleanup()


@contextlib.contextmanager
def srt_server(folder: Path) -> Iterator[SrtServer]:
    """A running server."""
    server = SrtServer(folder)
    server.start()
    try:
        yield server
    finally:
        if server.process is not None:
            server.process.send_signal(signal.SIGCONT)
        server.kill()
