"""The way of pictures that are not made but passed on: from the log into the film as they were sent, at their times.

Owns which frames of a web page are in its film: those of the recording's spans, each span from a key frame on, none
that lacks another. The picture before a gap stays until the next key frame, as anywhere. Refuses to judge whether a
film may be passed on (`core/passing.py`) and to decode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tapedeck.core.film import Cut
from tapedeck.core.frames import FrameFlags, Kind
from tapedeck.core.output import VideoOutput
from tapedeck.core.passing import LATEST_NS, ParameterSets, change, frame_refusal, sets_of
from tapedeck.core.scene import OPENING_NS
from tapedeck.medialog.reader import LogReader
from tapedeck.render.feed import LogFeed, TimedFrame, TrackFeed
from tapedeck.render.spans import SpanGate

__all__ = ["Passage", "PassageLostError", "Scout", "SentSink", "Verdict"]

_FOREVER = 1 << 62
_STEP_NS = 1_000_000_000


class PassageLostError(Exception):
    """What was sent from here on cannot follow what was passed on: the film has to be made again, as others are."""


class SentSink(Protocol):
    """Takes pictures that were sent: `media.mux.FilmWriters`."""

    def write_sent(self, payload: bytes, film_ns: int, *, is_key: bool) -> None:
        """The next one."""

    def end_sent(self, film_ns: int) -> None:
        """The last one is shown until then."""


@dataclass(slots=True)
class _Gate:
    spans: SpanGate
    is_over: bool = False
    "Another track goes on where it was."


class Passage:
    """The pictures of one film. Not thread-safe."""

    def __init__(
        self,
        feed: LogFeed,
        sink: SentSink,
        sets: ParameterSets,
        on_key: Callable[[int, bytes], None] = lambda *_: None,
    ) -> None:
        """`sets`: of the film's head. `on_key` is shown each key frame that is in the film."""
        self.passed = 0
        "Pictures in the film."
        self.left_out = 0
        "Pictures that lack one that was lost, or that came before the first key frame of a span."
        self._feed = feed
        self._sink = sink
        self._sets = sets
        self._on_key = on_key
        self._gates: dict[str, _Gate] = {}
        self._current: str | None = None
        "The track that is shown."
        self._cut = -1
        "The span of the last picture."
        self._awaits_key = True

    def work(self, until_ns: int) -> None:
        """Pass on what was captured before. PassageLostError; else as of the sink."""
        for track_id, track in list(self._feed.tracks.items()):
            if track.info.kind is not Kind.VIDEO:
                continue
            gate = self._gates.setdefault(track_id, _Gate(SpanGate(self._feed.film, is_own=True)))
            while timed := track.take(until_ns):
                self._take(track, gate, timed)
            if track.is_done:
                self._feed.forget(track_id)
                if self._current == track_id:
                    self._awaits_key = True

    def finish(self, film_ns: int) -> None:
        """The film ends there. Again is harmless."""
        self.work(_FOREVER)
        self._sink.end_sent(film_ns)

    def _take(self, track: TrackFeed, gate: _Gate, timed: TimedFrame) -> None:
        cut, frame = gate.spans.cut_of(timed), timed.frame
        if cut is None or gate.is_over:
            return
        is_current = track.info.track_id == self._current
        lacks = self._awaits_key or not is_current or cut.index != self._cut
        if not frame.is_key and (lacks or frame.flags & FrameFlags.DISCONTINUITY):
            self._awaits_key |= is_current
            self.left_out += 1
            return
        reason = change(frame, self._sets)
        if reason is not None:
            raise PassageLostError(reason)
        if not is_current:
            for other, known in self._gates.items():
                known.is_over |= other == self._current
            self._current = track.info.track_id
        film_ns = self._due_ns(cut, timed.capture_ns)
        self._cut, self._awaits_key = cut.index, False
        self._sink.write_sent(frame.payload, film_ns, is_key=frame.is_key)
        self.passed += 1
        if frame.is_key:
            self._on_key(film_ns, frame.payload)

    def _due_ns(self, cut: Cut, capture_ns: int) -> int:
        """When a picture is shown: the first of a span from its beginning on, if it comes soon."""
        film_ns = cut.to_film(max(capture_ns, cut.start_ns))
        if not self.passed:
            return 0
        if cut.index != self._cut and film_ns - cut.film_ns <= OPENING_NS:
            return cut.film_ns
        return film_ns


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a log's first picture says: the frame that a film of sent pictures begins with, or why there is none."""

    first: bytes | None
    sets: ParameterSets | None = None
    reason: str | None = None


class Scout:
    """Reads ahead of a film, up to its first picture, to know how it is to be made."""

    def __init__(self, log: LogReader, recording_id: str, video: VideoOutput) -> None:
        self._feed = LogFeed(log, recording_id)
        self._video = video
        self._gates: dict[str, SpanGate] = {}

    def look(self, *, is_growing: bool) -> Verdict | None:
        """What there is to say; None while the log does not tell. Gives the log's files back when it does."""
        verdict = self._look(is_growing)
        if verdict is not None:
            self.close()
        return verdict

    def close(self) -> None:
        """Give the log's files back."""
        self._feed.close()

    def _look(self, is_growing: bool) -> Verdict | None:
        feed = self._feed
        while True:
            has_more = bool(feed.advance(feed.until_ns + _STEP_NS))
            if not has_more and not is_growing:
                feed.finish()
            found = self._first()
            if found is not None:
                return found
            if feed.is_complete or feed.film.ready_film_ns(feed.ready_until_ns) > LATEST_NS:
                return Verdict(None, reason="the page's first picture comes late, or never")
            if not has_more:
                return None

    def _first(self) -> Verdict | None:
        for track_id, track in self._feed.tracks.items():
            gate = self._gates.setdefault(track_id, SpanGate(self._feed.film, is_own=True))
            while track.info.kind is Kind.VIDEO and (timed := track.take(self._feed.ready_until_ns)):
                cut = gate.cut_of(timed)
                if cut is None or not timed.frame.is_key:
                    continue
                film_ns = cut.to_film(max(timed.capture_ns, cut.start_ns))
                reason = frame_refusal(timed.frame, film_ns, self._video)
                if reason is not None:
                    return Verdict(None, reason=reason)
                return Verdict(timed.frame.payload, sets_of(timed.frame.payload))
        return None
