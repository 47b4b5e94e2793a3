"""A meeting watched in a browser while it is recorded, over a pause and a crash, and afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright
from tests.e2e.kit import SMALL, House, Room, Take, open_house
from tests.e2e.test_crash import film_process
from tests.pace import eventually

from tapedeck.sources.synthetic import CAST
from tapedeck.testing.browser import chromium_path
from tapedeck.testing.people import Act, Cue, Person
from tapedeck.testing.watch import Film, watch

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

MS, S = 1_000_000, 1_000_000_000
ADA, GRACE = CAST[:2]
ENOUGH = 7
"""Segments: 14 s of film, of which 7.5 s are before the pause."""
PEOPLE = (
    Person(ADA, (Cue(0.2, Act.JOIN), Cue(24.5, Act.LEAVE))),
    Person(GRACE, (Cue(0.4, Act.JOIN), Cue(24.5, Act.LEAVE))),
)


@asynccontextmanager
async def chromium() -> AsyncIterator[Page]:
    """A page of a browser that reaches this machine alone."""
    arguments = [
        "--autoplay-policy=no-user-gesture-required",
        "--disable-background-networking",
        "--disable-component-update",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    ]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), headless=True, args=arguments)
        try:
            yield await browser.new_page()
        finally:
            await browser.close()


async def until(page: Page, expression: str, limit_s: float = 60) -> None:
    """Wait for what the page shows. Asked from outside: its policy lets nobody evaluate anything inside."""

    async def holds() -> bool:
        return bool(await page.evaluate(expression))

    try:
        await eventually(holds, limit_s)
    except TimeoutError:
        state = "(v => JSON.stringify([tapedeck, v.currentTime, v.readyState, v.error && v.error.message]))"
        state += "(document.querySelector('video'))"
        raise AssertionError(f"not {expression}: {await page.evaluate(state)}") from None


async def playback_of(house: House, take: Take) -> dict[str, Any]:
    url = f"{house.server.base_url}/v1/recordings/{take.id}/hls"
    async with house.http.get(url, headers={"authorization": f"Bearer {house.server.token}"}) as answer:
        body = await answer.json()
        assert answer.status == 200, body
        return dict(body["data"])


async def playlist_of(house: House, url: str) -> str | None:
    """The media playlist, once there is one."""
    async with house.http.get(url.replace("index.m3u8", "media.m3u8")) as answer:
        if answer.status == 503:
            return None
        assert answer.status == 200, await answer.text()
        return await answer.text()


def uris(playlist: str) -> list[str]:
    return [line for line in playlist.splitlines() if line and not line.startswith("#")]


async def loaded(house: House, url: str, playlist: str, target: Path) -> Film:
    """What is in the segments of a playlist, looked at as one film."""
    base = url.removesuffix("index.m3u8")
    parts = [await house.fetch(f"{base}{uri}") for uri in uris(playlist)]
    target.write_bytes(await house.fetch(f"{base}init-0.mp4") + b"".join(parts))
    return await asyncio.to_thread(watch, target, [ADA, GRACE])


async def test_a_meeting_is_watched_while_it_is_recorded_and_afterwards(tmp_path: Path) -> None:
    """Live in our page, through a pause and the death of the render; then as a film, in our page and by itself."""
    async with open_house(tmp_path / "house") as house, chromium() as page:
        room = await house.room(PEOPLE, "Watched")
        playing = asyncio.create_task(room.play())
        await room.at(1.5)
        take = await room.start(**SMALL)
        await take.until("RECORDING")
        link = await playback_of(house, take)
        assert link["status"] == "LIVE"
        await page.goto(link["player_url"])
        await page.evaluate("performance.setResourceTimingBufferSize(10000)")  # of 250, or it forgets what was loaded
        live = await _watch_live(house, room, take, page, link["url"])
        await playing
        viewed = await take.film([ADA, GRACE], limit_s=90)
        assert (await playback_of(house, take))["status"] == "VOD"

        await until(page, "tapedeck.ended && document.querySelector('video').ended")
        assert await page.evaluate("tapedeck.error") is None
        named = "one.name.endsWith('/' + tapedeck.segments.at(-1).uri)"
        loads = await page.evaluate(f"performance.getEntriesByType('resource').filter(one => {named}).length")
        assert 1 <= loads <= 10, "it is asked for until it is there, and not for ever when its pictures are few"
        vod = await playlist_of(house, link["url"])
        assert vod is not None and "TYPE:VOD" in vod and vod.endswith("#EXT-X-ENDLIST\n")
        assert uris(vod)[: len(uris(live))] == uris(live), "what a player had is still there"
        whole = await loaded(house, link["url"], vod, tmp_path / "vod.mp4")
        for look in (ADA, GRACE):
            ours, theirs = whole.beeps[look.name], viewed.film.beeps[look.name]
            assert [round(beep.middle_ns / S, 1) for beep in ours] == pytest.approx(
                [round(beep.middle_ns / S, 1) for beep in theirs], abs=0.11
            )
        await _plays_natively(page, link["url"])


async def _watch_live(house: House, room: Room, take: Take, page: Page, url: str) -> str:
    """Until the stop. The live playlist as it was last."""
    # From the first second on, and at the edge.
    await until(page, "document.querySelector('video').currentTime > 1")
    size = await page.evaluate("(v => [v.videoWidth, v.videoHeight])(document.querySelector('video'))")
    assert size == [640, 360]
    await room.at(9.0)
    await take.act("pause")
    await room.at(11.0)
    await take.act("resume")
    await room.at(14.0)
    assert house.server.pid is not None
    os.kill(film_process(house.server.pid), signal.SIGKILL)
    before = await playlist_of(house, url)
    assert before is not None and "DISCONTINUITY" not in before
    assert uris(before)[0] == "0.m4s" and "TYPE:EVENT" in before and "ENDLIST" not in before

    async def goes_on() -> bool:
        now = await playlist_of(house, url)
        return now is not None and len(uris(now)) >= max(len(uris(before)) + 2, ENOUGH)

    await eventually(goes_on, 60)
    after = await playlist_of(house, url)
    assert after is not None
    assert after.count("#EXT-X-DISCONTINUITY\n") == 1, "the render began anew, and nothing else broke"
    assert after.count("PROGRAM-DATE-TIME") == 2, "at the beginning, and behind the pause"
    shown = await page.evaluate("document.querySelector('video').currentTime")
    await until(page, f"document.querySelector('video').currentTime > {shown + 2}")
    state = await page.evaluate("({latency: tapedeck.latency, error: tapedeck.error})")
    assert state["error"] is None and state["latency"] is not None, json.dumps(state)
    await page.click("#start")
    await page.wait_for_function(
        "(v => v.currentTime < 3 && !v.seeking && v.readyState > 2)(document.querySelector('video'))"
    )
    await page.evaluate("document.querySelector('video').playbackRate = 4")
    live = await playlist_of(house, url)
    assert live is not None
    film = await loaded(house, url, live, house.folder / "live.mp4")
    for look in (ADA, GRACE):
        beeps = film.beeps[look.name]
        assert len(beeps) >= 8, "everybody is heard from the first second on"
        gaps = [(b.middle_ns - a.middle_ns) / S for a, b in pairwise(beeps)]
        assert sum(abs(gap - 1.0) > 0.1 for gap in gaps) <= 1, f"a beep a second, but for the pause: {gaps}"
    await room.at(23.0)
    await take.act("stop")
    return live


async def _plays_natively(page: Page, url: str) -> None:
    """Where a browser has a player of its own it needs no page of ours."""
    await page.goto(url.replace("index.m3u8", "watch"))
    said = await page.evaluate("document.createElement('video').canPlayType('application/vnd.apple.mpegurl')")
    assert said, "this Chromium plays HLS by itself"
    played = """url => new Promise((done, failed) => {
        const video = document.createElement("video");
        video.muted = true;
        video.onerror = () => failed(new Error(video.error.message));
        video.ontimeupdate = () => { if (video.currentTime > 1) done(video.duration); };
        video.src = url;
        document.body.append(video);
        video.play();
    })"""
    assert await page.evaluate(played, url) > 5
