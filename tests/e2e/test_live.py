"""A meeting that is streamed while it is recorded: to a real RTMP server, and to servers that are none."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.kit import SMALL, House, Room, Take, judge, open_house
from tests.e2e.test_crash import film_process, listed_at, segments, watch_link
from tests.pace import eventually
from tests.ports import free_port
from tests.rtmpserver import rtmp_server
from tests.srtserver import srt_server

from tapedeck.sources.synthetic import CAST
from tapedeck.testing.people import Act, Cue, Person
from tapedeck.testing.watch import Film, watch

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

MS, S = 1_000_000, 1_000_000_000
ADA, GRACE = CAST[:2]
PEOPLE = (
    Person(ADA, (Cue(0.2, Act.JOIN), Cue(27.5, Act.LEAVE))),
    Person(GRACE, (Cue(0.4, Act.JOIN), Cue(27.5, Act.LEAVE))),
)


class _Slam(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(100)


@contextmanager
def slamming_server() -> Iterator[int]:
    """Accepts everybody and closes on everybody; its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Slam) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


async def targets_of(house: House, take: Take) -> dict[str, dict[str, Any]]:
    """By address, as a backend sees them."""
    url = f"{house.server.base_url}/v1/recordings/{take.id}"
    async with house.http.get(url, headers={"authorization": f"Bearer {house.server.token}"}) as answer:
        body = await answer.json()
        assert answer.status == 200, body
        assert "s3cret" not in json.dumps(body)
        return {target["url"]: target for target in body["data"]["targets"]}


async def ask(house: House, take: Take, method: str, path: str = "", **body: Any) -> tuple[int, dict[str, Any]]:
    """One of our own routes about targets."""
    url = f"{house.server.base_url}/v1/recordings/{take.id}/targets{path}"
    headers = {"authorization": f"Bearer {house.server.token}"}
    async with house.http.request(method, url, headers=headers, json=body or None) as answer:
        return answer.status, await answer.json()


def film_of(received: Path) -> Film:
    """What a server received, looked at."""
    mp4 = received.with_suffix(".mp4")
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", received, "-c", "copy", mp4], check=True)
    return watch(mp4, [ADA, GRACE])


def assert_in_step(film: Film, least: int, until_ns: int = 3600 * S) -> None:
    """Everybody is seen and heard, at the same time; where a stream breaks off there may be half a beat."""
    for look in (ADA, GRACE):
        flashes = film.flashes[look.name]
        beeps = [beep.middle_ns for beep in film.beeps[look.name] if beep.middle_ns < until_ns]
        neighbours = zip(beeps, beeps[1:], beeps[2:], strict=False)
        whole = [beep for before, beep, after in neighbours if after - before < 2.5 * S]
        apart = [min(abs(flash.middle_ns - beep) for flash in flashes) for beep in whole]
        assert len(apart) >= least, f"{look.name} beeps {len(beeps)} times"
        assert max(apart) <= 30 * MS, f"{look.name} is heard {max(apart) / MS:.0f} ms from where they are seen"


async def test_a_meeting_is_streamed_and_nothing_that_a_target_does_reaches_its_film(tmp_path: Path) -> None:
    """A good server, one that is killed and comes back, and bad ones; a pause; a kill of the render. One film."""
    with (
        rtmp_server(tmp_path / "good") as good,
        rtmp_server(tmp_path / "mortal") as mortal,
        slamming_server() as slam,
        srt_server(tmp_path / "srt") as srt,
    ):
        async with open_house(tmp_path / "house", {"TAPEDECK_ALLOW_PRIVATE_URLS": "true"}) as house:
            room = await house.room(PEOPLE, "Streamed")
            playing = asyncio.create_task(room.play())
            await room.at(1.5)
            take = await room.start(**SMALL, rtmp_out_config={"rtmp_url": good.url()})
            await take.until("RECORDING")
            for url in (
                srt.url(),
                mortal.url(),
                f"rtmp://127.0.0.1:{slam}/app/s3cret",
                f"rtmp://127.0.0.1:{free_port()}/app/s3cret",
                "rtmp://nobody.invalid/app/s3cret",
            ):
                status, body = await ask(house, take, "POST", url=url)
                assert status == 201, body
            listed = await _play_it(house, room, take, good, mortal)
            people = await playing
            viewed = await take.film([person.look for person in PEOPLE], limit_s=90)
            report = judge(viewed, people, await take.recorded())

            async def all_ended() -> bool:
                found = await targets_of(house, take)
                return {target["status"] for target in found.values()} == {"ENDED"}

            await eventually(all_ended)
            assert report.ok, f"\n{report}"
            said = house.server.log_path.read_text()
            assert "s3cret" not in said
            # What was listed when the render died was not made again, and nobody had to wait for that.
            (gone_on_s,) = re.findall(r"gone on with at ([0-9.]+) s", said)
            assert float(gone_on_s) >= sum(lengths(listed))
        first, late = (next(p for p in good.recorded() if p.name.startswith(key)) for key in ("s3cret", "late"))
        whole = film_of(first)
        assert_in_step(whole, 4, until_ns=8 * S)
        seen_last = max(flash.middle_ns for flash in whole.flashes[ADA.name])
        assert seen_last > 18 * S, "the connection goes on after the death of the render"
        assert_in_step(film_of(late), 2)
        _, *after = mortal.recorded()
        assert_in_step(film_of(after[0]), 2)
        (received,) = srt.recorded()
        assert_in_step(film_of(received), 4, until_ns=8 * S)


def lengths(playlist: str) -> list[float]:
    return [float(line[8:-1]) for line in playlist.splitlines() if line.startswith("#EXTINF:")]


async def _play_it(house: House, room: Room, take: Take, good: Any, mortal: Any) -> str:
    """The playlist as it was just before the render was killed."""

    async def live(port: int) -> bool:
        found = await targets_of(house, take)
        return bool(found[f"rtmp://127.0.0.1:{port}/open/***"]["status"] == "LIVE")

    await eventually(lambda: live(good.port), 60)
    await eventually(lambda: live(mortal.port), 60)
    mortal.kill()

    async def others_say_why() -> bool:
        found = await targets_of(house, take)
        bad = [t for url, t in found.items() if f":{good.port}/" not in url and not url.startswith("srt:")]
        return all(t["status"] == "RETRYING" and t["reason"] for t in bad)

    await eventually(others_say_why, 60)
    found = await targets_of(house, take)
    assert found["rtmp://nobody.invalid/app/***"]["reason"] == "its name is not known"
    mortal.start()
    await room.at(9.5)  # between two beats: a half one is not judged
    await take.act("pause")
    await room.at(10.5)
    await take.act("resume")
    await eventually(lambda: live(mortal.port), 60)
    await room.at(14.0)
    link, listed = await watch_link(take), [""]

    async def lists(count: int) -> bool:
        listed[-1:] = [await listed_at(take, link)]
        return len(segments(listed[-1])) >= count

    await eventually(lambda: lists(4), 60)
    assert house.server.pid is not None
    os.kill(film_process(house.server.pid), signal.SIGKILL)
    listed.append("")
    await eventually(lambda: lists(len(segments(listed[0])) + 2), 60)
    assert segments(listed[1])[: len(segments(listed[0]))] == segments(listed[0])
    await room.at(21.0)
    assert await live(good.port)
    status, body = await ask(house, take, "POST", url=good.url(key="late"))
    assert status == 201, body
    await room.at(27.0)
    await take.act("stop")
    return listed[0]
