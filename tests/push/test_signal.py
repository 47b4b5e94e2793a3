"""SIGTERM to the processes that end by it, in the moment in which they are least ready for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

_AT_THE_WORST = """
import io, signal, sys, threading

def look(frame, event, argument):
    # The event's lock is held: its wait has just gone on to wait for its condition.
    asks = frame.f_code is threading.Condition.wait.__code__ and frame.f_back.f_back
    if asks and asks.f_globals["__name__"] == "__main__":
        sys.settrace(None)
        signal.raise_signal(signal.SIGTERM)

def wait(stop):
    sys.settrace(look)
    return stop.wait(60)
"""
_PUSH = """
import tapedeck.push.__main__ as process

class Push:
    def __init__(self, *_):
        pass
    def run(self, stop):
        assert wait(stop)
        return False

process._push_to = lambda url: Push
sys.exit(process.main())
"""
_RENDER = """
import tapedeck.render.child as process

def make(jobs, stop, answer):
    assert wait(stop)
    raise process.Abandoned

process.make_together = make
sys.exit(process.main())
"""
_ORDER = '{"url": "rtmp://host/app/key", "live_dir": ".", "allow_private": true, "stall_s": 9}\n'


@pytest.mark.parametrize(("process", "code"), [(_PUSH, 0), (_RENDER, 143)], ids=["push", "render"])
def test_it_is_heard_by_who_is_about_to_wait_for_it(process: str, code: int) -> None:
    with subprocess.Popen([sys.executable, "-c", _AT_THE_WORST + process], stdin=subprocess.PIPE, text=True) as running:
        assert running.stdin is not None
        running.stdin.write(_ORDER)
        running.stdin.flush()
        try:
            assert running.wait(30) == code
        finally:
            running.kill()
