"""What a sender tells whoever started it: lines of JSON. Neither an address nor a key is in any of them."""

from __future__ import annotations

import json
import time
from typing import TextIO

__all__ = ["FailedError", "Report"]

_ALIVE_S = 2.0


class FailedError(Exception):
    """The attempt is over; the text may be shown. `final`: trying again is of no use."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


class Report:
    """One attempt's."""

    def __init__(self, sink: TextIO) -> None:
        self._sink = sink
        self._told = 0.0
        self._is_live = False

    def live(self) -> None:
        """The server was sent the first of the film. Again is no news."""
        if not self._is_live:
            self._is_live = True
            self.say(event="live")

    def alive(self) -> None:
        """To be called at each beat."""
        now = time.monotonic()
        if now - self._told >= _ALIVE_S:
            self.say(event="alive")
            self._told = now

    def say(self, **message: object) -> None:
        """A line to the parent. OSError when it is gone."""
        self._sink.write(json.dumps(message) + "\n")
        self._sink.flush()
