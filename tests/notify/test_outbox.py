"""Which statuses of recordings are spoken of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tapedeck.adapters.storage.local import LocalStore
from tapedeck.core.happenings import Happening, HappeningKind
from tapedeck.core.meeting import App, Meeting
from tapedeck.core.recording import Recording, RecordingState
from tapedeck.notify.outbox import Composer

AT = datetime(2026, 3, 2, tzinfo=UTC)
CHANGES = [
    (None, RecordingState.REQUESTED, "INVOKED"),
    (RecordingState.STARTING, RecordingState.CAPTURING, "RECORDING"),
    (RecordingState.CAPTURING, RecordingState.PAUSED, "PAUSED"),
    (RecordingState.CAPTURING, RecordingState.CLOSING, "UPLOADING"),
    (RecordingState.UPLOADING, RecordingState.DONE, "UPLOADED"),
    (RecordingState.CLOSING, RecordingState.FAILED, "ERRORED"),
]


@pytest.mark.parametrize(("previous", "state", "word"), CHANGES)
async def test_statuses_that_are_not_chosen_are_not_told(
    tmp_path: Path, previous: RecordingState | None, state: RecordingState, word: str
) -> None:
    store = LocalStore(tmp_path, "http://x", b"k" * 32)
    recording = Recording("r", "a", "m", "f.mp4", AT, state=state)
    meeting = Meeting("m", "a", AT, AT)
    happening = Happening(1, HappeningKind.RECORDING, AT, App("a", "acme", "A", AT), meeting, None, recording, previous)
    chosen = Composer(store, str, ("RECORDING", "UPLOADING", "UPLOADED", "ERRORED"))
    assert await Composer(store, str)(happening) is not None
    assert (await chosen(happening) is not None) == (word not in ("INVOKED", "PAUSED"))
    session = replace(happening, kind=HappeningKind.SESSION_STARTED, recording=None)
    assert await chosen(session) is not None
