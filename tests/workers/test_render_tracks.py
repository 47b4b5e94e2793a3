"""Files of tracks made by a real child process, which is killed on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from dataclasses import asdict
from pathlib import Path

from tests.pace import eventually
from tests.render.meetings import GrowingLog
from tests.render.test_tracks import ALL, big

from tapedeck.render.tracks import TrackJob, run_tracks
from tapedeck.workers.render import FilmFile, RenderHost, RenderJob

S = 1_000_000_000


async def test_a_killed_child_costs_the_files_of_tracks_nothing(tmp_path: Path) -> None:
    """Nothing else dies: the log goes on growing, and the next child makes every file again, byte for byte."""
    meeting, until_ns = big(tmp_path)
    half = len(list(meeting.log(until_ns))) // 2
    grower = GrowingLog(meeting, tmp_path / "log", until_ns)
    grower.grow(half)
    made: list[FilmFile] = []
    over = asyncio.Event()
    far_ns = 0

    async def on_done(_: str, files: list[FilmFile]) -> None:
        made.extend(files)
        over.set()

    async def on_failed(_: str, reason: str) -> None:
        raise AssertionError(reason)

    def on_progress(_: str, film_ns: int, __: int) -> None:
        nonlocal far_ns
        far_ns = film_ns

    host = RenderHost(1, on_done, on_failed, on_progress, (0.0,))
    body = {
        "log_dir": str(tmp_path / "log"),
        "recording_id": "r",
        "out_dir": str(tmp_path / "out"),
        "tracks": asdict(ALL),
    }
    host.submit(RenderJob("r", body, live=True))

    async def is_on_its_way() -> bool:
        return far_ns > 2 * S

    await eventually(is_on_its_way, 60)
    first = host.pids()["r"]
    assert list((tmp_path / "out").glob(".*.track")), "a file is open"
    os.kill(first, signal.SIGKILL)

    async def is_replaced() -> bool:
        return host.pids().get("r", first) != first

    await eventually(is_replaced, 60)
    while grower.grow(1000):
        pass
    host.submit(RenderJob("r", body, live=False))
    await asyncio.wait_for(over.wait(), 60)
    await host.drain(5)
    whole, _ = run_tracks(TrackJob(tmp_path / "log", "r", tmp_path / "whole", ALL), threading.Event())
    assert [file.path.name for file in made] == [one.file.path.name for one in whole] and len(made) == 4
    assert all(file.path.read_bytes() == one.file.path.read_bytes() for file, one in zip(made, whole, strict=True))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {file.path.name for file in made}
