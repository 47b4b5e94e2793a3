"""A part of a film, and some of its people: what somebody asked for, in the terms of one log.

Owns the grid of pictures that a part begins and ends on, and who is meant by an id or a name. Refuses to know how a
film is made of it (`render/feed.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tapedeck.core.errors import InvalidError
from tapedeck.core.timeline import NameChanged, ParticipantJoined
from tapedeck.medialog.reader import LogReader

__all__ = ["AbsentError", "Excerpt", "one_of", "people_of"]

_S = 1_000_000_000


class AbsentError(InvalidError):
    """Whoever is named is not in the log, or not in the film; another attempt would not find them either."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Which part of a film, and whose. The default is all of it."""

    from_ns: int = 0
    to_ns: int | None = None
    "None: to its end."
    only: tuple[str, ...] | None = None
    "Ids, custom ids or names of participants; None: everybody."

    def check(self) -> None:
        """InvalidError when nothing could be in it."""
        if self.from_ns < 0 or (self.to_ns is not None and self.to_ns <= self.from_ns):
            raise InvalidError("A part of a film begins at its start or later, and ends after that.")
        if self.only is not None and not self.only:
            raise InvalidError("A film of nobody cannot be made: name somebody, or leave `only` out.")

    def part(self, fps: int) -> tuple[int, int | None] | None:
        """Film times of the pictures it begins and ends at; None for the whole film."""
        if not self.from_ns and self.to_ns is None:
            return None
        start = _picture(self.from_ns, fps)
        start_ns = -(
            -start * _S // fps
        )  # up, so that what is left of a film is not a nanosecond longer than its pictures
        if self.to_ns is None:
            return start_ns, None
        return start_ns, start_ns + max(_picture(self.to_ns, fps) - start, 1) * _S // fps


def _picture(film_ns: int, fps: int) -> int:
    """The nearest one."""
    return (2 * film_ns * fps + _S) // (2 * _S)


def people_of(log: LogReader, wanted: Sequence[str]) -> frozenset[str]:
    """Ids of the participants that are meant: by id, else by custom id, else by a name they had, in any case.

    AbsentError names whoever was not there.
    """
    ids: set[str] = set()
    custom: dict[str, set[str]] = {}
    names: dict[str, set[str]] = {}
    with log.timeline() as timeline:
        while events := timeline.poll(1024):
            for event in events:
                if isinstance(event, ParticipantJoined):
                    ids.add(event.participant_id)
                    custom.setdefault(event.custom_id, set()).add(event.participant_id)
                if isinstance(event, ParticipantJoined | NameChanged):
                    names.setdefault(event.name.casefold(), set()).add(event.participant_id)
    found: set[str] = set()
    for word in wanted:
        meant = {word} & ids or custom.get(word) or names.get(word.casefold())
        if not word or not meant:
            raise AbsentError(f"{word!r} was not there: give the id, the custom id or the name of a participant.")
        found |= meant
    return frozenset(found)


def one_of(log: LogReader, word: str, only: frozenset[str] | None = None) -> str:
    """The one participant who is meant, named as in `people_of`. `only`: who is in the film; None for everybody.

    AbsentError: nobody of them was there, or several are called so.
    """
    meant = people_of(log, (word,))
    if only is not None and not meant & only:
        raise AbsentError(f"{word!r} is not in the film, of which only others are: name somebody who is.")
    meant = meant if only is None else meant & only
    if len(meant) > 1:
        raise AbsentError(f"{word!r} are several people: give the id of one, which is {' or '.join(sorted(meant))}.")
    return next(iter(meant))
