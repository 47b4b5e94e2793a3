"""The recordings API as an application uses it: the official `cloudflare` SDK, pointed at a server of ours.

Owns the calls of one recording and the instants between which each took effect. Nothing is known of the server but its
address, its ids and a token.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import aiohttp
from cloudflare import AsyncCloudflare
from cloudflare.types.realtime_kit.recording_get_one_recording_response import Data as Recording

from tapedeck.core.errors import UnavailableError
from tapedeck.testing.clock import SharedClock
from tapedeck.testing.expect import Edge
from tapedeck.testing.serve import Server

__all__ = ["Download", "Recorder", "make_sdk", "save"]

_START_S = 20.0
_UPLOAD_S = 120.0


def make_sdk(server: Server) -> AsyncCloudflare:
    """A client of the server; whatever credentials of the real service are in the environment are not used."""
    sdk = AsyncCloudflare(base_url=f"{server.base_url}/client/v4", api_token=server.token)
    sdk.api_email = sdk.api_key = sdk.user_service_key = None  # with an e-mail set, the SDK sends no token
    return sdk


@dataclass(frozen=True, slots=True)
class Download:
    """The film as the API offers it."""

    url: str
    size_bytes: int
    waited_s: float
    "From the answer to stop until UPLOADED."


async def save(http: aiohttp.ClientSession, download: Download, path: Path) -> None:
    """Fetch a film by its link. UnavailableError when it is not there whole."""
    async with http.get(download.url) as response:
        if response.status != 200:
            raise UnavailableError(f"the link answers {response.status}")
        with path.open("wb") as file:
            async for chunk in response.content.iter_chunked(1 << 16):
                file.write(chunk)
    if path.stat().st_size != download.size_bytes:
        raise UnavailableError(f"the film has {path.stat().st_size} bytes, the API says {download.size_bytes}")


class Recorder:
    """The recordings API, called as an application calls it."""

    def __init__(self, sdk: AsyncCloudflare, server: Server, clock: SharedClock) -> None:
        self._kit, self._server, self._clock = sdk.realtime_kit, server, clock
        self._recording_id = ""

    async def meeting(self, names: Sequence[str], title: str) -> tuple[str, list[str]]:
        """Make a meeting and its participants; returns its id and their tokens."""
        account_id, app_id = self._server.account_id, self._server.app_id
        created = await self._kit.meetings.create(app_id, account_id=account_id, title=title)
        assert created.data is not None
        tokens = []
        for name in names:
            added = await self._kit.meetings.add_participant(
                created.data.id,
                account_id=account_id,
                app_id=app_id,
                custom_participant_id=name.lower(),
                preset_name="group_call_host",
                name=name,
            )
            assert added.data is not None
            tokens.append(added.data.token)
        return created.data.id, tokens

    async def start(self, meeting_id: str) -> Edge:
        """Start recording; returns between which instants the film begins."""
        asked_ns = self._clock.now_ns()
        started = await self._kit.recordings.start_recordings(
            self._server.app_id, account_id=self._server.account_id, meeting_id=meeting_id
        )
        assert started.data is not None
        self._recording_id = started.data.id
        await self._until("RECORDING", _START_S)
        return Edge(asked_ns, self._clock.now_ns())

    async def act(self, action: Literal["pause", "resume", "stop"]) -> Edge:
        """Pause, resume or stop; returns between which instants it took effect."""
        asked_ns = self._clock.now_ns()
        await self._kit.recordings.pause_resume_stop_recording(
            self._recording_id, account_id=self._server.account_id, app_id=self._server.app_id, action=action
        )
        return Edge(asked_ns, self._clock.now_ns())

    async def film(self) -> Download:
        """Wait until the film can be downloaded."""
        began = time.monotonic()
        data = await self._until("UPLOADED", _UPLOAD_S)
        waited_s = time.monotonic() - began
        if not data.download_url or data.file_size is None:
            raise UnavailableError("the recording is UPLOADED and has no link")
        return Download(data.download_url, round(data.file_size), waited_s)

    async def _until(self, status: str, limit_s: float) -> Recording:
        data = None
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    got = await self._kit.recordings.get_one_recording(
                        self._recording_id, account_id=self._server.account_id, app_id=self._server.app_id
                    )
                    data = got.data
                    if data is not None and data.status == status:
                        return data
                    if data is not None and data.status == "ERRORED":
                        raise UnavailableError(f"the recording is ERRORED and will not be {status}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            now = data.status if data is not None else "nothing"
            raise UnavailableError(f"after {limit_s:.0f} s the recording is {now}, not {status}") from None
