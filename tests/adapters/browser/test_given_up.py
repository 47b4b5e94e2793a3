"""A browser whose start is given up leaves nothing: no process, no directory, no socket. What starts is none."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from pathlib import Path

import pytest
from tests.pace import beat

from tapedeck.adapters.browser.chromium import Chromium
from tapedeck.adapters.browser.tab import ChromiumPage
from tapedeck.adapters.egress import Guard
from tapedeck.ports.browser import PageOrder


@pytest.mark.parametrize("steps", range(6))
async def test_a_start_that_is_given_up_leaves_nothing(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = list[socket.socket]()
    pair = socket.socketpair

    def socketpair() -> tuple[socket.socket, socket.socket]:
        made.extend(pair())
        return made[-2], made[-1]

    monkeypatch.setattr("tapedeck.adapters.browser.chromium.socket.socketpair", socketpair)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    chromium = Chromium(Path("/bin/sh"), sandbox=False)
    starting = asyncio.create_task(chromium.start(lambda *_: None, ["-c", "cat"]))
    for _ in range(steps):
        await beat(0)
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    await chromium.aclose()
    assert not list(tmp_path.iterdir())
    assert not chromium.processes()
    if not hasattr(chromium, "devtools"):  # with which they would be closed
        assert all(one.fileno() == -1 for one in made)


@pytest.mark.parametrize("steps", range(1, 10, 2))
async def test_an_end_that_is_given_up_is_one_all_the_same(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    chromium = Chromium(program, sandbox=False)
    order = PageOrder("about:blank", 320, 180, 30)
    limits = {"memory_bytes": 1 << 30, "disk_bytes": 1 << 30, "kbps": 1000}
    page = ChromiumPage(chromium, Guard(), order, guarded=True, codecs=("VP8",), **limits)
    await chromium.start(lambda *_: None, [])
    leader = chromium.pid
    ending = asyncio.create_task(page.aclose())
    for _ in range(steps):
        await beat(0)
    ending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await ending
    with pytest.raises(ProcessLookupError):
        os.kill(leader, 0)
    assert list(tmp_path.iterdir()) == [program]
