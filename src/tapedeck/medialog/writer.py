"""Writes the media log of one session: takes frames and events from the event loop, gets them to the disk from threads.

Owns the order of writing and the promises about it. What is handed over is written within 250 ms and synced within a
second, as far as the disk allows; frames always reach their files before the events that were reported after them;
what the disk refuses is kept and tried again, and reported once in one sentence. Refuses to decide what is recorded,
and to make up times: all are the caller's, on the capture clock.

Two threads, because a slow sync must not delay the next write: this one packs and writes, `syncer` syncs. Most of
their time they wait for the disk without holding the interpreter, and one `writev` takes all that a track has got.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ParamSpec

from tapedeck.core.errors import (
    ConflictError,
    InternalError,
    InvalidError,
    NotFoundError,
    TapedeckError,
    UnavailableError,
)
from tapedeck.core.frames import EncodedFrame, TrackInfo
from tapedeck.core.timeline import TimelineEvent
from tapedeck.medialog.disk import AppendFile, Disk, describe
from tapedeck.medialog.faults import Faults
from tapedeck.medialog.format import (
    RECORD_HEADER_SIZE,
    pack_event,
    pack_frame,
    pack_timeline_header,
    pack_track_header,
    salt_of,
)
from tapedeck.medialog.meta import Epoch, Meta, boot_id, timeline_path, track_path
from tapedeck.medialog.repair import Resumed, make_directory, reopen, write_meta
from tapedeck.medialog.stream import Stream
from tapedeck.medialog.syncer import Syncer, unstoppable_future

__all__ = ["LogWriter", "WriterOptions"]

_log = logging.getLogger(__name__)
_DROPPING = -1  # as limit of the queue: nothing is taken until half of it is written
_CLOSED = -2
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """How a writer goes about it. The defaults keep the promises of the log: written in 250 ms, synced in 1 s."""

    flush_interval_s: float = 0.1
    sync_interval_s: float = 0.5
    max_queue_bytes: int = 256 * 1024 * 1024
    "Media that may wait for the disk; when more comes, new media is dropped until half of it is written."
    low_water_bytes: int = 0
    "Free space below which `on_low_water` is called; 0 for no such check."
    close_grace_s: float = 5.0
    "How long `close` goes on trying when the disk refuses."


_DEFAULTS = WriterOptions()


class LogWriter:
    """The log of one session, being written.

    Made on the event loop: nothing touches the disk before the threads do. `frame` and `event` only append to a queue
    (about a microsecond) and are called from one thread; everything else may be called from any. The callbacks come
    from other threads: hand them over with `loop.call_soon_threadsafe`.

    - `on_failure(error)`: the disk refuses, or cannot keep up. `failed` is set, what can be kept is kept and tried
    again.
    - `on_recovery()`: all is well again and `failed` is None.
    - `on_low_water(free_bytes)`: space runs short; once, until there is more again.

    In a directory that has a log of the same session already, writing goes on at the end of it; use `resume` for
    that, which also continues the clock.
    """

    def __init__(
        self,
        root: Path,
        session_id: str,
        meeting_id: str,
        started_at: datetime,
        *,
        started_monotonic_ns: int | None = None,
        options: WriterOptions = _DEFAULTS,
        on_failure: Callable[[TapedeckError], None] | None = None,
        on_recovery: Callable[[], None] | None = None,
        on_low_water: Callable[[int], None] | None = None,
        disk: Disk | None = None,
        resumed: Resumed | None = None,
    ) -> None:
        """Start writing. `started_at` and `started_monotonic_ns` (default: now) are zero of the capture clock.

        InvalidError: an id cannot name a file.
        """
        self.root = root
        self.resumed = resumed
        self.dropped_frames = 0
        if resumed is None:
            began = time.monotonic_ns() if started_monotonic_ns is None else started_monotonic_ns
            self.meta = Meta(session_id, meeting_id, (Epoch(0, started_at, began, boot_id()),))
        else:
            self.meta = resumed.meta
        try:
            header = pack_timeline_header(session_id)
        except ValueError as exc:
            raise InvalidError(f"The session id cannot be used: {exc}.") from exc
        self._options = options
        self._disk = disk or Disk()
        self._faults = Faults(on_failure, on_recovery)
        self._lock_fd = None if resumed is None else resumed.lock_fd
        self._is_set_up = False
        self._has_spoiled = False
        salt = salt_of(session_id, session_id)
        self._timeline = Stream[TimelineEvent](
            AppendFile(self._disk, timeline_path(root), header),
            lambda event, _: (pack_event(salt, event),),
            lambda _: None,
            self._spoil,
        )
        self._tracks: dict[str, Stream[EncodedFrame]] = {}
        self._lock = threading.Lock()
        # Bytes of media ever taken, and ever settled (written or given up). One thread writes each, so neither needs
        # a lock.
        self._taken = 0
        self._settled = 0
        self._limit = options.max_queue_bytes
        self._sync_requests: deque[Future[None]] = deque()
        self._wake = threading.Event()
        self._close_by: float | None = None
        self._closed: Future[None] = unstoppable_future()
        self._syncer = Syncer(
            self._disk,
            root,
            self._timeline.file,
            self._faults,
            options.sync_interval_s,
            options.low_water_bytes,
            on_low_water,
        )
        self._syncer.start()
        threading.Thread(target=self._run, name="medialog-write", daemon=True).start()

    @classmethod
    def resume(
        cls,
        root: Path,
        now_utc: datetime,
        *,
        now_monotonic_ns: int | None = None,
        options: WriterOptions = _DEFAULTS,
        on_failure: Callable[[TapedeckError], None] | None = None,
        on_recovery: Callable[[], None] | None = None,
        on_low_water: Callable[[int], None] | None = None,
        disk: Disk | None = None,
    ) -> LogWriter:
        """Take up the log of a recorder that stopped or died. Blocks on the disk: call it in a thread.

        `writer.resumed.offset_ns` is the capture clock now: capture time = monotonic now - monotonic then + offset.
        It is greater than every time in the log (the latest is `resumed.last_ns`), whatever became of the clocks
        meanwhile. Errors as `repair.reopen`.
        """
        began = time.monotonic_ns() if now_monotonic_ns is None else now_monotonic_ns
        resumed = reopen(root, now_utc, began, boot_id())
        return cls(
            root,
            resumed.meta.session_id,
            resumed.meta.meeting_id,
            resumed.meta.started_utc,
            options=options,
            on_failure=on_failure,
            on_recovery=on_recovery,
            on_low_water=on_low_water,
            disk=disk,
            resumed=resumed,
        )

    @property
    def failed(self) -> TapedeckError | None:
        """Why the log cannot be written right now; None when all is well."""
        return self._faults.current

    @property
    def queued_bytes(self) -> int:
        """Media that waits for the disk."""
        return self._taken - self._settled

    def open_track(self, info: TrackInfo) -> None:
        """Begin a track's file; a track that is open already stays so. The owner reports TrackOpened itself.

        InvalidError: the id cannot name a file. ConflictError: the log is closed.
        """
        self._refuse_when_closed()
        try:
            header = pack_track_header(self.meta.session_id, info)
        except ValueError as exc:
            raise InvalidError(f"The track id cannot be used: {exc}.") from exc
        salt = salt_of(self.meta.session_id, info.track_id)
        with self._lock:
            known = self._tracks.get(info.track_id)
            if known is not None:
                known.is_closing = False
                return
            self._tracks[info.track_id] = Stream[EncodedFrame](
                AppendFile(self._disk, track_path(self.root, info.track_id), header),
                lambda frame, extra: (pack_frame(salt, frame, extra), frame.payload),
                self._settle,
                self._spoil,
            )

    def frame(self, track_id: str, frame: EncodedFrame) -> None:
        """Keep a frame of an open track; frames are written in the order of these calls.

        When `max_queue_bytes` wait already, the frame is dropped, `on_failure` tells, and the track's next frame is
        marked as a discontinuity. NotFoundError: the track is not open.
        """
        taken = self._taken + len(frame.payload) + RECORD_HEADER_SIZE
        try:
            queue = self._tracks[track_id].queue
        except KeyError:
            raise NotFoundError(f"Track {track_id} is not open.") from None
        if taken - self._settled > self._limit:
            self._drop(queue)
            return
        queue.append(frame)
        self._taken = taken

    def event(self, event: TimelineEvent) -> None:
        """Keep an event; it is written after every frame and event handed over before. ConflictError: the log is
        closed."""
        self._refuse_when_closed()
        self._timeline.queue.append(event)

    def close_track(self, track_id: str) -> None:
        """No further frame will come: the file is closed when all is written. Unknown ids are ignored."""
        with self._lock:
            stream = self._tracks.get(track_id)
            if stream is not None:
                stream.is_closing = True

    def sync(self) -> Future[None]:
        """Resolves when everything handed over so far would survive a power cut; cannot be cancelled.

        UnavailableError (in the future): the disk refuses now; the data is kept and tried again.
        """
        future = unstoppable_future()
        with self._lock:
            if self._close_by is None:
                self._sync_requests.append(future)
                self._wake.set()
                return future
        future.set_exception(ConflictError("The log is closed."))
        return future

    def close(self) -> Future[None]:
        """Write and sync everything, then end. Resolves when done; again gives the same future.

        UnavailableError (in the future): the disk refused for `close_grace_s`, and what was not written is lost.
        """
        with self._lock:
            if self._close_by is None:
                self._close_by = time.monotonic() + self._options.close_grace_s
                self._limit = _CLOSED
                self._wake.set()
        return self._closed

    def _refuse_when_closed(self) -> None:
        if self._close_by is not None:
            raise ConflictError("The log is closed.")

    def _settle(self, size_bytes: int) -> None:
        self._settled += size_bytes

    def _spoil(self, item: EncodedFrame | TimelineEvent) -> None:
        if isinstance(item, EncodedFrame):
            self._settled += len(item.payload) + RECORD_HEADER_SIZE
        self._has_spoiled = True
        name = type(item).__name__
        self._faults.report("record", InternalError(f"One {name} could not be stored and is missing from the capture."))

    def _drop(self, queue: deque[EncodedFrame | None]) -> None:
        self._refuse_when_closed()
        self.dropped_frames += 1
        if not queue or queue[-1] is not None:
            queue.append(None)
        if self._limit >= 0:
            self._limit = _DROPPING
            text = "The disk that holds the captures is too slow: new media is dropped until it has caught up."
            self._faults.report("queue", UnavailableError(text))

    def _run(self) -> None:
        while True:
            self._wake.wait(self._options.flush_interval_s)
            self._wake.clear()
            close_by = self._close_by  # read before the queues: what came before close() is in them
            done = self._flush()
            if close_by is not None and (done or time.monotonic() >= close_by):
                break
        for stream in self._tracks.values():
            self._syncer.retire(stream.file)
        self._syncer.stop()
        if self._lock_fd is not None:
            os.close(self._lock_fd)
        failed = self.failed
        if failed is None:
            self._closed.set_result(None)
        else:
            self._closed.set_exception(failed)

    def _flush(self) -> bool:
        """Write all that was handed over before this call; True when it is written."""
        self._has_spoiled = False
        waiters = [self._sync_requests.popleft() for _ in range(len(self._sync_requests))]
        # Count the events first: then every frame handed over before one of them is in its track's queue by now.
        events = len(self._timeline.queue)
        error = self._attempt(self._set_up)
        if error is None:
            for stream in list(self._tracks.values()):
                error = self._attempt(self._pump, stream, len(stream.queue)) or error
        if error is None:
            error = self._attempt(self._pump, self._timeline, events)
        self._make_room()
        self._let_go()
        if error is None:
            self._faults.clear("write")
            if not self._has_spoiled:
                self._faults.clear("record")
            self._syncer.finish(waiters)
            return True
        self._faults.report("write", error)
        for waiter in waiters:
            waiter.set_exception(error)
        return False

    def _attempt(self, step: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> TapedeckError | None:
        try:
            step(*args, **kwargs)
        except TapedeckError as exc:
            return exc
        except OSError as exc:
            return UnavailableError(describe(exc))
        except Exception:  # the thread must outlive whatever this is: there is more to write
            _log.exception("the media log failed", extra={"action": "medialog.write"})
            return InternalError("The media log failed for a reason of our own.")
        return None

    def _set_up(self) -> None:
        if not self._is_set_up:
            if self._lock_fd is None:
                self._lock_fd = make_directory(self.root)
            write_meta(self._disk, self.root, self.meta)
            self._syncer.mark_directory(self.root)
            self._is_set_up = True

    def _pump(self, stream: Stream[EncodedFrame] | Stream[TimelineEvent], count: int) -> None:
        if not stream.file.is_open:
            if stream.file.open():
                self._syncer.mark_directory(stream.file.path.parent)
            self._syncer.mark(stream.file)
        if count or stream.file.has_backlog:
            try:
                stream.pump(count)
            finally:
                self._syncer.mark(stream.file)

    def _make_room(self) -> None:
        with self._lock:
            if self._limit != _DROPPING or self.queued_bytes > self._options.max_queue_bytes // 2:
                return
            self._limit = self._options.max_queue_bytes
        self._faults.clear("queue")

    def _let_go(self) -> None:
        """Hand the files of closed tracks over to be closed."""
        with self._lock:
            done = [
                track_id
                for track_id, stream in self._tracks.items()
                if stream.is_closing and stream.file.is_open and not stream.queue and not stream.file.has_backlog
            ]
            for track_id in done:
                self._syncer.retire(self._tracks.pop(track_id).file)
