"""WHIP (RFC 9725): publications from offer to end, without any HTTP.

Owns the sessions: their ids, entity tags, size limits, who they belong to, and their tasks. The HTTP routes are in
api/; errors leave as core.errors types with a sentence for the publisher.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from tapedeck.core.errors import ConflictError, InvalidError, LimitError, NotFoundError, UnavailableError
from tapedeck.ports.sources import Ingest, PeerInfo
from tapedeck.sources.sdp import (
    IceCredentials,
    parse_description,
    parse_fragment,
    write_description,
    write_fragment,
)
from tapedeck.sources.webrtc import PeerSettings, WebRtcPeer

__all__ = [
    "EntityTagMissingError",
    "EntityTagStaleError",
    "PatchAnswer",
    "Published",
    "WhipServer",
    "WhipSettings",
]


class EntityTagMissingError(ConflictError):
    """A PATCH without If-Match (HTTP 428)."""


class EntityTagStaleError(ConflictError):
    """If-Match names another ICE session than the present one (HTTP 412)."""


@dataclass(frozen=True, slots=True)
class WhipSettings:
    """Limits of the WHIP endpoint."""

    peers: PeerSettings = field(default_factory=PeerSettings)
    max_offer_bytes: int = 65_536
    max_fragment_bytes: int = 16_384
    max_sessions: int = 1_000
    drain_retry_after_s: int = 10
    "What a publisher is told to wait while the server drains."


class Published(NamedTuple):
    """Answer to an offer: 201 with `Location` made of the session id."""

    session_id: str
    answer_sdp: str
    etag: str
    "With its quotes, as in the ETag header."


class PatchAnswer(NamedTuple):
    """Answer to a PATCH: 204 without a body (trickle), or 200 with a fragment (ICE restart) and a new entity tag."""

    status: int
    body: str | None
    etag: str


class _Session:
    def __init__(self, peer: WebRtcPeer, kind: str, mid: str, remote: IceCredentials) -> None:
        self.peer = peer
        self.kind = kind
        self.mid = mid
        self.remote = remote
        self.etag = _new_etag()
        self.lock = asyncio.Lock()
        self.task: asyncio.Task[None] | None = None


def _new_etag() -> str:
    return f'"{secrets.token_hex(8)}"'


class WhipServer:
    """All publications of this process."""

    def __init__(
        self,
        ingest: Ingest,
        settings: WhipSettings | None = None,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`clock` gives monotonic ns."""
        self._ingest = ingest
        self._settings = settings or WhipSettings()
        self._clock = clock
        self._sessions: dict[str, _Session] = {}
        self._draining = False

    def __len__(self) -> int:
        """Publications, connected or about to."""
        return len(self._sessions)

    async def offer(self, peer: PeerInfo, offer_sdp: str) -> Published:
        """Answer an offer and start receiving.

        Raises InvalidError with the reason for an offer that cannot be answered (the face says 422), UnavailableError
        while draining or without a free port, LimitError for too many publications. Nothing is left of a refused one.
        """
        self._admit()
        if len(offer_sdp.encode()) > self._settings.max_offer_bytes:
            raise InvalidError(f"the offer is larger than {self._settings.max_offer_bytes} bytes")
        offer = parse_description(offer_sdp)
        session_id = secrets.token_urlsafe(24)
        connection = WebRtcPeer(
            peer,
            self._ingest,
            self._settings.peers,
            clock=self._clock,
            on_connected=lambda: self._supersede(session_id),
        )
        answer = await connection.answer(offer)
        try:
            self._admit()
        except BaseException:
            await connection.abandon()
            raise
        remote = offer.transport.ice or IceCredentials("", "")
        first = next(section for section in answer.sections if section.port)
        session = self._sessions[session_id] = _Session(connection, first.kind, first.mid, remote)
        session.task = asyncio.create_task(self._run(session_id, session), name=f"peer {peer.peer_id}")
        return Published(session_id, write_description(answer), session.etag)

    def _admit(self) -> None:
        if self._draining:
            raise UnavailableError(
                "the server is shutting down and takes no new publications",
                retry_after_s=self._settings.drain_retry_after_s,
            )
        if len(self._sessions) >= self._settings.max_sessions:
            raise LimitError(f"this server takes at most {self._settings.max_sessions} publications", retry_after_s=30)

    async def _run(self, session_id: str, session: _Session) -> None:
        try:
            await session.peer.run()
        finally:
            self._sessions.pop(session_id, None)

    def _supersede(self, session_id: str) -> None:
        """A peer has connected: older ones of the same publication are ghosts if they are silent."""
        new = self._sessions[session_id].peer
        for session in self._sessions.values():
            old = session.peer
            if old is not new and old.connected and _publication(old.info) == _publication(new.info):
                old.superseded = True

    def owner(self, session_id: str) -> PeerInfo:
        """Who published a session, for the caller to compare with who asks. Raises NotFoundError."""
        return self._find(session_id).peer.info

    async def patch(self, session_id: str, sdpfrag: str, if_match: str | None) -> PatchAnswer:
        """Trickle candidates, or restart ICE when the fragment has new credentials (RFC 9725 4.3).

        Raises NotFoundError, EntityTagMissingError (428), EntityTagStaleError (412), InvalidError, UnavailableError,
        and ConflictError for a restart before the first connection. The session lives on after each of them.
        """
        session = self._find(session_id)
        if if_match is None:
            raise EntityTagMissingError("a PATCH needs If-Match with the session's entity tag, or * to restart ICE")
        if len(sdpfrag.encode()) > self._settings.max_fragment_bytes:
            raise InvalidError(f"the SDP fragment is larger than {self._settings.max_fragment_bytes} bytes")
        fragment = parse_fragment(sdpfrag)
        tags = [tag.strip() for tag in if_match.split(",")]
        async with session.lock:
            if "*" not in tags and session.etag not in tags:
                raise EntityTagStaleError("If-Match does not name the present ICE session")
            if fragment.ice is None or fragment.ice == session.remote:
                await session.peer.trickle(fragment)
                return PatchAnswer(204, None, session.etag)
            if not session.peer.connected:
                raise ConflictError("ICE cannot be restarted before the session was connected")
            ours = await session.peer.restart_ice(fragment.ice, fragment)
            session.remote = fragment.ice
            session.etag = _new_etag()
            return PatchAnswer(200, write_fragment(ours, session.kind, session.mid), session.etag)

    async def delete(self, session_id: str) -> None:
        """End a session; returns when it is over. Raises NotFoundError."""
        await self._end([self._find(session_id)], "the publisher ended the session")

    async def disconnect(self, meeting_id: str, participant_id: str | None = None) -> None:
        """End the publications of a participant, or of all in a meeting; returns when they are over."""
        chosen = [
            session
            for session in self._sessions.values()
            if session.peer.info.meeting_id == meeting_id and participant_id in (None, session.peer.info.participant_id)
        ]
        await self._end(chosen, "disconnected by the meeting")

    def rename(self, meeting_id: str, participant_id: str, name: str) -> None:
        """A participant's display name changed."""
        for session in self._sessions.values():
            if (session.peer.info.meeting_id, session.peer.info.participant_id) == (meeting_id, participant_id):
                session.peer.rename(name)

    def drain(self) -> None:
        """Refuse new publications from now on; those that run go on."""
        self._draining = True

    async def close(self) -> None:
        """Drain, end all publications and return when they are over."""
        self.drain()
        await self._end(list(self._sessions.values()), "the server is shutting down")

    async def _end(self, sessions: list[_Session], why: str) -> None:
        for session in sessions:
            session.peer.end(why)
        tasks = [session.task for session in sessions if session.task is not None]
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)

    def _find(self, session_id: str) -> _Session:
        session = self._sessions.get(session_id)
        if session is None:
            raise NotFoundError("there is no such WHIP session")
        return session


def _publication(info: PeerInfo) -> tuple[str, str, str]:
    return info.meeting_id, info.participant_id, info.origin
