"""Several films of one meeting, and how quickly a film is made again.

Together: an upright film and one of the sound alone beside a film of four 720p30 cameras, each begun at a moment of its
own, made by one process as in production. Beside it the one film, and the three by a process each. All user and system
time counts.

Again: the same meeting from its log on two cores, as `tapedeck replay` does it.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.render import FPS, PEOPLE, Cost, S, end_log, make_log, make_sources, measure, tapedeck
from bench.row import Row

SECONDS, PAIRS = 20, 3
MARK_TOGETHER, MARK_AGAIN = 1.9, 2.0
FILMS: dict[str, tuple[int, dict[str, Any] | None]] = {
    "wide": (0, {"width": 1280, "height": 720}),
    "upright": (411_000_000, {"width": 720, "height": 1280}),
    "sound": (733_000_000, None),
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


def rows() -> list[Row]:
    """Measure all."""
    with tempfile.TemporaryDirectory(prefix="tapedeck-bench-") as name:
        root = Path(name)
        make_sources(root, SECONDS)
        recordings = [(start_ns, name) for name, (start_ns, _) in FILMS.items()]
        writer = make_log(root / "log", root, SECONDS, recordings=[*recordings, (0, "bench")])
        end_log(writer, SECONDS * S, [*FILMS, "bench"])
        ones, alls, aparts = [], [], []
        for _ in range(PAIRS):
            ones.append(make(root / "log", root, ["wide"]).cpu_s)
            alls.append(make(root / "log", root, list(FILMS)).cpu_s)
            aparts.append(sum(make(root / "log", root, [name]).cpu_s for name in FILMS))
        ratio = statistics.median(both / one for both, one in zip(alls, ones, strict=True))
        apart = statistics.median(each / one for each, one in zip(aparts, ones, strict=True))
        again = max(SECONDS / tapedeck(root / "log", root, threads=0).wall_s for _ in range(PAIRS))
    what = f"{PEOPLE} cameras 720p{FPS}, {SECONDS} s"
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
            f"{what}: film made again from its log",
            f"{again:.2f} x real time",
            "",
            f">= {MARK_AGAIN} x on two cores",
            again >= MARK_AGAIN,
            "the best of three: neighbours can only make it slower",
        ),
    ]
