"""Who is there, and what of it the log knows.

Owns the peers of a session and the difference between them and the log: while a peer is wanted by a recording its every
change is an event, and when one begins to want it the difference is written, so that a log explains itself. Refuses to
say anything of a peer that no recording wants.
"""

from __future__ import annotations

from collections.abc import Callable

from tapedeck.capture.log import Log
from tapedeck.capture.take import FLOWING_NS, Take
from tapedeck.capture.track import PeerRecorder, TrackRecorder
from tapedeck.core.frames import TrackInfo
from tapedeck.core.timeline import (
    ClockReport,
    NameChanged,
    ParticipantJoined,
    ParticipantLeft,
    TimelineEvent,
    TrackClosed,
    TrackMuted,
    TrackOpened,
    TrackUnmuted,
)

__all__ = ["Presence"]

_UNKNOWN_NS = 20_000_000
"""A peer that is just coming may have media this old."""


class Presence:
    """The peers of a session, in order of their coming, and those of them that the log has."""

    def __init__(self) -> None:
        self.peers: dict[str, PeerRecorder] = {}
        self._logged_peers: dict[str, ParticipantJoined] = {}
        self._logged_tracks: dict[str, tuple[TrackInfo, bool]] = {}
        "Open in the log, and whether muted there."

    @property
    def tracks(self) -> list[TrackRecorder]:
        """All open tracks."""
        return [track for peer in self.peers.values() for track in peer.tracks]

    def is_flowing(self, at_ns: int, take: Take) -> bool:
        """Whether media comes that a recording wants."""
        return any(
            t.flow.last_ns is not None and not t.flow.muted and at_ns - t.flow.last_arrival_ns < FLOWING_NS
            for t in self.tracks
            if take.wants(t.peer.info, t.info)
        )

    def complete_until(self, now_ns: int) -> int:
        """Capture time up to which nothing will come any more of those whom a recording wants."""
        known = (peer.complete_until(now_ns) for peer in self.peers.values() if peer.is_wanted)
        return min([now_ns - _UNKNOWN_NS, *known])

    def describe(
        self, log: Log, now_ns: int, not_before: Callable[[int], int], wants: Callable[[str, str], bool]
    ) -> None:
        """Write the difference between who is there and what the log knows; `not_before` clamps the times of events.

        `wants(participant_id, custom_id)`: whether somebody who is gone may still be spoken of.
        """
        here = {track.info.track_id for track in self.tracks}
        wanted = {key for key, peer in self._logged_peers.items() if wants(peer.participant_id, peer.custom_id)}
        now_ns = not_before(now_ns)
        for track_id, (info, _) in list(self._logged_tracks.items()):
            if track_id not in here and info.peer_id in wanted:
                self.write(log, TrackClosed(now_ns, track_id))
        for peer_id in [key for key in self._logged_peers if key in wanted and key not in self.peers]:
            gone = self._logged_peers[peer_id]
            self.write(log, ParticipantLeft(now_ns, gone.participant_id, peer_id))
        for peer in [peer for peer in self.peers.values() if peer.is_wanted]:
            known = self._logged_peers.get(peer.info.peer_id)
            if known is None:
                self.write(log, joined(peer, not_before(peer.joined_ns)))
            elif known.name != peer.name:
                self.write(log, NameChanged(now_ns, peer.info.participant_id, peer.name))
            for track in peer.tracks:
                self._describe_track(log, track, now_ns, not_before)

    def _describe_track(self, log: Log, track: TrackRecorder, now_ns: int, not_before: Callable[[int], int]) -> None:
        track_id = track.info.track_id
        if track_id not in self._logged_tracks:
            self.write(log, TrackOpened(not_before(track.flow.opened_ns), track.info))
        if self._logged_tracks[track_id][1] != track.flow.muted:
            self.write(log, (TrackMuted if track.flow.muted else TrackUnmuted)(now_ns, track_id))
        for report in track.reports:
            log.event(report)
        track.reports.clear()

    def write(self, log: Log, event: TimelineEvent) -> None:
        """Write one event, and remember what the log knows now."""
        if isinstance(event, ParticipantJoined):
            self._logged_peers[event.peer_id] = event
        elif isinstance(event, ParticipantLeft):
            if self._logged_peers.pop(event.peer_id, None) is None:
                return
        elif isinstance(event, NameChanged):
            for peer_id, known in self._logged_peers.items():
                if known.participant_id == event.participant_id and peer_id in self.peers:
                    peer = self.peers[peer_id]
                    self._logged_peers[peer_id] = joined(peer, known.at_ns)
        elif isinstance(event, TrackOpened):
            log.open_track(event.track)
            self._logged_tracks[event.track.track_id] = (event.track, False)
        elif isinstance(event, TrackClosed):
            if self._logged_tracks.pop(event.track_id, None) is None:
                return
            log.close_track(event.track_id)
        elif isinstance(event, TrackMuted | TrackUnmuted):
            if event.track_id not in self._logged_tracks:
                return
            info = self._logged_tracks[event.track_id][0]
            self._logged_tracks[event.track_id] = (info, isinstance(event, TrackMuted))
        elif isinstance(event, ClockReport) and event.track_id not in self._logged_tracks:
            return
        log.event(event)


def joined(peer: PeerRecorder, at_ns: int) -> ParticipantJoined:
    """The event of a peer's coming, with the name it has now."""
    info = peer.info
    return ParticipantJoined(at_ns, info.participant_id, info.peer_id, peer.name, info.custom_id, info.origin)
