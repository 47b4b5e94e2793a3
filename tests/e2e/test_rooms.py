"""A tenant with a key and nothing else: a room, somebody in it with the room's token, a film of them, and its end."""

from __future__ import annotations

import asyncio
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.e2e.kit import SMALL, S

from tapedeck.core.access import TokenScope
from tapedeck.sources.synthetic import CAST
from tapedeck.testing.clock import SharedClock
from tapedeck.testing.door import WhipDoor
from tapedeck.testing.people import Act, Cue, Performer, Person, perform
from tapedeck.testing.serve import Server
from tapedeck.testing.watch import watch
from tapedeck.wiring import Settings, load_settings, open_access

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(300)]

ADA = Person(CAST[0], (Cue(0.1, Act.JOIN), Cue(6.0, Act.LEAVE)))


@dataclass
class Tenant:
    """A key, and a way to ask with it."""

    http: aiohttp.ClientSession
    url: str
    key: str

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"x-api-key": self.key}
        async with self.http.request(method, f"{self.url}/api/v1{path}", headers=headers, json=body) as answer:
            if answer.content_type == "application/json":
                return answer.status, await answer.json()
            return answer.status, await answer.read()

    async def data(self, method: str, path: str, body: Any = None) -> Any:
        status, said = await self.ask(method, path, body)
        assert status == 200, said
        return said["data"]


async def key_of(settings: Settings, server: Server) -> str:
    """As `tapedeck key create` makes one, beside the running server."""
    async with open_access(settings) as access:
        return (await access.issue_token(server.account_id, server.app_id, "e2e", TokenScope.ROOMS))[0]


async def test_a_tenant_records_somebody_and_gets_the_film(tmp_path: Path) -> None:
    server = Server(tmp_path, {"TAPEDECK_KEEP_LOGS": "1"})
    await server.start()
    try:
        async with aiohttp.ClientSession() as http:
            key = await key_of(load_settings(data_dir=server.data_dir), server)
            await live(Tenant(http, server.base_url, key), server)
    finally:
        assert await server.stop() == 0
    said = server.log_path.read_text("utf-8")
    assert "Traceback" not in said
    assert key not in said


async def live(tenant: Tenant, server: Server) -> None:
    room = await tenant.data("POST", "/rooms", {"name": "Wave physics"})
    ada = await tenant.data("POST", f"/rooms/{room['id']}/participants", {"name": ADA.look.name, "role": "host"})
    assert ada["whip_url"] == f"{server.base_url}/rtc/{room['id'].removeprefix('room_')}/whip"
    clock = SharedClock()
    door = WhipDoor(tenant.http, server.base_url, room["id"].removeprefix("room_"), ada["token"])
    performer = Performer(ADA, clock, door)
    await asyncio.to_thread(lambda: list(performer.prepare()))
    clock.begin()
    playing = asyncio.create_task(perform([performer]))
    await clock.until(1 * S)
    started = await tenant.data("POST", f"/rooms/{room['id']}/recordings/start", SMALL)
    assert (await tenant.ask("POST", f"/rooms/{room['id']}/recordings/start"))[0] == 409
    await clock.until(5 * S)
    stopped = await tenant.data("POST", f"/rooms/{room['id']}/recordings/stop")
    assert (stopped["id"], stopped["status"]) == (started["id"], "processing")
    # Beside the render that runs, as often as somebody is impatient; it may have finished by now.
    assert {(await tenant.ask("POST", f"/recordings/{started['id']}/recover"))[0] for _ in range(5)} <= {200, 400}
    await playing
    path = f"/recordings/{started['id']}"
    while (await tenant.data("GET", path))["status"] == "processing":
        assert clock.now_ns() < 60 * S
        await clock.until(clock.now_ns() + S // 10)
    ready = await tenant.data("GET", path)
    assert (ready["status"], ready["room"]["name"]) == ("ready", "Wave physics")
    _, link = await tenant.ask("GET", f"{path}/download")
    async with tenant.http.get(link["download_url"]) as answer:
        film = await answer.read()
        assert answer.headers["content-disposition"].startswith('attachment; filename="Wave physics ')
    assert len(film) == link["file_size"]
    kept = server.folder / "film.mp4"
    kept.write_bytes(film)
    seen = watch(kept, (ADA.look,))
    assert abs(seen.end_ns / S - 4) < 0.7, "from start to stop"
    boxes = seen.sights[ADA.look.name].boxes
    assert sum(box is not None for box in boxes) > 0.95 * len(boxes), "she is there all the time"
    assert len(seen.beeps[ADA.look.name]) >= 3
    assert ready["duration_seconds"] == round(seen.end_ns / S)
    _, zipped = await tenant.ask("POST", "/recordings/bulk/download", {"ids": [started["id"]]})
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        assert [archive.read(name) for name in archive.namelist()] == [film]
    async with tenant.http.get(ready["poster_url"]) as answer:
        assert (await answer.read()).startswith(b"\xff\xd8"), "a JPEG"
    await tenant.data("DELETE", path)
    assert (await tenant.ask("GET", path))[0] == 404
    app = f"{server.base_url}/client/v4/accounts/{server.account_id}/realtime/kit/{server.app_id}"
    there = f"{app}{path.replace('rec_', '')}"
    async with tenant.http.get(there, headers={"authorization": f"Bearer {server.token}"}) as answer:
        assert (await answer.json())["data"]["status"] == "UPLOADED"
