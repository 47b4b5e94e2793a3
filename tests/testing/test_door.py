"""The WHIP door speaks HTTP as RFC 9725 says, and says why it stays shut."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tapedeck.core.errors import UnavailableError
from tapedeck.testing.door import WhipDoor


class Endpoint:
    """A WHIP endpoint that notes requests."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str, str, str]] = []
        self.status = 201
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self.handle)
        self.server = TestServer(app)

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.text()
        headers = request.headers
        self.requests.append(
            (request.method, request.path_qs, headers["Authorization"], headers.get("Content-Type", ""), body)
        )
        return web.Response(status=self.status, text="v=0 answer", headers={"Location": "/rtc/m1/whip/s1"})


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    endpoint = Endpoint()
    await endpoint.server.start_server()
    yield endpoint
    await endpoint.server.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_an_offer_is_posted_and_its_session_deleted(endpoint: Endpoint, http: aiohttp.ClientSession) -> None:
    base = str(endpoint.server.make_url("/"))
    door = WhipDoor(http, base, "m1", "secret")
    answer, session = await door.enter("v=0 offer", "screen")
    assert answer == "v=0 answer"
    assert session == f"{base}rtc/m1/whip/s1"
    await door.leave(session)
    posted, deleted = endpoint.requests
    assert posted == ("POST", "/rtc/m1/whip?source=screen", "Bearer secret", "application/sdp", "v=0 offer")
    assert deleted[:3] == ("DELETE", "/rtc/m1/whip/s1", "Bearer secret")


async def test_a_refusal_is_told_in_the_words_of_the_server(endpoint: Endpoint, http: aiohttp.ClientSession) -> None:
    endpoint.status = 403
    door = WhipDoor(http, str(endpoint.server.make_url("/")), "m1", "secret")
    with pytest.raises(UnavailableError, match="WHIP answered 403: v=0 answer"):
        await door.enter("v=0 offer", "camera")


async def test_nobody_there_is_one_sentence(endpoint: Endpoint, http: aiohttp.ClientSession) -> None:
    base = str(endpoint.server.make_url("/"))
    await endpoint.server.close()
    door = WhipDoor(http, base, "m1", "secret")
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await door.enter("v=0 offer", "camera")
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await door.leave(f"{base}rtc/m1/whip/s1")
