"""Records web pages: one browser for each recording of a page, from its start until its log is closed.

Follows the ledger: a recording of a page that was started gets a browser, one that is stopped keeps it until its last
frame is in the log. Owns what a page may do and how long (by `core/page.py`), and that its browser is gone when the
recording is over, however that came about. To everything behind it the page is one more publication.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn, Protocol
from uuid import uuid4

import structlog

from tapedeck.core.caution import PAGE, Caution
from tapedeck.core.errors import TapedeckError, UnavailableError
from tapedeck.core.frames import Origin
from tapedeck.core.page import PageFact, PageLife, PageVerdict, page_participant
from tapedeck.core.recording import ACTIVE, LIVE, Recording, RecordingChanged, RecordingState
from tapedeck.core.timed import Allowance, message_text
from tapedeck.ports.browser import Browsers, OpenPage, PageOrder
from tapedeck.ports.clock import Clock
from tapedeck.ports.sources import PeerInfo
from tapedeck.ports.whip import WhipAnswer
from tapedeck.service.ledger import Ledger
from tapedeck.service.lifecycle import LifecycleService, Recovery
from tapedeck.service.pages import PageService
from tapedeck.workers.insist import FIRST_DELAY_S, insist

__all__ = ["Hearer", "PageWorker", "Taker"]

log = structlog.get_logger(__name__)

_LOOK_S = 1.0
_MOST_LINES = 100
"""What is logged of one page."""
_SPEAKS = (*ACTIVE, RecordingState.CLOSING)
"""While a recording is in one of these its page is needed."""


class Taker(Protocol):
    """Takes publications: the WHIP endpoint."""

    async def offer(self, peer: PeerInfo, sdp: str) -> WhipAnswer:
        """As `ports.whip.WhipServer`."""


class Hearer(Protocol):
    """Takes timed metadata: the capture."""

    async def say(self, meeting_id: str, recording_id: str, text: str) -> bool:
        """As `ports.control.CaptureControl`."""


class _Over(Exception):
    """The page is to go."""

    def __init__(self, verdict: PageVerdict, reason: str = "") -> None:
        super().__init__(reason)
        self.verdict = verdict


@dataclass(slots=True)
class _Job:
    """The page of one recording."""

    recording: Recording
    over: asyncio.Event = field(default_factory=asyncio.Event)
    "The recording needs it no longer."
    task: asyncio.Task[None] | None = None
    has_media: bool = False
    "Its film has begun, in this process or an earlier one."


class PageWorker:
    """The pages of one node's recordings."""

    def __init__(
        self,
        *,
        pages: PageService,
        browsers: Browsers,
        taker: Taker,
        hearer: Hearer,
        lifecycle: LifecycleService,
        ledger: Ledger,
        clock: Clock,
        now: Callable[[], float] = time.monotonic,
        look_s: float = _LOOK_S,
        first_delay_s: float = FIRST_DELAY_S,
    ) -> None:
        """`now`: seconds of a clock that only goes forward; `look_s`: how often a page is looked at.

        `first_delay_s`: the pause before the end of a page is told again that could not be written.
        """
        self._pages = pages
        self._browsers = browsers
        self._taker = taker
        self._hearer = hearer
        self._lifecycle = lifecycle
        self._clock = clock
        self._now = now
        self._look_s = look_s
        self._first_delay_s = first_delay_s
        self._jobs: dict[str, _Job] = {}
        self._closed = False
        self._unsubscribe = ledger.subscribe(self._on_change)

    @property
    def recording_ids(self) -> list[str]:
        """Recordings that have a browser, or are about to have or to lose it."""
        return list(self._jobs)

    async def recover(self, recovery: Recovery) -> None:
        """Open again the pages of recordings that an earlier process left running: they go on after an outage."""
        await self._browsers.clear()
        for state, found in recovery.recordings.items():
            for recording in found:
                if recording.options.page is None:
                    continue
                if state in ACTIVE:
                    self._begin(recording)
                else:
                    await self._pages.dismiss(recording.id)

    async def aclose(self) -> None:
        """End all browsers; pages of recordings that go on are opened again by the next start."""
        self._closed = True
        self._unsubscribe()
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What happens

    def _on_change(self, recording: Recording, change: RecordingChanged) -> None:
        if recording.options.page is None:
            return
        job = self._jobs.get(recording.id)
        if job is None and change.state is RecordingState.STARTING:
            self._begin(recording)
        elif job is not None:
            job.has_media |= change.state in LIVE
            if change.state not in _SPEAKS:
                job.over.set()

    def _begin(self, recording: Recording) -> None:
        if self._closed or recording.id in self._jobs:
            return
        job = self._jobs[recording.id] = _Job(recording, has_media=recording.state in LIVE)
        job.task = asyncio.create_task(self._run(job), name=f"page {recording.id}")

    async def _run(self, job: _Job) -> None:
        try:
            over = await self._outcome(job)
            if over is not None:
                await self._judge(job, over)
            await self._dismiss(job)
        except asyncio.CancelledError:  # this node ends: what is left then is for the next start
            with contextlib.suppress(TapedeckError):
                await self._pages.dismiss(job.recording.id)
            raise
        finally:
            self._jobs.pop(job.recording.id, None)

    async def _outcome(self, job: _Job) -> _Over | None:
        """Have the page shown; how it ended, if not with its recording."""
        try:
            await self._show(job)
        except _Over as over:
            return over
        except TapedeckError as exc:
            return _Over(PageVerdict.FAIL, str(exc))
        except Exception:
            log.exception("page.failed", recording_id=job.recording.id)
            return _Over(PageVerdict.FAIL, "The page could not be recorded: an internal error")
        return None

    async def _show(self, job: _Job) -> None:
        """Have the page in a browser until it is needed no longer. `_Over` when it is the page that ends."""
        options = job.recording.options
        address = await self._pages.invite(job.recording)
        page = await self._browsers.open(PageOrder(address, options.width, options.height, options.fps))
        try:
            await self._attend(job, page)
        finally:
            await self._leave(job, page)

    async def _leave(self, job: _Job, page: OpenPage) -> None:
        try:
            await page.aclose()
        except Exception:  # why the page ended is what is to be told
            log.exception("page.not_closed", recording_id=job.recording.id)

    async def _dismiss(self, job: _Job) -> None:
        recording_id = job.recording.id
        first = self._first_delay_s
        await insist(lambda: self._pages.dismiss(recording_id), "page", first_delay_s=first, recording_id=recording_id)

    async def _attend(self, job: _Job, page: OpenPage) -> None:
        attending = asyncio.create_task(self._watch(job, page), name="watch")
        leaving = asyncio.create_task(job.over.wait(), name="over")
        try:
            await asyncio.wait({attending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if job.over.is_set():
                return
            try:
                await attending
            except _Over as over:
                if over.verdict is not PageVerdict.END:
                    raise
                # In order: the page is shown until the end is in the log.
                await self._judge(job, over)
                await leaving
        finally:
            for task in (attending, leaving):
                task.cancel()
            await asyncio.gather(attending, leaving, return_exceptions=True)

    async def _watch(self, job: _Job, page: OpenPage) -> None:
        life = PageLife(self._now())
        tasks = [
            asyncio.create_task(self._listen(job, page, life), name="listen"),
            asyncio.create_task(self._look(job, page, life), name="look"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, job: _Job, page: OpenPage, life: PageLife) -> NoReturn:
        allowance, lines = Allowance(), 0
        while True:
            event = await page.next_event()
            if event.fact is PageFact.SAID and job.recording.options.timed and allowance.take(self._now_ns()):
                await self._hear(job.recording, event.text)
            if event.fact is not PageFact.SAID and lines < _MOST_LINES:  # a page may load itself for ever
                lines += 1
                log.info("page.happened", recording_id=job.recording.id, fact=event.fact.value)
            await self._act(job, page, life, life.happened(event, self._now()))

    async def _hear(self, recording: Recording, message: str) -> None:
        """What the meeting's people say to the film reaches the recorder through the page's socket."""
        text = message_text(message)
        if text is not None:
            with contextlib.suppress(UnavailableError):  # it is not captured (any more): passed over, as always
                await self._hearer.say(recording.meeting_id, recording.id, text)

    def _now_ns(self) -> int:
        return round(self._now() * 1e9)

    async def _look(self, job: _Job, page: OpenPage, life: PageLife) -> NoReturn:
        while True:
            await asyncio.sleep(self._look_s)
            await self._act(job, page, life, life.looked(await page.look(), self._now()))
            if life.is_started and await page.is_lost():
                log.warning("page.sent_again", recording_id=job.recording.id)
                await self._publish(job, page)

    async def _act(self, job: _Job, page: OpenPage, life: PageLife, verdict: PageVerdict) -> None:
        if verdict is PageVerdict.START:
            await self._publish(job, page)
        elif verdict is not PageVerdict.WAIT:
            raise _Over(verdict, life.reason)

    async def _publish(self, job: _Job, page: OpenPage) -> None:
        recording = job.recording
        peer = PeerInfo(
            meeting_id=recording.meeting_id,
            participant_id=page_participant(recording.id),
            peer_id=str(uuid4()),
            name="",
            origin=Origin.SCREEN,
        )

        async def exchange(offer: str) -> str:
            return (await self._taker.offer(peer, offer)).sdp

        await page.publish(exchange)

    async def _judge(self, job: _Job, over: _Over) -> None:
        """End the recording of a page that is over. What it had shown until then is its film."""
        recording_id, reason = job.recording.id, str(over)
        if self._closed:
            return
        if over.verdict is PageVerdict.FAIL:
            log.warning("page.ended", recording_id=recording_id, reason=reason)
        at = self._clock.now()

        async def tell() -> None:
            if over.verdict is PageVerdict.END:
                await self._lifecycle.end(recording_id)
            elif job.has_media:
                await self._lifecycle.caution(recording_id, Caution(PAGE, reason))
                await self._lifecycle.interrupt(recording_id, at)
            else:
                await self._lifecycle.on_failed(recording_id, reason)

        # Unheard, the recording would run on without a picture. Too late is: it had ended before.
        await insist(tell, "page", first_delay_s=self._first_delay_s, over=job.over, recording_id=recording_id)
