"""What is wrong with a writer right now, and telling its owner when that begins and ends.

Owns the set of faults, one per source, and the callbacks. Refuses to mend anything.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from tapedeck.core.errors import TapedeckError

__all__ = ["Faults", "notify"]

_log = logging.getLogger(__name__)


class Faults:
    """Faults by source. Thread-safe; callbacks run on the thread that found the change."""

    def __init__(
        self, on_failure: Callable[[TapedeckError], None] | None, on_recovery: Callable[[], None] | None
    ) -> None:
        self._on_failure = on_failure
        self._on_recovery = on_recovery
        self._errors: dict[str, TapedeckError] = {}
        self._lock = threading.Lock()

    @property
    def current(self) -> TapedeckError | None:
        """The oldest fault that lasts; None when all is well."""
        with self._lock:
            return next(iter(self._errors.values()), None)

    def report(self, source: str, error: TapedeckError) -> None:
        """`source` fails. The owner hears of it once, until it works again or fails in another way."""
        with self._lock:
            known = self._errors.get(source)
            if known is not None and str(known) == str(error):
                return
            self._errors[source] = error
        if self._on_failure is not None:
            notify(self._on_failure, error)

    def clear(self, source: str) -> None:
        """`source` works. The owner hears when it was the last fault."""
        if not self._errors:
            return
        with self._lock:
            mended = self._errors.pop(source, None) is not None and not self._errors
        if mended and self._on_recovery is not None:
            notify(self._on_recovery)


def notify(callback: Callable[..., None], *args: object) -> None:
    """Call the owner; its errors are logged and go no further, since a thread that writes the log must not die of
    them."""
    try:
        callback(*args)
    except Exception:
        _log.exception("a callback of the media log failed", extra={"action": "medialog.callback"})
