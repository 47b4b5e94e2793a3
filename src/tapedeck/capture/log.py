"""What capture needs of a media log, and whom it tells what happens. `medialog.writer.LogWriter` is such a log."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import datetime
from typing import Protocol

from tapedeck.core.frames import EncodedFrame, TrackInfo
from tapedeck.core.timeline import TimelineEvent

__all__ = ["CaptureListener", "Log"]


class Log(Protocol):
    """A log being written. `frame` and `event` return at once and never raise while the log is open."""

    def open_track(self, info: TrackInfo) -> None:
        """Begin a track's file; one that is open stays so. InvalidError: the id cannot name a file."""

    def close_track(self, track_id: str) -> None:
        """No further frame will come."""

    def frame(self, track_id: str, frame: EncodedFrame) -> None:
        """Keep a frame of an open track."""

    def event(self, event: TimelineEvent) -> None:
        """Keep an event, after every frame handed over before it."""

    def sync(self) -> Future[None]:
        """Resolves when all so far would survive a power cut. UnavailableError (in the future): not now."""

    def close(self) -> Future[None]:
        """Resolves when all is written and the files are closed."""


class CaptureListener(Protocol):
    """Who is told. Called on the event loop; must return at once."""

    def on_capturing(self, recording_id: str, at: datetime) -> None:
        """The first media of a recording is stored; its film starts at `at`."""

    def on_problem(self, session_id: str, text: str | None) -> None:
        """The log cannot be written, in one sentence; None when it can again."""
