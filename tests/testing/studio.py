"""A meeting recorded without HTTP: people, the real receiver, capture and render in one process, checked to the frame.

The log tells the recorded spans exactly, so that the checker's edges have no width here.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.testing.stage import Stage

from tapedeck.capture.recover import new_session
from tapedeck.capture.session import TICK_S, CaptureSession
from tapedeck.core.output import Output, VideoOutput
from tapedeck.core.timeline import recording_spans
from tapedeck.medialog.reader import LogReader
from tapedeck.ports.sources import FrameSink, PeerInfo
from tapedeck.render.job import Job, run
from tapedeck.testing.clock import SharedClock
from tapedeck.testing.expect import Edge, Recorded

RECORDING = "the-recording"


class Studio(Stage):
    """A stage whose peers are captured. Implements `CaptureListener`."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self.log_dir = root / "log"
        self.capturing = asyncio.Event()
        self.problems: list[str] = []
        self.session: CaptureSession = new_session(
            self.log_dir,
            "the-session",
            "meeting",
            now_utc=datetime.now(UTC),
            now_ns=time.monotonic_ns(),
            listener=self,
        )

    async def join(self, peer: PeerInfo, at_ns: int) -> FrameSink:
        return self.session.join(peer, at_ns)

    def on_capturing(self, recording_id: str, at: datetime) -> None:
        self.capturing.set()

    def on_problem(self, session_id: str, text: str | None) -> None:
        if text:
            self.problems.append(text)

    async def tick(self) -> None:
        """As the host does, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self.session.tick(time.monotonic_ns())

    def start(self) -> None:
        self.session.start(RECORDING, time.monotonic_ns())

    async def pause(self) -> None:
        await self.session.pause(RECORDING, time.monotonic_ns())

    def resume(self) -> None:
        self.session.resume(RECORDING, time.monotonic_ns())

    async def stop(self) -> None:
        await self.session.stop(RECORDING, time.monotonic_ns())

    def render(self, name: str, *, live: bool = False) -> Path:
        """Make the film. Blocks."""
        job = Job(self.log_dir, RECORDING, self.root, (Output(name, VideoOutput()),), live=live)
        (file,), _ = run(job, threading.Event())
        return file.path

    def recorded(self, clock: SharedClock) -> tuple[Recorded, ...]:
        """The spans of the recording on the shared clock, from the log."""
        with LogReader(self.log_dir).timeline() as timeline:
            spans = recording_spans(timeline.poll(), RECORDING)
        found = []
        for span in spans:
            assert span.end_ns is not None
            start, end = (clock.at(self.session.zero_ns + at) for at in (span.start_ns, span.end_ns))
            found.append(Recorded(Edge(start, start), Edge(end, end)))
        return tuple(found)


@asynccontextmanager
async def open_studio(root: Path) -> AsyncIterator[Studio]:
    """A studio that is closed at the end."""
    studio = Studio(root)
    ticking = asyncio.create_task(studio.tick())
    try:
        yield studio
    finally:
        await studio.whip.aclose()
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
        await studio.session.aclose()
