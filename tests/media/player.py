"""A tar of HLS in the player that pages use: hls.js in Chromium, which hands timed metadata to scripts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Route, async_playwright

__all__ = ["Played", "PlayerCue", "play_hls"]

_CHROMIUM = os.environ.get("TAPEDECK_CHROMIUM", "/usr/bin/chromium")
_HLS_JS = Path(__file__).parents[1] / "sdk" / "node_modules" / "hls.js" / "dist" / "hls.min.js"
_TYPES = {".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t"}
_PLAY = """
async () => {
  const video = document.createElement("video"), hls = new Hls(), cues = [], errors = [];
  video.muted = true;
  document.body.append(video);
  hls.on(Hls.Events.ERROR, (_, data) => errors.push(`${data.type} ${data.details}`));
  const loaded = new Promise((resolve) => hls.on(Hls.Events.FRAG_BUFFERED, (_, {frag}) => {
    if (frag.sn === hls.levels[0].details.endSN) resolve();
  }));
  hls.loadSource("/index.m3u8");
  hls.attachMedia(video);
  await loaded;
  for (const track of video.textTracks) {
    if (track.kind !== "metadata") continue;
    for (const cue of track.cues) cues.push([cue.startTime, cue.value.key, cue.value.info, cue.value.data]);
  }
  const over = new Promise((resolve) => video.addEventListener("ended", resolve));
  video.currentTime = video.duration - 0.5;
  await video.play();
  await over;
  return {duration: video.duration, width: video.videoWidth, cues, errors};
}
"""


@dataclass(frozen=True)
class PlayerCue:
    """What a script is given when its moment comes."""

    at_s: float
    key: str
    info: str
    data: str


@dataclass(frozen=True)
class Played:
    duration_s: float
    width: int
    cues: list[PlayerCue]
    errors: list[str]


async def play_hls(directory: Path) -> Played:
    """Play `index.m3u8` of a directory to its end."""

    async def serve(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        path = directory / name
        if name and path.is_file():
            await route.fulfill(status=200, body=path.read_bytes(), content_type=_TYPES[path.suffix])
        else:
            await route.fulfill(status=200, content_type="text/html", body="<!doctype html>")

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=_CHROMIUM)
        page = await browser.new_page()
        await page.route("**/*", serve)
        await page.goto("http://localhost/")
        await page.add_script_tag(path=_HLS_JS)
        found = await page.evaluate(_PLAY)
        await browser.close()
    return Played(found["duration"], found["width"], [PlayerCue(*cue) for cue in found["cues"]], found["errors"])
