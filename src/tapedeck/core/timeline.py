"""Everything that happens in a captured session besides media: the events of `timeline.log`, and spans made of them.

Each event is a frozen dataclass with `at_ns` on the capture clock; `to_dict`/`from_dict` give the JSON object that a
timeline record holds (key `e` is the event's name). Unknown event names and keys are kept out of the way, not an error,
so that an older reader can read a newer log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from tapedeck.core.frames import Codec, Kind, Origin, TrackInfo
from tapedeck.core.wanted import TrackChoice

__all__ = [
    "EVENT_TYPES",
    "AudioLevel",
    "ClockReport",
    "NameChanged",
    "Outage",
    "ParticipantJoined",
    "ParticipantLeft",
    "Progress",
    "RecordingPaused",
    "RecordingResumed",
    "RecordingStarted",
    "RecordingStopped",
    "Span",
    "TimedText",
    "TimelineEvent",
    "TrackClosed",
    "TrackMuted",
    "TrackOpened",
    "TrackUnmuted",
    "from_dict",
    "recording_spans",
    "to_dict",
]


@dataclass(frozen=True, slots=True)
class ParticipantJoined:
    """A peer connected. One participant may have several peers (devices, screen share, rejoin)."""

    at_ns: int
    participant_id: str
    peer_id: str
    name: str
    custom_id: str = ""
    origin: Origin = Origin.CAMERA


@dataclass(frozen=True, slots=True)
class ParticipantLeft:
    """A peer is gone; its tracks are closed before."""

    at_ns: int
    participant_id: str
    peer_id: str


@dataclass(frozen=True, slots=True)
class NameChanged:
    """A participant's display name changed."""

    at_ns: int
    participant_id: str
    name: str


@dataclass(frozen=True, slots=True)
class TrackOpened:
    """A track's log exists from here on."""

    at_ns: int
    track: TrackInfo


@dataclass(frozen=True, slots=True)
class TrackClosed:
    """No further frame of the track will come."""

    at_ns: int
    track_id: str


@dataclass(frozen=True, slots=True)
class TrackMuted:
    """No media is sent on the track (RTP stopped, or the sender said so). Silence in DTX is not mute."""

    at_ns: int
    track_id: str


@dataclass(frozen=True, slots=True)
class TrackUnmuted:
    """Media flows again."""

    at_ns: int
    track_id: str


@dataclass(frozen=True, slots=True)
class AudioLevel:
    """Loudest level of an audio track since the last such event (RFC 6464): 0 dBov is loudest, 127 is silence."""

    at_ns: int
    track_id: str
    dbov: int


@dataclass(frozen=True, slots=True)
class ClockReport:
    """A sender report (RFC 3550 6.4.1): the sender's wall clock and its RTP clock at one instant."""

    at_ns: int
    "Arrival on the capture clock."
    track_id: str
    wallclock_ns: int
    "The sender's NTP time as ns since 1900; only differences mean anything."
    media_time: int
    "RTP timestamp of the same instant, unwrapped on the track's own counter."


@dataclass(frozen=True, slots=True)
class RecordingStarted:
    """The film of a recording begins here."""

    at_ns: int
    recording_id: str
    tracks: TrackChoice | None = None
    "Whose tracks it keeps, and which; None: all that is sent."
    timed: bool = False
    "Whether timed metadata belongs to it."
    page: bool = False
    "It keeps a web page (`core/page.py`), and nothing of the people."


@dataclass(frozen=True, slots=True)
class RecordingPaused:
    """Nothing from here to the next resume is in the film."""

    at_ns: int
    recording_id: str


@dataclass(frozen=True, slots=True)
class RecordingResumed:
    """The film goes on here."""

    at_ns: int
    recording_id: str


@dataclass(frozen=True, slots=True)
class RecordingStopped:
    """The film ends here; a live render that sees this finishes."""

    at_ns: int
    recording_id: str


@dataclass(frozen=True, slots=True)
class TimedText:
    """Timed metadata: somebody said it at this moment (`core/timed.py`)."""

    at_ns: int
    text: str
    recording_id: str | None = None
    "The recording that it was said to; None: all that run."
    participant_id: str = ""
    "Who said it in the meeting; empty: a backend."


@dataclass(frozen=True, slots=True)
class Outage:
    """The recorder was down from `from_ns` to `at_ns`: a cut in every film, like a pause."""

    at_ns: int
    from_ns: int


@dataclass(frozen=True, slots=True)
class Progress:
    """The log is complete up to `until_ns` of capture time: no frame captured before it will still be written.

    Written after the records it speaks of. A live render never goes past it, which makes live and later films equal.
    """

    at_ns: int
    until_ns: int


TimelineEvent = (
    ParticipantJoined
    | ParticipantLeft
    | NameChanged
    | TrackOpened
    | TrackClosed
    | TrackMuted
    | TrackUnmuted
    | AudioLevel
    | ClockReport
    | RecordingStarted
    | RecordingPaused
    | RecordingResumed
    | RecordingStopped
    | TimedText
    | Outage
    | Progress
)

EVENT_TYPES: dict[str, type[Any]] = {
    "joined": ParticipantJoined,
    "left": ParticipantLeft,
    "named": NameChanged,
    "opened": TrackOpened,
    "closed": TrackClosed,
    "muted": TrackMuted,
    "unmuted": TrackUnmuted,
    "level": AudioLevel,
    "clock": ClockReport,
    "started": RecordingStarted,
    "paused": RecordingPaused,
    "resumed": RecordingResumed,
    "stopped": RecordingStopped,
    "text": TimedText,
    "outage": Outage,
    "progress": Progress,
}
_NAMES = {cls: name for name, cls in EVENT_TYPES.items()}
_FIELDS = {cls: tuple(field.name for field in fields(cls)) for cls in EVENT_TYPES.values()}


def to_dict(event: TimelineEvent) -> dict[str, Any]:
    """The JSON object of an event."""
    cls = type(event)
    if isinstance(event, TrackOpened):
        return {"e": _NAMES[cls], "at_ns": event.at_ns, **asdict(event.track), "codec": event.track.codec.name}
    if isinstance(event, RecordingStarted):
        body: dict[str, Any] = {"e": _NAMES[cls], "at_ns": event.at_ns, "recording_id": event.recording_id}
        body |= {name: True for name in ("timed", "page") if getattr(event, name)}
        return body if event.tracks is None else body | {"tracks": asdict(event.tracks)}
    return {"e": _NAMES[cls], **{name: getattr(event, name) for name in _FIELDS[cls]}}


def from_dict(body: Mapping[str, Any]) -> TimelineEvent | None:
    """The event of a JSON object; None for an unknown event, ValueError for a malformed one."""
    cls = EVENT_TYPES.get(str(body.get("e")))
    if cls is None:
        return None
    try:
        if cls is TrackOpened:
            track = TrackInfo(
                track_id=str(body["track_id"]),
                peer_id=str(body["peer_id"]),
                participant_id=str(body["participant_id"]),
                kind=Kind(body["kind"]),
                codec=Codec[body["codec"]],
                origin=Origin(body.get("origin", "camera")),
                channels=int(body.get("channels", 1)),
            )
            return TrackOpened(int(body["at_ns"]), track)
        values = {name: body[name] for name in _FIELDS[cls] if name in body}
        if "origin" in values:
            values["origin"] = Origin(values["origin"])
        if values.get("tracks") is not None:
            values["tracks"] = TrackChoice.from_dict(values["tracks"])
        event: TimelineEvent = cls(**values)
        return event
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise ValueError(f"malformed timeline event {body.get('e')!r}: {exc}") from exc


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of capture time that belongs to a film: `start_ns <= t < end_ns`; `end_ns` is None while it runs."""

    start_ns: int
    end_ns: int | None

    def __contains__(self, at_ns: int) -> bool:
        return self.start_ns <= at_ns and (self.end_ns is None or at_ns < self.end_ns)


def recording_spans(events: Iterable[TimelineEvent], recording_id: str) -> list[Span]:
    """The spans of one recording's film in order: cut at pauses and outages, ended by its stop."""
    spans: list[Span] = []
    open_at: int | None = None
    running = False

    def close(at_ns: int) -> None:
        nonlocal open_at
        if open_at is not None and at_ns > open_at:
            spans.append(Span(open_at, at_ns))
        open_at = None

    for event in events:
        if isinstance(event, Outage):
            if running and open_at is not None:
                close(event.from_ns)
                open_at = event.at_ns
        elif getattr(event, "recording_id", None) != recording_id:
            continue
        elif isinstance(event, RecordingStarted | RecordingResumed):
            if open_at is None:
                open_at = event.at_ns
            running = True
        elif isinstance(event, RecordingPaused):
            close(event.at_ns)
        elif isinstance(event, RecordingStopped):
            close(event.at_ns)
            running = False
            break
    if open_at is not None and running:
        spans.append(Span(open_at, None))
    return spans
