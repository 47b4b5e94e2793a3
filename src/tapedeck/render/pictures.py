"""Which picture of a track is seen at a moment of the film.

Owns decoding in step with the film and the rules of what is shown: the latest picture captured by then; at the start of
a span the first one a little early, so that nobody flashes up as initials; a camera without pictures for two seconds is
off; a shared screen may stand still for ever. Nothing captured outside the film's spans is ever shown. Every rule looks
at capture times only, so it does not matter when something was read.
"""

from __future__ import annotations

from dataclasses import dataclass

from tapedeck.core.film import Cut, FilmClock
from tapedeck.core.frames import Origin
from tapedeck.core.page import is_page
from tapedeck.core.scene import OPENING_NS
from tapedeck.media.decode import DecodeStats, Picture, VideoDecoder
from tapedeck.media.shared import SharedDecoder
from tapedeck.render.feed import TimedFrame, TrackFeed

__all__ = ["CAMERA_OFF_NS", "TrackPictures"]

CAMERA_OFF_NS = 2_000_000_000
"""A camera whose last picture is older than this is off."""
_CATCH_UP_NS = 300_000_000_000
"""A track that was not shown is decoded from where it was left, or from its last key frame if that came later; not if
both are longer ago than this. No frame is decoded twice, so this never costs more than decoding it all the time."""


@dataclass(frozen=True, slots=True)
class _Timed:
    picture: Picture
    capture_ns: int


class TrackPictures:
    """The pictures of one video track. Ask for moments in order of time."""

    def __init__(
        self, feed: TrackFeed, film: FilmClock, frame_ns: int, decoder: VideoDecoder | SharedDecoder | None = None
    ) -> None:
        """`frame_ns`: how long a picture of the film stays; one captured up to half of that later counts as now."""
        self.feed = feed
        self._film = film
        self._is_own = is_page(feed.info.participant_id)  # no other recording can have asked for it
        self._half_ns = frame_ns // 2
        self._decoder = VideoDecoder() if decoder is None else decoder
        self._now: _Timed | None = None
        self._ahead: _Timed | None = None
        self._cut = -1
        "The span in which something was shown last."
        self._first_passed: TimedFrame | None = None
        "The one of the frames taken while nobody looked to go on decoding with; None to wait for a key frame."
        self._passed: TimedFrame | None = None
        "The last frame that was taken while nobody looked; None when the decoder has seen all that it needs."

    @property
    def stats(self) -> DecodeStats:
        return self._decoder.stats

    def close(self) -> None:
        """Nothing more is wanted of the track."""
        if isinstance(self._decoder, SharedDecoder):
            self._decoder.close()

    def at(self, t_ns: int, cut: Cut) -> Picture | None:
        """The picture to show at capture time `t_ns`, which lies in `cut`; None when the camera is to be seen as off.

        Everything captured before `t_ns` + OPENING_NS must have been fed.
        """
        self._skip(cut.start_ns)
        limit_ns = _sooner(t_ns + self._half_ns + 1, cut.end_ns)
        if self._passed is not None:
            self._catch_up(cut)
        if self._ahead is not None and self._ahead.capture_ns < limit_ns:
            self._now, self._ahead = self._ahead, None
        if self._ahead is None:
            while timed := self.feed.take(limit_ns):
                picture = self._decode(timed)
                if picture is not None:
                    self._now = _Timed(picture, max(timed.capture_ns, cut.start_ns))
        return self._seen(t_ns, cut)

    def pass_by(self, t_ns: int, *, watched: bool) -> None:
        """The tile is not shown at `t_ns`. `watched`: it may be soon and is decoded on; else its frames just pass."""
        self._now = self._ahead = None
        while timed := self.feed.take(t_ns):
            if watched and self._passed is None:
                self._decode(timed)
            else:
                self._pass(timed)

    def _seen(self, t_ns: int, cut: Cut) -> Picture | None:
        now = self._now
        if now is not None and now.capture_ns >= cut.start_ns:
            self._cut = cut.index
            is_off = self.feed.info.origin is Origin.CAMERA and t_ns - now.capture_ns > CAMERA_OFF_NS
            return None if is_off else now.picture
        if self._cut != cut.index:
            if self._ahead is None:
                self._look_ahead(_sooner(t_ns + OPENING_NS, cut.end_ns))
            if self._ahead is not None:
                return self._ahead.picture
        return now.picture if now is not None and self.feed.info.origin is Origin.SCREEN else None

    def _look_ahead(self, limit_ns: int) -> None:
        while timed := self.feed.take(limit_ns):
            picture = self._decode(timed)
            if picture is not None:
                self._ahead = _Timed(picture, timed.capture_ns)
                return

    def _skip(self, start_ns: int) -> None:
        """What was captured before a span, but after the one before it, is not of this film.

        Capture and render place a frame on the clock by what they know, and may differ by some milliseconds: a frame
        that came after the span began, and that nobody else asked for, is in the log because capture found it inside.
        """
        while timed := self.feed.next(start_ns):
            if timed.frame.arrival_ns >= start_ns and (self._is_own or not self._film.is_of_others(timed.capture_ns)):
                return
            self.feed.take(start_ns)
            self._pass(timed)

    def _decode(self, timed: TimedFrame) -> Picture | None:
        return self._decoder.decode(timed.frame)

    def _pass(self, timed: TimedFrame) -> None:
        if timed.frame.is_key or (self._passed is None and not self._decoder.waiting):
            self._first_passed = timed
        self._passed = timed

    def _catch_up(self, cut: Cut) -> None:
        """Decode what passed unseen, as far as it is needed; if that is too much, wait for the next key frame."""
        first, last = self._first_passed, self._passed
        self._first_passed = self._passed = None
        if first is None or last is None or last.capture_ns - first.capture_ns > _CATCH_UP_NS:
            self._decoder.reset()
            return
        picture = None
        for frame in self.feed.again_from(first.frame, last.frame):
            picture = self._decoder.decode(frame)
        if picture is not None and last.capture_ns in cut:
            self._now = _Timed(picture, last.capture_ns)


def _sooner(t_ns: int, end_ns: int | None) -> int:
    return t_ns if end_ns is None else min(t_ns, end_ns)
