"""A server process is started, killed, started again where it was, and stopped."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from tapedeck.core.errors import UnavailableError
from tapedeck.testing.clock import SharedClock
from tapedeck.testing.recorder import Recorder, make_sdk
from tapedeck.testing.serve import Server, running_server

pytestmark = pytest.mark.e2e


async def test_a_killed_server_comes_back_with_the_same_address_and_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAPEDECK_PORT", "1")  # the caller's settings do not reach it
    monkeypatch.setenv("CLOUDFLARE_EMAIL", "someone@example.org")  # nor does this reach the SDK
    server = Server(tmp_path)
    await server.start()
    try:
        address = server.base_url
        async with make_sdk(server) as sdk:
            meeting_id, tokens = await Recorder(sdk, server, SharedClock()).meeting(["Ada", "Grace"], "First")
        assert len(set(tokens)) == 2
        assert await server.kill() != 0
        assert not server.is_running
        await server.start()
        assert server.base_url == address
        async with make_sdk(server) as sdk:
            found = await sdk.realtime_kit.meetings.get_meeting_by_id(
                meeting_id, account_id=server.account_id, app_id=server.app_id
            )
        assert found.data is not None
        assert found.data.title == "First"
    finally:
        assert await server.stop() == 0
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectionError):
            await http.get(address)


async def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"ended while starting: .*BUCKET_URL"):
        async with running_server(tmp_path, {"TAPEDECK_BUCKET_URL": "gopher://bucket"}):
            pass
