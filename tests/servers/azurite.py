"""Azurite: Microsoft's own emulator of Azure blobs. Its account and key are the published ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port
from tests.servers.process import ROOT, running

__all__ = ["ACCOUNT_KEY", "azurite"]

ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextmanager
def azurite(directory: Path) -> Iterator[str]:
    """Its connection string. `scripts/test-servers` installs it."""
    port = free_port()
    command: list[str | Path] = [ROOT / "tests/servers/node_modules/.bin/azurite-blob", "--blobHost", "127.0.0.1"]
    command += ["--blobPort", str(port), "--inMemoryPersistence", "--silent", "--disableTelemetry"]
    command += ["--skipApiVersionCheck"]
    with running(command, port, directory / "azurite.log"):
        endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        yield f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};BlobEndpoint={endpoint}"
