"""The film clock: which stretches of capture time a film is made of, and the two-way map between both clocks.

Film time is the concatenation of the recording's spans; a pause or an outage has no length in it, or, where films are
in step (`core/steps.py`), what is left of a picture. Owns the cuts, to the
nanosecond. Refuses to know frames, samples or layouts: pictures and sound ask it for times.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tapedeck.core.steps import Steps
from tapedeck.core.timeline import (
    Outage,
    Progress,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    Span,
    TimelineEvent,
    TrackOpened,
    recording_spans,
)

__all__ = ["Cut", "FilmClock"]


@dataclass(frozen=True, slots=True)
class Cut:
    """One span on both clocks. `end_ns` (capture) is None while the span runs."""

    index: int
    start_ns: int
    end_ns: int | None
    film_ns: int
    "Film time of `start_ns`."
    lead_ns: int = 0
    "It was told to begin so long before `start_ns`: less than a picture (`core/steps.py`)."

    def __contains__(self, capture_ns: int) -> bool:
        return self.start_ns <= capture_ns and (self.end_ns is None or capture_ns < self.end_ns)

    def to_film(self, capture_ns: int) -> int:
        """Film time of a capture time; also of one outside the span, on the same straight line."""
        return self.film_ns + capture_ns - self.start_ns

    def to_capture(self, film_ns: int) -> int:
        """Capture time of a film time, on the same straight line."""
        return self.start_ns + film_ns - self.film_ns


class FilmClock:
    """Grows with the timeline. `feed` takes events in log order; what was answered once stays true.

    `recording_id` None makes one film of everything in the log: of all recordings' spans together, from the first track
    on. That needs the whole timeline and is for replay only, and so is `part`: only what lies between two times of that
    film, the second None for its end. `fps`: pictures per second of one whose spans begin in step with those of other
    recordings (`core/steps.py`).
    """

    def __init__(
        self, recording_id: str | None, part: tuple[int, int | None] | None = None, fps: int | None = None
    ) -> None:
        self._recording_id = recording_id
        self._part = part
        self._steps = None if fps is None or recording_id is None else Steps(fps)
        self._kept: list[TimelineEvent] = []
        self._others: dict[str, list[TimelineEvent]] = {}
        self._first_track_ns: int | None = None
        self._last_ns = 0
        self._until_ns = 0
        self._cuts: tuple[Cut, ...] = ()
        self._stopped = False
        self._cut_off_ns: int | None = None

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """The spans in order."""
        return self._cuts

    @property
    def until_ns(self) -> int:
        """Capture time up to which the log is complete (the last Progress event)."""
        return self._until_ns

    @property
    def ended(self) -> bool:
        """Whether no further span can come."""
        return self._stopped or self._cut_off_ns is not None

    @property
    def end_ns(self) -> int | None:
        """Capture time of the film's end once it is known; 0 for a film without any span."""
        if not self.ended:
            return None
        return (self._cuts[-1].end_ns or 0) if self._cuts else 0

    @property
    def duration_ns(self) -> int | None:
        """Length of the film once its end is known."""
        end_ns = self.end_ns
        if end_ns is None:
            return None
        return self._cuts[-1].to_film(end_ns) if self._cuts else 0

    def feed(self, events: Iterable[TimelineEvent]) -> None:
        """Take further events in log order."""
        changed = False
        for event in events:
            self._last_ns = max(self._last_ns, event.at_ns)
            if self._steps is not None:
                self._steps.feed(event)
            if isinstance(event, Progress):
                self._until_ns = max(self._until_ns, event.until_ns)
            elif isinstance(event, TrackOpened):
                if self._first_track_ns is None:
                    self._first_track_ns, changed = event.at_ns, True
            elif isinstance(event, Outage):
                self._kept.append(event)
                changed = True
            elif isinstance(event, RecordingStarted | RecordingPaused | RecordingResumed | RecordingStopped):
                if self._recording_id in (None, event.recording_id):
                    self._kept.append(event)
                    changed = True
                else:
                    self._others.setdefault(event.recording_id, []).append(event)
        if changed:
            self._update()

    def cut_off(self, at_ns: int | None = None) -> None:
        """The log will not grow: a span that still runs ends at `at_ns` (default: where the log breaks off)."""
        if not self.ended:
            self._cut_off_ns = max(self._until_ns, self._last_ns) if at_ns is None else at_ns
            self._update()

    def cut_at_film(self, film_ns: int) -> Cut | None:
        """The span that holds a film time; None beyond the last one (or while that is not known)."""
        for cut in reversed(self._cuts):
            if cut.film_ns <= film_ns:
                return cut if cut.end_ns is None or film_ns < cut.to_film(cut.end_ns) else None
        return None

    def is_of_others(self, capture_ns: int) -> bool:
        """Whether another recording of the session asked for what was captured then."""
        return any(capture_ns in span for key, events in self._others.items() for span in recording_spans(events, key))

    def ready_film_ns(self, capture_ns: int) -> int:
        """Film time that is reached when everything captured before `capture_ns` is known."""
        ready = 0
        for cut in self._cuts:
            end_ns = capture_ns if cut.end_ns is None else min(cut.end_ns, capture_ns)
            if end_ns > cut.start_ns:
                ready = cut.to_film(end_ns)
        return ready

    def _update(self) -> None:
        if self._recording_id is not None:
            spans = recording_spans(self._kept, self._recording_id)
            self._stopped = any(isinstance(event, RecordingStopped) for event in self._kept)
        else:
            spans = self._all_spans()
        cuts: list[Cut] = []
        film_ns = 0
        for span in spans:
            end_ns = span.end_ns
            if end_ns is None and self._cut_off_ns is not None:
                end_ns = max(self._cut_off_ns, span.start_ns)
            start_ns, film_ns = self._begin(span.start_ns, end_ns, film_ns)
            cuts.append(Cut(len(cuts), start_ns, end_ns, film_ns, start_ns - span.start_ns))
            if end_ns is not None:
                film_ns += end_ns - start_ns
        self._cuts = tuple(cuts if self._part is None else _cut_out(cuts, *self._part))

    def _begin(self, told_ns: int, end_ns: int | None, film_ns: int) -> tuple[int, int]:
        """Where a span begins on both clocks."""
        if self._steps is None or self._recording_id is None:
            return told_ns, film_ns
        start_ns = self._steps.start_of(self._recording_id, told_ns)
        if start_ns is None:
            return told_ns, film_ns
        return (start_ns if end_ns is None or start_ns < end_ns else told_ns), self._steps.whole(film_ns)

    def _all_spans(self) -> list[Span]:
        ids = {event.recording_id for event in self._kept if isinstance(event, RecordingStarted)}
        first_ns = self._first_track_ns
        if not ids:
            return _without([Span(first_ns, None)] if first_ns is not None else [], self._kept)
        spans = [span for key in ids for span in recording_spans(self._kept, key)]
        merged: list[Span] = []
        for span in sorted(spans, key=lambda span: span.start_ns):
            start_ns = max(span.start_ns, first_ns) if first_ns is not None else span.start_ns
            if span.end_ns is not None and span.end_ns <= start_ns:
                continue
            if merged and (merged[-1].end_ns is None or start_ns <= merged[-1].end_ns):
                last = merged.pop()
                ends = None if span.end_ns is None or last.end_ns is None else max(span.end_ns, last.end_ns)
                merged.append(Span(last.start_ns, ends))
            else:
                merged.append(Span(start_ns, span.end_ns))
        return merged


def _without(spans: list[Span], events: Iterable[TimelineEvent]) -> list[Span]:
    """`spans` (at most one, open) with outages cut out."""
    for event in events:
        if isinstance(event, Outage) and spans and spans[-1].start_ns < event.at_ns:
            last = spans.pop()
            if event.from_ns > last.start_ns:
                spans.append(Span(last.start_ns, event.from_ns))
            spans.append(Span(event.at_ns, None))
    return spans


def _cut_out(cuts: Iterable[Cut], from_ns: int, to_ns: int | None) -> list[Cut]:
    """What lies between two film times, as a film of its own."""
    kept: list[Cut] = []
    for cut in cuts:
        start_ns = max(cut.start_ns, cut.to_capture(from_ns))
        ends = [end for end in (cut.end_ns, None if to_ns is None else cut.to_capture(to_ns)) if end is not None]
        end_ns = min(ends, default=None)
        if end_ns is None or end_ns > start_ns:
            lead_ns = cut.lead_ns if start_ns == cut.start_ns else 0
            kept.append(Cut(len(kept), start_ns, end_ns, max(cut.film_ns, from_ns) - from_ns, lead_ns))
    return kept
