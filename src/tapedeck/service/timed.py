"""Timed metadata of running recordings, as backends say it; what people say in a meeting comes through capture.

Owns when a recording takes it and how much. Refuses to keep any: each text is an event of the media log.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime

from tapedeck.core.errors import ConflictError, LimitError, NotFoundError
from tapedeck.core.meeting import App
from tapedeck.core.recording import RecordingState, WrongStateError
from tapedeck.core.timed import CLOSE, Allowance
from tapedeck.core.times import to_ms, whole_ms
from tapedeck.db import recordings
from tapedeck.db.engine import Database
from tapedeck.ports.clock import Clock
from tapedeck.ports.control import CaptureControl

__all__ = ["TimedService"]

_KEPT = 1000
_RETRY_S = 1


class TimedService:
    """Timed metadata of one node's recordings."""

    def __init__(self, db: Database, clock: Clock, control: CaptureControl) -> None:
        self._db = db
        self._clock = clock
        self._control = control
        self._allowances: OrderedDict[str, Allowance] = OrderedDict()
        "By recording; of more than are kept, the one that was quiet the longest begins anew."

    async def say(self, app: App, recording_id: str, text: str) -> datetime:
        """Put a text (`core.timed.text_of`) at this moment of the film; when that is.

        NotFoundError; WrongStateError: it is not recording now; ConflictError: it was not started for it, or was
        closed; LimitError: too many at once; UnavailableError: try again.
        """
        found = recordings.find_with_meeting(self._db, app.id, recording_id)
        if found is None:
            raise NotFoundError(f"Recording not found: {recording_id}")
        recording = found[0]
        if not recording.options.timed:
            raise ConflictError("The recording takes no timed metadata: start one with interactive_config")
        closes_a_pause = recording.state is RecordingState.PAUSED and text == CLOSE
        if recording.state is not RecordingState.CAPTURING and not closes_a_pause:
            raise WrongStateError("add timed metadata to", recording.state)
        now = whole_ms(self._clock.now())
        if not self._allowance(recording_id).take(to_ms(now) * 1_000_000):
            raise LimitError("Too much timed metadata at once", _RETRY_S)
        if not await self._control.say(recording.meeting_id, recording_id, text):
            raise ConflictError(f"The recording takes no more timed metadata: {CLOSE} ended it, or nobody sends media")
        return now

    def _allowance(self, recording_id: str) -> Allowance:
        allowance = self._allowances.setdefault(recording_id, Allowance())
        self._allowances.move_to_end(recording_id)
        if len(self._allowances) > _KEPT:
            self._allowances.popitem(last=False)
        return allowance
