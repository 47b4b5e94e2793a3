"""Several films of one meeting, and how quickly a film is made again.

Together: an upright film and one of the sound alone beside a film of four 720p30 cameras, each begun at a moment of its
own, made by one process as in production. Beside it the one film, and the three by a process each. And a second film of
the same picture, begun later, beside the first. All user and system time counts.

Again: the film of the same meeting from its log on two cores, as `tapedeck replay` and as the server after a crash make
it; beside them one `ffmpeg` command that makes the same film of the cameras' files (`bench/render.py`).
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.render import FPS, PEOPLE, Cost, S, end_log, ffmpeg, make_log, make_sources, measure, tapedeck
from bench.row import Row

SECONDS, PAIRS = 20, 3
MARK_TOGETHER, MARK_TWIN, MARK_AGAIN = 1.9, 1.5, 2.0
THREE, TWINS = ["wide", "upright", "sound"], ["wide", "twin"]
FILMS: dict[str, tuple[int, dict[str, Any] | None]] = {
    "wide": (0, {"width": 1280, "height": 720}),
    "upright": (411_000_000, {"width": 720, "height": 1280}),
    "sound": (733_000_000, None),
    "twin": (1_313_000_000, {"width": 1280, "height": 720}),
}
"""Start in the log, and picture."""


def make(log: Path, out: Path, names: list[str]) -> Cost:
    """Films by one process."""
    lines = []
    for name in names:
        output = {"file_name": f"{name}.{'m4a' if FILMS[name][1] is None else 'mp4'}", "video": FILMS[name][1]}
        job = {"log_dir": str(log), "recording_id": name, "out_dir": str(out), "outputs": [output], "threads": 1}
        lines.append(json.dumps(job))
    cost, answer = measure([sys.executable, "-m", "tapedeck.render.child"], "\n".join(lines) + "\n")
    events = [json.loads(line) for line in answer.splitlines()]
    done = [event for event in events if event["event"] == "done"]
    if len(done) != len(names) or any(event["stats"]["errors"] or event["stats"]["skipped"] for event in done):
        raise SystemExit(f"the render went wrong: {events[-1]}")
    return cost


def replay(log: Path, out: Path) -> Cost:
    """The film again, as a person asks for it."""
    options = ["--recording", "bench", "--out", str(out / "again.mp4")]
    return measure([sys.executable, "-m", "tapedeck", "replay", str(log), *options])[0]


def again_rows(root: Path, what: str) -> list[Row]:
    """The best of a few: neighbours can only make a film slower."""
    ways: dict[str, Callable[[], Cost]] = {
        "tapedeck replay": lambda: replay(root / "log", root),
        "as the server does": lambda: tapedeck(root / "log", root, haste=True),
        "ffmpeg": lambda: ffmpeg(root, root, nice=0),
    }
    costs: dict[str, list[Cost]] = {way: [] for way in ways}
    for _ in range(PAIRS):
        for way, make_film in ways.items():
            costs[way].append(make_film())
    best = {way: min(found, key=lambda cost: cost.wall_s) for way, found in costs.items()}
    peer = best.pop("ffmpeg")
    return [
        Row(
            f"{what}: film made again from its log, {way}",
            f"{SECONDS / cost.wall_s:.2f} x real time",
            f"ffmpeg {SECONDS / peer.wall_s:.2f} x",
            f">= {MARK_AGAIN} x on two cores",
            SECONDS / cost.wall_s >= MARK_AGAIN,
            f"{cost.cpu_s:.1f} CPU s, {cost.cpu_s / cost.wall_s:.2f} cores (ffmpeg {peer.cpu_s / peer.wall_s:.2f})",
        )
        for way, cost in best.items()
    ]


def rows() -> list[Row]:
    """Measure all."""
    with tempfile.TemporaryDirectory(prefix="tapedeck-bench-") as name:
        root = Path(name)
        make_sources(root, SECONDS)
        recordings = [(start_ns, name) for name, (start_ns, _) in FILMS.items()]
        writer = make_log(root / "log", root, SECONDS, recordings=[*recordings, (0, "bench")])
        end_log(writer, SECONDS * S, [*FILMS, "bench"])
        ones, alls, aparts, twins = [], [], [], []
        for _ in range(PAIRS):
            ones.append(make(root / "log", root, ["wide"]).cpu_s)
            alls.append(make(root / "log", root, THREE).cpu_s)
            twins.append(make(root / "log", root, TWINS).cpu_s)
            aparts.append(sum(make(root / "log", root, [name]).cpu_s for name in THREE))
        ratio = statistics.median(both / one for both, one in zip(alls, ones, strict=True))
        apart = statistics.median(each / one for each, one in zip(aparts, ones, strict=True))
        twin = statistics.median(both / one for both, one in zip(twins, ones, strict=True))
        what = f"{PEOPLE} cameras 720p{FPS}, {SECONDS} s"
        again = again_rows(root, what)
    return [
        Row(
            f"{what}: three films (16:9, 9:16, sound) in one process: CPU",
            f"{statistics.median(alls):.1f} s, {ratio:.2f} x",
            f"one film {statistics.median(ones):.1f} s",
            f"<= {MARK_TOGETHER} x one",
            ratio <= MARK_TOGETHER,
            f"in three processes {apart:.2f} x",
        ),
        Row(
            f"{what}: two films of one picture in one process: CPU",
            f"{statistics.median(twins):.1f} s, {twin:.2f} x",
            f"one film {statistics.median(ones):.1f} s",
            f"<= {MARK_TWIN} x one",
            twin <= MARK_TWIN,
            "they begin 1.3 s apart",
        ),
        *again,
    ]
