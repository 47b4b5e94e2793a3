"""In step: at which moments the films of one meeting take their pictures, so that one encoder can serve several.

Owns the rule: a recording that begins, or goes on after a pause, while another one runs, does so at the next moment at
which the one that runs longest takes a picture: less than a picture later. In its film a picture begins there; what is
left of the one before a pause is silent. What runs already is left alone, so a recording that has its meeting for
itself begins when it was told to. The recording of a web page keeps step with nobody: its pictures are its browser's,
and the first of them is the film's. Looks at the timeline alone, in its order: a film made again has the same moments.
Refuses to know what is in the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

from tapedeck.core.timeline import (
    Outage,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    TimelineEvent,
)

__all__ = ["Steps"]

_S = 1_000_000_000


@dataclass(slots=True)
class _Run:
    """A span that runs. All times are capture times, but `film_ns`."""

    told_ns: int
    start_ns: int
    film_ns: int
    "Film time at its start."

    @property
    def zero_ns(self) -> int:
        """Where the film would have begun if it had always run."""
        return self.start_ns - self.film_ns

    def until(self, end_ns: int) -> int:
        """Film time at its end."""
        start_ns = self.start_ns if end_ns > self.start_ns else self.told_ns
        return self.film_ns + max(0, end_ns - start_ns)


class Steps:
    """Feed events in log order."""

    def __init__(self, fps: int) -> None:
        self._fps = fps
        self._runs: dict[str, _Run] = {}
        "The one that runs longest comes first."
        self._films: dict[str, int] = {}
        self._pages: set[str] = set()
        self._starts: dict[tuple[str, int], int] = {}

    def start_of(self, recording_id: str, told_ns: int) -> int | None:
        """Where the span of a recording that was told to begin at a time does begin; None: nobody ran, so it does."""
        return self._starts.get((recording_id, told_ns))

    def whole(self, film_ns: int) -> int:
        """The film time at which the next picture begins, if none does here."""
        return -(-film_ns * self._fps // _S) * _S // self._fps

    def feed(self, event: TimelineEvent) -> None:
        """The next event."""
        if isinstance(event, RecordingStarted) and event.page:
            self._pages.add(event.recording_id)
        if isinstance(event, RecordingStarted | RecordingResumed):
            if event.recording_id not in self._runs and event.recording_id not in self._pages:
                self._begin(event.recording_id, event.at_ns)
        elif isinstance(event, RecordingPaused | RecordingStopped):
            self._end(event.recording_id, event.at_ns)
        elif isinstance(event, Outage):
            runs = list(self._runs)
            for recording_id in runs:
                self._end(recording_id, event.from_ns)
            for recording_id in runs:
                self._begin(recording_id, event.at_ns)

    def _begin(self, recording_id: str, at_ns: int) -> None:
        run = _Run(at_ns, at_ns, self._films.get(recording_id, 0))
        first = next(iter(self._runs.values()), None)
        if first is not None:
            run.film_ns = self.whole(run.film_ns)
            over = (run.zero_ns - first.zero_ns) * self._fps % _S
            if over >= self._fps:  # else it is in step to the nanosecond
                run.start_ns += -(-(_S - over) // self._fps)
            self._starts[recording_id, at_ns] = run.start_ns
        self._runs[recording_id] = run

    def _end(self, recording_id: str, at_ns: int) -> None:
        run = self._runs.pop(recording_id, None)
        if run is not None:
            self._films[recording_id] = run.until(at_ns)
