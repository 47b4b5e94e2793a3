"""Query strings of the RealtimeKit face: one reader, whose problems are collected and raised together."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from datetime import datetime, timedelta

from starlette.datastructures import QueryParams

from tapedeck.core.errors import FieldProblem, InvalidError
from tapedeck.core.paging import Page
from tapedeck.core.times import parse_time, whole_ms

__all__ = ["Query"]

_NUMBER = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?([eE]\+?[0-9]{1,2})?")
_SEARCH_LIMIT = 256
_ALMOST_MS = timedelta(microseconds=999)


class Query:
    """The parameters of one request. Readers return None for what is absent or wrong; `done` raises for the wrong."""

    def __init__(self, params: QueryParams, prefix: str = "") -> None:
        self._params = params
        self._prefix = prefix
        self._problems: list[FieldProblem] = []

    def done(self) -> None:
        """InvalidError with one problem per parameter that was wrong."""
        if self._problems:
            raise InvalidError("; ".join(p.message for p in self._problems), tuple(self._problems))

    def text(self, name: str) -> str | None:
        """A string; the last one if there are several."""
        value = self._params.get(name)
        if value is not None and "\x00" in value:
            self._wrong(name, "must not have a NUL character")
            return None
        return value

    def search(self) -> str | None:
        """What `search` asks for; an empty one asks for nothing."""
        value = self.text("search")
        if value is not None and len(value) > _SEARCH_LIMIT:
            self._wrong("search", f"must have at most {_SEARCH_LIMIT} characters")
            return None
        return value or None

    def page(self) -> Page:
        """`page_no` and `per_page`: whole numbers from 0, written as integers or floats."""
        return Page(self.whole("page_no") or 0, self.whole("per_page") or 0)

    def flag(self, name: str) -> bool | None:
        """`true` or `false`."""
        value = self.choice(name, ("true", "false"))
        return None if value is None else value == "true"

    def choice(self, name: str, choices: Collection[str]) -> str | None:
        """One of some words."""
        value = self.text(name)
        if value is None or value in choices:
            return value
        self._wrong(name, f"must be one of {', '.join(choices)}")
        return None

    def choices(self, name: str, choices: Collection[str]) -> frozenset[str] | None:
        """Several of some words: the parameter repeated, comma-joined, or with `[]` behind its name."""
        given = [*self._params.getlist(name), *self._params.getlist(f"{name}[]")]
        words = [word.strip() for value in given for word in value.split(",")]
        if not given:
            return None
        if not all(word in choices for word in words):
            self._wrong(name, f"must be one or more of {', '.join(choices)}")
            return None
        return frozenset(words)

    def time(self, name: str, round_up: bool = False) -> datetime | None:
        """An ISO 8601 date or date-time in whole milliseconds: cut, or rounded up where it begins a range."""
        value = self.text(name)
        if value is None:
            return None
        try:
            at = parse_time(value)
            return whole_ms(at + _ALMOST_MS if round_up else at)
        except (ValueError, OverflowError):
            self._wrong(name, "must be an ISO 8601 date-time")
            return None

    def whole(self, name: str) -> int | None:
        """A whole number from 0, written as integer or float."""
        value = self.text(name)
        if value is None:
            return None
        number = float(value) if _NUMBER.fullmatch(value) else math.nan
        if not math.isfinite(number) or number != int(number):
            self._wrong(name, "must be a whole number from 0")
            return None
        return int(number)

    def _wrong(self, name: str, reason: str) -> None:
        self._problems.append(FieldProblem(f"/{name}", f'{self._prefix}"{name}" {reason}'))
