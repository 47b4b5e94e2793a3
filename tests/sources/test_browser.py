"""Chromium publishes to the WHIP server: every frame arrives and decodes, ICE restarts, key frames on request."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import pytest
from playwright.async_api import Page, Route, async_playwright
from tests.sources.kit import Studio, studio

from tapedeck.core.frames import Codec, EncodedFrame

pytestmark = pytest.mark.browser

CHROMIUM = os.environ.get("TAPEDECK_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream=fps=30",
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
]


@asynccontextmanager
async def browser_page(place: Studio) -> AsyncIterator[Page]:
    """A page on a secure origin that needs no web server, with the WHIP client of page.js."""

    async def serve(route: Route) -> None:
        await route.fulfill(status=200, content_type="text/html", body="<!doctype html>")

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page()
        await page.route("**/*", serve)
        await page.goto("http://localhost/")
        await page.expose_function("post", place.poster())
        await page.expose_function("patch", place.patcher())
        await page.add_script_tag(path=Path(__file__).with_name("page.js"))
        yield page
        await browser.close()


def decode(name: str, frames: list[EncodedFrame]) -> list[Any]:
    """What a decoder makes of the frames, each given alone; raises if it complains of one."""
    decoder: Any = av.CodecContext.create(name, "r")
    out: list[Any] = []
    for frame in frames:
        out += decoder.decode(av.Packet(frame.payload))
    out += decoder.decode(None)
    return out


@pytest.mark.parametrize("codec", [Codec.VP8, Codec.H264])
async def test_chromium_publishes_and_every_frame_decodes(codec: Codec) -> None:
    async with studio() as place, browser_page(place) as page:
        await page.evaluate("mime => publish(mime)", f"video/{codec.name}")
        await place.until(lambda: bool(place.ingest.peers) and len(place.peer.tracks) == 2)
        video, audio = place.peer.video, place.peer.audio
        await place.until(lambda: len(video.frames) >= 45)
        video.control.request_keyframe()
        asked_at = len(video.frames)
        await place.until(lambda: any(frame.is_key for frame in video.frames[asked_at:]))
        await page.evaluate("restart()")
        await page.evaluate(
            "channel.send('text ü'); channel.send(new Uint8Array([1, 2])); channel.send('x'.repeat(32768))"
        )
        await place.until(lambda: len(place.peer.messages) == 3)
        assert place.peer.messages == ["text ü".encode(), b"\1\2", b"x" * 32_768]
        assert await page.evaluate("pc.sctp.maxMessageSize") == 32_768
        restarted_at = len(video.frames)
        await place.until(lambda: len(video.frames) >= restarted_at + 60 and len(audio.frames) > 100)
        stats = await page.evaluate("sent()")

        assert video.info.codec is codec
        assert video.frames[0].is_key
        assert video.breaks == audio.breaks == []
        pictures = decode("vp8" if codec is Codec.VP8 else "h264", list(video.frames))
        assert len(pictures) == len(video.frames)
        assert all(picture.width in (640, 480, 320) for picture in pictures)
        assert sum(sound.samples for sound in decode("opus", list(audio.frames))) >= 0.9 * len(audio.frames) * 960
        assert len(audio.levels) >= len(audio.frames)
        assert min(audio.levels) < 100
        assert stats["video"]["framesSent"] >= len(video.frames)
        assert stats["video"]["pliCount"] == 2  # a request goes out twice, for the case that one is lost
        assert stats["video"]["keyFramesEncoded"] in (2, 3, 4)  # a busy browser makes its pictures smaller, too
        assert stats["video"]["targetBitrate"] >= 500_000  # it starts at 300 000 without our feedback
        assert len(place.ingest.peers) == 1

        times = [frame.media_time for frame in video.frames]
        assert times == sorted(set(times))
        (first_at, first_wall, first_media), *_, (last_at, last_wall, last_media) = video.reports
        assert last_at > first_at
        assert abs((last_media - first_media) / 90_000 - (last_wall - first_wall) / 1e9) < 0.005

        await place.server.delete(place.answers[0].session_id)
        assert place.peer.closed
