"""The checker's verdict: numbers per person, findings about the film, and a table a person can read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import StringIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["Finding", "PersonRow", "Report"]

_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was held against its bar."""

    what: str
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class PersonRow:
    """The numbers of one person. `*_due` is how many there should be; times are ns, None where nothing was measured."""

    name: str
    rgb: tuple[int, int, int]
    seen: int
    seen_due: int
    flashes: int
    flashes_due: int
    beeps: int
    beeps_due: int
    av_p95_ns: int | None
    av_median_ns: int | None
    skew_ns: int | None
    forbidden: int
    strange: int


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. `ok` only when every finding is."""

    rows: tuple[PersonRow, ...]
    findings: tuple[Finding, ...]
    floor_dbfs: float

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.findings)

    @property
    def problems(self) -> tuple[str, ...]:
        """One line per failed finding."""
        return tuple(f"{finding.what}: {finding.text}" for finding in self.findings if not finding.ok)

    def __rich__(self) -> RenderableType:
        people = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("", "person"):
            people.add_column(column)
        for column in ("seen", "bars", "beeps", "A/V p95", "median", "skew", "stray", "corrupt"):
            people.add_column(column, justify="right")
        for row in self.rows:
            people.add_row(
                Text("██", f"rgb({row.rgb[0]},{row.rgb[1]},{row.rgb[2]})"),
                row.name,
                f"{100 * row.seen / row.seen_due:.1f} %" if row.seen_due else "-",
                f"{row.flashes}/{row.flashes_due}",
                f"{row.beeps}/{row.beeps_due}",
                _ms(row.av_p95_ns),
                _ms(row.av_median_ns),
                _ms(row.skew_ns),
                str(row.forbidden),
                str(row.strange),
            )
        facts = Table(box=None, pad_edge=False, show_header=False)
        names = tuple(f"{row.name} " for row in self.rows)
        for finding in self.findings:
            if not finding.ok or not finding.what.startswith(names):
                mark = Text("ok", "green") if finding.ok else Text("BAD", "bold red")
                facts.add_row(mark, finding.what, finding.text)
        floor = "silence" if math.isinf(self.floor_dbfs) else f"{self.floor_dbfs:.0f} dBFS"
        verdict = Text("verdict: good", "bold green") if self.ok else Text("verdict: BAD", "bold red")
        return Group(people, Text(), facts, Text(f"between the beeps: {floor}", "dim"), Text(), verdict)

    def __str__(self) -> str:
        text = StringIO()
        Console(width=110, color_system=None, file=text).print(self)
        return text.getvalue()


def _ms(value_ns: int | None) -> str:
    return "-" if value_ns is None else f"{value_ns / _MS:.1f} ms"
