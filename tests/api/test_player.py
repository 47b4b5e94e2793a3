"""The page that plays a film comes to its end, however short the last segment is."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import async_playwright
from tests.api.kit import Site
from tests.media.live import FPS, write_picture, write_second
from tests.media.test_hls import FILM
from tests.pace import eventually

from tapedeck.media.mux import FilmWriters
from tapedeck.service.recordings import Action
from tapedeck.testing.browser import chromium_path

pytestmark = [pytest.mark.browser, pytest.mark.patient]


def film_of(folder: Path, more: int) -> bytes:
    """Two seconds, which are one segment, and so many pictures more, with their sound."""
    folder.mkdir()
    writers = FilmWriters(folder, [FILM])
    for second in range(2):
        write_second(writers, second)
    for index in range(2 * FPS, 2 * FPS + more):
        write_picture(writers, index)
    writers.write_sound(np.full((2, 48_000 * more // FPS), 0.01, np.float32))
    writers.finish()
    return (folder / "film.mp4").read_bytes()


@pytest.mark.parametrize("more", [1, 4, 12])
async def test_a_film_with_a_short_last_segment_ends(served: tuple[Site, str], tmp_path: Path, more: int) -> None:
    site, address = served
    world = site.world
    meeting = await world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))
    content = await asyncio.to_thread(film_of, tmp_path / "film", more)
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    await world.finish(recording, content)
    link = await site.http.get(f"/v1/recordings/{recording.id}/hls", headers=site.bearer())
    path = link.json()["data"]["url"].split("/hls/")[1].removesuffix("index.m3u8")
    media = (await site.http.get(f"/hls/{path}media.m3u8")).text
    last = [float(line[8:].split(",")[0]) for line in media.splitlines() if line.startswith("#EXTINF:")][-1]
    assert abs(last - more / FPS) < 0.02, media
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium_path(),
            args=["--autoplay-policy=no-user-gesture-required", "--disable-background-networking"],
        )
        try:
            page = await browser.new_page()
            asked = Counter[str]()
            page.on("request", lambda request: asked.update([request.url.rpartition("/")[2]]))
            await page.goto(f"{address}/hls/{path}watch")

            async def is_over() -> bool:
                return bool(await page.evaluate("document.querySelector('video').ended"))

            await eventually(is_over)
            played: float = await page.evaluate("document.querySelector('video').currentTime")
            assert abs(played - (2 + more / FPS)) < 0.1
            # Who asks for it again and again never says that it was the last: a player that has run dry then waits.
            assert (asked["0.m4s"], asked["1.m4s"]) == (1, 1)
        finally:
            await browser.close()
