"""The process of the films of one log: `python -m tapedeck.render.child`.

Takes a JSON job as one line on standard input, and further ones of the same log while it runs. Answers with JSON lines
on standard output, each with the `recording_id` of its job (its `seat`, if it has one):
`{"event": "progress", "film_ns", "behind_ns"}` about twice a second, `{"event": "note", "text"}` where an operator
should know that films are not made as they were asked for, and then, for each job, one of
`{"event": "done", "files": [{"kind", "path", "size_bytes", "duration_ns", "checksum"}], "stats": {...}}` (a file of a
track has its "layer" too, a film whose pictures were passed on "passed"; of a film whose head is in the memory behind
the descriptor `shelf` of its job, `head_at` and `head_bytes` say where) and
`{"event": "failed", "error": "one sentence", "final": false}`. `checksum` is CRC-32C in hex; `final` is true when the
log holds nothing of the recording or of whom the film is to show, so that another attempt is of no use. Ends when no
job is left: 0, or 1 if any failed. A job of tracks is one that has `tracks`, and is made alone.

Owns being a good process: below capture in priority, bounded in memory, gone when its parent is (standard input ends,
or on Linux the parent dies), gone without a trace on SIGTERM (exit 143). Refuses to know anything about films.
"""

from __future__ import annotations

import gc
import os

if __name__ == "__main__":
    gc.disable()  # what is imported is no garbage: looking for some takes a tenth of the start
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: its thread pool costs memory and is never used here

import json
import logging
import queue
import signal
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TextIO

from tapedeck.child import die_with_parent, stop_on_sigterm
from tapedeck.core.errors import InternalError, InvalidError, TapedeckError
from tapedeck.media.mux import FilmFile
from tapedeck.media.shelf import put_on
from tapedeck.render.excerpt import AbsentError
from tapedeck.render.film import FilmStats, NothingRecordedError
from tapedeck.render.job import Abandoned, Job, Progress
from tapedeck.render.together import make_together

if TYPE_CHECKING:
    from tapedeck.media.remux import RemuxedFile
    from tapedeck.render.tracks import TrackJob, TrackStats

__all__ = ["main"]

NICE = 10
"""Capture runs at 0 and is served first."""
MEMORY_LIMIT_BYTES = 2 << 30
"""Most memory the process may ask for (RLIMIT_DATA). A film of 25 people at 1080p stays far below."""


def main(source: TextIO | None = None, sink: TextIO | None = None) -> int:
    """Read jobs from `source`, do them, answer on `sink`; the exit code."""
    source, sink = source or sys.stdin, sink or sys.stdout
    _behave()
    stop = threading.Event()
    stop_on_sigterm(stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal's Ctrl-C the parent decides
    answer = _Answer(sink, stop)
    logging.getLogger("tapedeck").addHandler(_Notes(answer))
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    tracks = _take(source.readline(), jobs, answer)
    threading.Thread(target=_read, args=(source, jobs, answer, stop), name="parent", daemon=True).start()
    try:
        if tracks is not None:
            _make_tracks(tracks, stop, answer)
        make_together(jobs, stop, answer)
    except Abandoned:
        return 128 + signal.SIGTERM
    return 1 if answer.has_failed else 0


def _take(line: str, jobs: queue.SimpleQueue[Job], answer: _Answer) -> TrackJob | None:
    """Put the job of a line into the queue, or return one of tracks."""
    recording_id = None
    try:
        body = json.loads(line)
        recording_id = (body.get("seat") or body.get("recording_id")) if isinstance(body, dict) else None
        _yield(body)
        if isinstance(body, dict) and body.get("tracks"):
            from tapedeck.render.tracks import TrackJob  # films are without

            return TrackJob.from_dict(body)
        jobs.put(Job.from_dict(body))
    except TapedeckError as exc:
        answer.refused(recording_id, exc)
    except ValueError as exc:
        answer.refused(recording_id, InvalidError(f"The render job is not JSON: {exc}."))
    return None


def _yield(body: Any) -> None:
    """Lower the priority further for a film that nobody waits for (`nicer`)."""
    nicer = body.get("nicer", 0) if isinstance(body, dict) else 0
    if isinstance(nicer, int) and nicer > 0:
        with suppress(OSError, AttributeError):
            os.nice(nicer)


def _seat(job: Job | TrackJob) -> str | None:
    """What a job is called by whoever gave it: by its recording, if by nothing else."""
    return (job.seat if isinstance(job, Job) else None) or job.recording_id


def _make_tracks(job: TrackJob, stop: threading.Event, answer: _Answer) -> None:
    from tapedeck.render.tracks import run_tracks

    try:
        done, stats = run_tracks(job, stop, lambda progress: answer.progress(job, progress))
    except Abandoned:
        raise
    except Exception as exc:
        answer.failed(job, exc)
    else:
        answer.made(job, [_told("track", one.file) | {"layer": one.layer} for one in done], stats)


def _told(kind: str, file: FilmFile | RemuxedFile) -> dict[str, Any]:
    passed = isinstance(file, FilmFile) and file.passed
    return ({"passed": True} if passed else {}) | {
        "kind": kind,
        "path": str(file.path),
        "size_bytes": file.size_bytes,
        "duration_ns": file.duration_ns,
        "checksum": f"{file.crc32c:08x}",
    }


def _head(job: Job, file: FilmFile) -> dict[str, Any]:
    at = put_on(job.shelf, file.head)
    return {} if at is None else {"head_at": at, "head_bytes": len(file.head)}


def _read(source: TextIO, jobs: queue.SimpleQueue[Job], answer: _Answer, stop: threading.Event) -> None:
    """Further jobs; standard input ends when the parent closes it or dies."""
    try:
        while line := source.readline():
            _take(line, jobs, answer)
    except (OSError, ValueError):
        pass
    stop.set()


class _Notes(logging.Handler):
    """Warnings of the code that makes the film, told to the parent, whose log an operator reads."""

    def __init__(self, answer: _Answer) -> None:
        super().__init__(logging.WARNING)
        self._answer = answer

    def emit(self, record: logging.LogRecord) -> None:
        self._answer.say({"event": "note", "text": record.getMessage()})


class _Answer:
    """Lines to the parent. When it does not listen any more, the render stops."""

    def __init__(self, sink: TextIO, stop: threading.Event) -> None:
        self.has_failed = False
        self._sink = sink
        self._stop = stop
        self._lock = threading.Lock()

    def say(self, message: dict[str, Any]) -> None:
        try:
            with self._lock:
                self._sink.write(json.dumps(message) + "\n")
                self._sink.flush()
        except (OSError, ValueError):
            self._stop.set()

    def progress(self, job: Job | TrackJob, progress: Progress) -> None:
        times = {"film_ns": progress.film_ns, "behind_ns": progress.behind_ns}
        self.say({"event": "progress", "recording_id": _seat(job), **times})

    def done(self, job: Job, files: tuple[FilmFile, ...], stats: FilmStats) -> None:
        self.made(job, [_told(file.kind, file) | _head(job, file) for file in files], stats)

    def made(self, job: Job | TrackJob, files: list[dict[str, Any]], stats: FilmStats | TrackStats) -> None:
        self.say({"event": "done", "recording_id": _seat(job), "files": files, "stats": asdict(stats)})

    def failed(self, job: Job | TrackJob, exc: Exception) -> None:
        if isinstance(exc, MemoryError):
            exc = InternalError("The render needed more memory than it may have.")
        elif not isinstance(exc, TapedeckError):
            traceback.print_exception(exc)
            exc = InternalError("The render failed for a reason of our own; the log is kept.")
        self.refused(_seat(job), exc)

    def refused(self, recording_id: str | None, exc: TapedeckError) -> None:
        self.has_failed = True
        final = isinstance(exc, NothingRecordedError | AbsentError)
        self.say({"event": "failed", "recording_id": recording_id, "error": str(exc), "final": final})


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
    die_with_parent()


if __name__ == "__main__":
    gc.freeze()  # nor is it later
    gc.enable()
    code = main()
    sys.stderr.flush()
    os._exit(code)  # what it answered is flushed, its files are closed: nothing is left to tidy up
