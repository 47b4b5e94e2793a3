"""The files of a recording of tracks: a file per connection and kind of media, frames as they were sent.

Owns which frames are in a file and when they are: those of chosen people, captured inside the recording's spans, at
their place on the recording's clock, counted from when that person's connection was first in it. All files of a
connection begin at the same moment, so they line up; pauses and outages are cut out of all alike; silence, mutes and
DTX are kept. A packet of sound that reaches into a pause is left out, and so is a picture that lacks another one.
Follows a log that grows as films do. Refuses to decode.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from tapedeck.core.errors import InvalidError, UnavailableError
from tapedeck.core.frames import FrameFlags, Kind, Origin, TrackInfo
from tapedeck.core.naming import check_key, track_file_name
from tapedeck.core.timeline import ParticipantJoined, ParticipantLeft, TimelineEvent
from tapedeck.core.wanted import TrackChoice
from tapedeck.media.remux import EXTENSIONS, RemuxedFile, TrackWriter, format_of, sound_ns
from tapedeck.medialog.reader import LogReader
from tapedeck.render.feed import LogFeed, TimedFrame
from tapedeck.render.job import POLL_S, Abandoned, Progress, open_log
from tapedeck.render.spans import SpanGate

__all__ = ["TrackFile", "TrackFiles", "TrackJob", "TrackStats", "run_tracks"]

_STEP_NS = 2_000_000_000
"""Read at once: that much of all tracks is held."""
_LONGEST_PACKET_NS = 120_000_000
_STILL_NS = 2_000_000_000
"""A camera that sends nothing for so long is off; a screen may stand still for ever."""
_PROGRESS_S = 0.5
_PATIENCE_S = 5.0
"""A live log that says "stopped" and then nothing more for so long is taken as complete."""


@dataclass(frozen=True, slots=True)
class TrackJob:
    """What to make."""

    log_dir: Path
    recording_id: str
    out_dir: Path
    choice: TrackChoice
    live: bool = False

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> TrackJob:
        """The job in a JSON object. InvalidError says what is wrong with it."""
        try:
            job = cls(
                Path(body["log_dir"]),
                str(body["recording_id"]),
                Path(body["out_dir"]),
                TrackChoice.from_dict(body["tracks"]),
                bool(body.get("live", False)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise InvalidError(f"The render job is malformed: {exc!r}.") from exc
        return job


@dataclass(frozen=True, slots=True)
class TrackFile:
    """A finished file."""

    layer: str
    file: RemuxedFile


@dataclass(slots=True)
class TrackStats:
    """What happened."""

    frames: int = 0
    "In files."
    left_out: int = 0
    "Pictures that lack one that was lost, and packets of sound that reach into a pause."
    unsupported: int = 0
    "Frames in a codec that no file is made of."


@dataclass(slots=True)
class _Open:
    """A file being written."""

    writer: TrackWriter
    layer: str
    name: str
    is_still: bool
    "Its last picture holds for ever."
    zero_ns: int
    "Where it begins on the recording's clock."


@dataclass(slots=True)
class _Gate:
    """Where the frames of a track stand."""

    spans: SpanGate
    awaits_key: bool = True


_Slot = tuple[str, Origin, Kind]
"""Peer, publication, kind: at most one file of each is open."""


class TrackFiles:
    """The files of one recording in the making. `work`, `finish` when the log will not grow, `close`."""

    def __init__(self, log: LogReader, recording_id: str, choice: TrackChoice, out_dir: Path) -> None:
        self.stats = TrackStats()
        self._log = log
        self._choice = choice
        self._out_dir = out_dir
        self._feed = LogFeed(log, recording_id, choice)
        self._gates: dict[str, _Gate] = {}
        self._joined_ns: dict[str, int] = {}
        self._left_ns: dict[str, int] = {}
        self._open: dict[_Slot, _Open] = {}
        self._done: list[TrackFile] = []
        self._made_ns = 0

    @property
    def made_ns(self) -> int:
        """How far the files are, on the recording's clock."""
        return self._made_ns

    @property
    def known_ns(self) -> int:
        """Length of the recording as far as the log was read."""
        return self._feed.film.ready_film_ns(self._feed.until_ns)

    @property
    def is_stopped(self) -> bool:
        """Whether the recording was stopped, as far as the log was read."""
        return self._feed.film.ended

    @property
    def is_done(self) -> bool:
        """Whether every frame is written."""
        return self._feed.is_complete

    def work(self) -> bool:
        """Read a stretch of the log and write what is known for good; False when there is no more for now.

        UnavailableError: a disk refuses.
        """
        events = self._feed.advance(self._feed.until_ns + _STEP_NS)
        for event in events:
            self._note(event)
        self._drain()
        return bool(events)

    def finish(self) -> None:
        """The log will not grow any more, and `work` found nothing."""
        self._feed.finish()
        self._drain()

    def close(self) -> list[TrackFile]:
        """End all files; what there is, in order of layer and name. UnavailableError: a disk refuses."""
        for slot in list(self._open):
            self._end(slot, self.known_ns if self._feed.film.duration_ns is None else self._feed.film.duration_ns)
        if self._done:
            _sync(self._out_dir)
        order = [layer.name for layer in self._choice.layers]
        return sorted(self._done, key=lambda done: (order.index(done.layer), done.file.path.name))

    def abort(self) -> None:
        """Give the log's files back and remove what is not finished. Safe after `close`."""
        self._feed.close()
        for opened in self._open.values():
            opened.writer.abort()
        self._open.clear()

    def _note(self, event: TimelineEvent) -> None:
        if isinstance(event, ParticipantJoined):
            self._joined_ns.setdefault(event.peer_id, event.at_ns)
        elif isinstance(event, ParticipantLeft):
            self._left_ns[event.peer_id] = event.at_ns

    def _drain(self) -> None:
        ready_ns = self._feed.ready_until_ns
        for track_id, track in list(self._feed.tracks.items()):
            gate = self._gates.setdefault(track_id, _Gate(SpanGate(self._feed.film)))
            # A pause may cut a packet short that began before it: its whole length must be known.
            limit_ns = ready_ns - _LONGEST_PACKET_NS if track.info.kind is Kind.AUDIO else ready_ns
            while timed := track.take(limit_ns):
                self._take(track.info, gate, timed)
            if track.is_done:
                self._feed.forget(track_id)
                del self._gates[track_id]
                self._end_if_gone(track.info.peer_id)
        film_ns = self._feed.film.ready_film_ns(min(ready_ns, self._feed.until_ns))
        self._made_ns = max(self._made_ns, film_ns)

    def _take(self, info: TrackInfo, gate: _Gate, timed: TimedFrame) -> None:
        layer = self._choice.layer_of(info.kind)
        frame = timed.frame
        cut = gate.spans.cut_of(timed)
        if layer is None:
            return
        if cut is None:
            gate.awaits_key = True
            return
        if info.kind is Kind.AUDIO:
            try:
                length_ns = sound_ns(frame.payload)
            except ValueError:
                self.stats.left_out += 1
                return
            if cut.end_ns is not None and timed.capture_ns + length_ns > cut.end_ns:
                self.stats.left_out += 1
                return
        elif not frame.is_key and (gate.awaits_key or frame.flags & FrameFlags.DISCONTINUITY):
            gate.awaits_key = True
            self.stats.left_out += 1
            return
        film_ns = cut.to_film(max(timed.capture_ns, cut.start_ns))
        opened = self._file_for(info, timed, film_ns, layer.name, layer.file_name_prefix or layer.name)
        if opened is not None:
            gate.awaits_key = False
            opened.writer.write(max(film_ns - opened.zero_ns, 0), frame.payload, key=frame.is_key)
            self.stats.frames += 1

    def _file_for(self, info: TrackInfo, timed: TimedFrame, film_ns: int, layer: str, prefix: str) -> _Open | None:
        """The file a frame goes into; None when none can begin with it."""
        slot = (info.peer_id, info.origin, info.kind)
        codec = timed.frame.codec
        opened = self._open.get(slot)
        if opened is not None and opened.writer.codec is codec:
            return opened
        if codec not in EXTENSIONS:
            self.stats.unsupported += 1
            return None
        what = format_of(codec, timed.frame.payload, max(info.channels, 1) if info.kind is Kind.AUDIO else 0)
        if what is None:
            self.stats.left_out += 1
            return None
        film = self._feed.film
        if opened is None:
            began_ns = max(self._joined_ns.get(info.peer_id, 0), film.cuts[0].start_ns)
            zero_ns = film.ready_film_ns(began_ns)
        else:  # a file has one codec
            self._end(slot, film_ns)
            began_ns, zero_ns = timed.capture_ns, film_ns
        user = self._feed.names[info.peer_id]
        began_at = self._log.meta.utc(began_ns)
        is_screen = info.origin is Origin.SCREEN
        name = check_key(track_file_name(prefix, user, info.peer_id, is_screen, info.kind, began_at, EXTENSIONS[codec]))
        tags = {"RECORDING_OFFSET_MS": str(zero_ns // 1_000_000)}
        uid = zlib.crc32(name.encode()) or 1
        part = self._out_dir / f".{name}.track"
        writer = TrackWriter(part, codec, what, created_at=began_at, uid=uid, tags=tags)
        opened = self._open[slot] = _Open(writer, layer, name, is_screen, zero_ns)
        return opened

    def _end_if_gone(self, peer_id: str) -> None:
        """Nothing more comes of a connection: its files are finished now, however long the recording goes on."""
        if peer_id in self._left_ns and all(track.info.peer_id != peer_id for track in self._feed.tracks.values()):
            end_ns = self._feed.film.ready_film_ns(self._left_ns[peer_id])
            for slot in [slot for slot in self._open if slot[0] == peer_id]:
                self._end(slot, end_ns)

    def _end(self, slot: _Slot, film_ns: int) -> None:
        opened = self._open[slot]
        end_ns = film_ns - opened.zero_ns
        if not opened.is_still:
            end_ns = min(end_ns, opened.writer.last_ns + _STILL_NS)
        file = opened.writer.finish(self._out_dir / opened.name, end_ns)
        del self._open[slot]
        self._done.append(TrackFile(opened.layer, file))


def run_tracks(
    job: TrackJob, stop: Event, on_progress: Callable[[Progress], None] = lambda _: None
) -> tuple[list[TrackFile], TrackStats]:
    """Make the files in `out_dir`, each there whole or not at all. Blocks; follows a live log to its stop.

    None at all is no error: nobody of the chosen was there. Abandoned: `stop` was set. NotFoundError: no log.
    UnavailableError: a disk refuses.
    """
    log = open_log(job.log_dir, job.live, stop)
    try:
        job.out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise UnavailableError(f"The directory for the files cannot be made: {exc.strerror or exc}.") from exc
    files = TrackFiles(log, job.recording_id, job.choice, job.out_dir)
    try:
        told = moved = time.monotonic()
        while not files.is_done:
            worked = files.work()
            now = time.monotonic()
            if worked:
                moved = now
            if now - told >= _PROGRESS_S:
                on_progress(Progress(files.made_ns, max(files.known_ns - files.made_ns, 0)))
                told = now
            if stop.is_set():
                raise Abandoned
            if worked or files.is_done:
                continue
            if not job.live or (files.is_stopped and now - moved > _PATIENCE_S):
                files.finish()
            elif stop.wait(POLL_S):
                raise Abandoned
        done = files.close()
        on_progress(Progress(files.made_ns, 0))
        return done, files.stats
    finally:
        files.abort()


def _sync(directory: Path) -> None:
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as exc:
        raise UnavailableError(f"The files cannot be made durable: {exc.strerror or exc}.") from exc
