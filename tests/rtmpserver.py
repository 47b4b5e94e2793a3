"""A real RTMP server for tests: nginx with its RTMP module, which records what it receives; with TLS before it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.ports import free_port

__all__ = ["RtmpServer", "rtmp_server"]

_START_S = 60.0
_CONF = """
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off; worker_processes 1; master_process off; pid nginx.pid; error_log error.log info;
events {{ worker_connections 256; }}
rtmp {{ server {{ listen 127.0.0.1:{port}; chunk_size 4096;
  application open {{ live on; record all; record_path {records}; record_suffix -%s.flv; record_unique on; }}
  application closed {{ live on; deny publish all; }} }} }}
"""
_TLS = """
stream {{ server {{ listen 127.0.0.1:{tls_port} ssl; ssl_certificate {pem}; ssl_certificate_key {pem};
  proxy_pass 127.0.0.1:{port}; }} }}
"""


class RtmpServer:
    """One process; `open` takes and records every stream, `closed` refuses them."""

    def __init__(self, folder: Path, pem: Path | None = None) -> None:
        """`pem`: a key and its certificate; then the server takes rtmps too."""
        self.folder, self.port, self.tls_port = folder, free_port(), free_port()
        folder.mkdir(parents=True)
        self._pem = pem
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, app: str = "open", key: str = "s3cret-key") -> str:
        """Where to stream to."""
        return f"rtmp://127.0.0.1:{self.port}/{app}/{key}"

    def tls_url(self, host: str = "localhost") -> str:
        """Where to stream to with TLS."""
        return f"rtmps://{host}:{self.tls_port}/open/s3cret-key"

    def start(self) -> None:
        """Run, and take connections when this returns."""
        nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        assert nginx, "nginx is missing: make test installs it"
        self._configure()
        command = [nginx, "-p", f"{self.folder}/", "-e", "error.log", "-c", "nginx.conf"]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wake = time.monotonic() + _START_S
        while self._process.poll() is None and time.monotonic() < wake:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)
        raise AssertionError((self.folder / "error.log").read_text())

    def _configure(self) -> None:
        """Records are named by the second of their begin: those of one start must not overwrite those of another."""
        self._starts += 1
        records = self.folder / "rec" / str(self._starts)
        records.mkdir(parents=True)
        conf = _CONF.format(port=self.port, records=records)
        if self._pem is not None:
            conf = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;" + conf
            conf += _TLS.format(port=self.port, tls_port=self.tls_port, pem=self._pem)
        (self.folder / "nginx.conf").write_text(conf)

    def send(self, number: signal.Signals) -> None:
        """A signal to the server."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def recorded(self) -> list[Path]:
        """What it received, a file per stream, oldest first; without those that hold no media.

        Streams of one key that begin in the same second share a file: that of the later one.
        """
        files = [path for path in (self.folder / "rec").glob("*/*") if path.stat().st_size > 1000]
        return sorted(files, key=lambda path: path.stat().st_mtime_ns)

    def publications(self) -> int:
        """How many streams were ever let in."""
        return (self.folder / "error.log").read_text().count(" publish: ")


@contextlib.contextmanager
def rtmp_server(folder: Path, pem: Path | None = None) -> Iterator[RtmpServer]:
    """A running server."""
    server = RtmpServer(folder, pem)
    server.start()
    try:
        yield server
    finally:
        server.send(signal.SIGCONT) if server._process is not None else None
        server.kill()
