"""What holds for all tests: the quick ones come first, and none fails because the machine is busy."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what needs a film, a browser or a whole server after everything else."""
    items.sort(key=lambda item: any(item.get_closest_marker(name) is not None for name in ("e2e", "browser")))
