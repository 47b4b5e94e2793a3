"""Webhooks from the database to endpoints: order, repeats, patience, and nothing lost whenever the process dies."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.pace import eventually
from tests.service.world import SIGNER, World, make_world

from tapedeck.core.egress import RefusedTargetError, UnreachableError
from tapedeck.core.errors import DestinationError
from tapedeck.core.paging import Page
from tapedeck.core.webhooks import Delivery, DeliveryState, Webhook
from tapedeck.notify.deliver import Deliverer
from tapedeck.ports.poster import Response
from tapedeck.service.deliveries import DeliveryFilter
from tapedeck.service.recordings import Action
from tapedeck.workers.deliver import DeliveryWorker

EVENTS = ("recording.statusUpdate",)
Answer = Callable[[str, int], int | Exception | Awaitable[int]]


@dataclass
class Endpoint:
    """`ports.poster.Poster` that answers as a test says: by URL and by number of the request, from 0."""

    answer: Answer = lambda url, number: 200
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    "URL, delivery id, body."
    closed: bool = False

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Response:
        number = len([1 for seen, _, _ in self.requests if seen == url])
        self.requests.append((url, headers["rtk-uuid"], body.decode()))
        answer = self.answer(url, number)
        if isinstance(answer, Exception):
            raise answer
        return Response(answer if isinstance(answer, int) else await answer, "text")

    async def aclose(self) -> None:
        self.closed = True


@asynccontextmanager
async def sending(world: World, endpoint: Endpoint) -> AsyncIterator[DeliveryWorker]:
    worker = DeliveryWorker(world.deliveries, Deliverer(endpoint, SIGNER, world.clock), world.ledger, world.clock)
    try:
        yield worker
    finally:
        await worker.aclose()


async def rest(worker: DeliveryWorker, world: World, most_s: float = 3600) -> float:
    """Let time pass until nothing is left to do, or so much has passed; returns how much did."""
    passed = 0.0
    while True:
        await worker.launch()
        await worker.settle()
        upcoming = await worker.launch()
        await worker.settle()
        if upcoming is None or passed > most_s:
            return passed
        wait_s = (upcoming - world.clock.now()).total_seconds()
        world.clock.move(wait_s)
        passed += wait_s


async def hook(world: World, url: str = "https://example.org/a", events: tuple[str, ...] = EVENTS) -> Webhook:
    return await world.webhooks.create(world.app, "n", url, events, True)


async def deliveries(world: World, webhook: Webhook) -> list[Delivery]:
    listed = await world.deliveries.list(world.app, webhook.id, DeliveryFilter(), Page(1, 100))
    return list(listed.items)[::-1]


async def queue(world: World, webhook: Webhook, key: str, body: str) -> None:
    """A message of a recording that never was."""
    from tapedeck.db import deliveries as table

    async with world.db.write() as session:
        message = table.Queued(body, webhook, "recording.statusUpdate", key, body)
        await table.add_deliveries(session, [message], world.clock.now())


async def test_500_twice_and_then_200_is_three_attempts_with_one_id(world: World) -> None:
    """[48]"""
    webhook = await hook(world)
    endpoint = Endpoint(lambda url, number: 500 if number < 2 else 200)
    await world.start(await world.meeting())
    async with sending(world, endpoint) as worker:
        assert await rest(worker, world) == 1 + 2
    assert len(endpoint.requests) == 3 and len(set(endpoint.requests)) == 1
    (delivery,) = await deliveries(world, webhook)
    assert delivery.state is DeliveryState.DELIVERED
    assert [attempt.status for attempt in delivery.attempts] == [500, 500, 200]


async def test_that_it_is_done_is_told_even_where_no_link_can_be_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(key: str, filename: str, expires: datetime) -> str:
        raise DestinationError("The store makes no links.")

    await hook(world)
    meeting = await world.meeting()
    recording = await world.start(meeting)
    await world.sessions.on_capturing(recording.id, await world.live(meeting), world.clock.now())
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    await world.finish(recording)
    monkeypatch.setattr(world.store, "presign", none)
    endpoint = Endpoint()
    async with sending(world, endpoint) as worker:
        await rest(worker, world)
    last = json.loads(endpoint.requests[-1][2])["recording"]
    assert last["status"] == "UPLOADED" and "downloadUrl" not in last and last["fileSize"] == "4"


async def test_what_waited_for_one_that_is_forgotten_is_sent(world: World) -> None:
    webhook = await hook(world)
    await queue(world, webhook, "session", "old")
    world.clock.move(20 * 86_400)
    await queue(world, webhook, "session", "new")
    world.clock.move(11 * 86_400)
    await world.deliveries.forget()
    endpoint = Endpoint()
    async with sending(world, endpoint) as worker:
        await rest(worker, world)
    assert [body for _, _, body in endpoint.requests] == ["new"]


@pytest.mark.parametrize("status", [301, 307, 400, 404, 410, 429])
async def test_anything_else_is_not_tried_again(world: World, status: int) -> None:
    """[48]"""
    webhook = await hook(world)
    endpoint = Endpoint(lambda url, number: status)
    await world.start(await world.meeting())
    async with sending(world, endpoint) as worker:
        assert await rest(worker, world) == 0
    assert len(endpoint.requests) == 1
    assert [d.state for d in await deliveries(world, webhook)] == [DeliveryState.FAILED]


async def test_no_answer_is_tried_again_and_given_up_after_six(world: World) -> None:
    webhook = await hook(world)
    endpoint = Endpoint(lambda url, number: UnreachableError("no answer within 3 s"))
    await world.start(await world.meeting())
    async with sending(world, endpoint) as worker:
        assert await rest(worker, world) == 1 + 2 + 4 + 8 + 16
    assert len(endpoint.requests) == 6
    (delivery,) = await deliveries(world, webhook)
    assert delivery.state is DeliveryState.FAILED and delivery.next_at is None
    assert delivery.attempts[-1].error == "no answer within 3 s"


async def test_a_refused_target_is_tried_once(world: World) -> None:
    await hook(world)
    endpoint = Endpoint(lambda url, number: RefusedTargetError("private"))
    await world.start(await world.meeting())
    async with sending(world, endpoint) as worker:
        assert await rest(worker, world) == 0
    assert len(endpoint.requests) == 1


async def test_disabled_and_unsubscribed_webhooks_hear_nothing(world: World) -> None:
    """[49]"""
    await hook(world, events=("meeting.ended",))
    disabled = await hook(world)
    await world.webhooks.update(world.app, disabled.id, {"enabled": False})
    endpoint = Endpoint()
    await world.start(await world.meeting())
    async with sending(world, endpoint) as worker:
        await rest(worker, world)
        await world.webhooks.update(world.app, disabled.id, {"enabled": True})
        await rest(worker, world)
    assert endpoint.requests == []


async def test_two_apps_hear_of_their_own_recordings_alone_with_links_to_their_own_files(world: World) -> None:
    other = await world.access.create_app(world.account_id, "Other")
    apps, told = {"a": world.app, "b": other}, {}
    endpoint = Endpoint()
    for name, app in apps.items():
        await world.webhooks.create(app, "n", f"https://example.org/{name}", EVENTS, True)
    async with sending(world, endpoint) as worker:
        for name, app in apps.items():
            world.app = app
            meeting = await world.meeting()
            recording = await world.capturing(meeting, await world.live(meeting))
            await world.recordings.control(app, world.backend, recording.id, Action.STOP)
            told[name] = (await world.finish(recording)).id
        await rest(worker, world)
    for name in apps:
        bodies = [json.loads(body) for url, _, body in endpoint.requests if url.endswith(f"/{name}")]
        assert {body["recording"]["id"] for body in bodies} == {told[name]}
        links = [link for body in bodies if (link := body["recording"].get("downloadUrl"))]
        assert links and all(told[name] in link for link in links)


async def test_disabling_cancels_what_is_queued_and_deleting_too(world: World) -> None:
    webhook = await hook(world)
    endpoint = Endpoint(lambda url, number: 503)
    await world.start(await world.meeting())
    async with sending(world, endpoint) as worker:
        await worker.launch()
        await worker.settle()
        await world.webhooks.update(world.app, webhook.id, {"enabled": False})
        assert await rest(worker, world) == 0
        assert [d.state for d in await deliveries(world, webhook)] == [DeliveryState.CANCELLED]
        again = await hook(world, "https://example.org/b")
        await world.start(await world.meeting())
        await worker.launch()
        await worker.settle()
        await world.webhooks.delete(world.app, again.id)
        assert await rest(worker, world) == 0
    assert len(endpoint.requests) == 2


async def test_after_twenty_failed_deliveries_an_endpoint_is_left_alone_and_probed(world: World) -> None:
    """OC-76"""
    webhook = await hook(world)
    for number in range(25):
        await queue(world, webhook, f"k{number}", f"b{number}")
    status = 404
    endpoint = Endpoint(lambda url, number: status)
    async with sending(world, endpoint) as worker:
        await worker.launch()
        await worker.settle()
        assert len(endpoint.requests) == 20
        world.clock.move(599)
        await worker.launch()
        await worker.settle()
        assert len(endpoint.requests) == 20
        world.clock.move(1)
        await worker.launch()
        await worker.settle()
        assert len(endpoint.requests) == 21  # the probe failed: ten minutes more
        status = 200
        assert await rest(worker, world) == 600
    assert len(endpoint.requests) == 25
    assert (await world.webhooks.get(world.app, webhook.id)).breaker.failures == 0


async def test_a_hanging_endpoint_delays_no_other(world: World) -> None:
    """And no other message of its own, but those of the same recording."""
    slow, quick = await hook(world, "https://example.org/slow"), await hook(world, "https://example.org/quick")
    end = asyncio.Event()

    async def hang() -> int:
        await end.wait()
        return 200

    all_quick = asyncio.Event()

    def answer(url: str, number: int) -> int | Awaitable[int]:
        if number == 49:
            all_quick.set()
        return hang() if url.endswith("slow") else 200

    endpoint = Endpoint(answer)
    for number in range(50):
        await queue(world, slow, f"k{number}", f"s{number}")
        await queue(world, quick, f"k{number}", f"q{number}")
    async with sending(world, endpoint) as worker:
        running = asyncio.create_task(worker.run())
        await asyncio.wait_for(all_quick.wait(), 60)
        hanging = [url for url, _, _ in endpoint.requests if url.endswith("slow")]
        assert 1 <= len(hanging) <= 4
        end.set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_becomes_due_while_a_lane_waits_is_sent_beside_it(world: World) -> None:
    webhook = await hook(world)
    end, came, first = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hang() -> int:
        await end.wait()
        return 200

    def answer(url: str, number: int) -> int | Awaitable[int]:
        if number == 0:
            first.set()
            return hang()
        came.set()
        return 200

    endpoint = Endpoint(answer)
    async with sending(world, endpoint) as worker:
        await queue(world, webhook, "first", "1")
        running = asyncio.create_task(worker.run())
        async with asyncio.timeout(60):
            await first.wait()
            await queue(world, webhook, "second", "2")
            world.ledger.announce()
            await came.wait()
        end.set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_changed_url_takes_what_is_queued(world: World) -> None:
    webhook = await hook(world)
    endpoint = Endpoint(lambda url, number: 500 if url.endswith("/a") else 200)
    await world.start(await world.meeting())
    async with sending(world, endpoint) as worker:
        await worker.launch()
        await worker.settle()
        await world.webhooks.update(world.app, webhook.id, {"url": "https://example.org/b"})
        await rest(worker, world)
    assert [url for url, _, _ in endpoint.requests] == ["https://example.org/a", "https://example.org/b"]


async def test_redelivery_has_the_old_id_and_waits_its_turn(world: World) -> None:
    webhook = await hook(world)
    endpoint = Endpoint(lambda url, number: 404)
    await world.start(await world.meeting())
    async with sending(world, endpoint) as worker:
        await rest(worker, world)
        (failed,) = await deliveries(world, webhook)
        endpoint.answer = lambda url, number: 200
        assert (await world.deliveries.redeliver(world.app, webhook.id, failed.id)).state is DeliveryState.READY
        await rest(worker, world)
        assert await world.deliveries.redeliver_range(world.app, webhook.id, DeliveryFilter(states=())) == 0
        states = (DeliveryState.DELIVERED,)
        assert await world.deliveries.redeliver_range(world.app, webhook.id, DeliveryFilter(states=states)) == 1
        await rest(worker, world)
    assert len(endpoint.requests) == 3 and len(set(endpoint.requests)) == 1
    (delivery,) = await deliveries(world, webhook)
    assert [attempt.status for attempt in delivery.attempts] == [404, 200, 200]


async def test_what_happened_is_queued_once_however_many_look(world: World) -> None:
    webhook = await hook(world)
    await world.start(await world.meeting())
    await asyncio.gather(*(world.deliveries.fan_out() for _ in range(4)))
    assert len(await deliveries(world, webhook)) == 1


async def test_the_end_sends_what_is_due_and_waits_for_nobody_long(world: World) -> None:
    await hook(world)
    endpoint = Endpoint()
    await world.start(await world.meeting())
    async with sending(world, endpoint) as worker:
        await worker.drain(60)
        assert len(endpoint.requests) == 1

        async def hang() -> int:
            await asyncio.Event().wait()
            return 200

        endpoint.answer = lambda url, number: hang()
        await world.start(await world.meeting())
        await worker.launch()

        async def is_sent() -> bool:
            return len(endpoint.requests) == 2

        await eventually(is_sent)
        async with asyncio.timeout(60):
            await worker.drain(0.1)


async def test_deliveries_are_kept_for_thirty_days(world: World) -> None:
    webhook = await hook(world)
    await world.start(await world.meeting())
    async with sending(world, Endpoint()) as worker:
        await rest(worker, world)
        world.clock.move(30 * 86_400 - 1)
        await world.deliveries.forget()
        assert len(await deliveries(world, webhook)) == 1
        world.clock.move(2)
        await world.deliveries.forget()
        assert await deliveries(world, webhook) == []
        await world.start(await world.meeting())  # numbers of rows that are gone are not given again
        await rest(worker, world)
        assert len(await deliveries(world, webhook)) == 1


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=12),
    st.lists(st.sampled_from([200, 200, 204, 500, 503, 404, 0, -1]), max_size=30),
)
def test_every_message_arrives_in_order_whatever_happens(wanted: list[tuple[int, int]], answers: list[int]) -> None:
    """Of each recording and webhook: first arrivals in order, none invented, none left out; repeats have one id.

    -1 kills the worker in the middle of an attempt, and another takes over on the same database.
    """

    async def story() -> None:
        with tempfile.TemporaryDirectory() as root:
            async with make_world(Path(root)) as world:
                hooks = [await hook(world, f"https://example.org/{n}") for n in range(2)]
                left = list(answers)
                died = asyncio.Event()

                async def die() -> int:
                    died.set()
                    await asyncio.Event().wait()
                    return 0

                def answer(url: str, number: int) -> int | Exception | Awaitable[int]:
                    status = left.pop() if left else 200
                    if status == 0:
                        return UnreachableError("nothing")
                    return die() if status == -1 else status

                endpoint = Endpoint(answer)
                for number, (key, which) in enumerate(wanted):
                    await queue(world, hooks[which], f"key{key}", f"{number:03}/{key}/{which}")
                for _ in range(100):
                    died.clear()
                    async with sending(world, endpoint) as worker:
                        all_done = asyncio.create_task(rest(worker, world, 10_000))
                        dying = asyncio.create_task(died.wait())
                        await asyncio.wait({all_done, dying}, return_when=asyncio.FIRST_COMPLETED)
                        finished = all_done.done()
                        for task in (all_done, dying):
                            task.cancel()
                        await asyncio.gather(all_done, dying, return_exceptions=True)
                    if finished:
                        break
                else:
                    raise AssertionError("never at rest")
                assert {body for _, _, body in endpoint.requests} == {
                    f"{n:03}/{k}/{w}" for n, (k, w) in enumerate(wanted)
                }
                assert all(delivery_id == body for _, delivery_id, body in endpoint.requests)
                for key in range(3):
                    for which in range(2):
                        told = [b for _, _, b in endpoint.requests if b.endswith(f"/{key}/{which}")]
                        assert told == sorted(told)
                for webhook in hooks:
                    for delivery in await deliveries(world, webhook):
                        assert delivery.state in (DeliveryState.DELIVERED, DeliveryState.FAILED)
                        assert delivery.tries <= 6

    asyncio.run(story())
