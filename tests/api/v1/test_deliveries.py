"""Our own routes about webhooks, over a real endpoint."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.api.kit import Site, make_site
from tests.notify.receiver import Receiver, receiver

from tapedeck.adapters.poster import HttpPoster
from tapedeck.notify.deliver import Deliverer
from tapedeck.workers.deliver import DeliveryWorker


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with make_site(tmp_path) as made:
        yield made


@pytest.fixture
async def endpoint() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        yield made


@pytest.fixture
async def worker(site: Site) -> AsyncIterator[DeliveryWorker]:
    world, poster = site.world, HttpPoster(allow_private=True)
    made = DeliveryWorker(world.deliveries, Deliverer(poster, world.signer, world.clock), world.ledger, world.clock)
    yield made
    await made.aclose()
    await poster.aclose()


async def sent(worker: DeliveryWorker) -> None:
    await worker.launch()
    await worker.settle()


async def test_what_was_delivered_can_be_read_and_sent_again(
    site: Site, endpoint: Receiver, worker: DeliveryWorker
) -> None:
    world = site.world
    webhook = await world.webhooks.create(world.app, "n", endpoint.url, ("recording.statusUpdate",), True)
    path = f"/v1/accounts/acme/apps/campus/webhooks/{webhook.id}"
    endpoint.answer = lambda _: 404
    recordings = [await world.start(await world.meeting()) for _ in range(3)]
    await sent(worker)
    listed = (await site.ask("GET", f"{path}/deliveries?per_page=2")).json()
    assert listed["paging"] == {"total_count": 3, "start_offset": 1, "end_offset": 2}
    item: dict[str, Any] = listed["data"][0]
    assert (item["status"], item["event"], item["key"]) == ("FAILED", "recording.statusUpdate", recordings[2].id)
    assert json.loads(item["request"]["body"])["recording"]["id"] == recordings[2].id
    assert item["request"]["url"] == endpoint.url and item["next_attempt_at"] is None
    (attempt,) = item["attempts"]
    assert (attempt["status"], attempt["answer"], attempt["error"]) == (404, "said 404", None)
    assert (await site.ask("GET", f"{path}/deliveries/{item['id']}")).json()["data"] == item

    endpoint.answer = lambda _: 200
    again = await site.ask("POST", f"{path}/deliveries/{item['id']}/redeliver")
    assert again.json()["data"]["status"] == "READY"
    assert (await site.ask("POST", f"{path}/deliveries/{item['id']}/redeliver")).status_code == 409
    await sent(worker)
    assert (await site.ask("GET", f"{path}/deliveries?status=DELIVERED")).json()["paging"]["total_count"] == 1
    assert endpoint.arrivals[-1].uuid == item["id"] and endpoint.arrivals[-1].body == item["request"]["body"].encode()

    count = (await site.ask("POST", f"{path}/redeliver", json={"start_time": "2026-03-02T09:15:05Z"})).json()["data"]
    assert count == {"redelivered_count": 0}  # they were made before
    count = (await site.ask("POST", f"{path}/redeliver", json={"end_time": "2026-03-02T09:15:05Z"})).json()["data"]
    assert count == {"redelivered_count": 2}
    await sent(worker)
    told = [json.loads(arrival.body)["recording"]["id"] for arrival in endpoint.arrivals[-2:]]
    assert set(told) == {recordings[0].id, recordings[1].id}
    assert (await site.ask("POST", f"{path}/redeliver", json={"start_time": "soon"})).status_code == 400
    assert (await site.ask("POST", f"{path}/redeliver", json={"status": ["READY"]})).status_code == 400


@pytest.mark.parametrize(
    "event",
    [
        "recording.statusUpdate",
        "meeting.started",
        "meeting.ended",
        "meeting.participantJoined",
        "meeting.participantLeft",
        "livestreaming.statusUpdate",
    ],
)
async def test_a_test_event_is_like_a_real_one(
    site: Site, endpoint: Receiver, worker: DeliveryWorker, event: str
) -> None:
    webhook = await site.world.webhooks.create(site.world.app, "n", endpoint.url, ("meeting.ended",), True)
    path = f"/v1/accounts/acme/apps/campus/webhooks/{webhook.id}/test"
    answer = await site.ask("POST", path, json={"event": event})
    assert answer.status_code == 201
    await sent(worker)
    (arrival,) = endpoint.arrivals
    assert arrival.uuid == answer.json()["data"]["id"]
    body = json.loads(arrival.body)
    assert body["event"] == event and body["meeting"]["title"] == "Test event"
    await site.world.webhooks.update(site.world.app, webhook.id, {"enabled": False})
    assert (await site.ask("POST", path, json={})).status_code == 409
    assert (await site.ask("POST", path, json={"event": "meeting.summary"})).status_code == 400
