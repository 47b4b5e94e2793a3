"""Two servers: one is the library of a tenant, the other records its rooms, as Cloudflare's would."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.e2e.kit import SMALL, House, S, open_house
from tests.e2e.test_rooms import Tenant
from tests.pace import beat
from tests.ports import free_port

from tapedeck.sources.synthetic import CAST
from tapedeck.testing.clock import SharedClock
from tapedeck.testing.door import WhipDoor
from tapedeck.testing.people import Act, Cue, Performer, Person, perform
from tapedeck.testing.serve import Server
from tapedeck.testing.watch import watch

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(240)]

LEAVES_S = 20
ADA = Person(CAST[0], (Cue(0.1, Act.JOIN), Cue(float(LEAVES_S), Act.LEAVE)))
PRIVATE = {"TAPEDECK_ALLOW_PRIVATE_URLS": "true"}
"""Both are on loopback, where a server dials nobody unless it is told to."""
LONG_S = 90.0


async def command(server: Server, *words: str, typed: str = "") -> dict[str, str]:
    """What `tapedeck` prints on a server's data directory, beside the server."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tapedeck",
        *words,
        "--data-dir",
        str(server.data_dir),
        env={**os.environ, **PRIVATE},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate(typed.encode())
    assert process.returncode == 0
    return dict(line.split(maxsplit=1) for line in said.decode().splitlines())


async def a_tenant(server: Server, http: aiohttp.ClientSession, far: House) -> Tenant:
    """A tenant of the library whose rooms the other server records."""
    made = await command(server, "tenant", "create", "School", "--account", server.account_id)
    there = ("--account", far.server.account_id, "--app", far.server.app_id)
    base_url = f"{far.server.base_url}/client/v4"
    recorder = ("tenant", "recorder", made["tenant"], *there, "--base-url", base_url)
    await command(server, *recorder, typed=f"{far.server.token}\n")
    return Tenant(http, server.base_url, made["key"])


async def test_a_tenants_room_is_recorded_by_another_server(tmp_path: Path) -> None:
    near = Server(tmp_path / "near", PRIVATE, port=free_port())
    async with open_house(tmp_path / "far", PRIVATE) as far, aiohttp.ClientSession() as http:
        await near.start()
        try:
            await live(await a_tenant(near, http, far), near, far)
        finally:
            assert await near.stop() == 0
    for said in (near.log_path.read_text("utf-8"), far.server.log_path.read_text("utf-8")):
        assert "Traceback" not in said and far.server.token not in said


async def live(tenant: Tenant, near: Server, far: House) -> None:
    room = await tenant.data("POST", "/rooms", {"name": "Waves"})
    recordings = f"/rooms/{room['id']}/recordings"
    assert await tenant.data("POST", f"{recordings}/sync") == {"synced_count": 0, "recordings": []}
    kit, app = far.sdk.realtime_kit, far.server.app_id
    ids: Any = {"account_id": far.server.account_id}
    (meeting,) = (await kit.meetings.get(app, **ids)).data
    assert meeting.title == "Waves", "the room became a meeting there"
    door = WhipDoor(far.http, far.server.base_url, meeting.id, await far.participant(meeting.id, ADA.look.name))
    clock = SharedClock()
    performer = Performer(ADA, clock, door)
    await asyncio.to_thread(lambda: list(performer.prepare()))
    clock.begin()
    playing = asyncio.create_task(perform([performer]))
    try:
        await record(tenant, near, far, room["id"], meeting.id, clock)
    finally:
        playing.cancel()  # nobody is left in the room of a server that is to end
        await asyncio.gather(playing, return_exceptions=True)


async def record(tenant: Tenant, near: Server, far: House, room: str, meeting_id: str, clock: SharedClock) -> None:
    """Two recordings: one that the library starts and stops, one that is started at the recorder."""
    recordings = f"/rooms/{room}/recordings"
    kit, app = far.sdk.realtime_kit, far.server.app_id
    ids: Any = {"account_id": far.server.account_id}
    await clock.until(1 * S)
    started = await tenant.data("POST", f"{recordings}/start", SMALL)
    assert (await tenant.ask("POST", f"{recordings}/start"))[0] == 409
    direct: Any = await kit.recordings.start_recordings(
        app, meeting_id=meeting_id, allow_multiple_recordings=True, **ids, **SMALL
    )
    path = f"/recordings/{started['id']}"
    while True:
        running: Any = await kit.recordings.get_one_recording(direct.data.id, **far.ids)
        if running.data.status == "RECORDING":
            break
        assert clock.now_ns() < LEAVES_S * S
        await beat(0.1)
    await clock.until(clock.now_ns() + 3 * S)
    stopped = await tenant.data("POST", f"{recordings}/stop")
    assert (stopped["id"], stopped["status"]) == (started["id"], "processing")
    await near.kill()
    await kit.recordings.pause_resume_stop_recording(direct.data.id, action="stop", **far.ids)
    await near.start()  # what was told meanwhile is asked for, and told again
    assert (await tenant.ask("POST", f"{path}/recover"))[0] in (200, 400), "it may be ready by now"

    await ready(tenant, path)
    assert (await tenant.ask("POST", f"{path}/recover"))[0] == 400
    (made,) = [one for one in (await kit.recordings.get_recordings(app, **ids)).data or [] if one.id != direct.data.id]
    film = await is_the_film(tenant, far, path, str(made.download_url))
    kept = near.folder / "film.mp4"
    kept.write_bytes(film)
    seen = watch(kept, (ADA.look,))
    boxes = seen.sights[ADA.look.name].boxes
    assert sum(box is not None for box in boxes) > 0.8 * len(boxes), "she is seen in it"
    assert (await tenant.data("GET", path))["duration_seconds"] == made.recording_duration

    assert [item["id"] for item in await tenant.data("GET", "/recordings")] == [started["id"]]
    synced = await tenant.data("POST", f"{recordings}/sync")
    assert synced["synced_count"] == 1 and synced["recordings"][0]["status"] == "processing"
    assert (await tenant.data("POST", f"{recordings}/sync"))["synced_count"] == 0
    path = f"/recordings/{synced['recordings'][0]['id']}"
    await ready(tenant, path)
    other: Any = await kit.recordings.get_one_recording(direct.data.id, **far.ids)
    await is_the_film(tenant, far, path, other.data.download_url)
    await were_told(tenant, far)


async def ready(tenant: Tenant, path: str) -> None:
    """Return when a recording can be had; nothing but that may come of it."""
    async with asyncio.timeout(LONG_S):
        while (status := (await tenant.data("GET", path))["status"]) != "ready":
            assert status == "processing"
            await beat(0.2)


async def is_the_film(tenant: Tenant, far: House, path: str, url: str) -> bytes:
    """The library's own copy, which is the film of the recorder to the byte."""
    _, link = await tenant.ask("GET", f"{path}/download")
    assert link["download_url"].startswith(tenant.url)
    async with tenant.http.get(link["download_url"]) as answer:
        film = await answer.read()
    assert film == await far.fetch(url) and len(film) == link["file_size"]
    return film


async def were_told(tenant: Tenant, far: House) -> None:
    """The recorder's webhooks came signed and were believed; what is not signed is refused."""
    account, app = far.server.account_id, far.server.app_id
    headers = {"authorization": f"Bearer {far.server.token}"}
    (hook,) = (await far.sdk.realtime_kit.webhooks.get_webhooks(app, account_id=account)).data
    assert hook.url.startswith(f"{tenant.url}/api/v1/hooks/cloudflare/")
    sent = f"{far.server.base_url}/v1/accounts/{account}/apps/{app}/webhooks/{hook.id}"
    async with tenant.http.get(f"{sent}/deliveries", headers=headers) as answer:
        deliveries = (await answer.json())["data"]
    answers = {attempt["status"] for sent in deliveries for attempt in sent["attempts"] if attempt["status"]}
    assert answers == {200} and any(sent["status"] == "DELIVERED" for sent in deliveries)
    body = deliveries[0]["request"]["body"]
    forged = {"rtk-webhook-id": hook.id, "rtk-signature": "AAAA", "content-type": "application/json"}
    async with tenant.http.post(hook.url, data=body, headers=forged) as answer:
        assert answer.status == 401
