"""What holds for all tests: their order, and that none fails because the machine is busy."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole meetings come last, but those that run beside other tests first: they take long, and mostly wait."""

    def place(item: pytest.Item) -> int:
        marks = {mark.name for mark in item.iter_markers()}
        return 0 if "patient" in marks else 2 if marks & {"e2e", "browser"} else 1

    items.sort(key=place)
