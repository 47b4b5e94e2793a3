"""`tapedeck replay LOGDIR`: a film of a media log, with no server running.

Owns what a person sees meanwhile. Refuses everything that `render/job.py` decides.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from threading import Event

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from tapedeck.core.errors import InvalidError
from tapedeck.core.film import FilmClock
from tapedeck.core.layouts import Layout
from tapedeck.core.output import output_named
from tapedeck.medialog.reader import LogReader
from tapedeck.render.excerpt import Excerpt
from tapedeck.render.job import Job, Progress, run

__all__ = ["parse_moment", "parse_size", "replay"]

_S = 1_000_000_000
_MOST_SIDE = 8192
_ALL = Excerpt()


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of `1280x720`, made even. InvalidError: not a size."""
    match = re.fullmatch(r"\s*(\d{1,5})\s*[x×X]\s*(\d{1,5})\s*", text)
    sides = [int(side) + int(side) % 2 for side in match.groups()] if match else []
    if len(sides) != 2 or not all(2 <= side <= _MOST_SIDE for side in sides):
        raise InvalidError(f"{text!r} is not a size: give width and height as in 1280x720, at most {_MOST_SIDE} each.")
    return sides[0], sides[1]


def parse_moment(text: str) -> int:
    """Nanoseconds of a film time: `90`, `90.5`, `1:30` or `1:01:30.25`. InvalidError: not a time."""
    match = re.fullmatch(r"(?:(?:(\d{1,3}):)?([0-5]?\d):)?(\d{1,6})(?:\.(\d{1,9}))?", text.strip())
    if match is None or (match[2] is not None and int(match[3]) > 59):
        raise InvalidError(f"{text!r} is not a time of a film: give seconds, or minutes and seconds as in 1:30.")
    whole = (int(match[1] or 0) * 60 + int(match[2] or 0)) * 60 + int(match[3])
    return whole * _S + int((match[4] or "0").ljust(9, "0"))


def replay(
    logdir: Path,
    out: Path,
    *,
    recording_id: str | None = None,
    width: int = 1280,
    height: int = 720,
    layout: Layout = Layout.AUTO,
    focus: str | None = None,
    excerpt: Excerpt = _ALL,
    console: Console,
) -> int:
    """Write the film of a recording, or of everything in the log, to `out`; the exit code.

    What the name ends in says what is made (`core.output.output_named`). `focus`: who is large, named as in `excerpt`.

    Errors as `render.job.run`; InvalidError: `out` is a directory or names no kind of file, the layout has no focus, or
    somebody who is named was not there.
    """
    if out.is_dir():
        raise InvalidError(f"{out} is a directory: say which file to write.")
    output = output_named(out.name, width, height)
    excerpt.check()
    whole_ns = _length_ns(logdir, recording_id)
    if excerpt.from_ns and excerpt.from_ns >= whole_ns:
        raise InvalidError(f"The film is only {_clock(whole_ns)} long: nothing of it is left.")
    length_ns = min(whole_ns, whole_ns if excerpt.to_ns is None else excerpt.to_ns) - excerpt.from_ns
    job = Job(
        log_dir=logdir,
        recording_id=recording_id,
        out_dir=out.parent,
        outputs=(output,),
        layout=layout,
        focus=focus,
        excerpt=excerpt,
        threads=0,
    )
    job.check()
    begun = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    try:
        with Bar(*columns, console=console, transient=True) as bar:
            task = bar.add_task(f"film of {_clock(length_ns)}", total=length_ns or None)

            def tell(progress: Progress) -> None:
                bar.update(task, completed=progress.film_ns)

            (file,), stats = run(job, Event(), tell)
    except KeyboardInterrupt:
        console.print("Stopped; nothing was written.")
        return 130
    took = max(time.monotonic() - begun, 1e-3)
    size = f"{width}x{height}" if output.video is not None else "sound alone"
    console.print(
        f"{file.path}  {_clock(file.duration_ns)}, {file.size_bytes / 1e6:.1f} MB, {size}, made in "
        f"{took:.1f} s ({file.duration_ns / _S / took:.1f} x real time)",
        highlight=False,
        soft_wrap=True,
    )
    damaged = stats.errors + stats.unsupported
    if damaged or stats.skipped:
        console.print(
            f"{damaged} frames could not be decoded, {stats.skipped} had to wait for a key frame.", highlight=False
        )
    return 0


def _length_ns(logdir: Path, recording_id: str | None) -> int:
    clock = FilmClock(recording_id)
    with LogReader(logdir).timeline() as timeline:
        while events := timeline.poll(1024):
            clock.feed(events)
    clock.cut_off()
    return clock.duration_ns or 0


def _clock(length_ns: int) -> str:
    seconds = round(length_ns / _S)
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
