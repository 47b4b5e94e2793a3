"""Webhooks through the official SDK, and deliveries to a real endpoint over HTTP.

Numbers in brackets are those of the wire contract's own list of tests.
"""

from __future__ import annotations

import base64
import json
from uuid import uuid4

import cloudflare
import httpx
import pytest
from cloudflare import AsyncCloudflare
from tests.adapters.test_signer import node_says
from tests.api.kit import Site
from tests.notify.receiver import receiver

from tapedeck.adapters.poster import HttpPoster
from tapedeck.notify.deliver import Deliverer
from tapedeck.service.webhooks import WebhookService
from tapedeck.workers.deliver import DeliveryWorker

URL = "https://example.org/hook"


async def test_the_whole_life_of_a_webhook_through_strict_types(client: AsyncCloudflare, live_site: Site) -> None:
    """[50]"""
    hooks, account, app = client.realtime_kit.webhooks, live_site.world.account_id, live_site.world.app.id
    empty = await hooks.get_webhooks(app, account_id=account)
    assert empty.data == [] and empty.success
    made = await hooks.with_raw_response.create_webhook(
        app, account_id=account, name="ops", url=URL, events=["recording.statusUpdate", "recording.statusUpdate"]
    )
    assert made.http_response.status_code == 201
    webhook = (await made.parse()).data
    assert webhook.enabled and webhook.events == ["recording.statusUpdate"] and webhook.url == URL
    raw = made.http_response.json()["data"]
    assert set(raw) == {"id", "name", "url", "events", "enabled", "created_at", "updated_at"}
    one = await hooks.get_webhook_by_id(webhook.id, account_id=account, app_id=app)
    assert one.data.model_dump() == webhook.model_dump()
    edited = await hooks.edit_webhook(webhook.id, account_id=account, app_id=app, enabled=False)
    assert (edited.data.enabled, edited.data.name) == (False, "ops")
    replaced = await hooks.replace_webhook(
        webhook.id, account_id=account, app_id=app, name="new", url=URL + "2", events=["meeting.ended"]
    )
    assert (replaced.data.enabled, replaced.data.name, replaced.data.events) == (True, "new", ["meeting.ended"])
    listed = await hooks.get_webhooks(app, account_id=account)
    assert [item.id for item in listed.data] == [webhook.id]
    deleted = await hooks.delete_webhook(webhook.id, account_id=account, app_id=app)
    assert deleted.data.model_dump() == replaced.data.model_dump()
    with pytest.raises(cloudflare.NotFoundError):
        await hooks.get_webhook_by_id(webhook.id, account_id=account, app_id=app)
    assert (await hooks.get_webhooks(app, account_id=account)).data == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"events": ["recording.finished"]}, '"events.0" must be one of'),
        ({"events": []}, '"events"'),
        ({"events": "recording.statusUpdate"}, '"events" must be a list'),
        ({"name": None}, '"name" must be a string'),
        ({"name": ""}, '"name" must have at least 1'),
        ({"url": "ftp://example.org"}, '"url" must be a valid uri'),
        ({"url": "nonsense"}, '"url" must be a valid uri'),
        ({"url": "https://u:p@example.org/"}, '"url" must not have a user name'),
        ({"enabled": "yes"}, '"enabled" must be a boolean'),
    ],
)
async def test_wrong_fields_are_400_in_the_style_of_the_api(site: Site, change: dict[str, object], says: str) -> None:
    """[51]"""
    body = {"name": "n", "url": URL, "events": ["meeting.ended"]} | change
    answer = await site.ask("POST", "webhooks", json=body)
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert message.startswith("BAD_REQUEST: ") and says in message
    made = (await site.ask("POST", "webhooks", json={"name": "n", "url": URL, "events": ["meeting.ended"]})).json()
    path = f"webhooks/{made['data']['id']}"
    assert (await site.ask("PUT", path, json=body)).status_code == 400
    if change != {"name": None}:
        assert (await site.ask("PATCH", path, json=change)).status_code == 400
    assert (await site.ask("GET", path)).json() == made


async def test_missing_fields_are_named(site: Site) -> None:
    answer = await site.ask("POST", "webhooks", json={})
    assert answer.status_code == 400
    assert [error["source"]["pointer"] for error in answer.json()["errors"]] == ["/name", "/url", "/events"]
    assert (await site.ask("GET", "webhooks/nonsense")).status_code == 400
    assert (await site.ask("GET", f"webhooks/{uuid4()}")).status_code == 404


async def test_private_targets_are_refused_by_name_unless_allowed(site: Site) -> None:
    site.world.webhooks.__init__(site.world.db, site.world.clock, False)  # type: ignore[misc]
    for url in ("http://localhost/", "http://127.0.0.1:9/", "http://[::1]/", "http://169.254.169.254/"):
        answer = await site.ask("POST", "webhooks", json={"name": "n", "url": url, "events": ["meeting.ended"]})
        assert answer.status_code == 400 and "private" in answer.json()["error"]["message"], url
    allowed = WebhookService(site.world.db, site.world.clock, allow_private=True)
    assert (await allowed.create(site.world.app, "n", "http://127.0.0.1:9/", ("meeting.ended",), True)).enabled


async def test_webhooks_of_another_app_are_not_there(site: Site) -> None:
    other = await site.world.access.create_app("acme", "Other")
    webhook = await site.world.webhooks.create(other, "n", URL, ("meeting.ended",), True)
    for method in ("GET", "DELETE"):
        assert (await site.ask(method, f"webhooks/{webhook.id}")).status_code == 404
    assert (await site.ask("GET", "webhooks")).json()["data"] == []


async def test_events_are_listed(site: Site) -> None:
    """[OC-71]"""
    data = (await site.ask("GET", "webhooks/all")).json()["data"]
    assert len(data) == 9 and "recording.statusUpdate" in data


async def test_a_recording_is_told_in_order_and_signed(client: AsyncCloudflare, live_site: Site) -> None:
    """[45, 46, 47] From the key of the server to Node's verification of what arrived."""
    world = live_site.world
    poster = HttpPoster(allow_private=True)
    worker = DeliveryWorker(world.deliveries, Deliverer(poster, world.signer, world.clock), world.ledger, world.clock)
    async with receiver() as endpoint:
        made = await client.realtime_kit.webhooks.create_webhook(
            world.app.id,
            account_id=world.account_id,
            name="ops",
            url=endpoint.url,
            events=["recording.statusUpdate"],
        )
        meeting = await world.meeting(title="Physics 😀")
        recording = await world.capturing(meeting, await world.live(meeting))
        await client.realtime_kit.recordings.pause_resume_stop_recording(
            recording.id, account_id=world.account_id, app_id=world.app.id, action="stop"
        )
        await world.finish(await world.now_of(recording), b"film" * 100)
        await worker.launch()
        await worker.settle()
        arrivals = endpoint.arrivals
    await worker.aclose()
    await poster.aclose()
    told = [json.loads(arrival.body)["recording"] for arrival in arrivals]
    assert [body["status"] for body in told] == ["INVOKED", "RECORDING", "UPLOADING", "UPLOADED"]
    assert all(body["id"] == body["recordingId"] == recording.id for body in told)
    assert told[-1]["fileSize"] == "400"
    async with httpx.AsyncClient(timeout=300) as anybody:
        assert (await anybody.get(told[-1]["downloadUrl"])).content == b"film" * 100
        answer = (await anybody.get(f"{client.base_url.copy_with(path='/.well-known/webhooks.json')}")).json()
    assert set(answer) == {"success", "data", "message"} and answer["success"] is True
    pem = answer["data"]["publicKey"]
    assert len({arrival.uuid for arrival in arrivals}) == 4
    for arrival in arrivals:
        headers = arrival.headers
        assert headers["content-type"] == "application/json"
        assert headers["rtk-webhook-id"] == headers["dyte-webhook-id"] == made.data.id
        assert headers["rtk-signature"] == headers["dyte-signature"]
        assert headers["rtk-uuid"] == headers["dyte-uuid"]
    last = arrivals[-1]
    signature = base64.b64decode(last.headers["rtk-signature"])
    assert node_says(pem, signature, last.body) == "true"
    assert node_says(pem, signature, last.body[:-1] + b" ") == "false"
    assert "😀".encode() in last.body
