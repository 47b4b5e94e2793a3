"""SIGKILL at each step of an upload: the next process brings the film, and sends again only what nobody had noted."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from tests.workers.killed import STEPS


@pytest.mark.timeout(120)
async def test_a_process_that_is_killed_at_any_step_is_taken_over(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "tests.workers.killed", str(tmp_path))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert process.returncode == 0
    stories = [json.loads(line) for line in said.splitlines()]
    assert [(one["at"], one["done"]) for one in stories] == [
        (at, done) for at in range(STEPS) for done in (False, True)
    ]
    for one in stories:
        steps, died_in = one["steps"], one["steps"][one["at"]]
        assert one["deaths"] == 1, one
        assert one["whole"], one
        # An upload that was begun, and whose process died before it could note that, is found by the lane (`tidy`).
        assert one["orphans"] == (1 if died_in == "begin" and one["done"] else 0), one
        at_once = one["at"] in (3, 4, 5)
        twice = {step for step in steps if steps.count(step) > 1}
        if died_in == "complete" and one["done"]:
            assert not twice, one
        elif at_once:
            assert twice <= {"part 30", "part 31", "part 34"}, one
        else:
            assert twice == {died_in}, one
        assert all(steps.count(step) <= 2 for step in steps), one
