"""The uploads of one node: a delivery per recording, a lane per destination.

Owns which recordings are on their way, the fallback for what a store refuses for good, and the local files, which are
freed when no destination waits for them any more. The lanes (`lane.py`) do the work.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from mmap import mmap
from pathlib import Path
from typing import Any

import structlog

from tapedeck.core.delivery import Patience
from tapedeck.core.destination import Destination, DestinationKind, DestinationState
from tapedeck.core.errors import InvalidError, NotFoundError
from tapedeck.core.output import outputs_of
from tapedeck.core.parts import PartRule, head_align, keeps_room
from tapedeck.core.recording import FilmFile, Recording, WrongStateError
from tapedeck.ports.clock import Clock
from tapedeck.service.uploads import Unfinished, UploadService
from tapedeck.workers.lane import Bucket, Delivery, Lane, Means

__all__ = ["Bucket", "UploadWorker"]

log = structlog.get_logger(__name__)

_ANSWER_S = 30.0
_LOOK_S = 0.2
"""How often a node that ends looks which destinations it still waits for."""
_KNOWN_S = 5.0
"""A render waits so long to know what the stores want of it."""
_SOUND_BPS = 400_000
_ORPHAN_AGE = timedelta(days=7)


class UploadWorker:
    """Brings films to their destinations."""

    def __init__(
        self,
        *,
        service: UploadService,
        open_bucket: Callable[[Destination], Awaitable[Bucket]],
        films_dir: Path,
        clock: Clock,
        patience: Patience | None = None,
        has_fallback: bool = False,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
        answer_s: float = _ANSWER_S,
    ) -> None:
        """`pause` waits between attempts and `chance` spreads them; `answer_s` is how long a store may be silent."""
        self._service = service
        self._open_bucket = open_bucket
        self._films_dir = films_dir
        self._clock = clock
        self._patience = patience or Patience()
        self._pause = pause
        self._means = Means(
            service,
            open_bucket,
            clock,
            self._patience,
            pause,
            chance,
            answer_s,
            self._settle,
            self._gone,
            self._tell,
            has_fallback,
        )
        self._deliveries: dict[str, Delivery] = {}
        self._lanes: dict[str, set[asyncio.Task[None]]] = {}
        "Of each recording, with the task that opens them."
        self._running: dict[asyncio.Task[Any] | None, Lane] = {}
        self._chores: set[asyncio.Task[None]] = set()
        self.on_gone: Callable[[Recording, str], bool] = lambda *_: False
        "Hears of a film that vanished from this machine before a store had it; whether it is made again."

    def follow(self, recording: Recording) -> None:
        """A film is being made, or will be: send what can be sent before it is finished."""
        if recording.id not in self._deliveries:
            delivery = Delivery(recording, self._films_dir / recording.id, most_film_bytes(recording))
            self._deliveries[recording.id] = delivery
            self._lanes[recording.id] = set()
            self._begin(delivery, self._open_lanes(delivery))

    def deliver(self, recording: Recording, files: Sequence[FilmFile]) -> None:
        """The film is finished on this machine."""
        self.follow(recording)
        delivery = self._deliveries[recording.id]
        delivery.files = tuple(files)
        delivery.ready.set()

    def keep(self, recording_id: str, heads: Mapping[str, bytes | mmap]) -> None:
        """First bytes of its films by file name, in memory: a delivery that follows it need not read them."""
        if (delivery := self._deliveries.get(recording_id)) is not None:
            delivery.heads = heads

    def cancel(self, recording: Recording) -> None:
        """There will be no film: drop what was sent of it, also by a process that died."""
        self.follow(recording)
        delivery = self._deliveries[recording.id]
        if delivery.files is None:
            delivery.ready.set()

    def lose(self, recording_id: str, reason: str) -> None:
        """There was a film, and there is none any more: whoever still waits for it is given up."""
        delivery = self._deliveries.get(recording_id)
        if delivery is not None and delivery.files is None:
            delivery.lost = reason
            delivery.ready.set()

    def hurry(self, recording_id: str) -> None:
        """Do not wait for the next attempt at what is on its way."""
        if (delivery := self._deliveries.get(recording_id)) is not None:
            delivery.hurry.set()
            delivery.hurry = asyncio.Event()

    def is_needed(self, recording_id: str) -> bool:
        """Whether the local files of a recording are."""
        return recording_id in self._deliveries

    async def unfinished(self) -> Sequence[Unfinished]:
        """Recordings that are over for everybody else, with a destination that waits."""
        return await self._service.unfinished()

    async def head_rule(self, recording: Recording) -> tuple[int, bool]:
        """What the media of its film shall move by, so that its stores can take it while it is made, and whether one of
        them must know how far before the end."""
        try:
            async with asyncio.timeout(_KNOWN_S):
                found = await self._service.destinations(recording)
                rules = [rule for destination in found if (rule := await self._rule(destination)) is not None]
        except Exception as exc:  # the lanes will say so; a film for every kind of store does no harm
            log.info("upload.stores_unknown", recording_id=recording.id, reason=str(exc))
            return 1, False
        return head_align(rules, most_film_bytes(recording)), keeps_room(rules)

    async def _rule(self, destination: Destination) -> PartRule | None:
        """What a store wants of parts; None if it takes none."""
        bucket = await self._open_bucket(destination)
        try:
            return None if bucket.links else bucket.store.rule
        finally:
            await bucket.aclose()

    async def sweep(self) -> None:
        """Abort uploads to the built-in bucket that nobody has gone on with for a week."""
        now = self._clock.now()
        try:
            bucket = await self._open_bucket(Destination("sweep", "", DestinationKind.BUCKET, now))
            try:
                for left in await bucket.store.unfinished("recordings/"):
                    if left.started < now - _ORPHAN_AGE and not any(key in left.key for key in self._deliveries):
                        await bucket.store.abort(left.key, left.token)
                        log.info("upload.orphan_aborted", key=left.key)
            finally:
                await bucket.aclose()
        except Exception as exc:
            log.warning("upload.not_swept", reason=str(exc))

    async def drain(self, timeout_s: float) -> None:
        """Let finished films arrive, for so long at most. A destination in trouble is left to the next process."""
        until = asyncio.get_running_loop().time() + timeout_s
        while busy := {*self._busy(), *self._chores}:
            left_s = until - asyncio.get_running_loop().time()
            if left_s <= 0:
                return
            await asyncio.wait(busy, timeout=min(left_s, _LOOK_S), return_when=asyncio.FIRST_COMPLETED)

    async def aclose(self) -> None:
        """Stop. What is up stays up, and the next process goes on."""
        tasks = [*self._chores, *(task for lanes in self._lanes.values() for task in lanes)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Lanes

    def _busy(self) -> set[asyncio.Task[None]]:
        """What brings finished films to somewhere, and has no trouble with it."""
        found = {task for key, d in self._deliveries.items() if d.ready.is_set() for task in self._lanes[key]}
        return {task for task in found if (lane := self._running.get(task)) is None or lane.destination.error is None}

    def _begin(self, delivery: Delivery, work: Coroutine[Any, Any, None]) -> None:
        lanes = self._lanes[delivery.recording.id]
        task = asyncio.create_task(work, name=f"upload {delivery.recording.id}")
        lanes.add(task)
        task.add_done_callback(lambda _: self._ended(delivery, lanes, task))

    def _ended(self, delivery: Delivery, lanes: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
        lanes.discard(task)
        if task.cancelled():
            return
        if (fault := task.exception()) is not None:
            log.error("upload.lane_failed", recording_id=delivery.recording.id, exc_info=fault)
        elif not lanes:
            del self._deliveries[delivery.recording.id], self._lanes[delivery.recording.id]
            self._chore(asyncio.to_thread(shutil.rmtree, delivery.directory, ignore_errors=True))

    def _chore(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _open_lanes(self, delivery: Delivery) -> None:
        found: list[Destination] = []

        async def look() -> None:
            found.extend(await self._service.destinations(delivery.recording))

        await self._tell(delivery.recording.id, look)
        waiting = [destination for destination in found if destination.state is DestinationState.WAITING]
        for destination in waiting:
            self._begin(delivery, self._run(delivery, destination))
        if not waiting:
            await delivery.ready.wait()
            await self._settle(delivery)

    async def _run(self, delivery: Delivery, destination: Destination) -> None:
        lane, task = Lane(self._means, delivery, destination), asyncio.current_task()
        self._running[task] = lane
        try:
            await lane.run()
        except BaseException:
            await lane.aclose()
            raise
        finally:
            del self._running[task]
        if lane.fallback is not None:
            self._begin(delivery, self._run(delivery, lane.fallback))
        await self._settle(delivery)
        self._chore(lane.tidy())

    async def _settle(self, delivery: Delivery) -> None:
        """Move the recording on if its destinations allow it."""
        recording_id = delivery.recording.id
        files = delivery.files
        if files is not None:
            await self._tell(recording_id, lambda: self._service.settle(recording_id, files))

    def _gone(self, delivery: Delivery, reason: str) -> bool:
        if delivery.files is None:
            return True  # another lane has noticed
        again = self.on_gone(delivery.recording, reason)
        if again:
            delivery.files = None
            delivery.ready.clear()
        return again

    async def _tell(self, recording_id: str, call: Callable[[], Awaitable[object]]) -> None:
        pause_s = self._patience.first_s
        while True:
            try:
                await call()
                return
            except (NotFoundError, InvalidError, WrongStateError) as exc:
                log.info("upload.late", recording_id=recording_id, reason=str(exc))
                return
            except Exception:
                log.exception("upload.not_noted", recording_id=recording_id, retry_in_s=pause_s)
            await self._pause(pause_s)
            pause_s = min(pause_s * 2, self._patience.longest_s)


def most_film_bytes(recording: Recording) -> int:
    """How large its film may become: at the highest rates, for as long as it may run."""
    videos = [output.video for output in outputs_of(recording.options, recording.file_name) if output.video is not None]
    rate = max((video.maxrate_bps for video in videos), default=0) + _SOUND_BPS
    return rate * recording.options.max_seconds // 8 * 11 // 10 + (64 << 20)
