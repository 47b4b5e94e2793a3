"""What is known of the fragments of a film that grows: a line each, by the render, for the server. Pure.

A line is there only when its fragment is; a line that is cut off (a process died in it) is as if it were not there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tapedeck.core.hls import Segment
from tapedeck.core.times import from_ms

__all__ = ["Anchor", "Fragment", "anchors_of", "line_of", "parse_lines", "segments_of", "time_of"]

_MS_NS = 1_000_000
_JUMP_MS = 40
"""What follows so much later than it should, or earlier, was captured after a pause."""

Anchor = tuple[int, int | None]
"""Film time in ns, and when that was captured (UTC, ms): a new one where film and life do not go on together.

None: from here on nobody knows, as in a hole and behind the last fragment.
"""


@dataclass(frozen=True, slots=True)
class Fragment:
    """A fragment of a film. Film times in ns."""

    start_ns: int
    end_ns: int
    offset: int
    "Where it lies in the file of fragments."
    size: int
    run: int
    "Which attempt of the render made it: each has a head of its own."
    at_ms: int | None
    "When its beginning was captured (UTC, ms)."
    last_ms: int | None = None
    "When its last picture was."
    crc32c: int | None = None
    "Of its bytes."


def line_of(fragment: Fragment) -> bytes:
    """A fragment as a line."""
    one = fragment
    numbers = (one.start_ns, one.end_ns, one.offset, one.size, one.run, one.at_ms, one.last_ms, one.crc32c)
    return json.dumps(numbers).encode() + b"\n"


def parse_lines(data: bytes, media_size: int) -> tuple[list[Fragment], int]:
    """The fragments in whole lines, as far as their media is there, and how many bytes these lines have."""
    found: list[Fragment] = []
    used = 0
    for line in data.splitlines(keepends=True):
        try:
            numbers = json.loads(line)
            one = Fragment(*numbers)
        except (ValueError, TypeError):
            break
        if not all(isinstance(number, int) for number in numbers[:5]):
            break
        if not all(isinstance(number, int | None) for number in numbers[5:]):
            break
        if not line.endswith(b"\n") or one.offset + one.size > media_size:
            break
        found.append(one)
        used += len(line)
    return found, used


def anchors_of(fragments: Sequence[Fragment]) -> list[Anchor]:
    """Where the time of day has to be told, because it does not follow, and where it ends to be known."""
    found: list[Anchor] = []
    expected_ms: int | None = None
    end_ns = 0
    for one in fragments:
        if expected_ms is not None and (one.at_ms is None or one.start_ns > end_ns):
            found.append((end_ns, None))
            expected_ms = None
        if one.at_ms is not None:
            if expected_ms is None or abs(one.at_ms - expected_ms) > _JUMP_MS:
                found.append((one.start_ns, one.at_ms))
            expected_ms = one.at_ms + (one.end_ns - one.start_ns) // _MS_NS
        end_ns = one.end_ns
    if expected_ms is not None:
        found.append((end_ns, None))
    return found


def time_of(anchors: Sequence[Anchor], film_ns: int) -> datetime | None:
    """When a moment of a film was captured; None where nobody knows."""
    before = [anchor for anchor in anchors if anchor[0] <= film_ns]
    if not before:
        return None
    start_ns, at_ms = before[-1]
    return None if at_ms is None else from_ms(at_ms) + timedelta(milliseconds=(film_ns - start_ns) // _MS_NS)


def segments_of(fragments: Sequence[Fragment], first: int = 0) -> list[Segment]:
    """What a playlist says of fragments; `first` is the number of the first of them.

    A break is only where there is one: the film is continuous over pauses and outages, because they are cut out of it.
    What comes from another attempt of the render was encoded anew, and what is missing (a disk was full) leaves a hole.
    """
    told = {film_ns for film_ns, _ in anchors_of(fragments)}
    found: list[Segment] = []
    last: Fragment | None = None
    for number, one in enumerate(fragments, first):
        is_break = last is not None and (one.run != last.run or one.start_ns != last.end_ns)
        at = None if one.at_ms is None or one.start_ns not in told else from_ms(one.at_ms)
        found.append(Segment(f"{number}.m4s", one.end_ns - one.start_ns, at, f"init-{one.run}.mp4", is_break))
        last = one
    return found
