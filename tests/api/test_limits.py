"""How often a token may ask (off unless set), and what the two scopes may do."""

from __future__ import annotations

from pathlib import Path

import httpx
from tests.api.kit import Site, make_site

from tapedeck.core.access import TokenScope
from tapedeck.core.quota import Limit, Limiter


async def test_too_many_calls_are_429_with_a_time_to_come_back(tmp_path: Path) -> None:
    limiter = Limiter(Limit(5, 300, "calls"), Limit(2, 50, "calls about recordings"))
    async with make_site(tmp_path, limiter=limiter) as site:
        assert [(await site.ask("GET", "recordings")).status_code for _ in range(3)] == [200, 200, 429]
        assert [(await site.ask("GET", "meetings")).status_code for _ in range(4)] == [200, 200, 200, 429]
        refused: httpx.Response = await site.ask("GET", "meetings")
        assert 1 <= int(refused.headers["retry-after"]) <= 300
        assert "x-should-retry" not in refused.headers
        assert refused.json()["error"] == {"code": 429, "message": "Too many requests: 5 calls in 300 s are allowed"}
        other, _ = await site.world.access.issue_token(site.world.account_id)
        assert (await site.ask("GET", "meetings", other)).status_code == 200
        assert (await site.http.get("/health/live")).status_code == 200


async def test_a_token_that_is_none_is_not_counted(tmp_path: Path) -> None:
    async with make_site(tmp_path, limiter=Limiter(Limit(1, 300, "calls"))) as site:
        assert {(await site.ask("GET", "meetings", "nonsense")).status_code for _ in range(5)} == {401}
        assert (await site.ask("GET", "meetings")).status_code == 200


async def test_there_is_no_limit_unless_it_is_set(site: Site) -> None:
    assert {(await site.ask("GET", "meetings")).status_code for _ in range(30)} == {200}


async def test_the_smaller_scope_does_all_of_realtimekit_and_reads_ours(site: Site) -> None:
    small, _ = await site.world.access.issue_token(site.world.account_id, scope=TokenScope.REALTIME)
    body = {"name": "n", "url": "https://example.org/x", "events": ["recording.statusUpdate"]}
    made = await site.ask("POST", "webhooks", small, json=body)
    assert made.status_code == 201
    ours = f"/v1/accounts/acme/apps/campus/webhooks/{made.json()['data']['id']}"
    assert (await site.ask("GET", f"{ours}/deliveries", small)).status_code == 200
    refused = await site.ask("POST", f"{ours}/test", small, json={})
    assert refused.status_code == 403 and "Realtime Admin" in refused.json()["error"]["message"]
    assert (await site.ask("POST", f"{ours}/test", json={})).status_code == 201
