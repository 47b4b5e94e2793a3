"""Lists of recordings: filter, count, page. Each shape of question is one statement, built once.

A page is found on an index alone and only its rows are read whole; a page in the far half is walked to from the other
end; the total is kept, not counted, wherever it can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Integer, Select, bindparam, func, select

from tapedeck.core.destination import Destination
from tapedeck.core.meeting import Meeting
from tapedeck.core.paging import Listing, Page
from tapedeck.core.recording import Recording, RecordingState
from tapedeck.db.destinations import of_listed
from tapedeck.db.engine import Ask
from tapedeck.db.models import MeetingRow, RecordingCountRow, RecordingRow
from tapedeck.db.recordings import WITH_MEETING, split
from tapedeck.db.rooms import search_patterns, title_matches

__all__ = ["RecordingFilter", "list_recordings", "list_with_places"]

_R, _C, _M = RecordingRow.__table__.c, RecordingCountRow.__table__.c, MeetingRow.__table__.c
_NONE = ""
"""No state: nothing is in it."""
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RecordingFilter:
    """Which recordings of an app; None means any. Times are inclusive, on the invocation."""

    meeting_id: str | None = None
    states: frozenset[RecordingState] | None = None
    search: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    expired: bool | None = None
    "True: the links of the built-in bucket are dead; False: they live, or there are none."
    ascending: bool = False

    @property
    def is_counted(self) -> bool:
        """Whether the kept counts give its total: it asks for states and expiry at most."""
        return all(wish is None for wish in (self.meeting_id, self.search, self.start, self.end))

    def _values(self, app_id: str, now: datetime) -> dict[str, Any]:
        """What the statements are asked with: exactly the parameters that their shape has."""
        values: dict[str, Any] = {"app_id": app_id}
        if self.meeting_id is not None:
            values["meeting_id"] = self.meeting_id
        if self.states is not None:
            values |= {f"state_{number}": str(state) for number, state in enumerate(sorted(self.states) or [_NONE])}
        if self.search is not None:
            values["title"], values["prefix"] = search_patterns(self.search)
        if self.start is not None:
            values["start"] = self.start
        if self.end is not None:
            values["end"] = self.end
        if self.expired is not None:
            values["now"] = now
        return values


def list_recordings(
    ask: Ask, app_id: str, wanted: RecordingFilter, page: Page, now: datetime
) -> Listing[tuple[Recording, Meeting]]:
    """One page of an app's recordings with their meetings, by invocation, ties by id. Answers have to agree."""
    values = wanted._values(app_id, now)
    shape = frozenset(values)
    total = _total(ask, wanted, shape, values)
    size = min(page.size, total - page.offset)
    if size <= 0:
        return Listing([], total, page)
    skip, ascending = page.offset, wanted.ascending
    turned = skip > total // 2
    if turned:
        skip, ascending = total - skip - size, not ascending
    rows = ask(_page(shape, wanted.expired, ascending), values | {"size": size, "skip": skip})
    items = [split(row) for row in rows]
    return Listing(items[::-1] if turned else items, total, page)


def list_with_places(
    ask: Ask, app_id: str, wanted: RecordingFilter, page: Page, now: datetime
) -> tuple[Listing[tuple[Recording, Meeting]], Mapping[str, Sequence[Destination]]]:
    """As `list_recordings`, and where the files of each recording go."""
    found = list_recordings(ask, app_id, wanted, page, now)
    return found, of_listed(ask, [recording.id for recording, _ in found.items])


def _total(ask: Ask, wanted: RecordingFilter, shape: frozenset[str], values: dict[str, Any]) -> int:
    """How many recordings are wanted: by the kept counts, less those that live, or by counting.

    Those that live are counted, never those that are gone: the former are of the last week, the latter of all time.
    """

    def number(statement: Select[Any]) -> int:
        return int(ask(statement, values)[0][0])

    if not wanted.is_counted:
        return number(_count(shape, wanted.expired))
    states = _state_names(shape)
    total = 0
    if wanted.expired is not False:
        total = number(_kept(states))
    if wanted.expired is not None:
        alive = sum(number(rows) for rows in _alive(states))
        total = total - alive if wanted.expired else alive
    return total


def _state_names(shape: frozenset[str]) -> tuple[str, ...]:
    """Names of the parameters that are states."""
    return tuple(sorted(name for name in shape if name.startswith("state_")))


def _state_in(column: Any, names: tuple[str, ...]) -> Any:
    return column.in_([bindparam(name, type_=column.type) for name in names])


@lru_cache(256)
def _chosen(shape: frozenset[str], expired: bool | None) -> Select[Any]:
    """Ids of the recordings that are wanted."""
    rows = select(_R.id).where(_R.app_id == bindparam("app_id"))
    if "meeting_id" in shape:
        rows = rows.where(_R.meeting_id == bindparam("meeting_id"))
    if states := _state_names(shape):
        rows = rows.where(_state_in(_R.state, states))
    if "title" in shape:
        named = title_matches(bindparam("title"), bindparam("prefix"))
        rows = rows.where(_R.meeting_id.in_(select(_M.id).where(_M.app_id == bindparam("app_id"), named)))
    if "start" in shape:
        rows = rows.where(_R.invoked_at >= bindparam("start"))
    if "end" in shape:
        rows = rows.where(_R.invoked_at <= bindparam("end"))
    if expired is not None:
        # An expression, so that the page is walked in its order and not gathered by expiry and sorted.
        expiry = func.coalesce(_R.expires_at, _NEVER)
        now = bindparam("now", type_=_R.expires_at.type)
        rows = rows.where(expiry <= now if expired else expiry > now)
    return rows


@lru_cache(256)
def _page_ids(shape: frozenset[str], expired: bool | None, ascending: bool) -> Select[Any]:
    """Ids of one page, in its order."""
    ordered = _chosen(shape, expired).order_by(*_order(ascending))
    return ordered.limit(bindparam("size", type_=Integer)).offset(bindparam("skip", type_=Integer))


@lru_cache(256)
def _page(shape: frozenset[str], expired: bool | None, ascending: bool) -> Select[Any]:
    ids = _page_ids(shape, expired, ascending).subquery()
    return WITH_MEETING.where(_R.id.in_(select(ids.c.id))).order_by(*_order(ascending))


@lru_cache(256)
def _count(shape: frozenset[str], expired: bool | None) -> Select[Any]:
    return _chosen(shape, expired).with_only_columns(func.count())


@lru_cache
def _kept(states: tuple[str, ...]) -> Select[Any]:
    rows = select(func.coalesce(func.sum(_C.count), 0)).where(_C.app_id == bindparam("app_id"))
    return rows.where(_state_in(_C.state, states)) if states else rows


@lru_cache
def _alive(states: tuple[str, ...]) -> tuple[Select[Any], ...]:
    """Counts of what has not expired and of what never does: a statement each, since each walks an index."""
    now = bindparam("now", type_=_R.expires_at.type)
    rows = select(func.count()).where(_R.app_id == bindparam("app_id"))
    if states:
        rows = rows.where(_state_in(_R.state, states))
    return rows.where(_R.expires_at > now), rows.where(_R.expires_at.is_(None))


def _order(ascending: bool) -> tuple[Any, ...]:
    by = (_R.invoked_at, _R.id)
    return by if ascending else tuple(column.desc() for column in by)
