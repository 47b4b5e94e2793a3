"""moto: S3 and Google's XML shape. It is exact about objects and parts, and lets every key in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port
from tests.servers.process import ROOT, running

__all__ = ["moto"]


@contextmanager
def moto(directory: Path) -> Iterator[str]:
    """Its URL. `scripts/test-servers` installs it."""
    port = free_port()
    command: list[str | Path] = [ROOT / ".dev/moto/bin/moto_server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, port, directory / "moto.log"):
        yield f"http://127.0.0.1:{port}"
