"""The edge between sources (WHIP today) and capture.

A source owns the network and the packets; capture owns the log. All calls are made on the event loop, return at once
and never raise for the state of a recording: a source neither knows nor cares whether anything is being recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tapedeck.core.frames import EncodedFrame, Origin, TrackInfo

__all__ = ["FrameSink", "Ingest", "PeerInfo", "TrackControl", "TrackSink"]


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A connection that wants to publish into a meeting, already authorised."""

    meeting_id: str
    participant_id: str
    peer_id: str
    name: str
    custom_id: str = ""
    origin: Origin = Origin.CAMERA


class TrackControl(Protocol):
    """What capture may ask of the source of a track."""

    def request_keyframe(self) -> None:
        """Ask the sender for a key frame (PLI, RFC 4585 6.3.1). No-op for audio and for a closed track."""


class TrackSink(Protocol):
    """Takes one track's media. Times are `time.monotonic_ns()` readings of this node; capture rebases them."""

    def frame(self, frame: EncodedFrame) -> None:
        """A whole frame, in media order. `frame.arrival_ns` is a monotonic reading here."""

    def clock_report(self, at_ns: int, wallclock_ns: int, media_time: int) -> None:
        """A sender report; `media_time` is on the same unwrapped counter as the frames."""

    def audio_level(self, at_ns: int, dbov: int) -> None:
        """Level of one audio packet (RFC 6464). Called per packet; the sink thins it out."""

    def waiting_since(self, at_ns: int | None) -> None:
        """The receiver holds frames back since `at_ns` for a missing packet; None when it holds nothing."""

    def muted(self, at_ns: int, muted: bool) -> None:
        """Media stopped or flows again."""

    def close(self, at_ns: int) -> None:
        """No further call will come."""


class FrameSink(Protocol):
    """One peer's place in a captured session."""

    def open_track(self, info: TrackInfo, control: TrackControl, at_ns: int) -> TrackSink:
        """A track's first packet arrived."""

    def rename(self, name: str, at_ns: int) -> None:
        """The display name changed."""

    def message(self, data: str | bytes, at_ns: int) -> None:
        """A message came on a data channel."""

    def close(self, at_ns: int) -> None:
        """The peer left; open tracks are closed first."""


class Ingest(Protocol):
    """Where sources deliver peers."""

    async def join(self, peer: PeerInfo, at_ns: int) -> FrameSink:
        """Connect a peer to its meeting's live session, starting one if there is none.

        Called when the transport is up, not when the offer arrives. Raises ConflictError when the meeting is INACTIVE,
        UnavailableError while draining.
        """
