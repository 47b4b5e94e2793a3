"""What the node's child processes have in common: they end when they are asked to, and with their parent."""

from __future__ import annotations

import contextlib
import ctypes
import queue
import signal
import sys
import threading

__all__ = ["die_with_parent", "stop_on_sigterm"]

_PR_SET_PDEATHSIG = 1
"""prctl(2)."""


def stop_on_sigterm(stop: threading.Event) -> None:
    """Set `stop` at SIGTERM, from a thread: the signal may come while the main thread holds the lock of `stop`, to wait
    for it, and a handler that took it too would wait for ever. `put` may be interrupted by itself."""
    asked: queue.SimpleQueue[None] = queue.SimpleQueue()

    def wait() -> None:
        asked.get()
        stop.set()

    threading.Thread(target=wait, name="signal", daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: asked.put(None))


def die_with_parent() -> None:
    """Have the kernel end this process when its parent ends; what a system does not offer is left out."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
