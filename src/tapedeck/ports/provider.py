"""Who records a tenant's rooms when this server does not: another recorder, asked over the network.

The rooms that this server records itself are `service.recordings.RecordingService`'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from tapedeck.core.remote import RemoteAccount, RemoteRecording

__all__ = ["Providers", "RecordingProvider", "RemoteBytes"]


class RemoteBytes(Protocol):
    """A file that is being fetched: its whole size, and what is left of it."""

    @property
    def total(self) -> int:
        """Bytes of the whole file."""

    @property
    def start(self) -> int:
        """Where the rest begins: what was asked for, or 0 when the recorder sends only whole files, or another one."""

    @property
    def tag(self) -> str | None:
        """What changes when the file does (a strong entity tag, RFC 9110 8.8.3), if the recorder says it."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The rest. UnreachableError when it breaks off."""

    async def aclose(self) -> None:
        """Let go of it."""


class RecordingProvider(Protocol):
    """Another recorder, for one account. Everything raises:

    NotFoundError: it has no such thing; ConflictError: it is in a state that does not allow it; DestinationError: it
    refused us, so its owner has to mend something; UnavailableError: no answer, or none that makes sense.
    """

    async def make_room(self, title: str | None) -> str:
        """A new meeting there; its id."""

    async def start(self, meeting_id: str, config: Mapping[str, Any], allow_multiple: bool) -> RemoteRecording:
        """Record a meeting. `config` as of `core.options`. Never tried twice."""

    async def stop(self, recording_id: str) -> RemoteRecording:
        """End a recording."""

    async def status(self, recording_id: str) -> RemoteRecording:
        """How far it is, with fresh links."""

    async def recordings(self, meeting_id: str) -> Sequence[RemoteRecording]:
        """All recordings of a meeting, oldest first, as one answer however many pages it took."""

    async def fetch(self, url: str, start: int = 0, tag: str | None = None) -> RemoteBytes:
        """A finished file from the byte `start` on; whole, if it is no longer the one that `tag` is of.

        DestinationError when the link does not work.
        """

    async def watch(self, url: str, known: str | None) -> str:
        """Have changes of recordings told to `url`; the id that the callback has. `known` is an earlier one."""

    async def public_key(self) -> str:
        """PEM of the key that its callbacks are signed with."""


class Providers(Protocol):
    """Makes them."""

    def connect(self, account: RemoteAccount) -> RecordingProvider:
        """The recorder of an account. InvalidError when its address is none."""

    async def aclose(self) -> None:
        """Close all connections."""
