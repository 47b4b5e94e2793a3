"""Several films of one log, made in step in one process.

Owns their order: always the film that is the furthest back in the log goes on, by one picture, so that a frame is
decoded once for all who show it and kept for an instant only, and what looks the same in several films is encoded once
(`media/sharing.py`). A film that fails does so alone. Refuses to share sound: films begin and pause at moments of their
own, and it costs little.
"""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from threading import Event
from typing import Protocol

from tapedeck.media.mux import FilmFile
from tapedeck.media.shared import Decoders
from tapedeck.media.sharing import Encoders
from tapedeck.render.film import FilmStats
from tapedeck.render.job import POLL_S, PROGRESS_S, Abandoned, Job, Progress, Take, open_log

__all__ = ["Listener", "make_together"]

_STEP = 4
"""Pictures at a time while several films share decoders."""
_ALONE = 15


class Listener(Protocol):
    """Hears how each job goes."""

    def progress(self, job: Job, progress: Progress) -> None:
        """How far it is, about twice a second."""

    def done(self, job: Job, files: tuple[FilmFile, ...], stats: FilmStats) -> None:
        """Its files are there."""

    def failed(self, job: Job, exc: Exception) -> None:
        """It came to nothing; what it wrote is gone."""


def make_together(jobs: SimpleQueue[Job], stop: Event, listener: Listener) -> None:
    """Do the jobs in the queue, all of one log, and those that come in meanwhile; return when none is left.

    Abandoned: `stop` was set.
    """
    decoders, encoders = Decoders(), Encoders()
    takes: list[Take] = []
    told = time.monotonic()
    try:
        while True:
            _take_on(jobs, takes, decoders, encoders, stop, listener)
            if not takes:
                return
            waiting = _round(takes, listener)
            now = time.monotonic()
            if now - told >= PROGRESS_S:
                told = now
                for take in takes:
                    listener.progress(take.job, take.progress)
            if stop.is_set() or (takes and waiting and stop.wait(POLL_S)):
                raise Abandoned
    finally:
        for take in takes:
            take.close()


def _take_on(
    jobs: SimpleQueue[Job],
    takes: list[Take],
    decoders: Decoders,
    encoders: Encoders,
    stop: Event,
    listener: Listener,
) -> None:
    while True:
        try:
            job = jobs.get_nowait()
        except Empty:
            return
        try:
            takes.append(Take(job, open_log(job.log_dir, job.live, stop), decoders, encoders))
        except Abandoned:
            raise
        except Exception as exc:
            listener.failed(job, exc)


def _round(takes: list[Take], listener: Listener) -> bool:
    """Let films work until each was in front once or waits; whether all wait for the log."""
    waiting: set[int] = set()
    step = _ALONE if len(takes) < 2 else _STEP
    for _ in range(_ALONE * len(takes)):
        ready = [take for take in takes if id(take) not in waiting]
        if not ready:
            break
        take = min(ready, key=lambda take: take.capture_ns)
        try:
            if not take.work(step):
                waiting.add(id(take))
            if take.is_done:
                files, stats = take.finish()
                listener.progress(take.job, Progress(take.progress.film_ns, 0))
                _end(takes, take)
                listener.done(take.job, files, stats)
        except Exception as exc:
            _end(takes, take)
            listener.failed(take.job, exc)
        if step == _ALONE:
            break
    return len(waiting) == len(takes)


def _end(takes: list[Take], take: Take) -> None:
    takes.remove(take)
    take.close()
