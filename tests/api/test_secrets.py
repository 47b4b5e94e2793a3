"""The secrets of every type of storage are searched for wherever a server says something: no face, stream, webhook,
log, error or file of ours has one. Whatever can be asked for is asked for, also what is added to the API later."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from tests.api.kit import Site, serve
from tests.api.test_storage import findable, shown
from tests.api.v1.test_events import reading
from tests.notify.receiver import receiver
from tests.shapes.test_storage import WHOLE

from tapedeck.adapters.poster import HttpPoster
from tapedeck.core.access import TokenScope
from tapedeck.core.destination import DestinationState
from tapedeck.notify.deliver import Deliverer
from tapedeck.workers.deliver import DeliveryWorker

CONFIG = "/v1/accounts/acme/apps/campus/config"
SAID = "The storage does not know the access key: check access_key."


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Site, str]]:
    async with serve(tmp_path) as made:
        yield made


async def record(site: Site, storage: dict[str, Any]) -> tuple[dict[str, str], list[str]]:
    """A meeting and its recordings with a storage at every place that takes one, right and wrong; ids, and what was
    answered."""
    wrong = storage | {"path": "..", "bucket": None}
    config = {"storage_config": storage}
    seen = [await site.ask(method, CONFIG, json={"recording_config": config}) for method in ("PATCH", "PUT")]
    seen += [await site.ask("PUT", CONFIG, json={"recording_config": {"storage_config": wrong}})]
    seen += [await site.ask("POST", "meetings", json={"title": "T", "recording_config": config})]
    meeting = seen[-1].json()["data"]
    port = {"port": 22} if "host" in storage else {}
    assert meeting["recording_config"]["storage_config"] == shown(storage) | port
    more: dict[str, Any]
    for more in ({}, config, {"storage_config": wrong}, {"storage_config": json.dumps(storage)}):
        body = {"meeting_id": meeting["id"], "allow_multiple_recordings": True} | more
        seen.append(await site.ask("POST", "recordings", json=body))
    recording = seen[4].json()["data"]
    assert recording["storage_config"] == shown(storage) | port
    session_id = await site.world.live(await site.world.meetings.get(site.world.app, meeting["id"]), people=0)
    for given in (storage, wrong):
        output = {"type": "STORAGE_CONFIG", "storage_config": given}
        layers = {"layers": {"default": {"outputs": [output]}}, "allow_multiple_recordings": True}
        seen.append(await site.ask("POST", "recordings/track", json={"meeting_id": meeting["id"]} | layers))
    for method in ("PATCH", "PUT"):
        seen.append(await site.ask(method, f"meetings/{meeting['id']}", json={"recording_config": config}))
    wanted = [200, 200, 400, 201, 200, 200, 422, 422, 200, 422, 200, 200]
    assert [answer.status_code for answer in seen] == wanted, [answer.text for answer in seen]
    await site.world.sessions.on_capturing(recording["id"], session_id, site.world.clock.now())
    await site.world.say_of_storage(recording["id"], DestinationState.WAITING, SAID)
    seen.append(await site.ask("PUT", f"recordings/{recording['id']}", json={"action": "stop"}))
    for path in (f"recordings/{recording['id']}", f"meetings/{meeting['id']}", f"/v1/recordings/{recording['id']}"):
        seen.append(await site.ask("GET", path))
    ids = {"meeting_id": meeting["id"], "recording_id": recording["id"], "session_id": session_id}
    ids |= {"room_id": meeting["id"], "rec_id": f"rec_{recording['id']}"}
    return ids, [answer.text for answer in seen]


async def everything(site: Site, ids: dict[str, str], key: str) -> list[str]:
    """What all routes that only tell answer, of both faces and our own."""
    seen: list[str] = []
    told = 0
    for route in site.app.routes:
        if not isinstance(route, APIRoute) or "GET" not in (route.methods or ()) or route.path.endswith("/events"):
            continue
        path = route.path_format.format_map({name: ids.get(name, name) for name in route.param_convertors})
        headers = {"x-api-key": key} if path.startswith("/api/v1") else site.bearer()
        answer = await site.http.get(path, headers=headers)
        assert answer.status_code < 500, f"{path}: {answer.text}"
        told += answer.status_code == 200
        seen.append(answer.text)
    assert told >= 30, "most of them have something to tell"
    return seen


async def test_no_secret_of_any_storage_is_anywhere(served: tuple[Site, str], caplog: pytest.LogCaptureFixture) -> None:
    """[17]"""
    caplog.set_level("DEBUG")
    site, _ = served
    world = site.world
    key, _ = await world.access.issue_token("acme", "campus", "school", TokenScope.ROOMS)
    texts: list[str] = []
    async with receiver() as endpoint:
        webhook = await world.webhooks.create(world.app, "n", endpoint.url, ("recording.statusUpdate",), True)
        for kind in WHOLE:
            ids, seen = await record(site, findable(kind))
            texts += seen
        rooms = f"/api/v1/recordings/{ids['rec_id']}"
        for method, path in (("DELETE", rooms), ("POST", f"{rooms}/undelete"), ("POST", f"{rooms}/recover")):
            answer = await site.http.request(method, path, headers={"x-api-key": key})
            texts.append(answer.text)
        poster = HttpPoster(allow_private=True)
        deliverer = Deliverer(poster, world.signer, world.clock)
        worker = DeliveryWorker(world.deliveries, deliverer, world.ledger, world.clock)
        await worker.launch()
        await worker.settle()
        await worker.aclose()
        await poster.aclose()
        assert len(endpoint.arrivals) > len(WHOLE)
        texts += [arrival.body.decode() + str(arrival.headers) for arrival in endpoint.arrivals]
    listed = await site.ask("GET", f"/v1/accounts/acme/apps/campus/webhooks/{webhook.id}/deliveries")
    ids |= {"account_id": "acme", "app_id": "campus", "webhook_id": webhook.id}
    texts += await everything(site, ids | {"delivery_id": listed.json()["data"][0]["id"]}, key)
    texts.append(listed.text)
    assert SAID in "".join(texts), "what a storage refuses is told"
    async with reading(served, "/v1/accounts/acme/events", "0") as stream:
        texts += [json.dumps(await stream.next()) for _ in range(len(WHOLE))]
    answered = len(texts)
    texts.append(caplog.text)
    files = [path for path in world.root.rglob("*") if path.is_file()]
    assert any(path.name == "tapedeck.db" for path in files)
    texts += [await asyncio.to_thread(path.read_text, "latin-1") for path in files]
    for number, text in enumerate(texts):
        assert "FINDME" not in text.upper()
        if number < answered and not text.startswith('{"openapi"'):
            assert "sealed" not in text
