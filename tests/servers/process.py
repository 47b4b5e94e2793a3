"""A server of a test: a process on loopback that is ready when its port answers, and ends with the test session."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

__all__ = ["answers", "running", "wait_for"]

ROOT = Path(__file__).resolve().parents[2]


def answers(port: int) -> bool:
    """Whether something listens on a port of loopback."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path, timeout_s: float = 90.0) -> None:
    """Return when the port answers; what the server said, if it ends or takes too long."""
    wake = time.monotonic() + timeout_s
    while not answers(port):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
        if process.poll() is not None or time.monotonic() > wake:
            raise RuntimeError(f"{process.args!r} is not ready: {log.read_text(errors='replace')[-2000:]}")


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], port: int, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The server, while the block runs."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in command], stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=env
        )
    try:
        wait_for(port, process, log)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
