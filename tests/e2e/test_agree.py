"""The live film and a later `tapedeck replay` of the same log agree on every event within one frame."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.kit import MS
from tests.e2e.stories import Story

from tapedeck.testing.check import apart
from tapedeck.testing.watch import watch

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

FRAME_NS = 1_000_000_000 // 30


@pytest.mark.parametrize("name", ["three", "lossy"])
def test_live_and_replayed_film_agree(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    story: Story = request.getfixturevalue(name)
    live, path = story.viewed.film, tmp_path / "again.mp4"
    size = f"{live.facts.width}x{live.facts.height}"
    command = (sys.executable, "-m", "tapedeck", "replay", str(story.log_dir), "--out", str(path), "--size", size)
    done = subprocess.run(
        (*command, "--recording", story.viewed.recording.id), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert str(path) in done.stdout.replace("\n", "")
    later = watch(path, live.looks)
    difference = apart(live, later)
    assert difference.missing == 0
    assert difference.flash_ns <= FRAME_NS
    assert difference.beep_ns <= MS
    assert len(later.starts_ns) == len(live.starts_ns)
    for look in live.looks:
        shown, again = ([box is not None for box in film.sights[look.name].boxes] for film in (live, later))
        for index, (one, two) in enumerate(zip(shown, again, strict=True)):
            assert one == two or one in again[max(index - 1, 0) : index + 2], f"{look.name} in picture {index}"
