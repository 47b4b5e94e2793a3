"""The film as fragments of 2 s while it is made, for players: what the film's encoders make, cut at their key frames.

Directory of a recording, from the first second of its film on:

    media           fragments, one behind the other
    index           a line for each (`core/liveindex.py`), written when the fragment is there
    init-{run}.mp4  the head of all fragments of one attempt of the render

    made-{run}.json what that attempt says of them (`media/past.py`)

Another attempt, after a crash, goes on behind the last fragment, or makes the film from its beginning again; then it
says nothing until it comes to where the one before it ended, and goes on there. Owns that nothing that goes wrong here
reaches the film. Nothing is encoded
here, and nothing is fsynced: what is lost with the machine is in the log.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import google_crc32c
from av.stream import Stream

from tapedeck.core.fmp4 import FragmentTrack, Sample, TrackHead, fragment, init_segment
from tapedeck.core.liveindex import Fragment, line_of, parse_lines
from tapedeck.core.mp4film import heads_of, is_due
from tapedeck.core.output import Output
from tapedeck.media.live import Lender, Tap
from tapedeck.media.past import Past, Sidecar

__all__ = ["HlsWriter", "head_of"]

log = logging.getLogger(__name__)

_SECOND_NS = 1_000_000_000
_MOST_BYTES = 64 << 20
"""Media that waits for the other track; more is none that a player would take."""


class _Unit(NamedTuple):
    """A picture or a packet of sound. Ticks of the film."""

    dts: int
    pts: int
    duration: int
    is_key: bool
    data: bytes


class HlsWriter:
    """Beside the files of a film. Called by whoever writes them, in the same thread."""

    def __init__(
        self,
        directory: Path,
        output: Output,
        lend: Callable[[Any], Lender | None],
        likeness: str = "",
        past: Past | None = None,
    ) -> None:
        """`output`: one that `is_playable`; `lend` finds its encoders. Whatever goes wrong is logged.

        `likeness`: equal for attempts at the same film. `past`: what there is of it already, behind which it goes on.
        """
        self.when: Callable[[int], int | None] = lambda _: None
        "When a moment of the film was captured (UTC, ms); set by whoever knows."
        self._directory = directory
        self._taken: list[tuple[Lender, Tap]] = []
        self._tracks: list[_Track] = []
        self._run = 0
        self._number = 0
        self._until_ns = 0
        "What there is from earlier attempts."
        self._start_ns = 0 if past is None else past.end_ns
        self._likeness = likeness
        self._past = past
        self._is_signed = False
        self._media: int | None = None
        self._index: int | None = None
        self._offset = 0
        self._lines = 0
        "Where the next line of the index goes."
        with self._harmless():
            lenders = [lend(wanted) for wanted in (output.video, output.audio) if wanted is not None]
            self._open([lender for lender in lenders if lender is not None])

    def finish(self) -> None:
        """The film has ended, and its encoders are flushed."""
        with self._harmless():
            if self._tracks and self._media is not None:
                self._cut()
                while self._tracks[0].cuts:
                    self._write(self._tracks[0].cuts.popleft())
                self._write(None)
        self.close()

    def close(self) -> None:
        """Stop, with no end of the film."""
        for lender, tap in self._taken:
            lender.taps.remove(tap)
        self._taken.clear()
        for fd in (self._media, self._index):
            if fd is not None:
                os.close(fd)
        self._media = self._index = None

    def _open(self, lenders: Sequence[Lender]) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        heads = _heads([lender.template for lender in lenders])
        late = None if self._past is None else self._past.late
        self._media = os.open(self._directory / "media", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._index = os.open(self._directory / "index", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        found, used = parse_lines(
            os.pread(self._index, os.fstat(self._index).st_size, 0), os.fstat(self._media).st_size
        )
        os.ftruncate(self._index, used)
        self._lines = used
        if found:
            self._run, self._number, self._until_ns = found[-1].run + 1, len(found), found[-1].end_ns
            self._offset = found[-1].offset + found[-1].size
        os.ftruncate(self._media, self._offset)
        part = self._directory / f"init-{self._run}.part"
        part.write_bytes(init_segment(heads))
        part.rename(self._directory / f"init-{self._run}.mp4")
        for lender, head in zip(lenders, heads, strict=True):
            track = _Track(head, leads=not self._tracks, late_ticks=late)
            self._tracks.append(track)
            self._take(lender, track)

    def _take(self, lender: Lender, track: _Track) -> None:
        lead = self._tracks[0]

        def tap(packet: av.Packet[Any], media: bytes) -> None:  # for each packet of the film: most only wait here
            try:
                track.put(packet, media)
                if lead.fresh or lead.cuts:
                    self._cut()
                if track.size > _MOST_BYTES:
                    raise OverflowError("a track of the film does not come")
            except Exception as exc:
                self._give_up(exc)

        lender.taps.append(tap)
        self._taken.append((lender, tap))

    def _cut(self) -> None:
        """Write every fragment that is whole."""
        lead = self._tracks[0]
        for at_ns in lead.fresh:
            if is_due(at_ns - (lead.cuts[-1] if lead.cuts else self._start_ns)):
                lead.cuts.append(at_ns)
        lead.fresh.clear()
        while lead.cuts and all(track.reached_ns >= lead.cuts[0] for track in self._tracks):
            self._write(lead.cuts.popleft())

    def _write(self, end_ns: int | None) -> None:
        """The fragment up to a moment, or up to the end."""
        parts = [track.take(end_ns) for track in self._tracks]
        if end_ns is None:
            end_ns = self._tracks[0].ends_ns
        start_ns, self._start_ns = self._start_ns, end_ns
        if start_ns < self._until_ns or end_ns <= start_ns or not any(parts):
            return  # an earlier attempt made it
        late_ns = self._tracks[0].late_ns
        tracks = [
            FragmentTrack(number, part[0].dts + track.late(late_ns), [track.sample(unit) for unit in part])
            for number, (track, part) in enumerate(zip(self._tracks, parts, strict=True), 1)
            if part
        ]
        data = b"".join((fragment(self._number + 1, tracks), *(unit.data for part in parts for unit in part)))
        self._number += 1
        try:
            self._sign()
            last_ns = self._tracks[0].ns(max((unit.pts for unit in parts[0]), default=0))
            times = self.when(start_ns), self.when(last_ns)
            line = Fragment(start_ns, end_ns, self._offset, len(data), self._run, *times, google_crc32c.value(data))
            self._append(data, line)
        except OSError as exc:  # this one is lost to players, and to nobody else
            log.warning("a fragment of a film could not be kept for players: %s", exc.strerror)

    def _sign(self) -> None:
        """Say of what film the fragments of this attempt are, before there is one."""
        if not self._is_signed:
            Sidecar(self._likeness, self._tracks[-1].primer).write(self._directory, self._run)
            self._is_signed = True

    def _append(self, data: bytes, line: Fragment) -> None:
        assert self._media is not None and self._index is not None
        end = _write_at(self._media, data, line.offset)
        try:
            self._lines = _write_at(self._index, line_of(line), self._lines)
        except OSError:  # behind a torn line no other would be read
            os.ftruncate(self._index, self._lines)
            raise
        self._offset = end

    @contextlib.contextmanager
    def _harmless(self) -> Iterator[None]:
        """What goes wrong ends what players get, never the film."""
        try:
            yield
        except Exception as exc:
            self._give_up(exc)

    def _give_up(self, exc: Exception) -> None:
        log.warning("the fragments of a film were ended: %s: %s", type(exc).__name__, exc)
        self.close()


class _Track:
    """Units of one track that are not in a fragment yet."""

    def __init__(self, head: TrackHead, *, leads: bool, late_ticks: int | None = None) -> None:
        """`leads`: fragments begin where this one's key frames are. `late_ticks`: of pictures, if that is known."""
        self.head = head
        self.primer = b""
        "Of sound: the packet before the first."
        self.fresh: list[int] = []
        "Of the track that leads: film times of key frames that were not looked at yet."
        self.cuts: deque[int] = deque()
        "Of the track that leads: where fragments end that are not written."
        self.size = 0
        self.reached_ns = 0
        "Before this everything is there."
        self.ends_ns = 0
        self._units: deque[_Unit] = deque()
        self._leads = leads
        self.late_ticks = late_ticks or 0
        self._is_late_known = late_ticks is not None
        self._scale = (0, 1)
        "What makes our ticks of the encoder's, as a fraction; nothing before the first packet."

    def ns(self, ticks: int) -> int:
        """Film time."""
        return ticks * _SECOND_NS // self.head.timescale

    @property
    def late_ns(self) -> int:
        """How much later all is presented than in the film, so that decoding can begin at zero (`core/fmp4.py`)."""
        return -(self.late_ticks * _SECOND_NS // -self.head.timescale)

    def late(self, late_ns: int) -> int:
        """How much later this track is decoded than it would be; of pictures `put` sees to it."""
        return 0 if self.head.is_video else late_ns * self.head.timescale // _SECOND_NS

    def sample(self, unit: _Unit) -> Sample:
        """A unit in a fragment."""
        offset = unit.pts + self.late_ticks - unit.dts if self.head.is_video else 0
        return Sample(len(unit.data), unit.duration, offset, unit.is_key)

    def put(self, packet: av.Packet[Any], media: bytes) -> None:
        """The next packet of the encoder, and its media as files hold it."""
        pts, dts = packet.pts, packet.dts
        if pts is None or dts is None:
            return
        is_video, is_new = self.head.is_video, not self._scale[0]
        if is_new:
            base = packet.time_base
            self._scale = (base.numerator * self.head.timescale, base.denominator)
        times, parts = self._scale
        half = parts // 2
        pts, dts = (pts * times + half) // parts, (dts * times + half) // parts
        # x264 tells no duration: a picture is one tick of its encoder.
        duration = ((packet.duration or 1) * times + half) // parts
        is_key = True
        if is_video:
            if is_new and not self._is_late_known:
                self.late_ticks = -min(dts, 0)  # where pictures are reordered, the first is decoded before zero
            dts += self.late_ticks
            is_key = packet.is_keyframe
        elif pts < 0:
            self.primer = media  # the encoder's priming
            return
        self._units.append(_Unit(dts, pts, duration, is_key, media))
        self.size += len(media)
        if is_key and self._leads:
            self.fresh.append(self.ns(pts))
        # Of pictures nothing before a key frame comes after it: groups are closed.
        self.reached_ns = self.ns(pts if self.head.is_video else pts + duration)
        self.ends_ns = self.ns(dts + duration)

    def take(self, end_ns: int | None) -> list[_Unit]:
        """What comes before a moment, with the durations that its successors give it."""
        found: list[_Unit] = []
        while self._units and (end_ns is None or not self._is_behind(self._units[0], end_ns)):
            found.append(self._units.popleft())
        self.size -= sum(len(unit.data) for unit in found)
        following = self._units[0].dts if self._units else None
        for index, unit in enumerate(found):
            upcoming = found[index + 1].dts if index + 1 < len(found) else following
            if upcoming is not None and upcoming != unit.dts + unit.duration:
                found[index] = _Unit(unit.dts, unit.pts, upcoming - unit.dts, unit.is_key, unit.data)
        return found

    def _is_behind(self, unit: _Unit, end_ns: int) -> bool:
        """Whether a unit begins the next fragment."""
        return (unit.is_key or not self.head.is_video) and self.ns(unit.pts) >= end_ns


def _write_at(fd: int, data: bytes, at: int) -> int:
    """Write all of it, however little the system takes at a time; where it ends. OSError."""
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, at)
        view, at = view[count:], at + count
    return at


def head_of(templates: Sequence[Stream]) -> bytes:
    """The head of fragments of streams."""
    return init_segment(_heads(templates))


def _heads(templates: Sequence[Stream]) -> tuple[TrackHead, ...]:
    """What a muxer of MP4 says of streams before there is any media."""
    sink = io.BytesIO()
    options = {"movflags": "empty_moov+default_base_moof"}
    rate = next((int(one.average_rate) for one in templates if isinstance(one, av.VideoStream) and one.average_rate), 0)
    if rate:
        options["video_track_timescale"] = str(rate * 1000)
    container = av.open(sink, "w", "mp4", container_options=options)
    for template in templates:
        container.add_stream_from_template(template)
    container.start_encoding()
    data = sink.getvalue()
    with contextlib.suppress(Exception):
        container.close()
    return heads_of(data)
