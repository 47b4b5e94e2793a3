"""Cost of each layout with few and many people, beside one `ffmpeg` command that does the same work.

The same work: `ffmpeg` opens the cameras that are on screen, scales and cuts each to its tile, places them on the same
background, mixes every microphone, and encodes with the same settings. Who is not on screen costs it nothing; we read
their frames and leave them undecoded. Both in turns at one priority, start and imports included (`bench/render.py`).
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.render import SOURCES, Cost, S, end_log, make_log, make_sources, measure
from bench.row import Row
from tapedeck.core.geometry import Rect, Size, cover
from tapedeck.core.layouts import Layout, arrange, seats
from tapedeck.core.look import BACKGROUND, PLAIN_TILE
from tapedeck.core.output import AudioOutput, VideoOutput
from tapedeck.render.child import NICE

SECONDS = {1: 40, 4: 16, 9: 8, 25: 8}
"""Length of the film by number of people: each takes some seconds of CPU; starting Python takes a third of one."""
SINGLE_SECONDS = 8
MARK_SINGLE = 1.3
CAMERA = Size(1280, 720)
VIDEO, AUDIO = VideoOutput(), AudioOutput()


def tapedeck(log: Path, out: Path, layout: Layout) -> Cost:
    """Our render, as the child process that makes films in production."""
    job = {"log_dir": str(log), "recording_id": "bench", "out_dir": str(out)}
    command = [sys.executable, "-m", "tapedeck.render.child"]
    cost, answer = measure(
        command, json.dumps({**job, "outputs": [{"file_name": "tapedeck.mp4", "video": {}}], "layout": layout}) + "\n"
    )
    last = json.loads(answer.splitlines()[-1])
    if last["event"] != "done" or last["stats"]["errors"] or last["stats"]["skipped"]:
        raise SystemExit(f"the render went wrong: {last}")
    return cost


def ffmpeg(sources: Path, out: Path, layout: Layout, people: int) -> Cost:
    """One ffmpeg command for the same film."""
    canvas = Size(VIDEO.width, VIDEO.height)
    rects = arrange(layout, min(people, seats(layout, canvas)), canvas)
    seen = rects if people <= len(rects) else rects[:-1]  # the last one says how many more there are
    inputs: list[str] = []
    length = ["-t", str(SECONDS[people])]
    for index in range(len(seen)):
        inputs += [*length, "-r", "30", "-i", str(sources / f"{index}.h264")]
    for index in range(people):
        inputs += [*length, "-i", str(sources / f"{index}.opus")]
    voices = "".join(f"[{len(seen) + index}:a]" for index in range(people))
    pictures = _pictures(seen, rects[len(seen) :], canvas, SECONDS[people])
    graph = f"{pictures};{voices}amix=inputs={people}:normalize=0,alimiter[a]"
    rate = ["-crf", str(VIDEO.crf), "-maxrate", str(VIDEO.maxrate_bps), "-bufsize", str(2 * VIDEO.maxrate_bps)]
    encode = ["-c:v", "libx264", "-preset", VIDEO.preset, *rate, "-g", str(VIDEO.gop_s * VIDEO.fps)]
    sound = ["-c:a", "aac", "-aac_coder", "fast", "-q:a", str(AUDIO.bitrate_bps / 96_000), "-ac", "2", "-ar", "48000"]
    polite = ["nice", "-n", str(NICE)]
    command = [*polite, "ffmpeg", "-v", "error", "-y", *inputs, "-filter_complex", graph, "-map", "[v]", "-map", "[a]"]
    return measure([*command, *encode, *sound, "-movflags", "+faststart", str(out / "ffmpeg.mp4")])[0]


def _pictures(seen: tuple[Rect, ...], plain: tuple[Rect, ...], canvas: Size, seconds: int) -> str:
    """The filter graph from the cameras to [v]."""
    scaled = []
    for index, rect in enumerate(seen):
        put = cover(CAMERA, rect.size, 0.45)
        cut = (
            f",crop={put.crop.width}:{put.crop.height}:{put.crop.x}:{put.crop.y}" if put.crop.size != put.scaled else ""
        )
        scaled.append(f"[{index}:v]scale={put.scaled.width}:{put.scaled.height}:flags=area{cut}[v{index}]")
    if len(seen) == 1 and not plain and seen[0].size == canvas:
        return f"{scaled[0]};[v0]null[v]"
    all_rects = (*seen, *plain)
    left, top = min(r.x for r in all_rects), min(r.y for r in all_rects)
    places = "|".join(f"{r.x - left}_{r.y - top}" for r in all_rects)
    colour, tile = (f"0x{red:02x}{green:02x}{blue:02x}" for red, green, blue in (BACKGROUND, PLAIN_TILE))
    scaled += [
        f"color={tile}:s={rect.width}x{rect.height}:r=30:d={seconds}[v{len(seen) + index}]"
        for index, rect in enumerate(plain)
    ]
    names = "".join(f"[v{index}]" for index in range(len(all_rects)))
    stack = f"xstack=inputs={len(all_rects)}:layout={places}:fill={colour}"
    return f"{';'.join(scaled)};{names}{stack},pad={canvas.width}:{canvas.height}:{left}:{top}:{colour}[v]"


def _runs(people: int) -> list[tuple[Layout, ...]]:
    """The layouts of each row: both are run once for each, and a few seconds of CPU are enough.

    One person fills the film in either layout: the same work, and one row.
    """
    if people == 1:
        return [(Layout.GRID, Layout.SPEAKER) * 2]
    return [(layout,) * (2 if people < 9 else 1) for layout in (Layout.GRID, Layout.SPEAKER)]


def prepare(root: Path) -> None:
    """Logs of as many people as are measured; there are four cameras and microphones, which are used again."""
    make_sources(root, SECONDS[1], max(length for people, length in SECONDS.items() if people > 1))
    for index in range(len(SOURCES), max(SECONDS)):
        for kind in ("h264", "opus"):
            (root / f"{index}.{kind}").symlink_to(root / f"{index % len(SOURCES)}.{kind}")
    for people, seconds in SECONDS.items():
        make_log_of(root, f"log-{people}", people, seconds)
    make_log_of(root, "log-single", 1, SINGLE_SECONDS)


def make_log_of(root: Path, name: str, people: int, seconds: int) -> None:
    """A recording that is stopped after so many seconds."""
    end_log(make_log(root / name, root, seconds, people=people), seconds * S)


def layout_row(root: Path, log: Path, layouts: tuple[Layout, ...], people: int) -> Row:
    """Both in turns; the middle of the ratios counts."""
    ours, theirs = [], []
    for layout in layouts:
        ours.append(tapedeck(log, root, layout).cpu_s)
        theirs.append(ffmpeg(root, root, layout, people).cpu_s)
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return Row(
        f"{' or '.join(sorted(set(layouts)))} of {people} x 720p30 into 720p30, {SECONDS[people]} s: CPU",
        f"{statistics.median(ours):.1f} s, {ratio:.2f} x",
        f"ffmpeg {statistics.median(theirs):.1f} s",
        "<= 1.0 x ffmpeg",
        ratio <= 1.0,
    )


def single_row(root: Path) -> Row:
    """Twenty-five publishers of whom one is seen, beside one publisher."""
    most = max(SECONDS)
    logs = (root / f"log-{most}", root / "log-single")
    pairs = [[tapedeck(log, root, Layout.SINGLE).cpu_s for log in logs] for _ in range(2)]
    ratio = statistics.median(many / one for many, one in pairs)
    return Row(
        f"single of {most} publishers, {SINGLE_SECONDS} s: CPU",
        f"{pairs[0][0]:.1f} s, {ratio:.2f} x",
        f"one publisher {pairs[0][1]:.1f} s",
        f"<= {MARK_SINGLE} x one publisher",
        ratio <= MARK_SINGLE,
    )


def rows() -> Iterator[Row]:
    """Measure all."""
    with tempfile.TemporaryDirectory(prefix="tapedeck-bench-") as name:
        root = Path(name)
        prepare(root)
        for people in SECONDS:
            for layouts in _runs(people):
                yield layout_row(root, root / f"log-{people}", layouts, people)
        yield single_row(root)
