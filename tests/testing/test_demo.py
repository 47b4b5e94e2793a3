"""The demo's story holds together, and its failures are one sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tapedeck.sources.synthetic import LOOP_S
from tapedeck.testing import demo
from tapedeck.testing.people import Act


def test_the_story_has_all_it_promises() -> None:
    joins = [cue.at_s for person in demo.PEOPLE for cue in person.cues if cue.act is Act.JOIN]
    leaves = [cue.at_s for person in demo.PEOPLE for cue in person.cues if cue.act is Act.LEAVE]
    assert len(joins) == len(leaves) == 3
    assert min(joins) < demo.START_S < max(joins), "somebody is there at the start, somebody comes late"
    assert min(leaves) < demo.STOP_S < max(leaves), "somebody leaves early, somebody stays to the end"
    assert demo.START_S < demo.PAUSE_S < demo.RESUME_S < demo.STOP_S < demo.END_S
    assert (demo.RESUME_S - demo.PAUSE_S) % LOOP_S > 1, "pictures before and after the cut differ"
    acts = [cue.act for person in demo.PEOPLE for cue in person.cues]
    assert {Act.MUTE, Act.CAMERA_OFF} <= set(acts)
    assert set(acts) <= demo.WORDS.keys()


def test_a_folder_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setattr(sys, "argv", ["demo", "--dir", str(tmp_path / "taken")])
    assert demo.main() == 1
    told = capsys.readouterr().out
    assert "The demo failed:" in told
    assert "Traceback" not in told
