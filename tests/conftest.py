"""What holds for all tests: the quick ones come first."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what needs a film, a browser or a whole server after everything else."""
    items.sort(key=lambda item: any(item.get_closest_marker(name) is not None for name in ("e2e", "browser")))
