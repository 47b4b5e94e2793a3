"""Wishes of tenants and rooms, and what is old enough by them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tapedeck.core.retention import Policy, RetentionStep, policy_of

NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("tenant", "room", "wanted"),
    [
        (None, None, Policy()),
        ({"delete_after_days": 9}, None, Policy(None, 9, None)),
        ({"delete_after_days": 9}, {"delete_after_days": None}, Policy()),
        ({"archive_after_days": 1, "purge_after_days": 2}, {"purge_after_days": 5}, Policy(1, None, 5)),
        ({"something": "else"}, {"provider": "x"}, Policy()),
    ],
)
def test_a_room_goes_before_its_tenant_name_by_name(
    tenant: dict[str, int] | None, room: dict[str, int | None] | None, wanted: Policy
) -> None:
    assert policy_of(tenant, room) == wanted
    assert wanted.is_empty == (wanted == Policy())


def test_a_cutoff_is_so_many_days_ago_and_none_where_nothing_is_wished() -> None:
    policy = Policy(archive_after_days=0, purge_after_days=3)
    assert policy.cutoff(RetentionStep.ARCHIVE, NOW) == NOW
    assert policy.cutoff(RetentionStep.DELETE, NOW) is None
    assert policy.cutoff(RetentionStep.PURGE, NOW) == NOW - timedelta(days=3)
    assert policy.cutoff(RetentionStep.PURGE, datetime(1, 1, 2, tzinfo=UTC)) is None
