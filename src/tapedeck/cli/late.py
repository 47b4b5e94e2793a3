"""Modules that are imported when something of them is needed.

The server's composition takes two seconds to import; `tapedeck replay` and `tapedeck show` need nothing of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["LateModule"]


class LateModule:
    """Stands for a module; its first attribute that is asked for imports it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)
