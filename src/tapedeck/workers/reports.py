"""The reports of one session: heard by its host, and handed over to the service one by one and in order.

A report waits for a database that cannot be written now, however long that takes: media is going into the log, and the
service must learn of it. Owns the queue and its task; what a report says is the host's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog

from tapedeck.core.errors import NotFoundError, UnavailableError

__all__ = ["Listener", "Report", "Reports"]

log = structlog.get_logger(__name__)

Report = Callable[[], Awaitable[None]]

_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 5.0
_TRIES = 5
"""Of a report that fails for another reason than the database: those behind it have waited long enough then."""


class Reports:
    """A queue with its own task. `put` until `finish`."""

    def __init__(self, session_id: str, first_delay_s: float = _FIRST_DELAY_S) -> None:
        """Needs a running event loop. `first_delay_s` is the pause before the second try; it doubles."""
        self._session_id = session_id
        self._first_delay_s = first_delay_s
        self._queue: asyncio.Queue[Report | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._run(), name=f"reports {session_id}")

    def put(self, report: Report) -> None:
        """Hand over after all that were put before."""
        self._queue.put_nowait(report)

    async def caught_up(self, timeout_s: float) -> None:
        """Return when all that was put so far is handed over, or after `timeout_s`."""
        heard = asyncio.Event()

        async def hear() -> None:
            heard.set()

        self.put(hear)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await heard.wait()

    async def finish(self, timeout_s: float | None = None) -> None:
        """Return when all is handed over, or given up after `timeout_s`."""
        self._queue.put_nowait(None)
        try:
            async with asyncio.timeout(timeout_s):
                await self._task
        except TimeoutError:
            # What they say of media is in the log, and is found there after the next start.
            log.error("capture.reports_lost", session_id=self._session_id, count=self._queue.qsize())

    async def _run(self) -> None:
        while (report := await self._queue.get()) is not None:
            await self._hand_over(report)

    async def _hand_over(self, report: Report) -> None:
        attempt, delay_s = 0, self._first_delay_s
        while attempt < _TRIES:
            try:
                await report()
                return
            except NotFoundError:
                log.info("capture.report_late", session_id=self._session_id)
                return
            except UnavailableError as exc:
                log.warning("capture.report_waits", session_id=self._session_id, reason=str(exc), retry_in_s=delay_s)
            except Exception:
                attempt += 1
                log.exception("capture.report_failed", session_id=self._session_id, attempt=attempt)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _LONGEST_DELAY_S)


class Listener:
    """Hears one session (`capture.log.CaptureListener`)."""

    def __init__(self, meeting_id: str, capturing: Callable[[str, str, datetime], None]) -> None:
        """`capturing` gets the meeting, the recording, and when its film starts."""
        self._meeting_id = meeting_id
        self._capturing = capturing

    def on_capturing(self, recording_id: str, at: datetime) -> None:
        """The first media of a recording is stored."""
        self._capturing(self._meeting_id, recording_id, at)

    def on_problem(self, session_id: str, text: str | None) -> None:
        """The log cannot be written; None when it can again."""
        if text is None:
            log.info("capture.mended", session_id=session_id)
        else:
            log.error("capture.troubled", session_id=session_id, reason=text)
