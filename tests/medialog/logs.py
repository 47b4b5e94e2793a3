"""Small logs for tests: frames and events that can be told apart, by the real writer or laid down byte by byte."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path

from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags, Kind, TrackInfo
from tapedeck.core.timeline import TimelineEvent
from tapedeck.medialog.format import pack_event, pack_frame, pack_timeline_header, pack_track_header, salt_of
from tapedeck.medialog.meta import META_NAME, Epoch, Meta, timeline_path, track_path, tracks_path
from tapedeck.medialog.reader import LogReader, TrackReader
from tapedeck.medialog.writer import LogWriter, WriterOptions

SESSION = "5e551017-0000-4000-8000-000000000001"
MEETING = "meeting-1"
STARTED = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
SECOND = 1_000_000_000
QUICK = WriterOptions(flush_interval_s=0.005, sync_interval_s=0.01, close_grace_s=0.2)
"""For tests that wait for the threads."""


def make_info(track_id: str = "cam", codec: Codec = Codec.H264) -> TrackInfo:
    """A track of one participant."""
    channels = 0 if codec.kind is Kind.VIDEO else 2
    return TrackInfo(track_id, f"peer-of-{track_id}", "ada", codec.kind, codec, channels=channels)


def make_frame(number: int, size: int = 20, key: bool = False, arrival_ns: int | None = None) -> EncodedFrame:
    """Frame `number`, 33 ms after the one before, with bytes of its own."""
    payload = b"%08d" % number + bytes((number * 7 + i * 13) & 0xFF for i in range(min(size, 512))) * (size // 512 + 1)
    return EncodedFrame(
        media_time=number * 3000,
        arrival_ns=number * 33_000_000 if arrival_ns is None else arrival_ns,
        payload=payload[:size],
        codec=Codec.H264,
        flags=FrameFlags.KEY if key else FrameFlags.NONE,
    )


def open_writer(root: Path, options: WriterOptions = QUICK) -> LogWriter:
    """A writer of the test session."""
    return LogWriter(root, SESSION, MEETING, STARTED, started_monotonic_ns=1000, options=options)


def track_bytes(frames: Iterable[EncodedFrame], track_id: str = "cam") -> tuple[bytes, list[int]]:
    """A track's file, and where in it each record ends; the first number is where the header ends."""
    salt = salt_of(SESSION, track_id)
    records = [pack_frame(salt, frame) + frame.payload for frame in frames]
    return _join([pack_track_header(SESSION, make_info(track_id)), *records])


def timeline_bytes(events: Iterable[TimelineEvent]) -> tuple[bytes, list[int]]:
    """A timeline's file, and where in it each record ends."""
    salt = salt_of(SESSION, SESSION)
    return _join([pack_timeline_header(SESSION), *(pack_event(salt, event) for event in events)])


def _join(parts: list[bytes]) -> tuple[bytes, list[int]]:
    return b"".join(parts), list(accumulate(len(part) for part in parts))


def lay_down(root: Path, tracks: dict[str, bytes], timeline: bytes | None = None) -> Path:
    """A log directory with these files, as they are."""
    tracks_path(root).mkdir(parents=True)
    meta = Meta(SESSION, MEETING, (Epoch(0, STARTED, 1000, "boot-1"),))
    (root / META_NAME).write_text(meta.to_json())
    for track_id, data in tracks.items():
        track_path(root, track_id).write_bytes(data)
    if timeline is not None:
        timeline_path(root).write_bytes(timeline)
    return root


def open_files(root: Path) -> list[str]:
    """Files and folders at or below `root` that this process holds open, by name."""
    held = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            target = link.readlink()
            if target.is_relative_to(root):
                held.append(target.name)
    return sorted(held)


def drain(track: TrackReader) -> list[EncodedFrame]:
    """All that is there now."""
    frames: list[EncodedFrame] = []
    while batch := track.poll():
        frames += batch
    return frames


def read_track(root: Path, track_id: str = "cam") -> list[EncodedFrame]:
    """A track from its start."""
    with LogReader(root).track(track_id) as track:
        return drain(track)


def read_events(root: Path) -> list[TimelineEvent]:
    """The timeline from its start."""
    with LogReader(root).timeline() as timeline:
        return timeline.poll()
