"""What the service asks of the worker that captures a meeting, and what it hears back."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from tapedeck.core.meeting import SessionEnd
from tapedeck.core.wanted import TrackChoice

__all__ = ["CaptureControl", "CaptureEvents"]


class CaptureControl(Protocol):
    """Commands for the capture of one meeting. All are idempotent; unknown ids are ignored."""

    async def start(
        self,
        meeting_id: str,
        recording_id: str,
        tracks: TrackChoice | None = None,
        *,
        timed: bool = False,
        page: bool = False,
    ) -> None:
        """Record the meeting as soon as it has media; `CaptureEvents.on_capturing` tells when.

        With `tracks` only those are kept, from now on; NotFoundError when the meeting has no live session then;
        with `page` only the recording's web page is, as soon as it sends.
        `timed`: what is said to it or to the meeting is kept too.
        """

    async def say(self, meeting_id: str, recording_id: str, text: str) -> bool:
        """Put timed metadata at this moment of a recording. False: it takes none, or none any more.

        UnavailableError: it is not captured here now.
        """

    async def pause(self, meeting_id: str, recording_id: str) -> None:
        """Keep nothing from now on. Returns when the cut is in the log."""

    async def resume(self, meeting_id: str, recording_id: str) -> None:
        """Keep again from now on; video tracks are asked for a key frame."""

    async def stop(self, meeting_id: str, recording_id: str) -> None:
        """End the film now. Returns when the stop is in the log and the log is on disk."""

    async def rename(self, meeting_id: str, participant_id: str, name: str) -> None:
        """Show a participant under another name from now on."""

    async def disconnect(self, meeting_id: str, participant_id: str | None = None) -> Collection[str]:
        """End the publications of one participant, or of all; returns when they are over, with whose they were."""

    async def end_session(self, meeting_id: str) -> None:
        """End all publications and the live session, with what records it. Returns when it was reported.

        Who wants to join meanwhile is refused; who comes afterwards opens a new session.
        """


class CaptureEvents(Protocol):
    """Facts that capture reports to the service. Each call is one transaction there."""

    async def on_session_started(self, meeting_id: str, session_id: str, at: datetime) -> None:
        """The first participant joined."""

    async def on_session_ended(
        self, meeting_id: str, session_id: str, at: datetime, cause: SessionEnd = SessionEnd.EMPTY
    ) -> None:
        """The session is over."""

    async def on_joined(self, session_id: str, participant_id: str, peer_id: str, name: str, at: datetime) -> None:
        """A peer connected."""

    async def on_left(self, session_id: str, peer_id: str, at: datetime) -> None:
        """A peer is gone."""

    async def on_capturing(self, recording_id: str, session_id: str, at: datetime) -> None:
        """The first media of the recording is stored."""
