"""One measured mark. Machines differ and are busy: ratios hold, absolute times do not."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of `make bench`."""

    what: str
    "What was measured, with its size."
    ours: str
    "Our figure, with unit."
    peer: str
    "The figure of the peer (named), measured in the same run; empty where none can be."
    mark: str
    "What the figure is held against."
    ok: bool
    note: str = ""
