"""Webhooks to 50 endpoints, a few of which hang and some of which fail: how long the others wait, and our memory.

Events are committed one by one at a steady rate, as recordings would; the endpoints are a process of their own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import structlog
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from bench.row import Row
from tapedeck.adapters.clock import SystemClock
from tapedeck.adapters.poster import HttpPoster
from tapedeck.adapters.sealer import AesSealer
from tapedeck.adapters.signer import RsaSigner
from tapedeck.adapters.storage.local import LocalStore
from tapedeck.core.happenings import HappeningKind
from tapedeck.core.meeting import Meeting, Session
from tapedeck.db import outbox, presence
from tapedeck.db.engine import Database
from tapedeck.notify.deliver import Deliverer
from tapedeck.notify.outbox import Composer, sample
from tapedeck.service.access import AccessService
from tapedeck.service.deliveries import DeliveryService
from tapedeck.service.ledger import Ledger
from tapedeck.service.meetings import MeetingService
from tapedeck.service.vault import Vault
from tapedeck.service.webhooks import WebhookService
from tapedeck.workers.deliver import DeliveryWorker

EVENTS, ENDPOINTS, PER_SECOND = 10_000, 50, 100
HANGING, FAILING = (7, 29), (3, 13, 23, 33, 43)
MARK_S, MARK_MIB = 1.0, 64


def rows() -> list[Row]:
    """One run. Failed attempts are not told of one by one."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory() as root:
        waits, grown_mib, missing = asyncio.run(_measure(Path(root)))
    p95 = waits[int(len(waits) * 0.95)]
    size = f"{EVENTS} events at {PER_SECOND}/s, {ENDPOINTS} endpoints: {len(HANGING)} hang, {len(FAILING)} fail"
    note = f"p50 {waits[len(waits) // 2] * 1000:.0f} ms, worst {waits[-1] * 1000:.0f} ms, {missing} not arrived"
    return [
        Row(
            f"webhook, commit to arrival at endpoints that answer ({size})",
            f"p95 {p95 * 1000:.0f} ms",
            "",
            f"{MARK_S:g} s, all arrive",
            p95 <= MARK_S and not missing,
            note,
        ),
        Row("memory that it takes", f"{grown_mib:.0f} MiB", "", f"{MARK_MIB} MiB", grown_mib <= MARK_MIB),
    ]


async def _measure(root: Path) -> tuple[list[float], float, int]:
    """Waits of healthy endpoints in seconds, sorted; growth of the process in MiB; events that never came."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from bench.webhooks import endpoints; endpoints()", stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    port = int(await child.stdout.readline())
    db, clock = Database(f"sqlite:///{root}/bench.db"), SystemClock()
    await db.migrate()
    ledger, poster = Ledger(db, clock), HttpPoster(allow_private=True)
    compose = Composer(LocalStore(root / "bucket", "http://127.0.0.1", b"k" * 32), str)
    service = DeliveryService(db, clock, ledger, compose, sample)
    signer = RsaSigner(rsa.generate_private_key(public_exponent=65_537, key_size=2048))
    worker = DeliveryWorker(service, Deliverer(poster, signer, clock), ledger, clock)
    meetings = await _fill(db, clock, port)
    before = _rss_mib()
    running = asyncio.create_task(worker.run())
    sent: dict[str, float] = {}
    try:
        begin = time.monotonic()
        for number in range(EVENTS):
            await asyncio.sleep(max(0.0, begin + number / PER_SECOND - time.monotonic()))
            which = number % ENDPOINTS
            session_id, at = str(uuid.uuid4()), datetime.now(UTC)
            live = Session(session_id, meetings[which].id, at)
            async with db.write() as session:
                await presence.add_session(session, live, meetings[which].app_id)
                await outbox.note_session(session, HappeningKind.SESSION_STARTED, meetings[which].app_id, live, at)
            if which not in HANGING and which not in FAILING:
                sent[session_id] = time.time()
            ledger.announce()
        await asyncio.sleep(2 * MARK_S)
        grown = _rss_mib() - before
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await worker.aclose()
        await poster.aclose()
        await db.aclose()
        child.terminate()
    arrived = json.loads(await child.stdout.read())
    await child.wait()
    waits = sorted(max(arrived[session_id] - at, 0.0) for session_id, at in sent.items() if session_id in arrived)
    return waits, grown, len(sent) - len(waits)


async def _fill(db: Database, clock: SystemClock, port: int) -> list[Meeting]:
    """An app with a meeting and a webhook for each endpoint."""
    access = AccessService(db, clock, "bench")
    boot = await access.bootstrap("bench", "bench")
    vault = Vault(db, AesSealer(["a secret for the bench"]))
    meetings = MeetingService(db, clock, None, None, vault)  # type: ignore[arg-type] # nobody is disconnected here
    hooks = WebhookService(db, clock, allow_private=True)
    made: list[Meeting] = []
    for number in range(ENDPOINTS):
        app = await access.create_app(boot.account_id, f"App {number}")
        kind = "hang" if number in HANGING else "fail" if number in FAILING else "fine"
        await hooks.create(app, "n", f"http://127.0.0.1:{port}/{kind}/{number}", ("meeting.started",), True)
        made.append(await meetings.create(app, {"title": "Bench"}))
    return made


def _rss_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def endpoints() -> None:
    """The other process: prints its port, then, at its end, when each event arrived."""
    arrived: dict[str, float] = {}

    async def fine(request: web.Request) -> web.Response:
        body = await request.json()
        arrived.setdefault(body["meeting"]["sessionId"], time.time())
        return web.Response()

    async def fail(request: web.Request) -> web.Response:
        return web.Response(status=500)

    async def hang(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async def serve() -> None:
        app = web.Application()
        for name, handler in (("fine", fine), ("fail", fail), ("hang", hang)):
            app.router.add_post(f"/{name}/{{number}}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        end = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(15, end.set)
        await end.wait()
        await runner.cleanup()

    asyncio.run(serve())
    print(json.dumps(arrived), flush=True)
