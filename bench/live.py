"""A meeting of two people in a 720p film that is streamed to a real RTMP server while it is made.

Latency: from the instant that a picture was taken (it says so itself) to its arrival at somebody who plays it from the
RTMP server. Cost: one film, streamed and not streamed by turns; all user and system time of the process that makes it
and of the process that sends. What it costs together with HLS, and with less noise, is in bench/outputs.py.
"""

from __future__ import annotations

import asyncio
import math
import os
import statistics
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path

import av
from tests.e2e.kit import House, Room, Take, open_house
from tests.e2e.test_crash import film_process
from tests.rtmpserver import RtmpServer, rtmp_server

from bench.row import Row
from tapedeck.sources.synthetic import CAST
from tapedeck.testing.people import Act, Cue, Person
from tapedeck.testing.watch import watch

TURNS, TURN_S, SETTLE_S = 5, 6.0, 2.5
MARK_S, MARK_COST = 3.0, 0.03
LOOP_S = 8.0
"""After which a picture of the people repeats itself."""
_TICK = os.sysconf("SC_CLK_TCK")


class Player:
    """Plays a stream from the server, and notes when each picture arrived."""

    def __init__(self, url: str, path: Path) -> None:
        self.arrivals: dict[int, int] = {}
        "Monotonic ns by presentation time."
        self._url, self._path = url, path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with av.open(self._url, timeout=5.0) as source, av.open(str(self._path), "w") as file:
            video = source.streams.video[0]
            out = file.add_stream_from_template(video)
            for packet in source.demux(video):
                if self._stop.is_set():
                    return
                if packet.dts is None or packet.pts is None or (not self.arrivals and not packet.is_keyframe):
                    continue
                self.arrivals[packet.pts] = time.monotonic_ns()
                packet.stream = out
                file.mux(packet)


def cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def sender(server_pid: int) -> int:
    """The process that sends the stream."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            if parent == server_pid and b"tapedeck.push" in (path.parent / "cmdline").read_bytes():
                return int(path.parent.name)
        except OSError:
            continue
    raise SystemExit("nobody sends the stream")


async def targets(house: House, take: Take, method: str, path: str = "", url: str | None = None) -> str:
    """One of the routes; id of the target."""
    place = f"{house.server.base_url}/v1/recordings/{take.id}/targets{path}"
    headers = {"authorization": f"Bearer {house.server.token}"}
    async with house.http.request(method, place, headers=headers, json=url and {"url": url}) as answer:
        answer.raise_for_status()
        return str((await answer.json())["data"]["id"])


async def measure(house: House, room: Room, take: Take, server: RtmpServer, played: Path) -> dict[str, list[float]]:
    """CPU per second of film process and sender by turns, and latencies."""
    assert house.server.pid is not None
    found: dict[str, list[float]] = {"without": [], "with": [], "sender": []}
    film = film_process(house.server.pid)
    for turn in range(TURNS):
        for kind in ("without", "with"):
            if kind == "with":
                target_id = await targets(house, take, "POST", url=server.url())
            await asyncio.sleep(SETTLE_S)
            push = sender(house.server.pid) if kind == "with" else None
            player = None
            if push is not None and turn == TURNS - 1:
                player = Player(server.url(), played)
            begin, before, sent = time.monotonic(), cpu_s(film), 0.0 if push is None else cpu_s(push)
            await asyncio.sleep(TURN_S)
            lasted = time.monotonic() - begin
            found[kind].append((cpu_s(film) - before) / lasted)
            if push is not None:
                found["sender"].append((cpu_s(push) - sent) / lasted)
            if player is not None:
                await asyncio.sleep(TURN_S)
                await asyncio.to_thread(player.stop)
                found["late"] = await asyncio.to_thread(latencies, player, played, room)
            if kind == "with":
                await targets(house, take, "DELETE", f"/{target_id}")
    return found


def latencies(player: Player, path: Path, room: Room) -> list[float]:
    """Seconds from taken to arrived, of each picture that can be read."""
    look = room.performers[0].person.look
    sight = watch(path, [look]).sights[look.name]
    arrived = [room.clock.at(player.arrivals[pts]) / 1e9 for pts in sorted(player.arrivals)]
    return [(at - turn) % LOOP_S for at, turn in zip(arrived, sight.turns_s, strict=False) if not math.isnan(turn)]


async def play(root: Path) -> dict[str, list[float]]:
    """The meeting."""
    end_s = 6.0 + TURNS * 2 * (TURN_S + SETTLE_S) + 2 * TURN_S + 10
    people = [Person(look, (Cue(0.2, Act.JOIN), Cue(end_s, Act.LEAVE))) for look in CAST[:2]]
    with rtmp_server(root / "rtmp") as server:
        async with open_house(root / "house", {"TAPEDECK_ALLOW_PRIVATE_URLS": "true"}) as house:
            room = await house.room(people)
            playing = asyncio.create_task(room.play())
            await room.at(1.0)
            take = await room.start()
            await take.until("RECORDING")
            await room.at(5.0)
            found = await measure(house, room, take, server, root / "played.mp4")
            await take.act("stop")
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
            await take.until("UPLOADED")
            return found


def rows() -> list[Row]:
    """Measure all."""
    with tempfile.TemporaryDirectory(prefix="tapedeck-bench-") as name:
        found = asyncio.run(play(Path(name)))
    late = sorted(found["late"])
    p50, p95 = late[len(late) // 2], late[len(late) * 95 // 100]
    # Neighbours make each turn dearer or cheaper for both: what is streamed is held against the turns around it.
    around = [statistics.mean(pair) for pair in pairwise(found["without"])] + [found["without"][-1]]
    more = statistics.median(w / a - 1 for w, a in zip(found["with"], around, strict=True))
    sending = statistics.median(s / a for s, a in zip(found["sender"], around, strict=True))
    return [
        Row(
            "two people, 720p film: taken to played from the RTMP server, p95",
            f"{p95:.2f} s",
            "",
            f"<= {MARK_S} s",
            p95 <= MARK_S,
            f"median {p50:.2f} s, {len(late)} pictures",
        ),
        Row(
            "the same: CPU that streaming costs, in the film's process and the sender's",
            f"{more + sending:+.1%}",
            f"not streamed {statistics.median(found['without']):.2f} of a core",
            f"<= {MARK_COST:.0%}",
            more + sending <= MARK_COST,
            f"film {more:+.1%}, sender {sending:.1%}: medians of {TURNS} turns of {TURN_S:.0f} s",
        ),
    ]
