"""The process of a render whose film begins with hours of repeated packets, as `long.json` in its directory says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bench.long.media import Order, lengthen
from tapedeck.media import mux
from tapedeck.render.child import main


class LongWriter(mux.FilmWriter):
    """A film with hours before its first picture."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        order = Order.read(Path.cwd())
        lengthen(self, order)
        order.note_done(Path.cwd())


if __name__ == "__main__":
    mux.FilmWriter = LongWriter  # type: ignore[misc] # what the film of a job is written by
    sys.exit(main())
