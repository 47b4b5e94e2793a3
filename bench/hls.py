"""A meeting of two people in a 720p film that is watched over HLS while it is made.

Latency: from the instant that a picture was taken (it says so itself) to the instant that our page shows it in
Chromium. What it costs is in bench/outputs.py.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
import time
from pathlib import Path

from playwright.async_api import async_playwright
from tests.e2e.kit import open_house

from bench.row import Row
from tapedeck.sources.synthetic import CAST
from tapedeck.testing.browser import chromium_path
from tapedeck.testing.people import Act, Cue, Person
from tapedeck.testing.watch import watch

MARK_S = 8.0
WATCHED_S, SETTLE_S = 30.0, 12.0
LOOP_S = 8.0
"""After which a picture of the people repeats itself."""
FPS = 30
S = 1_000_000_000
_NOTE = """() => {
    window.shown = [];
    const video = document.querySelector("video");
    const note = (now, about) => {
        window.shown.push([performance.timeOrigin + about.expectedDisplayTime, about.mediaTime]);
        video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
}"""


async def latencies(root: Path) -> tuple[list[float], float]:
    """Seconds from taken to shown, of each picture that was seen in the page; age of the newest when it was listed."""
    end_s = SETTLE_S + WATCHED_S + 10
    people = [Person(look, (Cue(0.2, Act.JOIN), Cue(end_s, Act.LEAVE))) for look in CAST[:2]]
    arguments = ["--autoplay-policy=no-user-gesture-required", "--disable-background-networking"]
    async with open_house(root / "house") as house, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), headless=True, args=arguments)
        page = await browser.new_page()
        room = await house.room(people)
        playing = asyncio.create_task(room.play())
        await room.at(1.0)
        take = await room.start()
        await take.until("RECORDING")
        url = f"{house.server.base_url}/v1/recordings/{take.id}/hls"
        async with house.http.get(url, headers={"authorization": f"Bearer {house.server.token}"}) as answer:
            link = (await answer.json())["data"]
        await page.goto(link["player_url"])
        await room.at(SETTLE_S)
        await page.evaluate(_NOTE)
        await room.at(SETTLE_S + WATCHED_S)
        shown: list[tuple[float, float]] = await page.evaluate("shown")
        about_s = float(await page.evaluate("tapedeck.latency"))
        edge_s = float(await page.evaluate("tapedeck.edge"))
        await browser.close()
        await take.act("stop")
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        viewed = await take.film([people[0].look], limit_s=120)
        turns = watch(viewed.path, [people[0].look]).sights[people[0].look.name].turns_s
        wall_ns = time.time_ns() - time.monotonic_ns()
        found = []
        for wall_ms, film_s in shown:
            index = round(film_s * FPS)
            if 0 <= index < len(turns) and not math.isnan(turns[index]):
                at_s = room.clock.at(round(wall_ms * 1e6) - wall_ns) / S
                late = (at_s - turns[index]) % LOOP_S
                found.append(late + LOOP_S * round((about_s - late) / LOOP_S))
        return found, edge_s


def rows() -> list[Row]:
    """Measure all."""
    with tempfile.TemporaryDirectory(prefix="tapedeck-bench-") as name:
        late, edge_s = asyncio.run(latencies(Path(name)))
    late.sort()
    p50, p95 = late[len(late) // 2], late[len(late) * 95 // 100]
    return [
        Row(
            "two people, 720p film: taken to shown in our page over HLS, p95",
            f"{p95:.2f} s",
            "",
            f"<= {MARK_S} s",
            p95 <= MARK_S,
            f"median {p50:.2f} s, {len(late)} pictures; the newest was {edge_s:.1f} s old when it was listed",
        )
    ]
