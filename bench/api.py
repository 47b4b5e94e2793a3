"""The HTTP API: one recording, lists over a million, and start calls beside 200 that run.

The server is a process of its own, as deployed (uvicorn, uvloop, httptools); one client asks over one connection, so
that a figure is the time of one answer. The peer is a bare FastAPI route in the same process that returns the same
bytes from memory: what is left of ours above it is the token, the database and the making of the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI
from sqlalchemy import insert, text, update
from starlette.responses import Response

from bench.row import Row
from tapedeck.adapters.clock import SystemClock
from tapedeck.adapters.provider.cloudflare import CloudflareProviders
from tapedeck.adapters.sealer import AesSealer
from tapedeck.adapters.signer import RsaSigner, is_signed
from tapedeck.adapters.storage.local import LocalStore
from tapedeck.api.app import create_app
from tapedeck.core.signing import derive_key
from tapedeck.core.wanted import TrackChoice
from tapedeck.db.engine import Database
from tapedeck.db.models import MeetingRow, RecordingCountRow
from tapedeck.notify.outbox import Composer, sample
from tapedeck.ports.sources import PeerInfo
from tapedeck.ports.whip import WhipAnswer, WhipPatched
from tapedeck.service.access import AccessService
from tapedeck.service.analytics import AnalyticsService
from tapedeck.service.archive import ArchiveService
from tapedeck.service.attendance import AttendanceService
from tapedeck.service.configs import ConfigService
from tapedeck.service.deliveries import DeliveryService
from tapedeck.service.events import EventFeed
from tapedeck.service.hosting import HostService
from tapedeck.service.ledger import Ledger
from tapedeck.service.library import LibraryService
from tapedeck.service.livestreams import LivestreamService
from tapedeck.service.meetings import MeetingService
from tapedeck.service.playback import PlaybackService
from tapedeck.service.presets import PresetService
from tapedeck.service.recordings import RecordingService
from tapedeck.service.remote import RemoteService
from tapedeck.service.renders import RenderService
from tapedeck.service.retention import RetentionService
from tapedeck.service.rooms import RoomService
from tapedeck.service.sessions import SessionService
from tapedeck.service.targets import TargetService
from tapedeck.service.timed import TimedService
from tapedeck.service.vault import Vault
from tapedeck.service.webhooks import WebhookService
from tapedeck.workers.archive import LocalFiles
from tapedeck.workers.playback import LocalFilms

RECORDINGS = 1_000_000
MEETINGS = 1_000
RUNNING = 200
ROUNDS = 400
LOAD_S = 4
TOKEN = "the-token-of-the-benchmark"
LIST = "/client/v4/accounts/bench/realtime/kit/bench/recordings"
_CALLER = '{"kind":"app","id":"bench","name":"Bench"}'
_OPTIONS = '{"width":1280,"height":720,"max_seconds":86400}'
_T0 = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=RECORDINGS)


class _Quick:
    """A capture and a WHIP endpoint that do nothing: the time of the API alone is measured."""

    async def start(
        self,
        meeting_id: str,
        recording_id: str,
        tracks: TrackChoice | None = None,
        *,
        timed: bool = False,
        page: bool = False,
    ) -> None: ...

    async def pause(self, meeting_id: str, recording_id: str) -> None: ...
    async def resume(self, meeting_id: str, recording_id: str) -> None: ...
    async def stop(self, meeting_id: str, recording_id: str) -> None: ...

    async def say(self, meeting_id: str, recording_id: str, text: str) -> bool:
        return False

    async def rename(self, meeting_id: str, participant_id: str, name: str) -> None: ...

    async def end_session(self, meeting_id: str) -> None: ...

    async def disconnect(self, meeting_id: str, participant_id: str | None = None) -> tuple[str, ...]:
        return ()

    async def offer(self, peer: PeerInfo, sdp: str) -> WhipAnswer:
        return WhipAnswer("s", "v=0", "t")

    def peer(self, session_id: str) -> PeerInfo:
        return PeerInfo("m", "p", "x", "n")

    async def patch(self, session_id: str, fragment: str, if_match: str | None) -> WhipPatched:
        return WhipPatched("t")

    async def delete(self, session_id: str) -> None: ...


def _meeting(number: int) -> dict[str, Any]:
    title = f"Lecture {number}"
    at = _T0 + timedelta(minutes=number)
    return {
        "id": f"00000000-0000-4000-8000-{number:012d}",
        "app_id": "bench",
        "title": title,
        "title_folded": title.casefold(),
        "status": "active",
        "record_on_start": False,
        "keep_alive_s": 60.0,
        "recording_config": None,
        "ai_config": None,
        "created_at": at,
        "updated_at": at,
    }


_FILL = """
WITH RECURSIVE numbers(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :last),
made AS (SELECT n, printf('00000000-0000-4000-8000-%012d', n % :meetings) AS meeting, :t0 + n * 60000 AS at,
    n % 100 = 0 AS failed FROM numbers)
INSERT INTO recordings (id, app_id, meeting_id, kind, state, version, file_name, options, start_cause, started_by,
    stop_cause, stopped_by, invoked_at, started_at, stopped_at, paused_ms, film_ms, files, size_bytes, expires_at)
SELECT printf('10000000-0000-4000-8000-%012d', n), 'bench', meeting, 'composite', iif(failed, 'failed', 'done'), 8,
    meeting || '_' || n || '.mp4', :options, 'request', :caller, 'request',
    :caller, at, at, at + 60000, 0, 60000,
    iif(failed, '[]', json_array(json_object('kind', 'video', 'name', meeting || '_' || n || '.mp4', 'size_bytes',
        100000000, 'duration_ms', 60000, 'crc32c', '00000000', 'key', 'recordings/x/' || n || '/film.mp4'))),
    iif(failed, NULL, 100000000), iif(failed, NULL, at + 604800000)
FROM made
"""


async def _fill(db: Database, access: AccessService) -> list[str]:
    """A million recordings of one app."""
    await access.bootstrap("bench", "bench", TOKEN)
    async with db.write() as session:
        await session.execute(insert(MeetingRow), [_meeting(n) for n in range(MEETINGS)])
        values = {"meetings": MEETINGS, "t0": int(_T0.timestamp() * 1000), "caller": _CALLER, "options": _OPTIONS}
        await session.execute(text(_FILL), values | {"first": 0, "last": RECORDINGS})
        failed = RECORDINGS // 100
        for state, number in (("failed", failed), ("done", RECORDINGS - failed)):
            counts = update(RecordingCountRow).where(RecordingCountRow.state == state)
            await session.execute(counts.values(count=number))
    return []


async def serve(root: Path, fill: Callable[[Database, AccessService], Awaitable[list[str]]]) -> None:
    """Serve what `fill` fills a database with, and the peer; print the two ports and what `fill` returned."""
    db = Database(f"sqlite:///{root}/bench.db")
    await db.migrate()
    clock, quick = SystemClock(), _Quick()
    key = derive_key("bench", "link")
    store = LocalStore(root / "bucket", "http://127.0.0.1", key)
    access = AccessService(db, clock, "bench")
    told = await fill(db, access)
    ledger = Ledger(db, clock)
    vault = Vault(db, AesSealer(["a secret for the bench"]))
    recordings = RecordingService(db, clock, ledger, quick, store, vault)
    hosting = HostService(db, clock, quick, SessionService(db, ledger, recordings))
    meetings = MeetingService(db, clock, quick, hosting, vault)
    playback = PlaybackService(db, clock, store, LocalFilms(root / "hls"), key, "http://127.0.0.1:1", is_live=True)
    livestreams = LivestreamService(db, clock, ledger, recordings, playback)
    compose = Composer(store, livestreams.address)
    archives = ArchiveService(db, clock, store, None)
    local = LocalFiles(root / "films", root / "captures")
    app = create_app(
        access=access,
        meetings_service=meetings,
        configs_service=ConfigService(db, vault),
        presets_service=PresetService(db, clock),
        attendance_service=AttendanceService(db, clock),
        hosting_service=hosting,
        analytics_service=AnalyticsService(db, clock),
        recordings_service=recordings,
        renders_service=RenderService(db, clock, store, lambda _: False),
        library_service=LibraryService(db, clock, recordings, store),
        archive_service=archives,
        retention_service=RetentionService(db, clock, store, store, archives, local),
        rooms_service=RoomService(db, clock, access, meetings),
        remote_service=RemoteService(db, clock, ledger, vault, CloudflareProviders(), is_signed, "http://127.0.0.1:1"),
        targets_service=TargetService(db, clock, vault),
        timed_service=TimedService(db, clock, quick),
        playback_service=playback,
        livestreams_service=livestreams,
        webhooks_service=WebhookService(db, clock),
        deliveries_service=DeliveryService(db, clock, ledger, compose, sample),
        feed=EventFeed(db, ledger, compose),
        signer=RsaSigner.keep(root / "webhook.pem"),
        whip=quick,
        store=store,
        link_key=key,
        clock=clock,
    )
    peer = FastAPI(openapi_url=None)
    kept: dict[str, bytes] = {}

    @peer.get("/kept/{name}")
    async def answer(name: str) -> Response:
        return Response(kept[name], media_type="application/json")

    @peer.put("/kept/{name}")
    async def keep(name: str, content: str) -> Response:
        kept[name] = b"x" * int(content)
        return Response()

    servers, ports = [], []
    for application in (app, peer):
        listener = socket.create_server(("127.0.0.1", 0))
        ports.append(listener.getsockname()[1])
        config = uvicorn.Config(application, log_level="error", access_log=False, lifespan="off", ws="none")
        servers.append(uvicorn.Server(config).serve(sockets=[listener]))
    gc.collect()
    gc.freeze()  # else a full collection over everything imported stops the loop for tens of ms
    print(json.dumps([*ports, *told]), flush=True)
    await asyncio.gather(*servers)


@contextlib.contextmanager
def served(module: str) -> Iterator[Any]:
    """`serve` as another process, which is `module` with a folder as its argument; what it said, as JSON."""
    with tempfile.TemporaryDirectory() as root:
        server = subprocess.Popen([sys.executable, "-m", module, root], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())
        finally:
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(10)
            server.kill()
            server.wait()


def times_of(ask: Callable[[], bytes]) -> tuple[list[float], bytes]:
    """Milliseconds of each round, sorted, and the last answer."""
    body = b""
    for _ in range(20):
        body = ask()
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        body = ask()
        times.append((time.perf_counter() - begin) * 1000)
    return sorted(times), body


def asker(port: int, path: str, headers: Mapping[str, str] | None = None) -> Callable[[], bytes]:
    """What asks over one connection; as the bench's own backend if nothing else is said."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask() -> bytes:
        connection.request("GET", path, headers=headers or {"authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {body[:200]!r}")
        return body

    return ask


def say(times: list[float]) -> str:
    return f"p99 {times[int(len(times) * 0.99)]:.1f} ms, median {statistics.median(times):.1f}"


def _load(port: int, path: str) -> float:
    """Requests a second of 16 connections that each wait for their answer."""
    command = ["wrk", "-t1", "-c16", f"-d{LOAD_S}s", "-H", f"authorization: Bearer {TOKEN}"]
    done = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True)
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(done.stdout)
    return float(done.stdout.split("Requests/sec:")[1].split()[0])


def _one_row(port: int, peer_port: int) -> Row:
    path = f"{LIST}/10000000-0000-4000-8000-{RECORDINGS // 3:012d}"
    body = asker(port, path)()
    put = http.client.HTTPConnection("127.0.0.1", peer_port)
    put.request("PUT", f"/kept/one?content={len(body)}")
    put.getresponse().read()
    ours, bare = [_load(port, path)], [_load(peer_port, "/kept/one")]
    ours.append(_load(port, path))
    bare.append(_load(peer_port, "/kept/one"))
    best, peer = max(ours), max(bare)
    ratio = f"{best / peer:.2f} of it"
    return Row("GET one recording", f"{best:.0f}/s", f"bare route {peer:.0f}/s", ">= 1500/s", best >= 1500, ratio)


def _list_rows(port: int, peer_port: int) -> list[Row]:
    rows = []
    for what, query in (
        ("newest 20", ""),
        ("100 a page", "?per_page=100"),
        ("the last page", f"?page_no={RECORDINGS // 20}"),
        ("1 % by status", "?status=ERRORED"),
        ("99 % by status", "?status=UPLOADED&sort_order=ASC"),
        ("by title", "?search=lecture%2099"),
        ("of one meeting", "?meeting_id=00000000-0000-4000-8000-000000000007"),
        ("not expired", "?expired=false"),
    ):
        times, body = times_of(asker(port, LIST + query))
        put = http.client.HTTPConnection("127.0.0.1", peer_port)
        put.request("PUT", f"/kept/a?content={len(body)}")
        put.getresponse().read()
        bare, _ = times_of(asker(peer_port, "/kept/a"))
        most_ms = 100 if "per_page" in query else 20
        ok = times[int(ROUNDS * 0.99)] <= most_ms
        mark = f"p99 <= {most_ms} ms"
        rows.append(Row(f"list of {RECORDINGS:,}: {what}", say(times), f"bare route {say(bare)}", mark, ok))
    return rows


def _start_row(port: int) -> Row:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    times = []
    for number in range(RUNNING + 300):
        body = {"meeting_id": f"00000000-0000-4000-8000-{number:012d}"}
        begin = time.perf_counter()
        connection.request("POST", LIST, json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        times.append((time.perf_counter() - begin) * 1000)
        if answer.status != 200:
            raise RuntimeError(f"start: {answer.status}")
    late = sorted(times[RUNNING:])
    ok = late[int(len(late) * 0.99)] <= 50
    return Row(f"start beside {RUNNING}+ running", say(late), "", "p99 <= 50 ms", ok, "capture answers at once here")


def rows() -> list[Row]:
    """Serve, ask, and stop."""
    with served("bench.api") as (port, peer_port):
        return [_one_row(port, peer_port), *_list_rows(port, peer_port), _start_row(port)]


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1]), _fill))
