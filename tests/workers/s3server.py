"""An S3 server that can be started anew: moto, which keeps objects in memory and the rules of parts exactly."""

from __future__ import annotations

import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port

__all__ = ["MotoServer", "running_moto"]

_ROOT = Path(__file__).resolve().parents[2]
_START_S = 90.0


@dataclass
class MotoServer:
    """A server that runs until `stop`."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def make_bucket(self, name: str) -> None:
        """A new bucket."""
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/{name}", method="PUT"), timeout=60).close()

    def restart(self) -> None:
        """End it, and start another on the same port. All that it held is gone."""
        self.stop()
        self.process = _start(self.port)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def _start(port: int) -> subprocess.Popen[bytes]:
    """moto has an environment of its own, which `scripts/test-servers` makes: its dependencies would hold back ours."""
    command = [str(_ROOT / ".dev/moto/bin/moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).close()
            return process
        except urllib.error.HTTPError:
            return process
        except OSError:
            threading.Event().wait(0.05)
    process.kill()
    process.wait()
    raise RuntimeError("moto did not start")


@contextmanager
def running_moto() -> Iterator[MotoServer]:
    """A server on a free port of this machine's loopback."""
    port = free_port()
    server = MotoServer(port, _start(port))
    try:
        yield server
    finally:
        server.stop()
