"""A recorded web page beside what is usually done: Xvfb, Chromium with a window, and ffmpeg that grabs the screen.

Both show the same page, 1280x720 with four 720p videos that play, one after the other, three times; user and system
time and memory (PSS) of everything that takes part. A shared machine is a twentieth faster or slower from one minute to
the next: the median of the pairs is judged. Ours is the whole server with its browser and the process that makes the
film; the peer has no sound, no log and no control. Pictures are counted in both files alike, and all four videos
have to be in them: without a window manager the peer's window is some pixels narrower than its screen.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import av
import numpy as np
from aiohttp import web
from tests.e2e.kit import open_house

from bench.row import Row

SETTLE_S, TURN_S, PAIRS = 6.0, 20.0, 3
LEAST_FPS = 29.0
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = """<!doctype html><meta charset=utf-8><title>four</title>
<style>* {margin: 0} body {background: #111; overflow: hidden} video {width: 50vw; height: 50vh; float: left}</style>
<video src=/v.mp4 muted loop autoplay></video><video src=/v.mp4 muted loop autoplay></video>
<video src=/v.mp4 muted loop autoplay></video><video src=/v.mp4 muted loop autoplay></video>
<script>
  window.realtimeKitRecordingSdk = window.triggerRealtimeKitRecording = true;
  const socket = new WebSocket("ws://localhost:8080/ws");
  socket.onopen = () => socket.send('{"type":"StartRecording"}');
</script>"""


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[str]:
    """A page with four videos; its address."""
    video = folder / "v.mp4"
    await run(
        *("ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30", "-t", "10"),
        *("-c:v", "libx264", "-preset", "veryfast", "-b:v", "1500k", "-pix_fmt", "yuv420p"),
        *("-movflags", "+faststart", str(video)),
    )

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=_PAGE, content_type="text/html")

    async def play(request: web.Request) -> web.FileResponse:
        return web.FileResponse(video)

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/v.mp4", play)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def run(*command: str) -> None:
    """Run a command to its end."""
    process = await asyncio.create_subprocess_exec(*command)
    if await process.wait():
        raise SystemExit(f"{command[0]} failed")


def family(leaders: list[int]) -> list[int]:
    """These processes, their descendants, and all of their sessions."""
    parents, sessions = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)], sessions[int(path.parent.name)] = int(fields[1]), int(fields[3])
    found, grown = set(leaders), True
    while grown:
        more = {pid for pid in parents if parents[pid] in found or sessions[pid] in found} - found
        found |= more
        grown = bool(more)
    return sorted(found)


def cpu_s(pids: list[int]) -> float:
    """User and system time of processes so far."""
    total = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) / _TICK
    return total


def memory_mb(pids: list[int]) -> float:
    """What processes take, shared pages counted once."""
    total = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total / 1024


async def watch(leaders: list[int]) -> tuple[float, float]:
    """Cores and MB of everything that belongs to these processes, over a turn."""
    await asyncio.sleep(SETTLE_S)
    loop = asyncio.get_running_loop()
    begin, before = loop.time(), cpu_s(family(leaders))
    memories = []
    for _ in range(4):
        await asyncio.sleep(TURN_S / 4)
        memories.append(await asyncio.to_thread(lambda: memory_mb(family(leaders))))
    return (cpu_s(family(leaders)) - before) / (loop.time() - begin), statistics.median(memories)


async def ours(folder: Path, address: str) -> tuple[float, float, float]:
    """Cores, MB, different pictures per second in the film."""
    env = {"TAPEDECK_BROWSER_SANDBOX": "off", "TAPEDECK_ALLOW_PRIVATE_URLS": "true"}
    async with open_house(folder, env) as house:
        room = await house.room([])
        take = await room.start(url=address)
        await take.until("RECORDING", limit_s=120)
        cores, memory = await watch([house.server.pid])
        await take.act("stop")
        viewed = await take.film([], limit_s=120)
        return cores, memory, await asyncio.to_thread(different_per_s, viewed.path)


async def theirs(folder: Path, address: str) -> tuple[float, float, float]:
    """Cores, MB, different pictures per second in the file."""
    begun: list[asyncio.subprocess.Process] = []

    async def begin(
        *command: str, stdout: int = asyncio.subprocess.DEVNULL, env: dict[str, str] | None = None
    ) -> asyncio.subprocess.Process:
        quiet = asyncio.subprocess.DEVNULL
        made = await asyncio.create_subprocess_exec(
            *command, start_new_session=True, stdin=quiet, stdout=stdout, stderr=quiet, env=env
        )
        begun.append(made)
        return made

    try:
        screen = await begin(
            *("Xvfb", "-displayfd", "1", "-screen", "0", "1280x720x24", "-nolisten", "tcp"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert screen.stdout is not None
        display = f":{(await screen.stdout.readline()).decode().strip()}"
        await begin(
            *("chromium", "--no-sandbox", "--disable-gpu", "--no-first-run", "--kiosk", "--window-position=0,0"),
            *("--window-size=1280,720", f"--user-data-dir={folder / 'profile'}", "--disable-extensions"),
            *("--autoplay-policy=no-user-gesture-required", f"--app={address}"),
            env={**os.environ, "DISPLAY": display},
        )
        await begin(
            *("ffmpeg", "-f", "x11grab", "-draw_mouse", "0", "-framerate", "30", "-video_size", "1280x720"),
            *("-i", display, "-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p"),
            str(folder / "grabbed.mkv"),
        )
        cores, memory = await watch([process.pid for process in begun])
        begun[-1].send_signal(signal.SIGINT)
        await begun[-1].wait()
        return cores, memory, await asyncio.to_thread(different_per_s, folder / "grabbed.mkv")
    finally:
        for process in reversed(begun):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            await process.wait()


def different_per_s(path: Path) -> float:
    """Pictures that differ from the one before, per second of a film, its first seconds left out."""
    with av.open(str(path)) as file:
        settled = ((frame.time or 0.0, frame) for frame in file.decode(video=0) if (frame.time or 0.0) > SETTLE_S / 2)
        kept = [(at, frame.reformat(320, 180, "gray").to_ndarray()) for at, frame in settled]
    times, pictures = [at for at, _ in kept], np.array([picture for _, picture in kept], np.int16)
    changes = np.diff(pictures, axis=0)
    for top, left in ((0, 0), (0, 160), (90, 0), (90, 160)):
        if not changes[:, top : top + 90, left : left + 160].any():
            raise SystemExit(f"a video is missing in {path.name}")
    return int(changes.any(axis=(1, 2)).sum()) / (times[-1] - times[0])


async def play(root: Path) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Both, one after the other."""
    async with site(root) as address:
        return await ours(root / "house", address), await theirs(root, address)


def rows() -> list[Row]:
    found = []
    for _ in range(PAIRS):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            found.append(asyncio.run(play(Path(folder))))
    (cores, memory, fps), (their_cores, their_memory, their_fps) = (
        [statistics.median(column) for column in zip(*side, strict=True)] for side in zip(*found, strict=True)
    )
    times = sorted(mine[0] / peers[0] for mine, peers in found)
    what = "a web page with four 720p videos, 1280x720"
    return [
        Row(
            f"{what}: CPU",
            f"{statistics.median(times):.2f} x, {cores:.2f} cores",
            f"{their_cores:.2f} cores (Xvfb, Chromium, ffmpeg x11grab)",
            "at most the peer's",
            statistics.median(times) <= 1,
            f"ours with sound, log, server; {times[0]:.2f} to {times[-1]:.2f} x in {PAIRS} pairs",
        ),
        Row(
            f"{what}: memory",
            f"{memory:.0f} MB",
            f"{their_memory:.0f} MB",
            "at most the peer's",
            memory <= their_memory,
        ),
        Row(
            f"{what}: pictures per second",
            f"{fps:.1f} different ones",
            f"{their_fps:.1f}",
            f"at least {LEAST_FPS:.0f}",
            fps >= LEAST_FPS,
        ),
    ]
