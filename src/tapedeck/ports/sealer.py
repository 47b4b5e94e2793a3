"""What keeps credentials unreadable at rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

__all__ = ["Sealer"]


class Sealer(Protocol):
    """Encrypts a few short texts into one, with the server's own key."""

    def seal(self, secrets: Mapping[str, str]) -> str:
        """The texts as one sealed text, which can be stored anywhere."""

    def unseal(self, sealed: str) -> dict[str, str]:
        """The texts again. UnavailableError when the key they were sealed with is not known here."""

    def is_current(self, sealed: str) -> bool:
        """Whether the newest key sealed it."""
