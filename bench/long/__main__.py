"""`python -m bench.long serve ...`: a server whose renders are those of `child.py`."""

from __future__ import annotations

import sys
from functools import partial

from tapedeck.cli.main import main
from tapedeck.workers.films import FilmWorker
from tapedeck.workers.render import RenderHost

if __name__ == "__main__":
    command = (sys.executable, "-m", "bench.long.child")
    FilmWorker.__init__.__kwdefaults__ |= {"renders": partial(RenderHost, command=command)}  # type: ignore[operator]
    main()
