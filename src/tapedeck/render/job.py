"""One render from start to finish: a job in, the files of a film out.

Owns what a job is, where its files lie, following the tail of a log that grows, and giving up cleanly. Refuses to know
processes and signals (`render/child.py`) and how a film is made (`render/film.py`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

from tapedeck.core.errors import InvalidError, MediaError, NotFoundError, UnavailableError
from tapedeck.core.layouts import Layout
from tapedeck.core.output import QUALITIES, AudioOutput, Output, VideoOutput
from tapedeck.media.mux import FilmFile
from tapedeck.media.shared import Decoders
from tapedeck.media.sharing import Encoders
from tapedeck.medialog.reader import LogReader
from tapedeck.render.excerpt import Excerpt
from tapedeck.render.film import FilmStats
from tapedeck.render.making import Making, scout_of
from tapedeck.render.passage import PassageLostError

__all__ = ["POLL_S", "PROGRESS_S", "Abandoned", "Job", "Progress", "Take", "open_log", "run"]

logger = logging.getLogger(__name__)

POLL_S = 0.1
"""How often the tail of a log is looked at."""
PROGRESS_S = 0.5
"""How often it is told how far a film is."""
_STEP = 15
"""Pictures between two looks at the log and at whether to stop."""
_PATIENCE_S = 5.0
"""A live log that says "stopped" and then nothing more for so long is taken as complete."""
_BIRTH_S = 30.0
"""A live log may come into being so much later than its render."""
_HASTE_NS = 8_000_000_000
"""A live render that made so much film without once having to wait for its log is behind it and makes haste."""
_NEVER_NS = -1
_MOST_SIDE = 8192
_MOST_ALIGN = 1 << 30
_VIDEO, _AUDIO, _ALL = VideoOutput(), AudioOutput(), Excerpt()


class Abandoned(Exception):
    """The job was told to stop; nothing is left behind."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to render: one film and the files it goes to. `recording_id` None: everything in the log as one film."""

    log_dir: Path
    recording_id: str | None
    out_dir: Path
    outputs: tuple[Output, ...]
    "All that have a picture have one of the same size and rate; without any, nothing is decoded or painted."
    live: bool = False
    layout: Layout = Layout.AUTO
    focus: str | None = None
    """The participant who is large (SPEAKER, SIDEBAR) or alone (SINGLE), named as in `excerpt`; of a live film, whose
    people are not known yet, by id. None: whoever speaks."""
    threads: int = 1
    """Of the picture encoder; 0: as many as it likes. With 1, pictures are encoded beside being painted only in haste,
    or while a live film is behind its log."""
    haste: bool = False
    "Whether somebody waits for it: it takes two cores where there are two, and a little more CPU."
    head_align: int = 1
    "Length of the parts that the film goes up in while it grows, where a store wants them equal (bytes)."
    tells_room: bool = False
    "Whether a store must know how far the media will move, while the film grows."
    excerpt: Excerpt = _ALL
    "Of a log that is complete."
    stills: bool = False
    "Whether a poster and a strip of thumbnails are made of the first film."
    seat: str | None = None
    "What it is called in answers; None: by its recording, of which other films may be made."
    watermark: bool = True
    "Whether the watermark of the recording is over the film."
    live_dir: Path | None = None
    "Of a live film: where it goes as a stream while somebody wants it."
    hls_dir: Path | None = None
    "Where the film goes as fragments for players, from its first second."
    past_dir: Path | None = None
    "Where fragments of it lie that earlier attempts made, if none are to be made any more."
    shelf: int | None = None
    "Descriptor of the memory in which the heads of the files are handed over (`media/shelf.py`)."
    page: bool = False
    "Whether it is of a web page, whose pictures may be passed on as they were sent (`core/passing.py`)."

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Job:
        """The job in a JSON object. InvalidError says what is wrong with it."""
        try:
            job = cls(
                log_dir=Path(body["log_dir"]),
                recording_id=None if body.get("recording_id") is None else str(body["recording_id"]),
                out_dir=Path(body["out_dir"]),
                outputs=tuple(_output(output) for output in body["outputs"]),
                live=bool(body.get("live", False)),
                layout=Layout(body.get("layout", Layout.AUTO)),
                focus=None if body.get("focus") is None else str(body["focus"]),
                threads=int(body.get("threads", 1)),
                haste=bool(body.get("haste", False)),
                head_align=int(body.get("head_align", 1)),
                tells_room=bool(body.get("tells_room", False)),
                excerpt=_excerpt(body),
                stills=bool(body.get("stills", False)),
                seat=None if body.get("seat") is None else str(body["seat"]),
                watermark=bool(body.get("watermark", True)),
                live_dir=None if body.get("live_dir") is None else Path(body["live_dir"]),
                hls_dir=None if body.get("hls_dir") is None else Path(body["hls_dir"]),
                past_dir=None if body.get("past_dir") is None else Path(body["past_dir"]),
                shelf=None if body.get("shelf") is None else int(body["shelf"]),
                page=bool(body.get("page", False)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise InvalidError(f"The render job is malformed: {exc!r}.") from exc
        job.check()
        return job

    @property
    def is_hasty(self) -> bool:
        """Whether pictures are encoded beside being painted from the first one on."""
        return self.haste or self.threads != 1

    @property
    def canvas(self) -> VideoOutput | None:
        """Size and rate of the film's picture; None when only its sound is wanted."""
        return next((output.video for output in self.outputs if output.video is not None), None)

    def check(self) -> None:
        """InvalidError when it cannot be done by anybody."""
        names = [output.file_name for output in self.outputs]
        for name in names:
            if not name or Path(name).name != name:
                raise InvalidError(f"{name!r} is not a file name.")
        if not names or len(set(names)) < len(names):
            raise InvalidError("A film needs files to go to, each with a name of its own.")
        canvas = self.canvas
        for output in self.outputs:
            if output.video is not None and canvas is not None:
                _check_picture(output.video, canvas)
            codecs = (None if output.video is None else output.video.codec, output.audio.codec)
            if output.timed and codecs != ("h264", "aac"):
                raise InvalidError("A film with timed metadata is H264 with AAC.")
            if output.audio.channels not in (1, 2):
                raise InvalidError(f"A film cannot have {output.audio.channels} channels of sound: 1 or 2.")
        if not 1 <= self.head_align <= _MOST_ALIGN:
            raise InvalidError(f"A film's head cannot be a multiple of {self.head_align} bytes.")
        if self.focus is not None and self.layout in (Layout.AUTO, Layout.GRID):
            raise InvalidError(
                f"Nobody is in focus in the layout {self.layout}: choose speaker, sidebar or single, or leave it out."
            )
        self.excerpt.check()
        if self.live and (self.recording_id is None or self.excerpt != _ALL):
            raise InvalidError("A live render needs the id of its recording, and makes all of it.")


def _output(body: Mapping[str, Any]) -> Output:
    video, audio = body.get("video"), body.get("audio") or {}
    return Output(
        file_name=str(body["file_name"]),
        video=None if video is None else replace(_VIDEO, **{str(key): value for key, value in video.items()}),
        audio=replace(_AUDIO, **{str(key): value for key, value in audio.items()}),
        timed=bool(body.get("timed", False)),
    )


def _excerpt(body: Mapping[str, Any]) -> Excerpt:
    to_ns, only = body.get("to_ns"), body.get("only")
    return Excerpt(
        int(body.get("from_ns", 0)),
        None if to_ns is None else int(to_ns),
        None if only is None else tuple(str(word) for word in only),
    )


def _check_picture(video: VideoOutput, canvas: VideoOutput) -> None:
    for side in (video.width, video.height):
        if type(side) is not int or side % 2 or not 2 <= side <= _MOST_SIDE:
            raise InvalidError(f"A film cannot be {video.width}x{video.height}: sides are even, 2 to {_MOST_SIDE}.")
    if type(video.fps) is not int or not 1 <= video.fps <= 120:
        raise InvalidError(f"A film cannot have {video.fps} pictures per second: 1 to 120.")
    if video.quality not in QUALITIES:
        raise InvalidError(f"There is no quality {video.quality!r}: {', '.join(QUALITIES)}.")
    if (video.width, video.height, video.fps) != (canvas.width, canvas.height, canvas.fps):
        raise InvalidError("The files of one film have one size and one frame rate.")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a render is, in film time."""

    film_ns: int
    behind_ns: int
    "What the log holds beyond that."


class Take:
    """A job being done, bit by bit: its film, and the files that go with it."""

    def __init__(
        self, job: Job, log: LogReader, decoders: Decoders | None = None, encoders: Encoders | None = None
    ) -> None:
        """Errors as of `run`, but for Abandoned."""
        self.job = job
        try:
            job.out_dir.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise UnavailableError(f"The directory for the film cannot be made: {exc.strerror or exc}.") from exc
        self._log = log
        self._decoders = decoders
        self._encoders = encoders
        self._scout = scout_of(job, log)
        self._making = None if self._scout is not None else Making(job, log, decoders, encoders=encoders)
        self._moved = time.monotonic()
        self._known_ns = -1
        self._waited_ns = _NEVER_NS

    @property
    def is_done(self) -> bool:
        """Whether `finish` may be called."""
        return self._making is not None and self._making.film.is_done

    @property
    def capture_ns(self) -> int:
        """Where in the log it is."""
        return 0 if self._making is None else self._making.film.capture_ns

    @property
    def progress(self) -> Progress:
        film = None if self._making is None else self._making.film
        return Progress(0, 0) if film is None else Progress(film.made_ns, film.behind_ns)

    def work(self, most: int = _STEP) -> bool:
        """Make up to `most` pictures and their sound; whether there may be more to make now. Errors as of `run`."""
        job = self.job
        making = self._making or self._begin()
        if making is None:
            return False
        film = making.film
        is_late = film.made_ns - self._waited_ns > _HASTE_NS
        if job.live and not job.is_hasty and not making.passes:
            making.press.beside = is_late
        if making.writers.live is not None:
            # One that is made again after a crash is as far as life once it has had to wait for its log.
            making.writers.live.is_current = self._waited_ns != _NEVER_NS and not is_late
        try:
            made = film.work(most)
        except PassageLostError as exc:
            self._encode(str(exc))
            return True
        now = time.monotonic()
        if made or film.known_ns != self._known_ns:
            self._moved, self._known_ns = now, film.known_ns
        if made or film.is_done:
            return True
        self._waited_ns = film.made_ns
        if not film.capture_ns:
            making.rest()
        if not job.live or (film.is_stopped and now - self._moved > _PATIENCE_S):
            film.finish()
            return True
        return False

    def finish(self) -> tuple[tuple[FilmFile, ...], FilmStats]:
        """Close the files and give them their names."""
        assert self._making is not None
        return self._making.finish()

    def close(self) -> None:
        """Let go of everything; part files that are not finished are removed."""
        if self._scout is not None:
            self._scout.close()
        if self._making is not None:
            self._making.close()

    def _begin(self) -> Making | None:
        """The film, once its log tells how it is to be made."""
        assert self._scout is not None
        verdict = self._scout.look(is_growing=self.job.live)
        if verdict is None:
            return None
        reason = verdict.reason
        if reason is None:
            try:
                self._scout, self._making = None, Making(self.job, self._log, self._decoders, verdict)
                return self._making
            except MediaError as exc:  # FFmpeg makes no head of its first picture, whatever that says of itself
                reason = str(exc)
        logger.warning("the pictures of a page are encoded again: %s", reason)
        self._scout, self._making = None, Making(self.job, self._log, self._decoders)
        return self._making

    def _encode(self, reason: str) -> None:
        """Pictures cannot be passed on any more: begin again, as after a crash, and make them all."""
        logger.warning("the film of a page is encoded from its beginning: %s", reason)
        if self._making is not None:
            self._making.close()
        self._making = Making(self.job, self._log, self._decoders, encoders=self._encoders)
        self._moved, self._known_ns, self._waited_ns = time.monotonic(), -1, _NEVER_NS


def run(
    job: Job,
    stop: Event,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> tuple[tuple[FilmFile, ...], FilmStats]:
    """Render to the outputs in `out_dir`, each there whole or not at all. Blocks; follows a live log to its stop.

    Abandoned: `stop` was set. NotFoundError: no log. MediaError: nothing to show, or an encoder refuses.
    UnavailableError: a disk refuses.
    """
    take = Take(job, open_log(job.log_dir, job.live, stop))
    told = time.monotonic()
    try:
        while not take.is_done:
            goes_on = take.work()
            now = time.monotonic()
            if now - told >= PROGRESS_S:
                on_progress(take.progress)
                told = now
            if stop.is_set() or (not goes_on and stop.wait(POLL_S)):
                raise Abandoned
        made = take.finish()
        on_progress(replace(take.progress, behind_ns=0))
        return made
    finally:
        take.close()


def open_log(log_dir: Path, live: bool, stop: Event) -> LogReader:
    """The log, which in a live render may not be there yet. NotFoundError; Abandoned: `stop` was set."""
    deadline = time.monotonic() + (_BIRTH_S if live else 0.0)
    while True:
        try:
            return LogReader(log_dir)
        except NotFoundError:
            if time.monotonic() >= deadline:
                raise
        if stop.wait(POLL_S):
            raise Abandoned
