"""The live stream over a real socket: what happens, for whom, from where a reader left off."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.kit import Site, serve
from tests.pace import eventually

from tapedeck.core.errors import LimitError
from tapedeck.service import events


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Site, str]]:
    async with serve(tmp_path) as made:
        yield made


class Reader:
    """An open stream."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.last_id = ""

    async def next(self) -> tuple[str, dict[str, Any]]:
        """The next event and its data."""
        event = ""
        while True:
            line = await anext(self._lines)
            if line.startswith("id: "):
                self.last_id = line[4:]
            elif line.startswith("event: "):
                event = line[7:]
            elif line.startswith("data: "):
                return event, json.loads(line[6:])

    async def alive(self) -> None:
        """The next comment."""
        while not (await anext(self._lines)).startswith(":"):
            pass


@asynccontextmanager
async def reading(
    served: tuple[Site, str], path: str, last: str | None = None, token: str = ""
) -> AsyncIterator[Reader]:
    site, url = served
    headers = site.bearer(token or None) | ({} if last is None else {"last-event-id": last})
    async with httpx.AsyncClient(timeout=300) as http, http.stream("GET", url + path, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        reader = Reader(answer.aiter_lines())
        await reader.alive()
        yield reader


ACCOUNT, APP = "/v1/accounts/acme/events", "/v1/accounts/acme/apps/campus/events"


async def test_what_happens_arrives_and_a_reader_goes_on_where_it_left(served: tuple[Site, str]) -> None:
    world = served[0].world
    await world.start(await world.meeting())  # before anybody listens
    meeting = await world.meeting(title="Physics 😀")
    async with reading(served, APP) as reader:
        recording = await world.start(meeting)
        event, data = await reader.next()
        assert (event, data["recording"]["status"]) == ("recording.statusUpdate", "INVOKED")
        assert data["recording"]["id"] == recording.id and data["meeting"]["title"] == "Physics 😀"
        last = reader.last_id
    session_id = await world.live(meeting)
    await world.sessions.on_capturing(recording.id, session_id, world.clock.now())
    async with reading(served, APP, last) as reader:
        names = [(await reader.next())[0] for _ in range(3)]
        assert names == ["meeting.started", "meeting.participantJoined", "recording.statusUpdate"]
    async with reading(served, APP, "0") as reader:
        assert (await reader.next())[1]["recording"]["id"] != recording.id


async def test_each_stream_has_its_scope(served: tuple[Site, str]) -> None:
    world = served[0].world
    other = await world.access.create_app("acme", "Other")
    meeting = await world.meeting()
    first = await world.start(meeting)
    second = (await world.recordings.start(world.app, world.backend, meeting.id, {}, allow_multiple=True)).recording
    third = await world.start(await world.meeting())
    foreign = await world.meetings.create(other, {"title": "Elsewhere"})
    fourth = (await world.recordings.start(other, world.backend, foreign.id, {})).recording
    scoped, _ = await world.access.issue_token("acme", other.id)

    async def seen(path: str, count: int, token: str = "") -> list[str]:
        async with reading(served, path, "0", token) as reader:
            return [(await reader.next())[1]["recording"]["id"] for _ in range(count)]

    assert await seen(ACCOUNT, 4) == [first.id, second.id, third.id, fourth.id]
    assert await seen(ACCOUNT, 1, scoped) == [fourth.id]
    assert await seen(f"/v1/accounts/acme/apps/{other.id}/events", 1) == [fourth.id]
    assert await seen(f"{APP}?meeting_id={meeting.id}", 2) == [first.id, second.id]
    assert await seen(f"{APP}?recording_id={third.id}", 1) == [third.id]


async def test_a_revoked_token_ends_its_stream_and_the_server_all(served: tuple[Site, str]) -> None:
    world = served[0].world
    world.feed._alive_s = 0.05
    text, token = await world.access.issue_token("acme")
    async with reading(served, APP, token=text) as reader:
        await reader.alive()
        await world.access.revoke_token(token.id)
        with pytest.raises(StopAsyncIteration):
            while True:
                await reader.alive()
    async with reading(served, APP) as reader:
        world.feed.close()
        with pytest.raises(StopAsyncIteration):
            while True:
                await reader.alive()
    assert (await served[0].ask("GET", APP)).status_code == 503


async def test_who_may_not_listen(served: tuple[Site, str], monkeypatch: pytest.MonkeyPatch) -> None:
    site, world = served[0], served[0].world
    host = site.token_of(await world.person(await world.meeting()))
    for path in (ACCOUNT, APP):
        assert (await site.ask("GET", path, "nonsense")).status_code == 401
        assert (await site.ask("GET", path, host)).status_code == 403
    assert (await site.ask("GET", "/v1/accounts/other/events")).status_code == 403
    assert (await site.ask("GET", f"{APP}?meeting_id=x")).status_code == 400
    for wrong in ("x", "-1", "1.5", "9" * 30, "٣"):
        headers = {"last-event-id": wrong.encode()}
        assert (await site.ask("GET", APP, headers=headers)).status_code == 400, wrong
    monkeypatch.setattr(events, "LISTENERS", 0)
    assert (await site.ask("GET", APP)).status_code == 429
    with pytest.raises(LimitError):
        world.feed.check("acme")


async def test_one_account_leaves_feeds_to_the_others(
    served: tuple[Site, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site, world = served[0], served[0].world
    monkeypatch.setattr(events, "LISTENERS", 4)
    await world.access.create_account("other")
    text, _ = await world.access.issue_token("other")

    async def followed(count: int) -> None:
        async def holds() -> bool:
            return len(world.feed._waiting) == count

        await eventually(holds)

    async with reading(served, ACCOUNT):
        await followed(1)
        async with reading(served, APP):
            await followed(2)
            for path in (ACCOUNT, APP):  # an app has no feeds beside those of its account
                refused = await site.ask("GET", path)
                assert refused.status_code == 429 and refused.headers["retry-after"] == "30"
                assert "follows 2 feeds" in refused.text
            async with reading(served, "/v1/accounts/other/events", token=text):
                await followed(3)
                assert (await site.ask("GET", "/v1/accounts/other/events", text)).status_code == 429
            await followed(2)
        await followed(1)
        async with reading(served, APP):
            await followed(2)
