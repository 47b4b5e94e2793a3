"""A meeting of two people in a 720p film that is streamed to a real RTMP server while it is made.

Latency: from the instant that a picture was taken (it says so itself) to its arrival at somebody who plays it from the
RTMP server. What it costs is in bench/outputs.py.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
import threading
import time
from pathlib import Path

import av
from tests.e2e.kit import House, Room, Take, open_house
from tests.rtmpserver import rtmp_server

from bench.row import Row
from tapedeck.sources.synthetic import CAST
from tapedeck.testing.people import Act, Cue, Person
from tapedeck.testing.watch import watch

BEGUN_S, SETTLE_S, PLAYED_S = 5.0, 2.5, 12.0
MARK_S = 3.0
LOOP_S = 8.0
"""After which a picture of the people repeats itself."""


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


async def add_target(house: House, take: Take, url: str) -> None:
    """From here on the film is sent there."""
    place = f"{house.server.base_url}/v1/recordings/{take.id}/targets"
    headers = {"authorization": f"Bearer {house.server.token}"}
    async with house.http.post(place, headers=headers, json={"url": url}) as answer:
        answer.raise_for_status()


def latencies(player: Player, path: Path, room: Room) -> list[float]:
    """Seconds from taken to arrived, of each picture that can be read."""
    look = room.performers[0].person.look
    sight = watch(path, [look]).sights[look.name]
    arrived = [room.clock.at(player.arrivals[pts]) / 1e9 for pts in sorted(player.arrivals)]
    return [(at - turn) % LOOP_S for at, turn in zip(arrived, sight.turns_s, strict=False) if not math.isnan(turn)]


async def play(root: Path) -> list[float]:
    """The meeting."""
    end_s = BEGUN_S + SETTLE_S + PLAYED_S + 10
    people = [Person(look, (Cue(0.2, Act.JOIN), Cue(end_s, Act.LEAVE))) for look in CAST[:2]]
    with rtmp_server(root / "rtmp") as server:
        async with open_house(root / "house", {"TAPEDECK_ALLOW_PRIVATE_URLS": "true"}) as house:
            room = await house.room(people)
            playing = asyncio.create_task(room.play())
            await room.at(1.0)
            take = await room.start()
            await take.until("RECORDING")
            await room.at(BEGUN_S)
            await add_target(house, take, server.url())
            await asyncio.sleep(SETTLE_S)
            player = Player(server.url(), root / "played.mp4")
            await asyncio.sleep(PLAYED_S)
            await asyncio.to_thread(player.stop)
            found = await asyncio.to_thread(latencies, player, root / "played.mp4", room)
            await take.act("stop")
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
            await take.until("UPLOADED")
            return found


def rows() -> list[Row]:
    """Measure all."""
    with tempfile.TemporaryDirectory(prefix="tapedeck-bench-") as name:
        late = sorted(asyncio.run(play(Path(name))))
    p50, p95 = late[len(late) // 2], late[len(late) * 95 // 100]
    return [
        Row(
            "two people, 720p film: taken to played from the RTMP server, p95",
            f"{p95:.2f} s",
            "",
            f"<= {MARK_S} s",
            p95 <= MARK_S,
            f"median {p50:.2f} s, {len(late)} pictures",
        )
    ]
