"""`tapedeck show LOGDIR`: a media log in words.

Owns the wording. Reads every track once, so that what is damaged is known and told. Refuses to change anything, and
to pass control characters of names on to the terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tapedeck.core.frames import Kind, Origin, TrackInfo
from tapedeck.core.timeline import (
    AudioLevel,
    ClockReport,
    NameChanged,
    Outage,
    ParticipantJoined,
    ParticipantLeft,
    Progress,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    TimedText,
    TimelineEvent,
    TrackClosed,
    TrackMuted,
    TrackOpened,
    TrackUnmuted,
    recording_spans,
)
from tapedeck.medialog.catalog import Catalog, TrackEntry, TrackTally, read_catalog, tally_track
from tapedeck.medialog.reader import LogReader

__all__ = ["show"]

_QUIET = (AudioLevel, ClockReport, Progress)
_TEXT = 200
"Characters of timed metadata that are shown."
_SECOND = 1_000_000_000


def show(root: Path, console: Console) -> None:
    """Print a log directory.

    NotFoundError: there is no log; InvalidError: it is damaged at its root, or of another version; UnavailableError:
    the disk cannot be read.
    """
    catalog = read_catalog(root)
    log = LogReader(root)
    _print_head(root, catalog, console)
    _print_tracks(catalog, {track.track_id: tally_track(log, track.track_id) for track in catalog.tracks}, console)
    _print_films(catalog, console)
    _print_timeline(catalog, console)


def _print_head(root: Path, catalog: Catalog, console: Console) -> None:
    meta = catalog.meta
    rows = [
        ("log", str(root)),
        ("session", meta.session_id),
        ("meeting", meta.meeting_id),
        ("started", f"{meta.started_utc:%Y-%m-%d %H:%M:%S} UTC"),
        ("length", _clock(catalog.duration_ns)),
        ("size", _size(catalog.size_bytes)),
    ]
    rows += [("restarted", f"at {_clock(epoch.offset_ns)}") for epoch in meta.epochs[1:]]
    for name, value in rows:
        _line(console, f"{name:<10} {_clean(value)}")


def _print_tracks(catalog: Catalog, tallies: dict[str, TrackTally], console: Console) -> None:
    if not catalog.tracks:
        _line(console, "\nNo tracks.")
        return
    names = _names(catalog.events)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("track", no_wrap=True)
    table.add_column("of", overflow="fold", min_width=5)
    for name in ("what", "when"):
        table.add_column(name, no_wrap=True)
    for name in ("frames", "keys", "size", "kbit/s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("remarks", overflow="fold", min_width=7)
    for track in catalog.tracks:
        tally = tallies[track.track_id]
        table.add_row(
            _text(track.track_id[:8]),
            _text("?" if track.info is None else names.get(track.info.participant_id, track.info.participant_id)),
            _text(_what(track)),
            *_figures(track, tally),
            _text(_remarks(track, tally)),
        )
    console.print()
    console.print(table)


def _print_films(catalog: Catalog, console: Console) -> None:
    ids = dict.fromkeys(e.recording_id for e in catalog.events if isinstance(e, RecordingStarted))
    for recording_id in ids:
        spans = recording_spans(catalog.events, recording_id)
        length = sum((catalog.duration_ns if s.end_ns is None else s.end_ns) - s.start_ns for s in spans)
        parts = ", ".join(f"{_clock(s.start_ns)} to {'now' if s.end_ns is None else _clock(s.end_ns)}" for s in spans)
        _line(console, f"\nrecording {_clean(recording_id)}: {_clock(length)} of film: {parts or 'nothing'}")


def _print_timeline(catalog: Catalog, console: Console) -> None:
    _line(console, "")
    names: dict[str, str] = {}
    tracks: dict[str, TrackInfo] = {}
    for event in catalog.events:
        if isinstance(event, ParticipantJoined | NameChanged):
            before = names.get(event.participant_id, event.participant_id)
            names[event.participant_id] = event.name or event.participant_id
        else:
            before = ""
        if isinstance(event, TrackOpened):
            tracks[event.track.track_id] = event.track
        if not isinstance(event, _QUIET):
            _line(console, f"{_clock(event.at_ns)}  {_clean(_sentence(event, names, tracks, before))}")
    quiet = Counter(type(event) for event in catalog.events if isinstance(event, _QUIET))
    if quiet:
        done = max((e.until_ns for e in catalog.events if isinstance(e, Progress)), default=0)
        _line(
            console,
            f"and {_count(quiet[ClockReport], 'clock report')}, {_count(quiet[AudioLevel], 'sound level')}; "
            f"complete up to {_clock(done)}",
        )
    if catalog.timeline_damage:
        damage = catalog.timeline_damage
        _line(console, f"The timeline is damaged in {_count(damage.regions, 'place')} ({_size(damage.size_bytes)}).")


def _sentence(event: TimelineEvent, names: dict[str, str], tracks: dict[str, TrackInfo], before: str) -> str:
    match event:
        case ParticipantJoined():
            how = "" if event.origin is Origin.CAMERA else " to share a screen"
            return f"{event.name or event.participant_id} joined{how}"
        case ParticipantLeft():
            return f"{names.get(event.participant_id, event.participant_id)} left"
        case NameChanged():
            return f"{before} is now called {event.name}"
        case TrackOpened():
            return f"{_whose(event.track, names)} began ({event.track.codec.name}, track {event.track.track_id[:8]})"
        case TrackClosed():
            return f"{_of(event.track_id, names, tracks)} ended"
        case TrackMuted():
            return f"{_of(event.track_id, names, tracks)} was muted"
        case TrackUnmuted():
            return f"{_of(event.track_id, names, tracks)} was unmuted"
        case RecordingStarted():
            return f"recording {event.recording_id} started"
        case RecordingPaused():
            return f"recording {event.recording_id} paused"
        case RecordingResumed():
            return f"recording {event.recording_id} resumed"
        case RecordingStopped():
            return f"recording {event.recording_id} stopped"
        case TimedText():
            who = names.get(event.participant_id, event.participant_id) or "a backend"
            return f"timed metadata of {who}: {event.text[:_TEXT]}"
        case Outage():
            return f"the recorder was back after an outage since {_clock(event.from_ns)}"
        case _:
            return type(event).__name__


def _of(track_id: str, names: dict[str, str], tracks: dict[str, TrackInfo]) -> str:
    info = tracks.get(track_id)
    return f"track {track_id[:8]}" if info is None else _whose(info, names)


def _whose(info: TrackInfo, names: dict[str, str]) -> str:
    if info.origin is Origin.SCREEN:
        thing = "screen" if info.kind is Kind.VIDEO else "screen's sound"
    else:
        thing = "camera" if info.kind is Kind.VIDEO else "microphone"
    return f"{thing} of {names.get(info.participant_id, info.participant_id)}"


def _names(events: Iterable[TimelineEvent]) -> dict[str, str]:
    """The last name of each participant."""
    return {
        e.participant_id: e.name or e.participant_id for e in events if isinstance(e, ParticipantJoined | NameChanged)
    }


def _what(track: TrackEntry) -> str:
    codec = "?" if track.codec is None else track.codec.name
    if track.info is None:
        return codec
    return f"{'screen ' if track.info.origin is Origin.SCREEN else ''}{track.info.kind} {codec}"


def _figures(track: TrackEntry, tally: TrackTally) -> list[str]:
    if track.first_ns is None or track.last_ns is None:
        return ["", "0", "0", _size(track.size_bytes), ""]
    lasted_ns = track.last_ns - track.first_ns
    rate = f"{tally.payload_bytes * 8 * _SECOND / lasted_ns / 1000:.0f}" if lasted_ns else ""
    when = f"{_short(track.first_ns)}–{_short(track.last_ns)}"
    return [when, str(tally.frames), str(tally.keys), _size(track.size_bytes), rate]


def _remarks(track: TrackEntry, tally: TrackTally) -> str:
    remarks = []
    if track.size_bytes == 0:
        remarks.append("no file")
    if track.info is None:
        remarks.append("not in the timeline")
    elif track.closed_ns is None:
        remarks.append("open")
    if tally.discontinuities:
        remarks.append(_count(tally.discontinuities, "gap"))
    if tally.damage:
        remarks.append(f"damaged in {_count(tally.damage.regions, 'place')} ({_size(tally.damage.size_bytes)})")
    return ", ".join(remarks)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _clock(at_ns: int) -> str:
    """Capture time as hours, minutes, seconds and thousandths."""
    thousandths = at_ns // 1_000_000
    minutes, rest = divmod(thousandths, 60_000)
    return f"{minutes // 60}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"


def _short(at_ns: int) -> str:
    """Capture time in whole seconds, hours only if there are any."""
    text = _clock(at_ns)[:-4]
    return text.removeprefix("0:").removeprefix("0")


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"


def _clean(text: str) -> str:
    """Without what a terminal would act on."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _text(text: str) -> Text:
    return Text(_clean(text))


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
