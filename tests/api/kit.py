"""The HTTP application over a service world: in process for small questions, on a real socket for the official SDK."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from cloudflare import AsyncCloudflare
from fastapi import FastAPI
from starlette.types import ASGIApp
from tests.api import described
from tests.service.world import World, make_world

from tapedeck.api.app import create_app
from tapedeck.core.errors import ConflictError, InvalidError, NotFoundError, TapedeckError
from tapedeck.core.meeting import Participant
from tapedeck.core.quota import Limiter
from tapedeck.ports.archive import ArchiveStore
from tapedeck.ports.sources import PeerInfo
from tapedeck.ports.whip import WhipAnswer, WhipPatched
from tapedeck.service.analytics import AnalyticsService
from tapedeck.service.timed import TimedService

__all__ = ["NotingWhip", "Site", "make_site", "serve"]


class NotingWhip:
    """`ports.whip.WhipServer` that keeps sessions and answers with words; `refusal` is raised instead of an answer."""

    def __init__(self) -> None:
        self.sessions: dict[str, PeerInfo] = {}
        self.refusal: TapedeckError | None = None

    async def offer(self, peer: PeerInfo, sdp: str) -> WhipAnswer:
        if self.refusal is not None:
            raise self.refusal
        if not sdp.startswith("v=0"):
            raise InvalidError("The offer does not begin with v=0")
        session_id = f"s{len(self.sessions)}"
        self.sessions[session_id] = peer
        return WhipAnswer(session_id, "v=0 answer", "tag1")

    def peer(self, session_id: str) -> PeerInfo:
        if session_id not in self.sessions:
            raise NotFoundError("No such WHIP session")
        return self.sessions[session_id]

    async def patch(self, session_id: str, fragment: str, if_match: str | None) -> WhipPatched:
        if if_match == "*":
            return WhipPatched("tag2", "a=ice-ufrag:new")
        if if_match != "tag1":
            raise ConflictError("The entity tag is not the current one")
        if "candidate" not in fragment:
            raise InvalidError("The fragment has no candidate")
        return WhipPatched("tag1")

    async def delete(self, session_id: str) -> None:
        del self.sessions[session_id]


@dataclass
class Site:
    """An application, its world, and a client in the same process."""

    world: World
    app: FastAPI
    whip: NotingWhip
    http: httpx.AsyncClient
    requests: list[httpx.Request] = field(default_factory=list)

    @property
    def base(self) -> str:
        """Path of the app's routes."""
        return f"/client/v4/accounts/{self.world.account_id}/realtime/kit/{self.world.app.id}"

    def bearer(self, token: str | None = None) -> dict[str, str]:
        return {"authorization": f"Bearer {token or self.world.token}"}

    def token_of(self, person: Participant) -> str:
        return self.world.access.participant_token(self.world.app, person)

    async def ask(self, method: str, path: str, token: str | None = None, **more: Any) -> httpx.Response:
        """One request with the backend's token; paths without a leading slash are below the app."""
        url = path if path.startswith("/") else f"{self.base}/{path}"
        headers = self.bearer(token) | more.pop("headers", {})
        return await self.http.request(method, url, headers=headers, **more)


async def _hold(response: httpx.Response) -> None:
    """Hold an answer against the API's own description."""
    is_json = response.headers.get("content-type") == "application/json"
    described.check(response.request, response.status_code, await response.aread() if is_json else None)


@asynccontextmanager
async def make_site(
    root: Path,
    public_url: str = "http://test",
    limiter: Limiter | None = None,
    archive: ArchiveStore | None = None,
) -> AsyncIterator[Site]:
    """A site whose server answers unexpected errors like a deployed one."""
    async with make_world(root, public_url, archive=archive) as world:
        world.library.archives = world.archives
        whip = NotingWhip()
        app = create_app(
            access=world.access,
            meetings_service=world.meetings,
            configs_service=world.configs,
            presets_service=world.presets,
            attendance_service=world.attendance,
            hosting_service=world.hosting,
            analytics_service=AnalyticsService(world.db, world.clock),
            recordings_service=world.recordings,
            renders_service=world.renders,
            library_service=world.library,
            rooms_service=world.rooms,
            archive_service=world.archives,
            retention_service=world.retention,
            remote_service=world.remote,
            public_url=public_url,
            targets_service=world.targets,
            timed_service=TimedService(world.db, world.clock, world.capture),
            playback_service=world.playback,
            livestreams_service=world.livestreams,
            webhooks_service=world.webhooks,
            deliveries_service=world.deliveries,
            feed=world.feed,
            signer=world.signer,
            whip=whip,
            store=world.store,
            link_key=world.link_key,
            clock=world.clock,
            ice_servers=["stun:stun.example.org:3478"],
            limiter=limiter,
            checks={"database": world.db.ping},
        )
        transport = httpx.ASGITransport(app)
        hooks = {"response": [_hold]}
        async with httpx.AsyncClient(transport=transport, base_url="http://test", event_hooks=hooks) as http:
            yield Site(world, app, whip, http)


@asynccontextmanager
async def serve(root: Path, behind: Callable[[ASGIApp], ASGIApp] = lambda app: app) -> AsyncIterator[tuple[Site, str]]:
    """A site on a free port of loopback, served by uvicorn on this very loop; its base URL.

    `behind`: what stands before its application.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with make_site(root, url) as site:
            config = uvicorn.Config(behind(site.app), log_level="warning", lifespan="off", ws="none", access_log=False)
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                yield site, url
            finally:
                server.should_exit = True
                await serving


@asynccontextmanager
async def sdk(site: Site, url: str, token: str | None = None, strict: bool = False) -> AsyncIterator[AsyncCloudflare]:
    """The official client, pointed at a served site; each request it sends is noted in `site.requests`."""

    async def note(request: httpx.Request) -> None:
        site.requests.append(request)

    async with httpx.AsyncClient(event_hooks={"request": [note], "response": [_hold]}) as http:
        yield AsyncCloudflare(
            api_token=token or site.world.token,
            base_url=f"{url}/client/v4",
            http_client=http,
            _strict_response_validation=strict,
        )
