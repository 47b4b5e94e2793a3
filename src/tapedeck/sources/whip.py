"""WHIP (RFC 9725): publications from offer to end, without any HTTP.

Owns the sessions: their ids, entity tags, size limits, who they belong to, and their tasks. The HTTP routes are in
api/; errors leave as core.errors types with a sentence for the publisher.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from tapedeck.core.errors import ConflictError, InvalidError, LimitError, NotFoundError, UnavailableError
from tapedeck.ports.sources import Ingest, PeerInfo
from tapedeck.ports.whip import WhipAnswer, WhipPatched
from tapedeck.sources.sdp import (
    IceCredentials,
    parse_description,
    parse_fragment,
    write_description,
    write_fragment,
)
from tapedeck.sources.webrtc import PeerSettings, WebRtcPeer

__all__ = ["EntityTagMissingError", "EntityTagStaleError", "WhipLimits", "WhipServer"]


class EntityTagMissingError(ConflictError):
    """A PATCH without If-Match (RFC 9725 4.3.1 asks for HTTP 428)."""


class EntityTagStaleError(ConflictError):
    """If-Match names another ICE session than the present one (HTTP 412)."""


@dataclass(frozen=True, slots=True)
class WhipLimits:
    """How much the WHIP endpoint takes."""

    offer_length: int = 65_536
    fragment_length: int = 16_384
    sessions: int = 1_000
    drain_retry_after_s: int = 10
    "What a publisher is told to wait while the server drains."


_DEFAULT_PEERS = PeerSettings()
_DEFAULT_LIMITS = WhipLimits()


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
    return secrets.token_hex(8)


class WhipServer:
    """All publications of this process. Implements ports.whip.WhipServer."""

    def __init__(
        self,
        ingest: Ingest,
        peers: PeerSettings = _DEFAULT_PEERS,
        *,
        limits: WhipLimits = _DEFAULT_LIMITS,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`clock` gives monotonic ns."""
        self._ingest = ingest
        self._peers = peers
        self._limits = limits
        self._clock = clock
        self._sessions: dict[str, _Session] = {}
        self._draining = False

    def __len__(self) -> int:
        """Publications, connected or about to."""
        return len(self._sessions)

    async def offer(self, peer: PeerInfo, sdp: str) -> WhipAnswer:
        """Answer an offer and start receiving.

        Raises InvalidError with the reason for an offer that cannot be answered (the face says 422), UnavailableError
        while draining or without a free port, LimitError for too many publications. Nothing is left of a refused one.
        """
        self._admit()
        if len(sdp) > self._limits.offer_length:
            raise InvalidError(f"the offer is longer than {self._limits.offer_length} characters")
        offer = parse_description(sdp)
        session_id = secrets.token_urlsafe(24)
        connection = WebRtcPeer(
            peer,
            self._ingest,
            self._peers,
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
        return WhipAnswer(session_id, write_description(answer), session.etag)

    def _admit(self) -> None:
        if self._draining:
            raise UnavailableError(
                "the server is shutting down and takes no new publications",
                retry_after_s=self._limits.drain_retry_after_s,
            )
        if len(self._sessions) >= self._limits.sessions:
            raise LimitError(f"this server takes at most {self._limits.sessions} publications", retry_after_s=30)

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

    def peer(self, session_id: str) -> PeerInfo:
        """Whose session it is, for the caller to compare with who asks. Raises NotFoundError."""
        return self._find(session_id).peer.info

    async def patch(self, session_id: str, fragment: str, if_match: str | None) -> WhipPatched:
        """Trickle candidates, or restart ICE when the fragment has new credentials (RFC 9725 4.3).

        `if_match`: the entity tag without quotes, or `*`. Raises NotFoundError, EntityTagMissingError,
        EntityTagStaleError, InvalidError, and UnavailableError for a restart that is not possible now. The session
        lives on after each of them.
        """
        session = self._find(session_id)
        if if_match is None:
            raise EntityTagMissingError("a PATCH needs If-Match with the session's entity tag, or * to restart ICE")
        if len(fragment) > self._limits.fragment_length:
            raise InvalidError(f"the SDP fragment is longer than {self._limits.fragment_length} characters")
        theirs = parse_fragment(fragment)
        async with session.lock:
            if if_match not in ("*", session.etag):
                raise EntityTagStaleError("If-Match does not name the present ICE session")
            if theirs.ice is None or theirs.ice == session.remote:
                await session.peer.trickle(theirs)
                return WhipPatched(session.etag)
            if not session.peer.connected:
                raise UnavailableError("ICE cannot be restarted before the session has connected", retry_after_s=1)
            ours = await session.peer.restart_ice(theirs.ice, theirs)
            session.remote = theirs.ice
            session.etag = _new_etag()
            return WhipPatched(session.etag, write_fragment(ours, session.kind, session.mid))

    async def delete(self, session_id: str) -> None:
        """End a session; returns when it is over. Raises NotFoundError."""
        await self._end([self._find(session_id)], "the publisher ended the session")

    async def disconnect(self, meeting_id: str, participant_id: str | None = None) -> frozenset[str]:
        """End the publications of a participant, or of all in a meeting; returns when they are over, with the ids of
        the participants whose they were."""
        chosen = [
            session
            for session in self._sessions.values()
            if session.peer.info.meeting_id == meeting_id and participant_id in (None, session.peer.info.participant_id)
        ]
        await self._end(chosen, "disconnected by the meeting")
        return frozenset(session.peer.info.participant_id for session in chosen)

    def rename(self, meeting_id: str, participant_id: str, name: str) -> None:
        """A participant's display name changed."""
        for session in self._sessions.values():
            if (session.peer.info.meeting_id, session.peer.info.participant_id) == (meeting_id, participant_id):
                session.peer.rename(name)

    def drain(self) -> None:
        """Refuse new publications from now on; those that run go on."""
        self._draining = True

    async def aclose(self) -> None:
        """Drain, end all publications and return when they are over."""
        self.drain()
        await self._end(list(self._sessions.values()), "the server is shutting down")

    async def _end(self, sessions: list[_Session], why: str) -> None:
        for session in sessions:
            session.peer.end(why)
        tasks = [session.task for session in sessions if session.task is not None]
        if tasks:
            await asyncio.wait(tasks)  # not gather: whoever is cancelled here must not cut their end short

    def _find(self, session_id: str) -> _Session:
        session = self._sessions.get(session_id)
        if session is None:
            raise NotFoundError("there is no such WHIP session")
        return session


def _publication(info: PeerInfo) -> tuple[str, str, str]:
    return info.meeting_id, info.participant_id, info.origin
