"""Fixtures of the workers' tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.service.world import World, make_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """All services on a fresh database."""
    async with make_world(tmp_path) as made:
        yield made
