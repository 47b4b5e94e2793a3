"""Fixtures of the API tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cloudflare import AsyncCloudflare
from tests.api.kit import Site, make_site, sdk, serve


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """An application asked in process."""
    async with make_site(tmp_path) as made:
        yield made


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Site, str]]:
    """An application on a socket."""
    async with serve(tmp_path) as made:
        yield made


@pytest.fixture
async def client(served: tuple[Site, str]) -> AsyncIterator[AsyncCloudflare]:
    """The official client with strict parsing: an answer that does not fit its types is an error."""
    async with sdk(*served, strict=True) as made:
        yield made


@pytest.fixture
def live_site(served: tuple[Site, str]) -> Site:
    """The served site alone."""
    return served[0]
