"""What makes a film and what writes it, for one attempt at a job.

Owns which parts an attempt is made of, and whether the pictures of a page may be passed on at all. Refuses to know when
anything is done (`render/job.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from tapedeck.core.entry import Entry
from tapedeck.core.geometry import Size
from tapedeck.core.output import VideoOutput
from tapedeck.core.passing import film_refusal
from tapedeck.media.mux import FilmFile, FilmWriters
from tapedeck.media.past import Past, PastRefusedError
from tapedeck.media.picture import Canvas
from tapedeck.media.press import Press
from tapedeck.media.shared import Decoders
from tapedeck.media.sharing import Encoders, Shows
from tapedeck.medialog.mark import find_mark
from tapedeck.medialog.reader import LogReader
from tapedeck.render.canvas import canvases
from tapedeck.render.excerpt import Excerpt, one_of, people_of
from tapedeck.render.film import Film, FilmStats
from tapedeck.render.passage import Passage, Scout, Verdict
from tapedeck.render.resume import likeness_of, past_of, recall, utc_ms
from tapedeck.render.stills import Stills

if TYPE_CHECKING:
    from tapedeck.render.job import Job

__all__ = ["Making", "scout_of"]

logger = logging.getLogger(__name__)

_ALL = Excerpt()
_FPS = VideoOutput().fps


def scout_of(job: Job, log: LogReader) -> Scout | None:
    """Who looks whether a film's pictures may be passed on, if they may at all."""
    canvas = job.canvas
    if not job.page or job.recording_id is None or canvas is None:
        return None
    is_marked = job.watermark and find_mark(job.log_dir, job.recording_id) is not None
    if film_refusal(job.outputs, is_marked=is_marked, is_part=job.excerpt != _ALL) is not None:
        return None
    return Scout(log, job.recording_id, canvas)


class Making:
    """One attempt at a film: what makes it, and what writes it."""

    def __init__(
        self,
        job: Job,
        log: LogReader,
        decoders: Decoders | None = None,
        verdict: Verdict | None = None,
        encoders: Encoders | None = None,
    ) -> None:
        """Create the part files; none is left when it raises. `decoders` and `encoders` are shared with other films of
        the log."""
        self._job = job
        only = None if job.excerpt.only is None else people_of(log, job.excerpt.only)
        focus = job.focus if job.focus is None or job.live else one_of(log, job.focus, only)
        first, sets = (None, None) if verdict is None else (verdict.first, verdict.sets)
        self.passes = sets is not None
        "Its pictures are those that were sent."
        past, from_ns = past_of(job, log, passes=self.passes)
        self.seat = None if encoders is None or job.page or job.excerpt != _ALL else encoders.seat(_alike(job))
        with ExitStack() as undo:
            if self.seat is not None:
                undo.callback(self.seat.close)
            try:
                writers = self._open(log, first, past)
            except PastRefusedError as exc:
                logger.warning("a film is made from its beginning again: %s", exc)
                if self.seat is not None:
                    self.seat.close()  # of the encoders that were opened
                past, from_ns = None, 0
                writers = self._open(log, first, past)
            self.writers = writers
            undo.callback(writers.abort)
            canvas = job.canvas
            size = Size(2, 2) if canvas is None else Size(canvas.width, canvas.height)
            self.press = Press(writers, size, beside=job.is_hasty and not self.passes)
            self._stills = stills = Stills(self.press, size, canvas.fps) if job.stills and canvas is not None else None
            if stills is not None and past is not None:
                recall(stills, past)
            on_key = (lambda *_: None) if stills is None else stills.see_key
            self.film = Film(
                log,
                job.recording_id,
                canvas,
                stills or self.press,
                layout=job.layout,
                focus=focus,
                new_canvas=canvases(job.log_dir, job.recording_id) if job.watermark else Canvas,
                part=job.excerpt.part(canvas.fps if canvas is not None else _FPS),
                only=only,
                decoders=decoders,
                passage=None if sets is None else lambda feed: Passage(feed, writers, sets, on_key),
                on_shows=None if self.seat is None else self._say,
                entry=Entry() if past is None else past.entry,
                from_ns=from_ns,
            )
            undo.pop_all()
        if writers.hls is not None:
            writers.hls.when = lambda film_ns: utc_ms(log, self.film.capture_at(film_ns))

    def _open(self, log: LogReader, passed: bytes | None, past: Past | None) -> FilmWriters:
        """What writes the film. PastRefusedError; else as of `FilmWriters`."""
        job = self._job
        return FilmWriters(
            job.out_dir,
            job.outputs,
            created_at=log.meta.started_utc,
            threads=job.threads,
            head_align=job.head_align,
            tells_room=job.tells_room,
            live_dir=job.live_dir if job.live else None,
            hls_dir=job.hls_dir,
            passed=passed,
            seat=self.seat,
            likeness=likeness_of(job, passes=self.passes),
            past=past,
        )

    def finish(self) -> tuple[tuple[FilmFile, ...], FilmStats]:
        """Close the files and give them their names."""
        self.press.close()
        files = self.writers.finish()
        if self.seat is not None:
            self.seat.close()
        if self._stills is not None:
            name = next(output.file_name for output in self._job.outputs if output.video is not None)
            files += self._stills.finish(self._job.out_dir, name, files[0].duration_ns if self.passes else 0)
        return files, self.film.stats

    def rest(self) -> None:
        """No picture is known to come: the film is paused, or waits for its log."""
        if self.seat is not None and not self.press.beside:
            self.seat.rest()

    def _say(self, index: int, shows: Shows) -> None:
        if self.seat is not None:
            self.seat.say(index, None if self.press.beside else shows)

    def close(self) -> None:
        """Let go of everything; part files that are not finished are removed."""
        with suppress(Exception):  # it was raised already, or the job is given up anyway
            self.press.close()
        if self.seat is not None:
            self.seat.close()
        self.film.close()
        self.writers.abort()


def _alike(job: Job) -> Hashable:
    """Equal for films that may show the same pictures. What they do show is compared picture by picture."""
    mark = find_mark(job.log_dir, job.recording_id) if job.watermark and job.recording_id is not None else None
    over: Hashable = None
    if mark is not None:
        over = job.recording_id  # what cannot be read, and is left out (`canvases`), is like nobody's
        with suppress(OSError):
            over = mark.path.read_bytes(), mark.position, mark.width, mark.height
    return job.log_dir, job.layout, job.focus, over
