"""A tenant whose rooms another recorder records: the recorder is a second Tapedeck, served on a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import cast
from uuid import uuid4

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.api.kit import Site, serve
from tests.service.world import World, make_world

from tapedeck.core.library import LibraryStatus
from tapedeck.core.meeting import App, Meeting
from tapedeck.core.naming import object_key
from tapedeck.core.recording import FilmFile, Recording, RecordingChanged, RecordingState
from tapedeck.core.remote import RemoteAccount
from tapedeck.db import recordings as table
from tapedeck.db import remote as remote_table
from tapedeck.service.remote import RemoteService
from tapedeck.workers.remote import RemoteWorker

__all__ = ["Door", "Far", "Near", "account_of", "far_server", "make_near"]


@dataclass
class Door:
    """Stands before the recorder's application: tests count, hold up and change what passes."""

    app: ASGIApp
    paths: list[str] = field(default_factory=list)
    before: Callable[[str], object] | None = None
    "Hears of the path and query of each request; awaited when it returns something to wait for."
    ranges: list[str] = field(default_factory=list)
    gone: str | None = None
    "What has this in its path is answered with 404."
    refuses: dict[str, object] | None = None
    "Body of the 422 that starts are answered with."
    cut: int | None = None
    "How many bytes of the next file pass before its connection breaks."
    more: int = 0
    "MiB that follow the end of a file of which the rest is asked for."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = f"{scope['path']}?{scope['query_string'].decode()}"
        self.paths.append(path)
        self.ranges += [value.decode() for name, value in scope["headers"] if name == b"range"]
        if self.gone is not None and self.gone in path:
            await JSONResponse({"success": False, "errors": []}, 404)(scope, receive, send)
            return
        if self.refuses is not None and scope["method"] == "POST" and path.endswith("/recordings?"):
            await JSONResponse(self.refuses, 422)(scope, receive, send)
            return
        if self.before is not None:
            waits = self.before(path)
            if asyncio.iscoroutine(waits):
                await waits
        left = self.cut if path.startswith("/files") else None
        if left is not None:
            self.cut = None

        goes_on = False

        async def passing(message: dict[str, object]) -> None:
            nonlocal left, goes_on
            if self.more and message["type"] == "http.response.start" and message["status"] == 206:
                named = cast("list[tuple[bytes, bytes]]", message["headers"])
                message["headers"], goes_on = [pair for pair in named if pair[0] != b"content-length"], True
            if goes_on and not message.get("more_body"):
                await send({**message, "more_body": True})
                for _ in range(self.more if message["type"] == "http.response.body" else 0):
                    await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
                return
            if left is not None and message["type"] == "http.response.body":
                body = bytes(message.get("body", b""))  # type: ignore[call-overload]
                if len(body) > left:
                    await send({"type": "http.response.body", "body": body[:left], "more_body": True})
                    raise ConnectionResetError
                left -= len(body)
            await send(message)

        await self.app(scope, receive, passing)  # type: ignore[arg-type]


@dataclass
class Far:
    """The recorder."""

    site: Site
    url: str
    door: Door

    async def film(self, meeting_id: str, content: bytes = b"film") -> Recording:
        """A finished recording of a meeting, with its file."""
        return (await self.films(meeting_id, 1, content))[0]

    async def films(self, meeting_id: str, many: int, content: bytes | None = None) -> list[Recording]:
        """Finished recordings, a second apart; without `content` their files are only promised."""
        world = self.site.world
        made = []
        async with world.db.write() as session:
            for number in range(many):
                recording_id, at = str(uuid4()), world.clock.move(1)
                name = f"{meeting_id}_{number}.mp4"
                key = object_key(recording_id, at, name)
                if content is not None:
                    path = world.root / name
                    await asyncio.to_thread(path.write_bytes, content)
                    await world.store.put_file(key, path, "video/mp4", name)
                size = len(content or b"film")
                recording = Recording(
                    id=recording_id,
                    app_id=world.app.id,
                    meeting_id=meeting_id,
                    file_name=name,
                    invoked_at=at,
                    state=RecordingState.DONE,
                    started_at=at,
                    stopped_at=at + timedelta(seconds=4),
                    film_ms=4_000,
                    files=(FilmFile("video", name, size, 4_000, "00000000", key=key),),
                    size_bytes=size,
                    expires_at=at + timedelta(days=7),
                )
                change = RecordingChanged(recording_id, 1, None, recording.state, at)
                await table.add_recording(session, recording, change)
                made.append(recording)
        return made

    async def meeting(self) -> Meeting:
        return await self.site.world.meeting()


@dataclass
class Near:
    """A Tapedeck with a tenant of that recorder."""

    world: World
    remote: RemoteService
    worker: RemoteWorker
    room: Meeting
    far_room: str
    "The meeting that the room is there."

    @property
    def app(self) -> App:
        return self.world.app

    async def sync(self) -> list[tuple[str, LibraryStatus]]:
        return list(await self.remote.sync(self.app, self.room.id))

    async def turn(self) -> None:
        """Do what is due now, to its end."""
        await self.worker.tick(self.world.clock.now())
        await self.worker.settle()

    async def remote_id(self, recording_id: str) -> str:
        async with self.world.db.read() as session:
            origin = await remote_table.find_origin(session, recording_id)
        assert origin is not None
        return origin.remote_id


def account_of(far: Far, token: str | None = None) -> RemoteAccount:
    """What a tenant says of the recorder."""
    world = far.site.world
    return RemoteAccount(f"{far.url}/client/v4", world.account_id, world.app.id, token or world.token)


@asynccontextmanager
async def far_server(root: Path) -> AsyncIterator[Far]:
    """The recorder, served."""
    door = Door(_nothing)

    def behind(app: ASGIApp) -> ASGIApp:
        door.app = app
        return door

    async with serve(root, behind) as (site, url):
        yield Far(site, url, door)


@asynccontextmanager
async def make_near(root: Path, far: Far) -> AsyncIterator[Near]:
    """A Tapedeck, its tenant's recorder and a room that is a meeting there."""
    async with make_world(root) as world:
        remote = world.remote
        worker = RemoteWorker(remote, root / "films", world.clock)
        await remote.set_account(world.app, account_of(far))
        room, there = await world.meeting(), await far.meeting()
        await remote.bind(world.app, room.id, there.id)
        try:
            yield Near(world, remote, worker, room, there.id)
        finally:
            await worker.aclose()


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("not served yet")
