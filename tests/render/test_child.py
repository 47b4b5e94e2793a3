"""The process of a render, as its parent sees it."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.render.meetings import FPS, GrowingLog, S
from tests.render.test_job import meeting_of_two

from tapedeck.media.shelf import Shelf

LONG_S = 300
"""Whole meetings take both cores beside this, and come first."""


@contextmanager
def child(job: dict[str, Any] | str, shelf: Shelf | None = None) -> Iterator["subprocess.Popen[str]"]:
    """A render process that was given a job; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tapedeck.render.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=() if shelf is None or shelf.fd is None else (shelf.fd,),
    )
    try:
        assert process.stdin is not None
        process.stdin.write(job if isinstance(job, str) else json.dumps(job) + "\n")
        process.stdin.flush()
        yield process
    finally:
        process.kill()
        process.communicate()


def body(root: Path, **changes: Any) -> dict[str, Any]:
    outputs = [{"file_name": "a.mp4", "video": {"width": 160, "height": 90}}]
    job = {"log_dir": str(root / "log"), "recording_id": "r", "out_dir": str(root / "out"), "outputs": outputs}
    return {**job, "live": False, **changes}


def answers(process: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    assert process.stdout is not None
    return [json.loads(line) for line in process.stdout]


def next_answer(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], LONG_S)
    assert ready, "the child says nothing"
    answer: dict[str, Any] = json.loads(process.stdout.readline())
    return answer


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="this machine has the hardware")
def test_an_encoder_that_is_not_there_is_told_to_the_parent(tmp_path: Path) -> None:
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    outputs = [{"file_name": "a.mp4", "video": {"width": 160, "height": 90, "encoder": "nvenc"}}]
    with child(body(tmp_path, outputs=outputs)) as process:
        told = answers(process)
        assert process.wait(LONG_S) == 0
    (note,) = [answer for answer in told if answer["event"] == "note"]
    assert note["text"].startswith("nvenc cannot encode here") and told[-1]["event"] == "done"


def test_a_job_is_done(tmp_path: Path) -> None:
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    with child(body(tmp_path)) as process:
        told = answers(process)
        assert process.wait(LONG_S) == 0
    done = told[-1]
    assert done["event"] == "done" and {answer["event"] for answer in told[:-1]} == {"progress"}
    (file,) = done["files"]
    path = tmp_path / "out" / "a.mp4"
    assert file["kind"] == "video" and file["path"] == str(path)
    assert file["size_bytes"] == path.stat().st_size and file["duration_ns"] == 3 * S
    assert len(file["checksum"]) == 8 and done["stats"]["pictures"] == 3 * FPS


def test_the_head_of_a_film_is_handed_over_in_memory(tmp_path: Path) -> None:
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    shelf = Shelf()
    with child(body(tmp_path, shelf=shelf.fd), shelf) as process:
        done = answers(process)[-1]
        assert process.wait(LONG_S) == 0
    (file,) = done["files"]
    head = shelf.take(file["head_at"], file["head_bytes"])
    shelf.close()
    whole = (tmp_path / "out" / "a.mp4").read_bytes()
    assert head[:] == whole[: len(head)] and whole[len(head) + 4 : len(head) + 8] == b"mdat"


def test_a_job_that_fails_says_why(tmp_path: Path) -> None:
    with child(body(tmp_path)) as process:
        (told,) = answers(process)
        assert process.wait(LONG_S) == 1
    assert told["event"] == "failed" and "\n" not in told["error"]


def test_a_log_without_the_recording_is_not_to_be_tried_again(tmp_path: Path) -> None:
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    with child(body(tmp_path, recording_id="unknown")) as process:
        (told,) = answers(process)
    assert (told["event"], told["final"]) == ("failed", True)


def test_a_film_of_somebody_who_was_not_there_is_not_to_be_tried_again(tmp_path: Path) -> None:
    meeting_of_two().lay_down(tmp_path / "log", 5 * S)
    with child(body(tmp_path, only=["ada", "eve"])) as process:
        (told,) = answers(process)
    assert (told["event"], told["final"]) == ("failed", True) and "'eve' was not there" in told["error"]
    assert not list(tmp_path.rglob("*.part"))


def test_nonsense_is_refused() -> None:
    for job in ("{\n", "[]\n", "{}\n"):
        with child(job) as process:
            (told,) = answers(process)
            assert process.wait(LONG_S) == 1
        assert told["event"] == "failed" and told["error"].startswith("The render job is")


def live_child(root: Path) -> dict[str, Any]:
    grower = GrowingLog(meeting_of_two(None), root / "log", 4 * S)
    while grower.grow(100):
        pass
    return body(root, live=True)


def test_it_goes_without_a_trace_when_told(tmp_path: Path) -> None:
    with child(live_child(tmp_path)) as process:
        assert next_answer(process)["event"] == "progress"
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG_S) == 128 + signal.SIGTERM
    assert list((tmp_path / "out").iterdir()) == []


def test_it_goes_when_its_parent_closes_the_pipe(tmp_path: Path) -> None:
    with child(live_child(tmp_path)) as process:
        assert next_answer(process)["event"] == "progress"
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(LONG_S) == 128 + signal.SIGTERM
        process.stdin = None
    assert list((tmp_path / "out").iterdir()) == []


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    """A parent that is killed cannot close anything in an orderly way."""
    job = json.dumps(live_child(tmp_path))
    script = (
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-m', 'tapedeck.render.child'], stdin=subprocess.PIPE, text=True)\n"
        f"p.stdin.write({job!r} + '\\n'); p.stdin.flush()\n"
        "print(p.pid, flush=True)\n"
        "p.wait()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert json.loads(parent.stdout.readline())["event"] == "progress"
        alive = os.pidfd_open(pid)
        parent.kill()
        parent.wait()
        gone, _, _ = select.select([alive], [], [], LONG_S)
        os.close(alive)
        assert gone
    finally:
        parent.kill()
        parent.communicate()


def test_it_is_below_capture_in_priority_and_bounded_in_memory(tmp_path: Path) -> None:
    with child(live_child(tmp_path)) as process:
        assert next_answer(process)["event"] == "progress"
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        (line,) = [line for line in limits.splitlines() if line.startswith("Max data size")]
        assert int(line.split()[3]) == 2 << 30
