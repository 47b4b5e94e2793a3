"""Child processes that make films: how they are started, watched, restarted and ended.

The children here are small scripts that speak the same lines as the real one.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.pace import beat, eventually

from tapedeck.workers.render import FilmFile, RenderHost, RenderJob

_PRELUDE = """
import json, os, sys
job = json.loads(sys.stdin.readline())
def say(**message):
    print(json.dumps(message), flush=True)
def done(path="film.mp4"):
    file = {"kind": "video", "path": path, "size_bytes": 3, "duration_ns": 4, "checksum": "00c0ffee"}
    say(event="done", files=[file])
"""


class Outcome:
    """Hears how jobs end."""

    def __init__(self) -> None:
        self.done: dict[str, list[FilmFile]] = {}
        self.failed: dict[str, str] = {}
        self.heard = asyncio.Event()
        self.progress = asyncio.Event()

    async def on_done(self, recording_id: str, files: list[FilmFile]) -> None:
        self.done[recording_id] = files
        self.heard.set()

    def on_progress(self, recording_id: str, film_ns: int, behind_ns: int) -> None:
        self.progress.set()

    async def on_failed(self, recording_id: str, reason: str) -> None:
        self.failed[recording_id] = reason
        self.heard.set()


def host(outcome: Outcome, script: str, *, concurrency: int = 2, delays: tuple[float, ...] = (0.0, 0.0)) -> RenderHost:
    return RenderHost(concurrency, outcome.on_done, outcome.on_failed, outcome.on_progress, delays, _command(script))


def _command(script: str) -> tuple[str, ...]:
    return sys.executable, "-c", _PRELUDE + script


def job(recording_id: str = "r1", *, live: bool = True, **body: Any) -> RenderJob:
    return RenderJob(recording_id, body, live)


async def test_a_film_is_reported_with_its_files() -> None:
    outcome = Outcome()
    renders = host(outcome, "say(event='progress', film_ns=5, behind_ns=6)\ndone(job['name'])")
    renders.submit(job(name="a.mp4"))
    await asyncio.wait_for(outcome.heard.wait(), 60)
    assert outcome.done == {"r1": [FilmFile("video", Path("a.mp4"), 3, 4, "00c0ffee")]}
    assert outcome.failed == {}
    await renders.drain(5)


async def test_the_head_of_a_film_comes_through_memory() -> None:
    script = """
from tapedeck.media.shelf import put_on
heads = [b"one" * 3000, b"two" * 20]
files = [{"kind": "video", "path": "f", "size_bytes": 3, "duration_ns": 4,
          "head_at": put_on(job["shelf"], head), "head_bytes": len(head)} for head in heads]
files.append(files[0] | {"head_at": 1 << 40})
say(event="done", files=files)
"""
    outcome = Outcome()
    renders = host(outcome, script)
    renders.submit(job())
    await asyncio.wait_for(outcome.heard.wait(), 60)
    await renders.drain(5)
    assert [file.head[:] for file in outcome.done["r1"]] == [b"one" * 3000, b"two" * 20, b""], "the process is gone"


async def test_progress_and_process_are_known_while_it_runs() -> None:
    outcome = Outcome()
    renders = host(outcome, "say(event='progress', film_ns=5, behind_ns=6)\nsys.stdin.readline()")
    renders.submit(job())
    await asyncio.wait_for(outcome.progress.wait(), 60)
    assert renders.progress("r1") == (5, 6)
    assert set(renders.pids()) == {"r1"}
    await renders.drain(0)
    assert renders.progress("r1") is None
    assert renders.pids() == {}
    assert not outcome.done
    assert not outcome.failed


async def test_a_killed_child_follows_the_log_again_while_that_grows(tmp_path: Path) -> None:
    """One that did not would take the present end of the log for the end of the film."""
    outcome = Outcome()
    script = """
first = not os.path.exists(job["mark"])
open(job["mark"], "a").write(f"{job['live']} {job['haste']} ")
os.kill(os.getpid(), 9) if first else done()
"""
    renders = host(outcome, script)
    renders.submit(job(live=True, mark=str(tmp_path / "mark")))
    await asyncio.wait_for(outcome.heard.wait(), 60)
    assert list(outcome.done) == ["r1"]
    assert (tmp_path / "mark").read_text() == "True False True False "
    await renders.drain(5)


@pytest.mark.parametrize(("step_s", "ends"), [(61, "done"), (59, "failed")])
async def test_attempts_that_come_a_minute_further_are_counted_anew(tmp_path: Path, step_s: int, ends: str) -> None:
    """A film that is gone on with and whose process dies again hours later does not wait longer each time."""
    outcome = Outcome()
    script = """
open(job["mark"], "a").write("x")
count = os.path.getsize(job["mark"])
say(event="progress", recording_id="r1", film_ns=count * job["step_s"] * 10**9)
os.abort() if count < 5 else done()
"""
    renders = host(outcome, script, delays=(0.0,))
    renders.submit(job(live=True, mark=str(tmp_path / "mark"), step_s=step_s))
    await asyncio.wait_for(outcome.heard.wait(), 60)
    assert list(getattr(outcome, ends)) == ["r1"]
    await renders.drain(5)


async def test_an_attempt_after_the_end_of_the_recording_does_not_wait_for_more(tmp_path: Path) -> None:
    outcome = Outcome()
    os.mkfifo(tmp_path / "mark")
    renders = host(
        outcome,
        "done(str(job['haste'])) if not job['live'] else (open(job['mark'], 'w').close(), os.abort())",
        delays=(60.0,),
    )
    renders.submit(job(live=True, mark=str(tmp_path / "mark")))
    await asyncio.to_thread((tmp_path / "mark").read_bytes)
    renders.submit(job(live=False, mark=str(tmp_path / "mark")))  # the log is closed
    await asyncio.wait_for(outcome.heard.wait(), 60)
    assert list(outcome.done) == ["r1"], "at once, not after the pause of a minute"
    assert outcome.done["r1"][0].path == Path("True"), "in haste: whoever stopped it waits for the film"
    await renders.drain(5)


async def test_a_child_that_waits_for_more_of_a_closed_log_is_ended() -> None:
    """As one does when the end of its recording never got into the log."""
    outcome = Outcome()
    script = """
import threading
while job["live"]:
    say(event="progress", film_ns=5, behind_ns=0)
    threading.Event().wait(0.02)
done()
"""
    renders = RenderHost(
        1, outcome.on_done, outcome.on_failed, outcome.on_progress, (0.0,), command=_command(script), stall_s=0.1
    )
    renders.submit(job(live=True))
    await asyncio.wait_for(outcome.progress.wait(), 60)
    renders.submit(job(live=False))
    await asyncio.wait_for(outcome.heard.wait(), 60)
    assert list(outcome.done) == ["r1"]
    await renders.drain(5)


async def test_a_child_that_says_nothing_any_more_is_ended() -> None:
    outcome = Outcome()
    command = _command("sys.stdin.readline()")
    renders = RenderHost(1, outcome.on_done, outcome.on_failed, outcome.on_progress, (), command, silence_s=0.2)
    renders.submit(job())
    await asyncio.wait_for(outcome.heard.wait(), 60)
    assert "said nothing" in outcome.failed["r1"]
    assert renders.pids() == {}
    await renders.drain(5)


async def test_an_answer_that_makes_no_sense_is_a_failure_and_not_the_end_of_the_host() -> None:
    outcome = Outcome()
    renders = host(outcome, "say(event='done', files=[{'kind': 'video'}])", delays=(0.0,))
    renders.submit(job())
    await asyncio.wait_for(outcome.heard.wait(), 60)
    assert "r1" in outcome.failed
    await renders.drain(5)


async def test_draining_does_not_wait_for_what_waits_for_its_next_attempt(tmp_path: Path) -> None:
    outcome = Outcome()
    renders = host(outcome, "sys.exit(3)", delays=(1000.0,))
    renders.submit(job())

    async def is_waiting() -> bool:
        return renders._running["r1"].is_waiting

    await eventually(is_waiting, 60)
    async with asyncio.timeout(60):
        await renders.drain(1000)
    assert not outcome.failed


async def test_a_film_that_never_succeeds_fails_with_the_last_words_of_its_child() -> None:
    outcome = Outcome()
    renders = host(outcome, "sys.stderr.write('no room for pictures\\n'); sys.exit(3)", delays=(0.0,))
    renders.submit(job())
    await asyncio.wait_for(outcome.heard.wait(), 60)
    assert outcome.done == {}
    assert "code 3" in outcome.failed["r1"]
    assert "no room for pictures" in outcome.failed["r1"]
    await renders.drain(5)


async def test_who_asks_again_does_not_wait_for_the_next_attempt(tmp_path: Path) -> None:
    """And has as many attempts before him as at first."""
    outcome, tries = Outcome(), tmp_path / "tries"
    script = "open(job['tries'], 'a').write('x'); sys.exit(3) if len(open(job['tries']).read()) < 4 else done()"
    renders = host(outcome, script, delays=(1000.0,))
    renders.submit(job(live=False, tries=str(tries)))
    for made in (1, 2, 3):

        async def is_waiting(made: int = made) -> bool:
            return renders._running["r1"].is_waiting and len(tries.read_text()) == made

        await eventually(is_waiting, 60)
        renders.hurry("r1")
    await asyncio.wait_for(outcome.heard.wait(), 60)
    assert "r1" in outcome.done and not outcome.failed
    renders.hurry("r1")
    await renders.drain(5)


async def test_attempts_on_a_closed_log_are_not_made_all_at_once(tmp_path: Path) -> None:
    """What is full for five minutes costs no film, whether it was begun while the log grew or not."""
    outcome, tries = Outcome(), tmp_path / "tries"
    renders = host(outcome, "open(job['tries'], 'a').write('x'); sys.exit(3)", delays=(1000.0,) * 5)
    renders.submit(job(live=True, tries=str(tries)))

    async def waits_after(many: int) -> None:
        async def holds() -> bool:
            return renders._running["r1"].is_waiting and len(tries.read_text()) == many

        await eventually(holds, 60)

    await waits_after(1)
    renders.submit(job(live=False))
    await waits_after(2)
    for _ in range(5):
        await beat(0.01)
    assert tries.read_text() == "xx" and not outcome.failed
    await renders.drain(0)


async def test_a_log_without_media_is_not_tried_again(tmp_path: Path) -> None:
    outcome = Outcome()
    tries = tmp_path / "tries"
    script = "open(job['tries'], 'a').write('x'); say(event='failed', error='nothing was captured', final=True)"
    renders = host(outcome, script, delays=(0.0, 0.0, 0.0))
    renders.submit(job(tries=str(tries)))
    await asyncio.wait_for(outcome.heard.wait(), 60)
    assert outcome.failed == {"r1": "nothing was captured"}
    assert tries.read_text() == "x"
    await renders.drain(5)


async def test_nonsense_on_the_pipe_is_no_answer() -> None:
    outcome = Outcome()
    renders = host(outcome, "print('{'); print('[]'); print(json.dumps({'event': 1})); done()")
    renders.submit(job())
    await asyncio.wait_for(outcome.heard.wait(), 60)
    assert list(outcome.done) == ["r1"]
    await renders.drain(5)


async def test_no_more_children_than_allowed_run_at_once(tmp_path: Path) -> None:
    outcome = Outcome()
    script = """
import pathlib
from tests.pace import beat, eventually
place = pathlib.Path(job["place"])
(place / str(os.getpid())).touch()
say(event="progress", film_ns=len(list(place.iterdir())), behind_ns=0)
(place / str(os.getpid())).unlink()
done()
"""
    renders = host(outcome, script, concurrency=1)
    names = [f"r{n}" for n in range(4)]
    for name in names:
        renders.submit(job(name, place=str(tmp_path)))
    while len(outcome.done) < len(names):
        outcome.heard.clear()
        most = max(len(renders.pids()), 0)
        assert most <= 1
        await asyncio.wait_for(outcome.heard.wait(), 60)
    assert sorted(outcome.done) == names
    await renders.drain(5)


async def test_a_second_job_for_the_same_recording_is_ignored_while_the_first_runs(tmp_path: Path) -> None:
    outcome = Outcome()
    renders = host(outcome, "open(job['log'], 'a').write('x'); done()")
    renders.submit(job(log=str(tmp_path / "log")))
    renders.submit(job(log=str(tmp_path / "log")))
    await asyncio.wait_for(outcome.heard.wait(), 60)
    await renders.drain(5)
    assert (tmp_path / "log").read_text() == "x"


async def test_a_job_that_comes_just_when_the_one_before_is_over_is_done_too() -> None:
    times: list[str] = []

    async def on_done(recording_id: str, _: list[FilmFile]) -> None:
        times.append(recording_id)
        if len(times) == 1:
            asyncio.get_running_loop().call_soon(films.submit, RenderJob(recording_id, {}, live=False))

    async def are_done() -> bool:
        return times == ["once more"] * 2

    films = RenderHost(1, on_done, Outcome().on_failed, command=_command("done()"))
    films.submit(RenderJob("once more", {}, live=False))
    try:
        await eventually(are_done)
    finally:
        await films.drain(0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_draining_ends_children_that_do_not_end_themselves(tmp_path: Path, number: signal.Signals) -> None:
    outcome = Outcome()
    os.mkfifo(tmp_path / "mark")
    renders = host(outcome, "open(job['mark'], 'w').close()\nwhile True: sys.stdin.readline()", delays=(1000.0,))
    renders.submit(job(mark=str(tmp_path / "mark")))
    await asyncio.to_thread((tmp_path / "mark").read_bytes)
    pid = renders.pids()["r1"]
    os.kill(pid, number)
    await renders.drain(0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_lines_of_the_real_child_are_understood() -> None:
    """The real child and this host agree on their lines: the names are read from its own documentation."""
    from tapedeck.render import child

    text = child.__doc__ or ""
    for name in (
        "progress",
        "film_ns",
        "behind_ns",
        "done",
        "files",
        "size_bytes",
        "duration_ns",
        "checksum",
        "failed",
    ):
        assert json.dumps(name) in text or f'"{name}"' in text
