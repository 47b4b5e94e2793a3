"""Whether a film is gone on with where an attempt before it died, and from when on in the log.

A film may be gone on with when its fragments hold all of it: H264 and AAC in one setting, of the same job, and each
fragment captured when the log of today says. Else it is made from its beginning, which is always right. Owns that
judgement; what proves that fragments are whole is in `media/past.py`.
"""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import suppress
from dataclasses import asdict
from itertools import takewhile
from typing import TYPE_CHECKING

from tapedeck.core.film import FilmClock
from tapedeck.core.liveindex import Fragment
from tapedeck.core.output import VideoOutput
from tapedeck.core.times import to_ms
from tapedeck.media.past import MADE_BY, Past, PastRefusedError, find_past
from tapedeck.medialog.mark import find_mark
from tapedeck.medialog.reader import LogReader
from tapedeck.render.excerpt import Excerpt

if TYPE_CHECKING:
    from tapedeck.render.job import Job
    from tapedeck.render.stills import Stills

__all__ = ["likeness_of", "past_of", "recall", "utc_ms"]

logger = logging.getLogger(__name__)

_S = 1_000_000_000
_RATE = 48_000
_EVENTS = 1024
_ALL = Excerpt()


def likeness_of(job: Job, *, passes: bool) -> str:
    """Equal for jobs of one log that make the very same film, in this version of what makes it."""
    mark = find_mark(job.log_dir, job.recording_id) if job.watermark and job.recording_id is not None else None
    over: list[object] = []
    if mark is not None:
        with suppress(OSError):  # what cannot be read is left out (`render/canvas.py`)
            over = [_digest(mark.path.read_bytes()), mark.position, mark.width, mark.height]
    film = [job.recording_id, [asdict(output) for output in job.outputs], job.layout, job.focus, passes]
    return _digest(json.dumps([MADE_BY, film, over], default=str).encode())


def past_of(job: Job, log: LogReader, *, passes: bool) -> tuple[Past | None, int]:
    """What there is of a film that it may be gone on with, and when what comes next was captured; None, 0: nothing."""
    directory = job.past_dir or job.hls_dir
    if directory is None or not (directory / "index").exists():
        return None, 0
    try:
        video = _picture_of(job, passes=passes)
        past, from_ns = _agreed(find_past(directory, likeness_of(job, passes=passes), video.fps), job, log)
        past.count_try()
    except PastRefusedError as exc:
        logger.warning("a film is made from its beginning again: %s", exc)
        return None, 0
    logger.warning("a film is gone on with at %.1f s, behind what there was of it", past.end_ns / _S)
    return past, from_ns


def recall(stills: Stills, past: Past) -> None:
    """Show stills what is not made any more. UnavailableError: it cannot be read any more."""
    by_time = {one.start_ns: one for one in past.fragments}
    try:
        stills.recall(sorted(by_time), lambda film_ns: past.key(by_time[film_ns]))
    except (OSError, ValueError) as exc:
        raise past.spoil(exc) from exc


def utc_ms(log: LogReader, capture_ns: int | None) -> int | None:
    """The time of day of a capture time, in ms."""
    return None if capture_ns is None else to_ms(log.meta.utc(capture_ns))


def _picture_of(job: Job, *, passes: bool) -> VideoOutput:
    """The picture of a film whose fragments hold all that its files need. PastRefusedError when they do not."""
    first = job.outputs[0]
    video = first.video
    if passes or video is None or video.encoder != "x264" or not first.is_playable or job.excerpt != _ALL:
        raise PastRefusedError("its pictures are not encoded as H264 by x264, or it is a part")
    if any(output.timed or output.video not in (None, video) or output.audio != first.audio for output in job.outputs):
        raise PastRefusedError("its files have more than one picture and one sound")
    return video


def _agreed(past: Past, job: Job, log: LogReader) -> tuple[Past, int]:
    """As much of a past as was captured when the log says so; it may have lost its end with the machine."""
    film = FilmClock(job.recording_id, None, past.fps)
    with log.timeline() as timeline:
        while events := timeline.poll(_EVENTS):
            film.feed(events)

    def capture(film_ns: int) -> int | None:
        cut = film.cut_at_film(film_ns)
        return None if cut is None else cut.to_capture(film_ns)

    def agrees(found: tuple[Fragment, tuple[int, int]]) -> bool:
        one, (following, _) = found
        times_ns = (one.start_ns, (following - 1) * _S // past.fps)
        told = [one.at_ms, one.last_ms]
        return None not in told and told == [utc_ms(log, capture(film_ns)) for film_ns in times_ns]

    count = len(list(takewhile(agrees, zip(past.fragments, past.marks, strict=True))))
    if count and capture(past.until(count).end_ns) is None:
        count -= 1  # nothing is behind it: that it is the end is told by what comes before
    past = past.until(count)
    return past, capture(past.entry.sample * _S // _RATE) or 0


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
