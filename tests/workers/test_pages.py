"""What becomes of a recording when its page does this or that; the browser is played by the test, time is passed in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.pace import eventually
from tests.workers.house import House, Peer, open_house

from tapedeck.core.errors import UnavailableError
from tapedeck.core.frames import Codec, Origin, TrackInfo
from tapedeck.core.page import PageEvent, PageFact, PageLook, page_participant
from tapedeck.core.recording import Recording, RecordingState, StopCause
from tapedeck.core.timeline import TimedText
from tapedeck.db import rooms
from tapedeck.medialog.reader import LogReader
from tapedeck.ports.browser import PageOrder
from tapedeck.ports.sources import PeerInfo
from tapedeck.ports.whip import WhipAnswer
from tapedeck.service.pages import PageService
from tapedeck.service.recordings import Action
from tapedeck.workers.pages import PageWorker

STARTS = (PageEvent(PageFact.CONNECTED), PageEvent(PageFact.SAID, '{"type":"StartRecording"}'))


@dataclass
class PlayedPage:
    """An `OpenPage` that does what the test says."""

    events: asyncio.Queue[PageEvent] = field(default_factory=asyncio.Queue)
    seen: PageLook | None = field(default_factory=PageLook)
    lost: bool = False
    is_closed: bool = False
    published: int = 0

    def happens(self, *events: PageEvent) -> None:
        for event in events:
            self.events.put_nowait(event)

    async def next_event(self) -> PageEvent:
        return await self.events.get()

    async def look(self) -> PageLook | None:
        return self.seen

    async def publish(self, exchange: Callable[[str], Awaitable[str]]) -> None:
        assert await exchange("offer") == "answer"
        self.published, self.lost = self.published + 1, False

    async def is_lost(self) -> bool:
        return self.lost

    async def aclose(self) -> None:
        self.is_closed = True


@dataclass
class Stage:
    """A worker, its browsers and its publications."""

    house: House
    pages: list[PlayedPage] = field(default_factory=list)
    orders: list[PageOrder] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)
    infos: list[PeerInfo] = field(default_factory=list)
    refuses: str | None = None
    now: float = 0.0

    def problem(self) -> str | None:
        return None

    async def clear(self) -> None: ...

    async def open(self, order: PageOrder) -> PlayedPage:
        if self.refuses is not None:
            raise UnavailableError(self.refuses)
        self.orders.append(order)
        self.pages.append(PlayedPage())
        return self.pages[-1]

    async def offer(self, peer: PeerInfo, sdp: str) -> WhipAnswer:
        sink = await self.house.host.join(peer, self.house.now_ns())
        info = TrackInfo(
            f"v-{peer.peer_id}", peer.peer_id, peer.participant_id, Codec.VP8.kind, Codec.VP8, Origin.SCREEN
        )
        track = sink.open_track(info, self.house, self.house.now_ns())
        self.peers.append(Peer(sink, track, self.house.now_ns))
        self.infos.append(peer)
        return WhipAnswer("session", "answer", "tag")

    def worker(self) -> PageWorker:
        house = self.house
        return PageWorker(
            pages=PageService(house.db, house.clock, house.access),
            browsers=self,
            taker=self,
            hearer=house.host,
            lifecycle=house.lifecycle,
            ledger=house.ledger,
            clock=house.clock,
            now=lambda: self.now,
            look_s=0.01,
            first_delay_s=0.01,
        )

    async def start(self, **more: object) -> Recording:
        meeting = await self.house.meeting()
        config = {"url": "https://apps.example/show", **more}
        view = await self.house.recordings.start(self.house.app, self.house.backend, meeting.id, config)
        return view.recording

    async def opened(self) -> PlayedPage:
        async def there() -> bool:
            return bool(self.pages)

        await eventually(there, 30)
        return self.pages[-1]

    async def filmed(self, **more: object) -> tuple[Recording, PlayedPage]:
        """A recording whose page is in the log."""
        recording = await self.start(**more)
        page = await self.opened()
        page.happens(*STARTS)

        async def sends() -> bool:
            return bool(self.peers)

        await eventually(sends, 30)
        self.peers[-1].send()
        await self.house.until(recording, RecordingState.CAPTURING)
        return recording, page

    async def closed(self, page: PlayedPage) -> None:
        async def gone() -> bool:
            return page.is_closed

        await eventually(gone, 30)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_house(tmp_path, page_problem=lambda _: None) as house:
        made = Stage(house)
        worker = made.worker()
        try:
            yield made
        finally:
            await worker.aclose()
            assert all(page.is_closed for page in made.pages)
            assert not worker.recording_ids


async def test_a_page_is_recorded_from_its_word_to_its_end(stage: Stage) -> None:
    recording, page = await stage.filmed()
    assert stage.infos[0].participant_id == page_participant(recording.id)
    (order,) = stage.orders
    assert order.address.startswith("https://apps.example/show?authToken=")
    assert (order.width, order.height, order.fps) == (1280, 720, 30)
    page.seen = PageLook(trigger=True)
    paused = await stage.house.act(recording, Action.PAUSE)
    assert (paused.state, page.is_closed) == (RecordingState.PAUSED, False)
    await stage.house.act(recording, Action.RESUME)
    page.seen = PageLook(trigger=True, is_ended=True)
    ended = await stage.house.until(recording, RecordingState.RENDERING)
    assert ended.stop_cause is StopCause.EMPTY
    await stage.closed(page)


async def test_a_stop_by_its_owner_closes_the_page_when_its_end_is_in_the_log(stage: Stage) -> None:
    recording, page = await stage.filmed()
    await stage.house.act(recording, Action.STOP)
    ended = await stage.house.until(recording, RecordingState.RENDERING)
    assert ended.stop_cause is StopCause.REQUEST
    await stage.closed(page)


async def test_a_page_that_never_starts_fails_its_recording_with_the_reason(stage: Stage) -> None:
    recording = await stage.start()
    page = await stage.opened()
    page.happens(STARTS[0])
    stage.now = 119.0
    assert (await stage.house.now_of(recording)).state is RecordingState.STARTING
    stage.now = 400.0
    failed = await stage.house.until(recording, RecordingState.FAILED)
    assert "within 120 s" in str(failed.failure)
    await stage.closed(page)


@pytest.mark.parametrize("reason", ["The page crashed", "The page took more than the 2048 MiB of memory"])
async def test_what_breaks_a_page_before_it_is_filmed_fails_the_recording(stage: Stage, reason: str) -> None:
    recording = await stage.start()
    (await stage.opened()).happens(PageEvent(PageFact.BROKEN, reason))
    failed = await stage.house.until(recording, RecordingState.FAILED)
    assert failed.failure == reason


async def test_what_breaks_a_page_that_is_filmed_ends_the_film_there_and_is_told(stage: Stage) -> None:
    recording, page = await stage.filmed()
    page.happens(PageEvent(PageFact.BROKEN, "The page crashed"))
    ended = await stage.house.until(recording, RecordingState.RENDERING)
    assert ended.stop_cause is StopCause.FAULT
    assert [caution.message for caution in ended.cautions] == ["The page crashed"]
    await stage.closed(page)


async def test_a_browser_that_cannot_be_started_fails_the_recording(stage: Stage) -> None:
    stage.refuses = "No web page can be recorded: there is no Chromium"
    recording = await stage.start()
    failed = await stage.house.until(recording, RecordingState.FAILED)
    assert failed.failure == stage.refuses


async def test_a_publication_that_breaks_off_is_made_again(stage: Stage) -> None:
    recording, page = await stage.filmed()
    page.lost = True

    async def again() -> bool:
        return page.published == 2

    await eventually(again, 30)
    assert stage.infos[1].participant_id == stage.infos[0].participant_id
    assert stage.infos[1].peer_id != stage.infos[0].peer_id
    assert (await stage.house.now_of(recording)).state is RecordingState.CAPTURING


async def test_the_pages_of_a_server_that_ended_are_opened_again(tmp_path: Path) -> None:
    async with open_house(tmp_path, page_problem=lambda _: None) as house:
        first = Stage(house)
        worker = first.worker()
        recording, _ = await first.filmed()
        await worker.aclose()
        assert first.pages[0].is_closed
        assert (await house.now_of(recording)).state is RecordingState.CAPTURING
        second = Stage(house)
        worker = second.worker()
        try:
            await worker.recover(await house.lifecycle.recover({}))
            page = await second.opened()
            page.happens(PageEvent(PageFact.BROKEN, "The page could not be opened"))
            ended = await house.until(recording, RecordingState.RENDERING)
            assert ended.stop_cause is StopCause.FAULT, "what was filmed before is not lost"
        finally:
            await worker.aclose()


@pytest.mark.parametrize("timed", [True, False])
async def test_what_is_said_in_the_meeting_reaches_a_timed_film_through_the_page(stage: Stage, timed: bool) -> None:
    more = {"interactive_config": {"type": "ID3"}} if timed else {}
    recording, page = await stage.filmed(**more)
    page.happens(
        PageEvent(PageFact.SAID, '{"type": "ID3Data", "payload": "a quiz", "timestamp": 1}'),
        PageEvent(PageFact.SAID, '{"type": "chat", "payload": "not this"}'),
        PageEvent(PageFact.SAID, "{"),
        PageEvent(PageFact.ENDED),
    )
    ended = await stage.house.until(recording, RecordingState.RENDERING)
    log = LogReader(stage.house.root / "captures" / str(ended.session_id))
    with log.timeline() as timeline:
        said = [event.text for event in timeline.poll() if isinstance(event, TimedText)]
    assert said == (["a quiz"] if timed else [])


async def test_people_beside_a_page_do_not_begin_its_film(stage: Stage) -> None:
    recording = await stage.start()
    await stage.opened()
    person = await stage.house.join(await stage.house.meetings.get(stage.house.app, recording.meeting_id))
    person.send()
    person.send()
    assert (await stage.house.now_of(recording)).state is RecordingState.STARTING
    stage.pages[-1].happens(*STARTS)

    async def sends() -> bool:
        return bool(stage.peers)

    await eventually(sends, 30)
    stage.peers[-1].send()
    await stage.house.until(recording, RecordingState.CAPTURING)


class Fails:
    """A call that the database refuses for some times."""

    def __init__(self, call: Callable[..., Awaitable[Any]], times: int) -> None:
        self._call, self.left = call, times

    async def __call__(self, *args: object) -> Any:
        if self.left:
            self.left -= 1
            raise UnavailableError("The database is locked")
        return await self._call(*args)


@pytest.mark.parametrize("call", ["caution", "interrupt"])
async def test_the_end_of_a_page_is_told_until_the_database_takes_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    recording, page = await stage.filmed()
    fails = Fails(getattr(stage.house.lifecycle, call), 3)
    monkeypatch.setattr(stage.house.lifecycle, call, fails)
    page.happens(PageEvent(PageFact.BROKEN, "The page crashed"))
    ended = await asyncio.wait_for(stage.house.until(recording, RecordingState.RENDERING), 30)
    assert (fails.left, ended.stop_cause) == (0, StopCause.FAULT)
    assert [caution.message for caution in ended.cautions] == ["The page crashed"]


async def test_a_meeting_that_is_over_is_told_until_the_database_takes_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, page = await stage.filmed()
    monkeypatch.setattr(stage.house.lifecycle, "end", Fails(stage.house.lifecycle.end, 3))
    page.happens(PageEvent(PageFact.ENDED))
    ended = await asyncio.wait_for(stage.house.until(recording, RecordingState.RENDERING), 30)
    assert ended.stop_cause is StopCause.EMPTY


async def test_a_token_that_cannot_be_made_void_at_once_hides_no_reason_and_is_void_later(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = Fails(PageService(stage.house.db, stage.house.clock, stage.house.access).dismiss, 2)
    monkeypatch.setattr(PageService, "dismiss", lambda _, recording_id: fails(recording_id))
    recording, page = await stage.filmed()
    page.happens(PageEvent(PageFact.BROKEN, "The page crashed"))
    ended = await asyncio.wait_for(stage.house.until(recording, RecordingState.RENDERING), 30)
    assert [caution.message for caution in ended.cautions] == ["The page crashed"]

    async def void() -> bool:
        async with stage.house.db.read() as session:
            people, _ = await rooms.people_of(session, recording.meeting_id, 10, 0)
        return not people

    await eventually(void, 30)
