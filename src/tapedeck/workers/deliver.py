"""Sends webhooks: one lane per webhook that has something due, each attempt in a slot.

A lane sends several recordings' messages at once, never two of one recording. Endpoints that fail have few slots of
their own, so that however many of them hang, those that answer do not wait. Attempts are stored in batches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial

import structlog

from tapedeck.core.webhooks import Attempt, Delivery
from tapedeck.notify.deliver import Deliverer
from tapedeck.ports.clock import Clock
from tapedeck.service.deliveries import DeliveryService
from tapedeck.service.ledger import Ledger

__all__ = ["DeliveryWorker"]

log = structlog.get_logger(__name__)

HEALTHY_SLOTS = 64
FAILING_SLOTS = 32
LANE_WIDTH = 4
"""Attempts at once to a webhook that answers; one that fails gets one."""
_LONGEST_WAIT_S = 1.0
_APART_S = 0.1
"""From one look to the next: the first news is looked at at once, what follows it together."""
_GATHER_S = 0.02
"""Attempts that end so close together are stored in one transaction."""
_AFTER_FAULT_S = 1.0
_FORGET_EVERY_S = 3600.0
_BATCH = 50


class DeliveryWorker:
    """The deliveries of one node. `run` until cancelled, then `aclose`."""

    def __init__(self, service: DeliveryService, deliverer: Deliverer, ledger: Ledger, clock: Clock) -> None:
        self._service = service
        self._deliverer = deliverer
        self._clock = clock
        self._news = asyncio.Event()
        self._unsubscribe = ledger.on_news(self._news.set)
        self._healthy = asyncio.Semaphore(HEALTHY_SLOTS)
        self._failing = asyncio.Semaphore(FAILING_SLOTS)
        self._doubtful: set[str] = set()
        "Webhooks whose latest attempt failed."
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._pokes: dict[str, asyncio.Event] = {}
        "Tells a lane that something became due."
        self._sent: list[tuple[Delivery, Attempt, asyncio.Future[bool]]] = []
        self._settler: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Send what is due, for ever. A fault is logged and does not end it."""
        loop = asyncio.get_running_loop()
        forget_at = loop.time()
        while True:
            wait_s, looked_at = _LONGEST_WAIT_S, loop.time()
            self._news.clear()
            try:
                upcoming = await self.launch()
                if upcoming is not None:
                    wait_s = min(max((upcoming - self._clock.now()).total_seconds(), 0.005), wait_s)
                if loop.time() >= forget_at:
                    await self._service.forget()
                    forget_at = loop.time() + _FORGET_EVERY_S
            except Exception:
                log.exception("webhooks.failed")
                await asyncio.sleep(_AFTER_FAULT_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
                await asyncio.sleep(looked_at + _APART_S - loop.time())

    async def launch(self) -> datetime | None:
        """Queue what happened and begin to send what is due; returns when the next thing is."""
        while await self._service.fan_out():
            pass
        for webhook_id, failures in await self._service.due_webhooks():
            if webhook_id in self._pokes:
                self._pokes[webhook_id].set()
                continue
            if failures:
                self._doubtful.add(webhook_id)
            self._pokes[webhook_id] = asyncio.Event()
            lane = asyncio.create_task(self._lane(webhook_id), name=f"webhook {webhook_id}")
            self._lanes[webhook_id] = lane
            lane.add_done_callback(partial(self._leave, webhook_id))
        return await self._service.next_due()

    async def settle(self) -> None:
        """Return when everything that is due has been tried."""
        while self._lanes:
            await asyncio.gather(*self._lanes.values())
            await asyncio.sleep(0)  # so that the lanes that ended are off the list

    async def drain(self, timeout_s: float) -> None:
        """Send what is due, for so long at most; what is left is sent after the next start."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.launch()
                await self.settle()
        except TimeoutError:
            log.info("webhooks.left", text="some webhooks are sent after the next start")
        except Exception:
            log.exception("webhooks.failed")

    async def aclose(self) -> None:
        """Stop sending. What was not stored is sent once more after the next start."""
        self._unsubscribe()
        tasks = [*self._lanes.values(), *([self._settler] if self._settler else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _leave(self, webhook_id: str, lane: asyncio.Task[None]) -> None:
        del self._lanes[webhook_id], self._pokes[webhook_id]
        self._news.set()  # what became due while the lane was ending is seen by the next look

    async def _lane(self, webhook_id: str) -> None:
        """Send what is due to one webhook until nothing is."""
        running: dict[asyncio.Task[bool], int] = {}
        may_be_more = True
        poke = self._pokes[webhook_id]
        poked: asyncio.Task[bool] = asyncio.create_task(poke.wait())
        try:
            while True:
                width = 1 if webhook_id in self._doubtful else LANE_WIDTH
                free = width - len(running)
                found: Sequence[Delivery] = ()
                if may_be_more and free > 0:
                    claim = await self._service.claim(webhook_id, free, tuple(running.values()))
                    found = claim.deliveries if claim is not None else ()
                    may_be_more = len(found) == free
                for delivery in found:
                    task = asyncio.create_task(self._send(delivery), name=f"delivery {delivery.id}")
                    running[task] = delivery.seq
                if not running:
                    return
                await asyncio.wait({poked, *running}, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in running if task.done()]:
                    del running[task]
                    may_be_more |= task.result()
                if poke.is_set():
                    may_be_more = True
                    poke.clear()
                    poked = asyncio.create_task(poke.wait())
        except Exception:
            log.exception("webhooks.lane_failed", webhook_id=webhook_id)
            await asyncio.sleep(_AFTER_FAULT_S)
        finally:
            for ending in (poked, *running):
                ending.cancel()
            await asyncio.gather(poked, *running, return_exceptions=True)

    async def _send(self, delivery: Delivery) -> bool:
        """Send once, and have it stored; whether another one waited for it."""
        async with self._failing if delivery.webhook_id in self._doubtful else self._healthy:
            attempt = await self._deliverer.send(delivery)
        if attempt.status is not None and 200 <= attempt.status < 300:
            self._doubtful.discard(delivery.webhook_id)
        else:
            self._doubtful.add(delivery.webhook_id)
            log.info(
                "webhooks.attempt_failed",
                webhook_id=delivery.webhook_id,
                delivery_id=delivery.id,
                status=attempt.status,
                reason=attempt.error,
            )
        stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._sent.append((delivery, attempt, stored))
        if self._settler is None:
            self._settler = asyncio.create_task(self._store(), name="webhook attempts")
        return await stored

    async def _store(self) -> None:
        """Store attempts in batches while there are any."""
        try:
            await asyncio.sleep(_GATHER_S)
            while self._sent:
                batch, self._sent = self._sent[:_BATCH], self._sent[_BATCH:]
                try:
                    more = await self._service.settle([(delivery, attempt) for delivery, attempt, _ in batch])
                except Exception as exc:
                    _tell(batch, exc)
                else:
                    _tell(batch, more)
        finally:
            self._settler = None


def _tell(batch: list[tuple[Delivery, Attempt, asyncio.Future[bool]]], outcome: Exception | Collection[str]) -> None:
    for delivery, _, stored in batch:
        if stored.done():
            continue  # its lane was stopped
        if isinstance(outcome, Exception):
            stored.set_exception(outcome)
        else:
            stored.set_result(delivery.webhook_id in outcome)
