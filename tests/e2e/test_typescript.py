"""The official TypeScript SDK drives a recording from its start to its file."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from tests.e2e.kit import Take, open_house

from tapedeck.sources.synthetic import CAST
from tapedeck.testing.people import Act, Cue, Person

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(300)]

SDK = Path(__file__).parents[1] / "sdk"


async def test_the_whole_life_of_a_recording(tmp_path: Path) -> None:
    node = shutil.which("node")
    assert node is not None and (SDK / "node_modules").is_dir(), "run `make test` once, or `npm ci` in tests/sdk"
    async with open_house(tmp_path) as house:
        ada = Person(CAST[0], (Cue(0.2, Act.JOIN), Cue(120.0, Act.LEAVE)), size=(320, 180), fps=20)
        room = await house.room([ada], "TypeScript")
        playing = asyncio.create_task(room.play())
        await room.at(1.0)
        server = house.server
        life = await asyncio.create_subprocess_exec(
            node,
            str(SDK / "life.mjs"),
            f"{server.base_url}/client/v4",
            server.token,
            server.account_id,
            server.app_id,
            room.id,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await life.communicate()
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        assert life.returncode == 0, err.decode()
        told = json.loads(out)
        recording = await Take(room, (await room.recordings())[0].first).get()
        assert recording.download_url
        film = await house.fetch(recording.download_url)

    assert [status for status in told["seen"] if status != "UPLOADING"] == [
        "INVOKED",
        "RECORDING",
        "PAUSED",
        "RECORDING",
        "UPLOADED",
    ]
    assert told["conflict"] == [True, 409, 1], "a conflict is asked once"
    assert told["active"] == told["id"] == recording.id
    assert told["reason"] == "ORGANIZATION"
    assert told["size"] == [len(film), len(film)] and told["sha256"] == hashlib.sha256(film).hexdigest()
    assert told["name"].startswith(f"typescript_{room.id}_") and told["name"].endswith(".mp4")
    assert told["listed"] == [[recording.id], {"total_count": 1, "start_offset": 1, "end_offset": 1}]
    assert told["missing"] == [True, 404]
    assert told["hooks"] == ["ops"] and told["title"] == "TypeScript"
    assert 2 <= told["duration"] <= 8
