"""`python -m bench [name ...]`: run all benchmarks, or those named, and print one table."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.row import Row


def main(names: list[str]) -> int:
    """Run the modules beside this one that have a `rows()`; 0 whatever the marks say, 2 for an unknown name.

    A row is told as soon as it is measured, where `rows()` gives them one by one.
    """
    here = Path(__file__).parent
    known = sorted(p.stem for p in here.glob("*.py") if p.stem not in ("__init__", "__main__", "row"))
    if unknown := set(names) - set(known):
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled, and so is what is measured
    console = Console()
    table = Table("what", "ours", "peer, same run", "mark", "", "note")
    for name in names or known:
        begin = time.monotonic()
        rows: Iterable[Row] = importlib.import_module(f"bench.{name}").rows()
        for row in rows:
            table.add_row(row.what, row.ours, row.peer, row.mark, "[green]yes[/]" if row.ok else "[red]no[/]", row.note)
            console.print(f"{row.what}: {row.ours} ({row.peer})", style="dim", highlight=False)
        console.print(f"{name}: {time.monotonic() - begin:.0f} s", style="dim")
    console.print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
