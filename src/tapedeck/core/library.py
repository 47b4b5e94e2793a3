"""What a tenant's library says of a recording: one word of state, made of the recording's own and of its archive.

The words are those of the rooms API (spec I1); nothing else of that API is known here.
"""

from __future__ import annotations

from enum import StrEnum

from tapedeck.core.recording import RecordingState

__all__ = ["LibraryStatus", "status_of"]

_S = RecordingState


class LibraryStatus(StrEnum):
    """Where a recording of a library is."""

    RECORDING = "recording"
    PROCESSING = "processing"
    READY = "ready"
    ARCHIVED = "archived"
    FAILED = "failed"


_STATUS = {
    _S.REQUESTED: LibraryStatus.RECORDING,
    _S.STARTING: LibraryStatus.RECORDING,
    _S.CAPTURING: LibraryStatus.RECORDING,
    _S.PAUSED: LibraryStatus.RECORDING,
    _S.CLOSING: LibraryStatus.PROCESSING,
    _S.RENDERING: LibraryStatus.PROCESSING,
    _S.UPLOADING: LibraryStatus.PROCESSING,
    _S.DONE: LibraryStatus.READY,
    _S.FAILED: LibraryStatus.FAILED,
}


def status_of(state: RecordingState, archived: bool = False) -> LibraryStatus:
    """The word for a state; a finished recording that was moved to the archive is `archived`."""
    status = _STATUS[state]
    return LibraryStatus.ARCHIVED if archived and status is LibraryStatus.READY else status
