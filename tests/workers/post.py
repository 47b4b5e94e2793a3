"""Deliveries with a clock that runs when somebody waits: real records, real files, stores that fail when told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import delete
from tests.pace import eventually
from tests.service.world import World, make_world
from tests.workers.reels import MIB, Reel, Watched

from tapedeck.core.delivery import Patience
from tapedeck.core.destination import Destination, DestinationKind
from tapedeck.core.recording import FilmFile, Recording, RecordingState
from tapedeck.db import destinations as table
from tapedeck.db.models import DestinationRow
from tapedeck.service.recordings import Action
from tapedeck.service.uploads import UploadService
from tapedeck.workers.transfer import Film, PartStore
from tapedeck.workers.upload import Bucket, UploadWorker

__all__ = ["ALIGN", "Moody", "Post", "open_post"]

K = DestinationKind
ALIGN = 5 * MIB


class Moody(Watched):
    """A store with something wrong with it at some times."""

    wrong: Callable[[], Exception | None] = staticmethod(lambda: None)

    async def _trouble(self, name: str) -> None:
        await super()._trouble(name)
        if (trouble := self.wrong()) is not None:
            raise trouble

    async def begin(self, key: str, content_type: str, filename: str) -> str:
        await self._trouble("begin")
        return await super().begin(key, content_type, filename)


class Post:
    """A world with stores of every kind, and a worker on a clock that runs when it waits."""

    def __init__(
        self,
        world: World,
        root: Path,
        *,
        has_fallback: bool = False,
        outside: PartStore | None = None,
        inside: PartStore | None = None,
        **more: Any,
    ) -> None:
        """`outside`: another store for the customer's; `inside`: for the built-in one's. More: of the worker."""
        self.world, self.films = world, root / "films"
        self.stores = {kind: Moody(root / kind) for kind in K}
        self.outside: PartStore = outside or self.stores[K.EXTERNAL]
        self.inside = inside
        self.on_pause: Callable[[], Awaitable[object]] | None = None
        self._more: dict[str, Any] = {
            "patience": Patience(unreachable_s=6 * 3600, refused_s=900),
            "answer_s": 5.0,
        } | more
        self.links = True
        self.has_fallback = has_fallback
        self.service = UploadService(world.db, world.clock, world.ledger, world.lifecycle)
        self.worker = self._worker()

    def _worker(self) -> UploadWorker:
        async def open_bucket(destination: Destination) -> Bucket:
            if destination.kind is K.EXTERNAL:
                return Bucket(self.outside)
            if destination.kind is K.BUCKET and self.inside is not None:
                return Bucket(self.inside)
            return Bucket(self.stores[destination.kind], links=self.links and destination.kind is K.BUCKET)

        async def pause(seconds: float) -> None:
            self.world.clock.move(seconds)
            await asyncio.sleep(0)
            if self.on_pause is not None:
                await self.on_pause()

        return UploadWorker(
            service=self.service,
            open_bucket=open_bucket,
            films_dir=self.films,
            clock=self.world.clock,
            has_fallback=self.has_fallback,
            pause=pause,
            chance=lambda: 0.5,
            **self._more,
        )

    async def restart(self) -> None:
        """The worker of the next process."""
        await self.worker.aclose()
        self.worker = self._worker()
        for left in await self.worker.unfinished():
            self.worker.deliver(left.recording, left.recording.files)

    async def recording(self, *kinds: DestinationKind) -> Recording:
        """One that captures, for these places."""
        meeting = await self.world.meeting()
        recording = await self.world.capturing(meeting, await self.world.live(meeting))
        async with self.world.db.write() as session:
            await session.execute(delete(DestinationRow).where(DestinationRow.recording_id == recording.id))
            for kind in kinds:
                place = Destination(f"{kind}-{recording.id}", recording.id, kind, recording.invoked_at, {"type": "aws"})
                await table.add_destination(session, place)
        return recording

    def reel(self, recording: Recording) -> Reel:
        return Reel(self.films / recording.id, recording.file_name, head_align=ALIGN)

    async def stop(self, recording: Recording, film: Film) -> None:
        """Its film is finished."""
        await self.world.recordings.control(self.world.app, self.world.backend, recording.id, Action.STOP)
        await self.world.recordings.settle()
        file = FilmFile("video", recording.file_name, film.size_bytes, 1000, f"{film.crc32c:08x}", str(film.path))
        rendered = await self.world.lifecycle.on_rendered(recording.id, [replace(file, local_path=str(film.path))])
        self.worker.deliver(rendered, rendered.files)

    async def film(self, *kinds: DestinationKind, size: int = 2 * MIB) -> tuple[Recording, bytes]:
        """A recording with a finished film that is on its way."""
        recording = await self.recording(*kinds)
        reel = self.reel(recording)
        reel.grow(size)
        film = reel.finish()
        content = film.path.read_bytes()
        await self.stop(recording, film)
        return recording, content

    async def growing(self, size: int, parts: int) -> tuple[Recording, Reel]:
        """One for a customer's storage, which has so many parts of what there is of its film."""
        recording = await self.recording(K.EXTERNAL)
        reel = self.reel(recording)
        reel.grow(size)
        self.worker.follow(recording)

        async def is_up() -> bool:
            return len(self.stores[K.EXTERNAL].sent) == parts

        await eventually(is_up)
        return recording, reel

    async def until(self, recording: Recording, state: RecordingState) -> Recording:
        async def holds() -> bool:
            return (await self.world.now_of(recording)).state is state

        await eventually(holds)
        return await self.world.now_of(recording)

    def noted(self, recording: Recording) -> int:
        """Parts that a store has confirmed. Asking moto for the parts of an upload while one arrives may spoil that
        one's tag for ever: it reads the same buffer twice, without a lock."""
        return sum(path.read_text().count('"number"') for path in (self.films / recording.id).glob("*.journal"))

    async def over(self, recording: Recording) -> None:
        """Nobody waits for the local files any more."""

        async def holds() -> bool:
            return not self.worker.is_needed(recording.id) and not (self.films / recording.id).exists()

        await eventually(holds)

    async def places(self, recording: Recording) -> dict[DestinationKind, Destination]:
        async with self.world.db.read() as session:
            return {place.kind: place for place in await table.of_recording(session, recording.id)}

    async def external(self, recording: Recording) -> bytes:
        return b"".join([chunk async for chunk in self.outside.read(recording.file_name)])


@asynccontextmanager
async def open_post(root: Path, **more: Any) -> AsyncIterator[Post]:
    """`more`: of `Post`."""
    async with make_world(root / "world") as world:
        post = Post(world, root, **more)
        try:
            yield post
        finally:
            await world.recordings.settle()
            await post.worker.aclose()
