"""Gets written bytes through the system's caches to the disk, on a thread of its own.

Owns which files and directories wait for a sync, the order of syncing (tracks, then directories, then the timeline,
so that after a power cut the timeline speaks of no file that is not there), closing files that are done, and the look
at free space. Refuses to write anything.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from tapedeck.core.errors import UnavailableError
from tapedeck.medialog.disk import AppendFile, Disk, describe
from tapedeck.medialog.faults import Faults, notify

__all__ = ["Syncer", "unstoppable_future"]

_FREE_SPACE_EVERY_S = 5.0


class Syncer:
    """Syncs what is marked, `interval_s` after the last round began or at once when somebody waits."""

    def __init__(
        self,
        disk: Disk,
        root: Path,
        timeline: AppendFile,
        faults: Faults,
        interval_s: float,
        low_water_bytes: int,
        on_low_water: Callable[[int], None] | None,
    ) -> None:
        self._disk = disk
        self._root = root
        self._timeline = timeline
        self._faults = faults
        self._interval_s = interval_s
        self._low_water_bytes = low_water_bytes
        self._on_low_water = on_low_water
        self._is_low = False
        self._looked_at: float | None = None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        # dicts for their order
        self._files: dict[AppendFile, None] = {}
        self._directories: dict[Path, None] = {}
        self._retired: list[AppendFile] = []
        self._waiters: list[Future[None]] = []
        self._thread = threading.Thread(target=self._run, name="medialog-sync", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def mark(self, file: AppendFile) -> None:
        """The file was written to."""
        if file not in self._files:
            with self._lock:
                self._files[file] = None

    def mark_directory(self, path: Path) -> None:
        """A name was made in the directory."""
        with self._lock:
            self._directories[path] = None

    def retire(self, file: AppendFile) -> None:
        """Nothing more will be written to the file: close it after its last sync."""
        with self._lock:
            self._retired.append(file)

    def finish(self, waiters: list[Future[None]]) -> None:
        """Resolve the futures once all that is marked is synced; with an UnavailableError if it cannot be."""
        if waiters:
            with self._lock:
                self._waiters += waiters
            self._wake.set()

    def stop(self) -> None:
        """Sync and close everything, and return when the thread has ended. Nothing may be marked any more."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._stopping:
            self._wake.wait(max(0.0, began + self._interval_s - time.monotonic()))
            self._wake.clear()
            began = time.monotonic()
            self._sync()
            self._look_at_space(began)
        self._sync()
        self._timeline.close()

    def _sync(self) -> None:
        with self._lock:
            files, self._files = self._files, {}
            directories, self._directories = self._directories, {}
            retired, self._retired = self._retired, []
            waiters, self._waiters = self._waiters, []
        failure: OSError | None = None
        late = self._timeline in files
        files.pop(self._timeline, None)
        for file in files:
            failure = self._try(file) or failure
        for path in directories:
            try:
                self._disk.sync_directory(path)
            except OSError as exc:
                failure = exc
                self.mark_directory(path)
        if late and failure is None:
            failure = self._try(self._timeline)
        elif late:
            self.mark(self._timeline)
        if failure is None:
            self._faults.clear("sync")
        else:
            self._faults.report("sync", UnavailableError(describe(failure)))
        for file in retired:
            with self._lock:
                waits = file in self._files
                if waits and not self._stopping:
                    self._retired.append(file)
                    continue
            file.close()
        for waiter in waiters:
            if failure is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(UnavailableError(describe(failure)))

    def _try(self, file: AppendFile) -> OSError | None:
        try:
            file.sync()
        except OSError as exc:
            self.mark(file)
            return exc
        return None

    def _look_at_space(self, now: float) -> None:
        if not self._low_water_bytes or (self._looked_at is not None and now < self._looked_at + _FREE_SPACE_EVERY_S):
            return
        self._looked_at = now
        try:
            free = self._disk.free_bytes(self._root)
        except OSError:
            return  # not there yet, or the writer has worse to report
        if free < self._low_water_bytes and not self._is_low:
            self._is_low = True
            if self._on_low_water is not None:
                notify(self._on_low_water, free)
        elif free > self._low_water_bytes * 1.1:
            self._is_low = False


def unstoppable_future() -> Future[None]:
    """A future that nobody can cancel, so that it can always be resolved."""
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()
    return future
