"""A log directory's names and its meta.json: whose log it is, and how its capture clock runs on over restarts.

Owns the names, the file's shape and the arithmetic of the clock; writing it in place is the writer's job. The capture
clock counts ns since the capture began. Each start of the recorder on the log is an epoch: the reading of the capture
clock at which it began, with UTC, the node's monotonic clock and the boot it belongs to, so that the next start can
go on from there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tapedeck.core.errors import InvalidError, NotFoundError
from tapedeck.medialog.format import FORMAT_VERSION, check_log_id

__all__ = [
    "META_NAME",
    "Epoch",
    "Meta",
    "boot_id",
    "parse_meta",
    "read_meta",
    "timeline_path",
    "track_ids",
    "track_path",
    "tracks_path",
]

META_NAME = "meta.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Epoch:
    """One start of the recorder on this log."""

    offset_ns: int
    "Capture clock at the start; 0 for the first."
    utc: datetime
    monotonic_ns: int
    boot_id: str
    "Empty where the system has none."


@dataclass(frozen=True, slots=True)
class Meta:
    """What meta.json says. `epochs` has at least one entry, in order of time."""

    session_id: str
    meeting_id: str
    epochs: tuple[Epoch, ...]

    @property
    def started_utc(self) -> datetime:
        return self.epochs[0].utc

    @property
    def started_monotonic_ns(self) -> int:
        return self.epochs[0].monotonic_ns

    def utc(self, at_ns: int) -> datetime:
        """UTC of a capture time, by the start of the recorder that wrote it."""
        epoch = next((e for e in reversed(self.epochs) if e.offset_ns <= at_ns), self.epochs[0])
        return epoch.utc + timedelta(microseconds=(at_ns - epoch.offset_ns) // 1000)

    def clock_at(self, utc: datetime, monotonic_ns: int, boot: str, after_ns: int) -> int:
        """The capture clock at an instant after the last epoch's start, always greater than `after_ns`.

        Within one boot the monotonic clock measures the time since; after a reboot only UTC can, which may have been
        set meanwhile, even back: then the capture clock goes on right behind `after_ns`.
        """
        last = self.epochs[-1]
        if boot and boot == last.boot_id and monotonic_ns >= last.monotonic_ns:
            since_ns = monotonic_ns - last.monotonic_ns
        else:
            since_ns = (utc - last.utc) // timedelta(microseconds=1) * 1000
        return max(last.offset_ns + since_ns, after_ns + 1)

    def with_epoch(self, epoch: Epoch) -> Meta:
        """The same log, started once more."""
        return replace(self, epochs=(*self.epochs, epoch))

    def to_json(self) -> str:
        """The text of meta.json."""
        body = {
            "format": FORMAT_VERSION,
            "session_id": self.session_id,
            "meeting_id": self.meeting_id,
            "started_utc": _print_utc(self.started_utc),
            "started_monotonic_ns": self.started_monotonic_ns,
            "epochs": [
                {
                    "offset_ns": epoch.offset_ns,
                    "utc": _print_utc(epoch.utc),
                    "monotonic_ns": epoch.monotonic_ns,
                    "boot_id": epoch.boot_id,
                }
                for epoch in self.epochs
            ],
        }
        return json.dumps(body, indent=2) + "\n"


def timeline_path(root: Path) -> Path:
    """Where the timeline of a log directory is."""
    return root / "timeline.log"


def tracks_path(root: Path) -> Path:
    """The folder of the tracks' files."""
    return root / "tracks"


def track_path(root: Path, track_id: str) -> Path:
    """Where a track's file is. ValueError: the id cannot name a file."""
    return tracks_path(root) / f"{check_log_id(track_id)}.log"


def track_ids(root: Path) -> list[str]:
    """The tracks that have a file, sorted. OSError: the disk cannot be read."""
    ids = []
    for path in tracks_path(root).glob("*.log"):
        try:
            ids.append(check_log_id(path.stem))
        except ValueError:
            continue
    return sorted(ids)


def boot_id() -> str:
    """What tells this boot of the machine from others; empty where the system does not say."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""


def parse_meta(text: str) -> Meta:
    """Meta of a meta.json. InvalidError: it is damaged, or of a format this version cannot read."""
    try:
        body: Any = json.loads(text)
        version = int(body["format"])
        if version == FORMAT_VERSION:
            epochs = tuple(
                Epoch(int(e["offset_ns"]), _parse_utc(e["utc"]), int(e["monotonic_ns"]), str(e["boot_id"]))
                for e in body["epochs"]
            )
            if not epochs:
                raise ValueError("no epochs")
            return Meta(str(body["session_id"]), str(body["meeting_id"]), epochs)
    except (KeyError, TypeError, ValueError) as exc:
        raise InvalidError(f"The log's {META_NAME} is damaged.") from exc
    raise InvalidError(f"The log has format {version}; this version of Tapedeck reads format {FORMAT_VERSION}.")


def read_meta(root: Path) -> Meta:
    """Meta of a log directory. NotFoundError: there is no log; InvalidError as `parse_meta`."""
    try:
        text = (root / META_NAME).read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise NotFoundError(f"There is no media log in {root}.") from exc
    except UnicodeDecodeError as exc:
        raise InvalidError(f"The log's {META_NAME} is damaged.") from exc
    return parse_meta(text)


def _print_utc(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _parse_utc(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"no time zone: {text}")
    return at.astimezone(UTC)
