"""A real server, killed between a change and its delivery: everything is told after the next start, in order."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from tests.notify.receiver import Arrival, receiver
from tests.ports import free_port

from tapedeck.testing.serve import Server, running_server


async def kit(server: Server, method: str, path: str, body: object = None) -> httpx.Response:
    url = f"{server.base_url}/client/v4/accounts/{server.account_id}/realtime/kit/{server.app_id}/{path}"
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {server.token}"}, timeout=60) as http:
        answer = await http.request(method, url, json=body)
    assert answer.status_code < 300, answer.text
    return answer


async def public_key(server: Server) -> object:
    async with httpx.AsyncClient(timeout=60) as http:
        return (await http.get(f"{server.base_url}/.well-known/webhooks.json")).json()


def statuses(arrivals: list[Arrival], recording_id: str) -> list[str]:
    """In order of first arrival; repeats have the id of the first."""
    told: dict[str, str] = {}
    for arrival in arrivals:
        recording = json.loads(arrival.body)["recording"]
        if recording["id"] == recording_id:
            assert told.setdefault(arrival.uuid, recording["status"]) == recording["status"]
    return list(told.values())


@pytest.mark.e2e
@pytest.mark.patient
@pytest.mark.parametrize("answer", [0, 500, 200])
async def test_kill_9_between_a_change_and_its_delivery(tmp_path: Path, answer: int) -> None:
    """The first server is killed while the endpoint hangs, while it fails, or right after it took the first event."""
    env = {"TAPEDECK_ALLOW_PRIVATE_URLS": "true", "TAPEDECK_WEBHOOK_TIMEOUT_S": "20"}
    async with receiver() as endpoint, running_server(tmp_path, env, port=free_port()) as server:
        endpoint.answer = lambda _: answer
        hook = {"name": "n", "url": endpoint.url, "events": ["recording.statusUpdate"]}
        await kit(server, "POST", "webhooks", hook)
        meeting = (await kit(server, "POST", "meetings", {"title": "Physics 😀"})).json()["data"]["id"]
        recording = (await kit(server, "POST", "recordings", {"meeting_id": meeting})).json()["data"]["id"]
        await endpoint.until(1)
        await kit(server, "PUT", f"recordings/{recording}", {"action": "stop"})
        before = await public_key(server)
        await server.kill()
        endpoint.answer = lambda _: 200
        already = len(endpoint.arrivals)
        await server.start()
        after = await public_key(server)
        assert after == before
        wanted = ["INVOKED", "ERRORED"]
        while statuses(endpoint.arrivals, recording) != wanted or len(endpoint.arrivals) == already:
            if answer == 200 and statuses(endpoint.arrivals, recording) == wanted:
                break  # the first server had told everything before it was killed
            await endpoint.until(len(endpoint.arrivals) + 1)
        assert statuses(endpoint.arrivals, recording) == wanted
        if answer == 0:
            assert endpoint.arrivals[0].uuid == endpoint.arrivals[already].uuid
            assert endpoint.arrivals[0].body == endpoint.arrivals[already].body


@pytest.mark.e2e
@pytest.mark.patient
async def test_private_targets_are_refused_by_a_server_that_is_not_told_otherwise(tmp_path: Path) -> None:
    """By name when the webhook is made. (By an address behind a name: the poster's own tests.)"""
    async with receiver() as endpoint, running_server(tmp_path) as server:
        with pytest.raises(AssertionError, match="private address"):
            hook = {"name": "n", "url": endpoint.url, "events": ["recording.statusUpdate"]}
            await kit(server, "POST", "webhooks", hook)
        assert endpoint.arrivals == []
