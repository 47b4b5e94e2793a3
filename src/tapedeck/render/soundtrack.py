"""The sound of one film: from the packets of its log into the mixer, and what is mixed into the files.

Owns which packets are heard, span by span, and how far can be mixed. Refuses to know pictures, and where in the mix a
packet goes (`render/audio.py`).
"""

from __future__ import annotations

from tapedeck.core.frames import Codec, Kind
from tapedeck.media.press import Sink
from tapedeck.media.sound import SAMPLE_RATE
from tapedeck.render.audio import AudioMixer
from tapedeck.render.feed import LogFeed

__all__ = ["Soundtrack"]

_S = 1_000_000_000
_PREROLL_NS = 120_000_000
"""A packet of sound is at most so long (RFC 6716): one that begins this much before a span may reach into it."""


class Soundtrack:
    """Follows the pictures. Not thread-safe."""

    def __init__(self, feed: LogFeed, sink: Sink, first: int = 0) -> None:
        """`first`: the sample that it begins with."""
        self.unsupported = 0
        "Packets in a codec that cannot be decoded here."
        self._feed = feed
        self._sink = sink
        self._mixer = AudioMixer(first)
        self._mixed = first
        "Samples of the film that are written, or not wanted."
        self._from_ns = 0
        "Capture time of the first one."
        self._is_placed = not first
        "Whether that is known."
        self._cut = 0
        "The span whose sound is being fed."

    @property
    def position_ns(self) -> int:
        """Film time of the next sample."""
        return self._mixer.position_ns

    def make(self, made_ns: int, *, is_done: bool) -> None:
        """Mix what goes with the pictures that are made, as far as every packet of it is known.

        `made_ns`: film time of the next picture. `is_done`: there is none, and all sound is wanted.
        """
        ready_ns = self._feed.ready_until_ns
        film = self._feed.film
        self._find_place()
        if is_done:
            end_ns = film.duration_ns or 0
        else:
            end_ns = min(made_ns, film.ready_film_ns(ready_ns) - AudioMixer.LOOKAHEAD_NS)
        # No further than the mixer asks for. What is decoded seconds ahead has left the cache when it is due: with 25
        # microphones that was a tenth of a film's CPU, and 140 MB.
        reach_ns = end_ns + AudioMixer.LOOKAHEAD_NS
        cut = film.cut_at_film(reach_ns)
        self._take(ready_ns if cut is None else min(ready_ns, cut.to_capture(reach_ns)))
        # Whole samples from film time zero: rounding is not carried from batch to batch.
        count = end_ns * SAMPLE_RATE // _S - self._mixed
        if count > 0:
            self._sink.write_sound(self._mixer.mix(count))
            self._mixed += count

    def pass_by(self, t_ns: int) -> None:
        """Nothing of what was captured before is wanted, but for what leads in to the first sample."""
        self._find_place()
        if self._is_placed:
            t_ns = min(t_ns, self._from_ns - _PREROLL_NS)
            for track_id, track in list(self._feed.tracks.items()):
                while track.info.kind is Kind.AUDIO and track.take(t_ns):
                    pass
                if track.info.kind is Kind.AUDIO and track.is_done:
                    self._feed.forget(track_id)

    def _find_place(self) -> None:
        cut = None if self._is_placed else self._feed.film.cut_at_film(self._mixed * _S // SAMPLE_RATE)
        if cut is not None:
            self._cut, self._from_ns = cut.index, cut.to_capture(self._mixed * _S // SAMPLE_RATE)
            self._is_placed = True

    def _take(self, ready_ns: int) -> None:
        """Hand all packets captured before `ready_ns` to the mixer, span by span."""
        tracks = [track for track in self._feed.tracks.values() if track.info.kind is Kind.AUDIO]
        cuts = self._feed.film.cuts
        while True:
            cut = cuts[self._cut] if self._cut < len(cuts) else None
            start_ns = ready_ns if cut is None else cut.start_ns
            until_ns = ready_ns if cut is None or cut.end_ns is None else min(cut.end_ns, ready_ns)
            self._mixer.begin(0 if cut is None else cut.film_ns)
            for track in tracks:
                while track.take(max(start_ns, self._from_ns) - _PREROLL_NS):
                    pass
                while cut is not None and (timed := track.take(until_ns)):
                    if timed.frame.codec is Codec.OPUS:
                        self._mixer.feed(track.info.track_id, cut.to_film(timed.capture_ns), timed.frame.payload)
                    else:
                        self.unsupported += 1
            if cut is None or cut.end_ns is None or cut.end_ns > ready_ns:
                break
            self._mixer.cut(cut.to_film(cut.end_ns))
            self._cut += 1
        for track in tracks:
            if track.is_done:
                self._mixer.close(track.info.track_id)
                self._feed.forget(track.info.track_id)
