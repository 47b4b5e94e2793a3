"""The process of one render: `python -m tapedeck.render.child`.

Takes a JSON job as one line on standard input and answers with JSON lines on standard output:
`{"event": "progress", "film_ns", "behind_ns"}` about twice a second, then one of
`{"event": "done", "files": [{"kind", "path", "size_bytes", "duration_ns", "checksum"}], "stats": {...}}` (exit 0; a
file of a track has its "layer" too) and
`{"event": "failed", "error": "one sentence", "final": false}` (exit 1). `checksum` is CRC-32C in hex; `final` is true
when the log holds nothing of the recording, so that another attempt is of no use.

Owns being a good process: below capture in priority, bounded in memory, gone when its parent is (standard input ends,
or on Linux the parent dies), gone without a trace on SIGTERM (exit 143). Refuses to know anything about films.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: its thread pool costs memory and is never used here

import ctypes
import json
import signal
import sys
import threading
import traceback
from dataclasses import asdict
from typing import Any, TextIO

from tapedeck.core.errors import InternalError, InvalidError, TapedeckError
from tapedeck.media.mux import FilmFile
from tapedeck.media.remux import RemuxedFile
from tapedeck.render.film import FilmStats, NothingRecordedError
from tapedeck.render.job import Abandoned, Job, Progress, run
from tapedeck.render.tracks import TrackJob, TrackStats, run_tracks

__all__ = ["main"]

NICE = 10
"""Capture runs at 0 and is served first."""
MEMORY_LIMIT_BYTES = 2 << 30
"""Most memory the process may ask for (RLIMIT_DATA). A film of 25 people at 1080p stays far below."""
_PR_SET_PDEATHSIG = 1


def main(source: TextIO | None = None, sink: TextIO | None = None) -> int:
    """Read one job from `source`, render it, answer on `sink`; the exit code."""
    source, sink = source or sys.stdin, sink or sys.stdout
    _behave()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal's Ctrl-C the parent decides
    answer = _Answer(sink, stop)
    try:
        try:
            body = json.loads(source.readline())
            job = TrackJob.from_dict(body) if isinstance(body, dict) and body.get("tracks") else Job.from_dict(body)
        except ValueError as exc:
            raise InvalidError(f"The render job is not JSON: {exc}.") from exc
        threading.Thread(target=_watch, args=(source, stop), name="parent", daemon=True).start()
        files, stats = _run(job, stop, answer)
    except Abandoned:
        return 128 + signal.SIGTERM
    except TapedeckError as exc:
        return answer.failed(exc)
    except MemoryError:
        return answer.failed(InternalError("The render needed more memory than it may have."))
    except Exception:
        traceback.print_exc()
        return answer.failed(InternalError("The render failed for a reason of our own; the log is kept."))
    answer.say({"event": "done", "files": files, "stats": asdict(stats)})
    return 0


def _run(
    job: Job | TrackJob, stop: threading.Event, answer: _Answer
) -> tuple[list[dict[str, Any]], FilmStats | TrackStats]:
    if isinstance(job, TrackJob):
        done, track_stats = run_tracks(job, stop, answer.progress)
        return [_told("track", one.file) | {"layer": one.layer} for one in done], track_stats
    files, stats = run(job, stop, answer.progress)
    return [_told(file.kind, file) for file in files], stats


def _told(kind: str, file: FilmFile | RemuxedFile) -> dict[str, Any]:
    return {
        "kind": kind,
        "path": str(file.path),
        "size_bytes": file.size_bytes,
        "duration_ns": file.duration_ns,
        "checksum": f"{file.crc32c:08x}",
    }


class _Answer:
    """Lines to the parent. When it does not listen any more, the render stops."""

    def __init__(self, sink: TextIO, stop: threading.Event) -> None:
        self._sink = sink
        self._stop = stop

    def say(self, message: dict[str, Any]) -> None:
        try:
            self._sink.write(json.dumps(message) + "\n")
            self._sink.flush()
        except (OSError, ValueError):
            self._stop.set()

    def progress(self, progress: Progress) -> None:
        self.say({"event": "progress", "film_ns": progress.film_ns, "behind_ns": progress.behind_ns})

    def failed(self, exc: TapedeckError) -> int:
        self.say({"event": "failed", "error": str(exc), "final": isinstance(exc, NothingRecordedError)})
        return 1


def _watch(source: TextIO, stop: threading.Event) -> None:
    """Standard input ends when the parent closes it or dies."""
    try:
        while source.readline():
            pass
    except (OSError, ValueError):
        pass
    stop.set()


def _behave() -> None:
    """Lower the priority, bound the memory, die with the parent. What a system does not offer is left out."""
    try:
        os.nice(NICE)
    except (OSError, AttributeError):
        pass
    try:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = MEMORY_LIMIT_BYTES if hard == resource.RLIM_INFINITY else min(hard, MEMORY_LIMIT_BYTES)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    except (ImportError, OSError, ValueError):
        pass
    if sys.platform == "linux":
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        except (OSError, AttributeError):
            pass


if __name__ == "__main__":
    sys.exit(main())
