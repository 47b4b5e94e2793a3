"""The way into a meeting: a WHIP endpoint over HTTP (RFC 9725), with one participant's token."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urljoin

import aiohttp

from tapedeck.core.errors import UnavailableError

__all__ = ["Door", "WhipDoor"]


class Door(Protocol):
    """Where offers are taken to."""

    async def enter(self, offer: str, source: str) -> tuple[str, str]:
        """The answer to an offer, and what names the session when leaving. UnavailableError: not let in."""

    async def leave(self, session: str) -> None:
        """End a session; one that is gone already is fine. UnavailableError: nobody there."""


class WhipDoor:
    """`POST /rtc/{meeting_id}/whip` of a server."""

    def __init__(self, http: aiohttp.ClientSession, base_url: str, meeting_id: str, token: str) -> None:
        """`base_url` is the server's root, such as http://127.0.0.1:8080; `http` stays the caller's."""
        self._http, self._url = http, f"{base_url.rstrip('/')}/rtc/{meeting_id}/whip"
        self._headers = {"Authorization": f"Bearer {token}"}

    async def enter(self, offer: str, source: str) -> tuple[str, str]:
        """POST the offer. UnavailableError with the server's words for anything but 201."""
        headers = {**self._headers, "Content-Type": "application/sdp"}
        try:
            async with self._http.post(self._url, params={"source": source}, data=offer, headers=headers) as response:
                text = await response.text()
                if response.status != 201:
                    raise UnavailableError(f"WHIP answered {response.status}: {text[:300]}")
                return text, urljoin(self._url, response.headers["Location"])
        except aiohttp.ClientError as exc:
            raise UnavailableError(f"the WHIP endpoint cannot be reached: {exc}") from exc

    async def renew(self, session: str, fragment: str) -> str:
        """PATCH the session with new ICE credentials; the server's. UnavailableError with its words: not 200."""
        headers = {**self._headers, "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*"}
        try:
            async with self._http.patch(session, data=fragment, headers=headers) as response:
                text = await response.text()
                if response.status != 200:
                    raise UnavailableError(f"WHIP answered {response.status}: {text[:300]}")
                return text
        except aiohttp.ClientError as exc:
            raise UnavailableError(f"the WHIP endpoint cannot be reached: {exc}") from exc

    async def leave(self, session: str) -> None:
        """DELETE the session."""
        try:
            async with self._http.delete(session, headers=self._headers) as response:
                await response.read()
        except aiohttp.ClientError as exc:
            raise UnavailableError(f"the WHIP endpoint cannot be reached: {exc}") from exc
