"""Who is in focus: the one person whom a layout shows large, chosen calmly enough to look at.

Owns the rules. Who is large stays so while they speak, and until somebody else does; nobody is large for less than
`HOLD_NS`, unless they leave. `core/speaker.py` says who speaks. Refuses to know layouts and screens.
"""

from __future__ import annotations

from collections.abc import Sequence

from tapedeck.core.choose import Person

__all__ = ["HOLD_NS", "Focus"]

HOLD_NS = 1_500_000_000
"""The large tile does not change again before this."""


class Focus:
    """Ask whenever people, or who of them speaks, have changed, and at `due_ns`."""

    def __init__(self) -> None:
        self.due_ns: int | None = None
        "When to ask again though nothing has changed: somebody waits for the large tile."
        self._who: str | None = None
        self._since_ns = 0
        self._is_seen = True

    def update(self, t_ns: int, people: Sequence[Person], *, is_seen: bool = True) -> str | None:
        """The participant in focus of those who are present (in order of their first join); None for nobody.

        `t_ns` must not be before the last one given. Not `is_seen`: something else has the large tile. It changes
        freely then, and whoever gets it back holds it from there on.
        """
        self.due_ns = None
        if is_seen and not self._is_seen:
            self._since_ns = t_ns
        self._is_seen = is_seen
        current = next((p for p in people if p.participant_id == self._who), None)
        if current is None:
            self._turn_to(_first_of(people), t_ns)
        elif not current.speaking:
            speaker = next((p for p in people if p.speaking), None)
            if speaker is not None and (not is_seen or t_ns - self._since_ns >= HOLD_NS):
                self._turn_to(speaker, t_ns)
            elif speaker is not None:
                self.due_ns = self._since_ns + HOLD_NS
        return self._who

    def _turn_to(self, person: Person | None, t_ns: int) -> None:
        self._who, self._since_ns = None if person is None else person.participant_id, t_ns


def _first_of(people: Sequence[Person]) -> Person | None:
    """Who speaks, else who spoke last, else the first with a camera, else the first."""
    return max(people, key=lambda p: (p.speaking, p.spoke_ns, p.camera is not None), default=None)
