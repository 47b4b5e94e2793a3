"""A real SRT server for tests: Debian's ffmpeg (whose libsrt ours uses too) listens, and keeps what it receives."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PASSPHRASE", "SrtServer", "srt_server"]

PASSPHRASE = "s3cret-s3cret"


class SrtServer:
    """Takes one stream at each start, into a file of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
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
