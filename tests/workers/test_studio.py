"""Films that share a process: who joins whom, and what the end of the process means for each."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.pace import eventually as truly
from tests.workers.test_render import Outcome, host

from tapedeck.workers import render
from tapedeck.workers.render import RenderHost, RenderJob

_ALL = """
import threading
jobs = [job]
def tell(about):
    say(event="progress", recording_id=about["name"], film_ns=os.getpid(), behind_ns=0)
def made(about):
    file = {"kind": "video", "path": about["name"], "size_bytes": 3, "duration_ns": os.getpid(), "checksum": ""}
    say(event="done", recording_id=about["name"], files=[file])
def every():
    yield job
    for line in sys.stdin:
        yield json.loads(line)
"""
_FOLLOW = (
    _ALL
    + """
for about in every():
    tell(about)
    jobs.append(about)
    if os.path.exists(about["log_dir"] + "/stop"):
        for each in jobs[1:]:
            made(each)
        break
"""
)


async def eventually(is_so: Callable[[], bool]) -> None:
    async def look() -> bool:
        return is_so()

    await truly(look)


def film(name: str, log: Path, *, live: bool = True) -> RenderJob:
    return RenderJob(name, {"log_dir": str(log), "name": name}, live)


async def running(renders: RenderHost, *names: str) -> dict[str, int]:
    """Process ids, once all these films have been heard of."""
    await eventually(lambda: all((renders.progress(name) or (0, 0))[0] for name in names))
    return renders.pids()


async def test_films_of_one_log_are_made_in_one_process_and_others_are_not(tmp_path: Path) -> None:
    log, other = tmp_path / "log", tmp_path / "other"
    for path in (log, other):
        path.mkdir()
    outcome = Outcome()
    renders = host(outcome, _FOLLOW, concurrency=2)
    renders.submit(film("a", log))
    await running(renders, "a")
    renders.submit(film("b", log))
    renders.submit(film("c", other))
    pids = await running(renders, "a", "b", "c")
    assert pids["a"] == pids["b"] != pids["c"]
    (log / "stop").touch()
    renders.submit(film("d", log))
    await eventually(lambda: {"a", "b", "d"} <= set(outcome.done))
    assert [outcome.done[name][0].path for name in "abd"] == [Path("a"), Path("b"), Path("d")]
    assert {outcome.done[name][0].duration_ns for name in "abd"} == {pids["a"]}
    await renders.drain(0)


async def test_films_that_begin_at_once_share_a_process_too(tmp_path: Path) -> None:
    outcome = Outcome()
    renders = host(outcome, _FOLLOW, concurrency=3)
    for name in "abc":
        renders.submit(film(name, tmp_path))
    assert len(set((await running(renders, *"abc")).values())) == 1
    await renders.drain(0)
    assert renders.pids() == {}


async def test_a_shared_process_that_dies_makes_all_its_films_again(tmp_path: Path) -> None:
    outcome = Outcome()
    renders = host(outcome, _FOLLOW)
    renders.submit(film("a", tmp_path))
    first = await running(renders, "a")
    renders.submit(film("b", tmp_path))
    assert (await running(renders, "a", "b"))["b"] == first["a"]
    os.kill(first["a"], signal.SIGKILL)
    await eventually(lambda: len(renders.pids()) == 2 and first["a"] not in renders.pids().values())
    (tmp_path / "stop").touch()
    renders.submit(film("c", tmp_path))
    await eventually(lambda: "c" in outcome.done)
    await renders.drain(0)
    assert not outcome.failed


async def test_a_film_that_comes_as_the_process_ends_is_made_by_another(tmp_path: Path) -> None:
    """The first process leaves while the second film is on its way to it; that is no failed attempt."""
    script = (
        _ALL
        + """
if job["name"] == "a":
    tell(job)
    sys.stdin.readline()
    made(job)
else:
    made(job)
"""
    )
    outcome = Outcome()
    renders = host(outcome, script, delays=())
    renders.submit(film("a", tmp_path))
    first = await running(renders, "a")
    renders.submit(film("b", tmp_path))
    await eventually(lambda: {"a", "b"} <= set(outcome.done))
    assert outcome.done["a"][0].duration_ns == first["a"] != outcome.done["b"][0].duration_ns
    assert not outcome.failed


async def test_a_film_that_is_refused_does_not_end_the_others(tmp_path: Path) -> None:
    script = (
        _ALL
        + """
tell(job)
for about in every():
    if about["name"] == "bad":
        say(event="failed", recording_id="bad", error="It is bad.", final=True)
        made(job)
        break
"""
    )
    outcome = Outcome()
    renders = host(outcome, script)
    renders.submit(film("a", tmp_path))
    await running(renders, "a")
    renders.submit(film("bad", tmp_path))
    await eventually(lambda: "a" in outcome.done and "bad" in outcome.failed)
    assert outcome.failed == {"bad": "It is bad."}


async def test_a_process_that_stays_after_its_film_is_ended_with_the_node(tmp_path: Path) -> None:
    outcome = Outcome()
    renders = host(outcome, "import signal\nsay(event='progress', film_ns=os.getpid())\ndone()\nsignal.pause()")
    renders.submit(film("a", tmp_path))
    await eventually(lambda: bool((renders.progress("a") or (0, 0))[0]) and not renders.pids())
    pid = (renders.progress("a") or (0, 0))[0]
    await renders.drain(0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_no_more_than_a_few_share_a_process_and_films_made_later_do_not(tmp_path: Path) -> None:
    outcome = Outcome()
    renders = host(outcome, _FOLLOW, concurrency=3)
    names = [f"live{number}" for number in range(render.MOST_TOGETHER + 1)]
    renders.submit(film(names[0], tmp_path))
    await running(renders, names[0])
    for name in names[1:]:
        renders.submit(film(name, tmp_path))
        await running(renders, name)
    pids = [renders.pids()[name] for name in names]
    assert len(set(pids[:-1])) == 1 and pids[-1] != pids[0]
    renders.submit(film("later", tmp_path, live=False))
    assert (await running(renders, "later"))["later"] not in pids
    await renders.drain(0)
    assert renders.pids() == {}


async def test_what_the_process_notes_is_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = Outcome()
    renders = host(outcome, "say(event='note', text='nvenc cannot encode here')\ndone()")
    renders.submit(film("a", tmp_path))
    await asyncio.wait_for(outcome.heard.wait(), 60)
    logged = caplog.text + capsys.readouterr().out  # an earlier test may have set up the log of a server
    assert "nvenc cannot encode here" in logged


async def test_a_process_that_says_more_than_a_line_can_hold_is_heard_on(tmp_path: Path) -> None:
    long = "'x' * (3 << 20)"
    script = f"print({long}, file=sys.stderr, flush=True)\nprint({long}, flush=True)\ndone()\n"
    outcome = Outcome()
    renders = host(outcome, script, delays=())
    renders.submit(film("a", tmp_path))
    await eventually(lambda: bool(outcome.done or outcome.failed))
    assert list(outcome.done) == ["a"], outcome.failed
    await renders.drain(0)
