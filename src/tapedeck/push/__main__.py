"""`python -m tapedeck.push`: sends a film's stream to one server.

Takes `{"url", "live_dir", "allow_private", "stall_s"}` as one JSON line on standard input and answers with JSON lines:
`{"event": "live"}` once the server was sent the first of the film, `{"event": "alive"}` every two seconds, and last
either `{"event": "ended"}` (the film has ended) or `{"event": "failed", "reason", "final"}`; `final`: trying again is
of no use. Neither the address nor the key of the stream is in anything it says, nor in its arguments.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol, TextIO

from tapedeck.adapters.dial import Dialler
from tapedeck.child import die_with_parent, stop_on_sigterm
from tapedeck.core.errors import TapedeckError
from tapedeck.core.target import is_srt, place_of, srt_place_of
from tapedeck.push.report import FailedError, Report

__all__ = ["main"]

_NICE = 5


def main(source: TextIO | None = None, sink: TextIO | None = None) -> int:
    """Read what to do from `source`, do it, answer on `sink`; the exit code."""
    source, sink = source or sys.stdin, sink or sys.stdout
    _behave()
    stop = threading.Event()
    stop_on_sigterm(stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal's Ctrl-C the parent decides
    body = json.loads(source.readline())
    threading.Thread(target=_watch_parent, args=(source, stop), name="parent", daemon=True).start()
    report = Report(sink)
    dialler = Dialler(allow_private=bool(body["allow_private"]))
    push = _push_to(body["url"])(Path(body["live_dir"]), dialler, float(body["stall_s"]), report)
    try:
        if push.run(stop):
            report.say(event="ended")
        return 0
    except FailedError as exc:
        report.say(event="failed", reason=str(exc), final=exc.final)
    except TapedeckError:
        report.say(event="failed", reason="the stream of the film was interrupted", final=False)
    return 1


class _Push(Protocol):
    def run(self, stop: threading.Event) -> bool:
        """Send until the film ends (True), or `stop` is set (False). FailedError."""


def _push_to(url: str) -> Callable[[Path, Dialler, float, Report], _Push]:
    if is_srt(url):  # what one kind of server needs the other's process does not load
        from tapedeck.push.srt import SrtPush

        return partial(SrtPush, srt_place_of(url))
    from tapedeck.push.rtmp import RtmpPush

    return partial(RtmpPush, place_of(url))


def _watch_parent(source: TextIO, stop: threading.Event) -> None:
    with contextlib.suppress(OSError, ValueError):
        while source.readline():
            pass
    stop.set()


def _behave() -> None:
    """Behind capture in priority, and gone with the parent. What a system does not offer is left out."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(_NICE)
    die_with_parent()


if __name__ == "__main__":
    sys.exit(main())
