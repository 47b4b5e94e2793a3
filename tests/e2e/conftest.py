"""Stories that are played once and looked at by several modules."""

from __future__ import annotations

import asyncio

import pytest
from tests.e2e.stories import Story, play_lossy, play_three


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Three people, with a pause."""
    return asyncio.run(play_three(tmp_path_factory.mktemp("three")))


@pytest.fixture(scope="session")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Two people over a bad network."""
    return asyncio.run(play_lossy(tmp_path_factory.mktemp("lossy")))
