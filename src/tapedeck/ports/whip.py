"""What the HTTP face asks of the WHIP endpoint (RFC 9725): sessions by offer, trickle and ICE restart, end.

The face owns HTTP (routes, tokens, headers, CORS); the endpoint owns SDP and ICE. It knows nothing of tokens: a peer
that reaches it is already authorised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tapedeck.ports.sources import PeerInfo

__all__ = ["WhipAnswer", "WhipPatched", "WhipServer"]


@dataclass(frozen=True, slots=True)
class WhipAnswer:
    """A session that was just made."""

    session_id: str
    "Names the session in its URL: unreserved characters only, not to be guessed."
    sdp: str
    "The answer, with the server's candidates in it."
    etag: str
    "Entity tag of the ICE session, without quotes."


@dataclass(frozen=True, slots=True)
class WhipPatched:
    """What a PATCH led to. `sdp` is None when there is nothing to say (trickle): the face answers 204 then."""

    etag: str
    sdp: str | None = None
    "An SDP fragment (RFC 8840) with the new ICE credentials and candidates after an ICE restart."


class WhipServer(Protocol):
    """The sessions of one node."""

    async def offer(self, peer: PeerInfo, sdp: str) -> WhipAnswer:
        """Answer an offer.

        InvalidError: it cannot be answered (the text says why); UnavailableError: draining. ConflictError: the meeting
        takes nobody now.
        """

    def peer(self, session_id: str) -> PeerInfo:
        """Whose session it is; NotFoundError when there is none (any more)."""

    async def patch(self, session_id: str, fragment: str, if_match: str | None) -> WhipPatched:
        """Take a trickled candidate or restart ICE.

        `if_match` is the tag the client believes in, without quotes, or `*`, or None. NotFoundError: no such session;
        ConflictError: the tag is not the current one; InvalidError: the fragment makes no sense.
        """

    async def delete(self, session_id: str) -> None:
        """End a session; NotFoundError when there is none."""
