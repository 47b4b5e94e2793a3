"""A synthetic person in a real browser: Chromium publishes their picture and sound, and tells when it captured them.

Owns the browser, the files its fake devices play, and the clock arithmetic between page and test. The devices are not
in step with each other and slip (bar and beep may be up to a second apart), so a film of them is not held against the
shared clock but against the page: for each beat, the film must have bar and beep as far apart as they were captured.
Needs Debian's Chromium (`TAPEDECK_CHROMIUM` names another one) and playwright, which only tests have.
"""

from __future__ import annotations

import math
import os
import statistics
import time
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from playwright.async_api import Page, Route, async_playwright

from tapedeck.core.frames import Codec
from tapedeck.sources.synthetic import LOOP_S, Canvas, Look, beep, paint
from tapedeck.testing.clock import SharedClock
from tapedeck.testing.door import Door, WhipDoor
from tapedeck.testing.watch import Film

__all__ = ["BrowserPerson", "PageBeats", "PageReport", "chromium_path", "hold_against_page", "open_browser"]

_FPS = 20
"""One picture is the whole bar of 50 ms: the page then knows it as exactly as a 30 fps film needs it."""
_SIZE = (640, 360)
_ORIGIN = "http://localhost/"
_MS = 1_000_000


def chromium_path() -> Path:
    """Where Chromium is expected."""
    return Path(os.environ.get("TAPEDECK_CHROMIUM", "/usr/bin/chromium"))


@dataclass(frozen=True, slots=True)
class PageBeats:
    """What the page captured, on the shared clock: middles of bars and of beeps, in ns."""

    flashes_ns: tuple[int, ...]
    beeps_ns: tuple[int, ...]
    gaps_ns: tuple[tuple[int, int], ...] = ()
    "Where pictures were missing: the last before and the first after."
    slips_ns: tuple[tuple[int, int], ...] = ()
    "Where sound was missing, or came twice: when it was due and when it was taken."

    def undisturbed(self) -> PageBeats:
        """Without the beats taken while a device stood still or just after: the page saw only part of them."""

        def kept(beats: tuple[int, ...], holes: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
            return tuple(at for at in beats if not any(a - 100 * _MS < at < b + 300 * _MS for a, b in holes))

        holes = self.gaps_ns + self.slips_ns
        return PageBeats(kept(self.flashes_ns, holes), kept(self.beeps_ns, holes), self.gaps_ns, self.slips_ns)


class BrowserPerson:
    """One participant in Chromium. Made by `open_browser`."""

    def __init__(self, page: Page, look: Look, clock: SharedClock) -> None:
        self._page, self.look, self._clock = page, look, clock
        self._door: Door | None = None
        self._session = ""
        self._page_zero_ns = 0

    async def _open(self) -> None:
        await self._page.expose_function("enterMeeting", self._enter)
        await self._page.expose_function("renewMeeting", self._renew)
        settings = await self._page.evaluate("([w, h, f]) => deck.open(w, h, f)", [*_SIZE, _FPS])
        if (settings["width"], settings["height"]) != _SIZE:
            raise RuntimeError(f"the fake camera gives {settings['width']}x{settings['height']}")
        best = math.inf
        for _ in range(20):  # the quickest answer tells performance.now() best
            before = time.monotonic_ns()
            page_ms: float = await self._page.evaluate("performance.now()")
            after = time.monotonic_ns()
            if after - before < best:
                best = after - before
                self._page_zero_ns = (before + after) // 2 - round(page_ms * 1e6)

    async def _enter(self, offer: str) -> str:
        assert self._door is not None
        answer, self._session = await self._door.enter(offer, "camera")
        return answer

    async def _renew(self, fragment: str) -> str:
        assert isinstance(self._door, WhipDoor)
        return await self._door.renew(self._session, fragment)

    async def restart_ice(self) -> tuple[str, str]:
        """Move the connection to new ICE credentials; the username fragments before and after. Needs a `WhipDoor`."""
        before: str = await self._page.evaluate("deck.ufrag()")
        await self._page.evaluate("deck.restart()")
        return before, await self._page.evaluate("deck.ufrag()")

    async def publish(self, door: Door, codec: Codec = Codec.VP8) -> None:
        """Join and send. Raises what the page raises when the connection does not come about."""
        self._door = door
        await self._page.evaluate("(codec) => deck.publish(codec)", codec.name)

    async def send(self, kind: str, on: bool) -> None:
        """Stop or go on sending `audio` or `video`; off means no packets."""
        await self._page.evaluate("([kind, on]) => deck.send(kind, on)", [kind, on])

    async def stats(self) -> dict[str, dict[str, Any]]:
        """What the browser says it sent, by `audio` and `video`: frames, packets, keyFrames, plis, nacks, width."""
        found: dict[str, dict[str, Any]] = await self._page.evaluate("deck.stats()")
        return found

    async def beats(self) -> PageBeats:
        """What was captured so far."""
        found = "[deck.flashes, deck.beeps, deck.gaps, deck.slips]"
        flashes, beeps, gaps, slips = await self._page.evaluate(found)
        return PageBeats(
            tuple(self._clock.at(round((began + ended) * 500)) for began, ended in flashes),
            tuple(self._heard_ns(middle) for middle in beeps),
            tuple((self._clock.at(round(last * 1000)), self._clock.at(round(first * 1000))) for last, first in gaps),
            tuple((self._heard_ns(due), self._heard_ns(taken)) for due, taken in slips),
        )

    def _heard_ns(self, page_us: float) -> int:
        return self._clock.at(round(page_us * 1000) + self._page_zero_ns)

    async def wait_for_beats(self, count: int) -> None:
        """Return when that many bars and beeps were captured since the browser was opened."""
        ready = f"deck.flashes.length >= {count} && deck.beeps.length >= {count}"
        await self._page.wait_for_function(ready, timeout=(count + 30) * 1000)

    async def leave(self) -> None:
        """Hang up, with a DELETE for the session."""
        session, self._session = self._session, ""
        if self._door is not None and session:
            await self._door.leave(session)
        await self._page.evaluate("deck.close()")


@asynccontextmanager
async def open_browser(look: Look, clock: SharedClock, folder: Path) -> AsyncIterator[BrowserPerson]:
    """A browser whose camera and microphone play `look`; the files go to `folder` (60 MB)."""
    camera, microphone = folder / f"{look.name}.y4m", folder / f"{look.name}.wav"
    _write_camera(camera, look)
    _write_microphone(microphone, look)
    script = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
    arguments = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={camera}",
        f"--use-file-for-fake-audio-capture={microphone}",
        "--allow-loopback-in-peer-connection",
        "--disable-features=WebRtcHideLocalIpsWithMdns",
        "--disable-background-networking",
        "--disable-component-update",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
    ]

    async def serve(route: Route) -> None:
        body = f"<!doctype html><title>{look.name}</title><script>{script}</script>"
        await route.fulfill(status=200, content_type="text/html", body=body)

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium_path(), headless=True, args=arguments, ignore_default_args=["--mute-audio"]
        )
        try:
            page = await browser.new_page()
            await page.route(f"{_ORIGIN}**", serve)
            await page.goto(_ORIGIN)
            person = BrowserPerson(page, look, clock)
            await person._open()
            yield person
        finally:
            await browser.close()


def _write_camera(path: Path, look: Look) -> None:
    canvas = Canvas(look, *_SIZE)
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W%d H%d F%d:1 Ip A1:1 C420jpeg\n" % (*_SIZE, _FPS))
        for index in range(LOOP_S * _FPS):
            file.write(b"FRAME\n")
            file.writelines(plane.tobytes() for plane in paint(canvas, index / _FPS))


def _write_microphone(path: Path, look: Look) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes((np.tile(beep(look.pitch_hz), LOOP_S) * 32767).astype("<i2").tobytes())


@dataclass(frozen=True, slots=True)
class PageReport:
    """A film held against the page: `differences_ns` has one number per beat that both have with bar and beep."""

    differences_ns: tuple[int, ...]
    "How much further bar is behind beep in the film than in the page."
    flashes: int
    flashes_due: int
    beeps: int
    beeps_due: int
    seen: float
    "Part of the pictures, from the first to the last due flash, that show the person."

    @property
    def p95_ns(self) -> int:
        """The 95th percentile of the differences, by nearest rank."""
        worst = sorted(abs(value) for value in self.differences_ns)
        return worst[math.ceil(0.95 * len(worst)) - 1] if worst else 0


def hold_against_page(film: Film, look: Look, page: PageBeats, film_zero_ns: int) -> PageReport:
    """Compare one uncut film with what the page captured.

    `film_zero_ns` is roughly (to 0.4 s) the instant of the shared clock at which the film begins; it is made exact by
    the beeps. Beats within 0.1 s of the film's ends are not counted, nor bars within the 0.3 s that a key frame may
    take at its start, or that a bar may stay at its end because the next picture was late, nor what the page's devices
    took while they stood still. A browser that has too much to do leaves pictures out, and may so leave out a bar.
    """
    page = page.undisturbed()
    heard = [one.middle_ns for one in film.beeps[look.name]]
    shown = [one.middle_ns for one in film.flashes[look.name]]
    gaps = [
        at - film_zero_ns - near for at in page.beeps_ns for near in heard if abs(at - film_zero_ns - near) < 400 * _MS
    ]
    zero_ns = film_zero_ns + (round(statistics.median(gaps)) if gaps else 0)
    margin = 100 * _MS

    def match(beats: tuple[int, ...], found: list[int], ends_ns: int) -> dict[int, int | None]:
        due = [at - zero_ns for at in beats if ends_ns <= at - zero_ns <= film.end_ns - ends_ns]
        near = {at: min(found, key=lambda one: abs(one - at), default=None) for at in due}
        return {at: one if one is not None and abs(one - at) <= 150 * _MS else None for at, one in near.items()}

    flashes, beeps = match(page.flashes_ns, shown, 3 * margin), match(page.beeps_ns, heard, margin)
    differences = []
    for captured, in_film in flashes.items():
        nearest = min(beeps, key=lambda at: abs(at - captured), default=None)
        if in_film is None or nearest is None or abs(nearest - captured) > 700 * _MS:
            continue
        with_it = beeps[nearest]
        if with_it is not None:
            differences.append((in_film - with_it) - (captured - nearest))
    first, last = min(flashes, default=0), max(flashes, default=0)
    boxes = [
        box for box, start in zip(film.sights[look.name].boxes, film.starts_ns, strict=True) if first <= start <= last
    ]
    return PageReport(
        differences_ns=tuple(differences),
        flashes=sum(one is not None for one in flashes.values()),
        flashes_due=len(flashes),
        beeps=sum(one is not None for one in beeps.values()),
        beeps_due=len(beeps),
        seen=sum(box is not None for box in boxes) / len(boxes) if boxes else 0.0,
    )
