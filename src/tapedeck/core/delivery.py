"""When to try a store again, when to give it up, and when a recording counts as delivered. Pure.

Destinations are independent: one that fails never holds up another, and a film that lies somewhere is delivered. Owns
these rules; `workers/upload.py` follows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tapedeck.core.destination import Destination, DestinationKind, DestinationState
from tapedeck.core.recording import FilmFile

__all__ = ["Patience", "Verdict", "covers", "verdict_on"]


_FILMS = ("video", "audio", "track")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a store is tried. Pauses double from the first to the longest; all in seconds."""

    first_s: float = 1.0
    longest_s: float = 300.0
    jitter: float = 0.2
    "Each pause is longer or shorter by up to this share, so that what failed together does not come back together."
    unreachable_s: float = 21_600.0
    "A store that does not answer, or cannot now, is given up when its pauses add up to this."
    refused_s: float = 900.0
    "One that refuses (credentials, no such bucket) when they add up to this."

    def pause_s(self, attempts: int, chance: float) -> float:
        """The pause after so many failures in a row (1 and up); `chance` is random in 0 <= c < 1."""
        return self._pause(attempts) * (1 + self.jitter * (2 * chance - 1))

    def is_over(self, attempts: int, *, refused: bool) -> bool:
        """Whether a store that failed so often in a row is given up."""
        most_s = min(self.refused_s, self.unreachable_s) if refused else self.unreachable_s
        spent_s, attempt = 0.0, 1
        while attempt < attempts and spent_s < most_s:
            spent_s += self._pause(attempt)
            attempt += 1
        return spent_s >= most_s

    def _pause(self, attempts: int) -> float:
        return float(min(self.first_s * 2 ** min(attempts - 1, 60), self.longest_s))


class Verdict(StrEnum):
    """What the destinations of a recording come to."""

    OPEN = "open"
    "Something is on its way that nobody has complained of."
    DELIVERED = "delivered"
    "Some destination holds the film; others may still be tried."
    FAILED = "failed"
    "Nobody holds it, and nobody will."


def covers(destination: Destination, file: FilmFile) -> bool:
    """Whether a file goes to a destination: films to all, what is made to show them (stills) to the built-in bucket."""
    if destination.kind is not DestinationKind.BUCKET and file.kind not in _FILMS:
        return False
    return destination.layer is None or destination.layer == file.layer


def verdict_on(files: Sequence[FilmFile], destinations: Sequence[Destination]) -> Verdict:
    """What became of the files; none at all are delivered. One that all its destinations gave up does not hold up the
    others."""
    films = [file for file in files if file.kind in _FILMS]  # nobody waits for a still, no film fails for want of one
    held = not films  # of tracks there may be none
    for file in films:
        states = [_standing(destination) for destination in destinations if covers(destination, file)]
        if Verdict.OPEN in states:
            return Verdict.OPEN
        if Verdict.DELIVERED in states:
            held = True
        elif None in states:
            return Verdict.OPEN  # it is being tried again, and nobody else has it
    return Verdict.DELIVERED if held else Verdict.FAILED


def _standing(destination: Destination) -> Verdict | None:
    match destination.state:
        case DestinationState.DONE:
            return Verdict.DELIVERED
        case DestinationState.FAILED:
            return Verdict.FAILED
        case DestinationState.WAITING:
            return Verdict.OPEN if destination.error is None else None
