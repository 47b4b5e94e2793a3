"""Query strings of the rooms API: `limit` and `offset`, filters; wrong ones are 400 and say which."""

from __future__ import annotations

from starlette.requests import Request

from tapedeck.api.describe import Param
from tapedeck.api.realtimekit.queries import Query
from tapedeck.core.errors import InvalidError, NotFoundError
from tapedeck.core.library import LibraryStatus, Span
from tapedeck.service.library import SORTS, LibraryFilter
from tapedeck.shapes.rooms import uuid_of

__all__ = ["FILTERS", "PAGE", "read_filter", "read_page"]

_MOST = 100
_FAR = 10**9
_NOWHERE = "00000000-0000-0000-0000-000000000000"
_TIME = {"type": "string", "format": "date-time"}
PAGE = (
    Param("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": _MOST, "default": 20}),
    Param("offset", "After how many.", {"type": "integer", "minimum": 0, "maximum": _FAR, "default": 0}),
)
FILTERS = (
    *PAGE,
    Param("room_id", "Only of this room.", {"type": "string"}),
    Param(
        "status",
        "Only in one of these states; repeated, or with commas.",
        {"type": "array", "items": {"type": "string", "enum": [str(status) for status in LibraryStatus]}},
    ),
    Param("from", "Only what began then or later.", _TIME),
    Param("to", "Only what began then or earlier.", _TIME),
    Param(
        "search",
        "Only what has this text in the name of its room, now or then, or begins with it.",
        {"type": "string", "maxLength": 256},
    ),
    Param(
        "sort",
        "By what; `-` before it turns the order round.",
        {"type": "string", "enum": [f"{sign}{name}" for name in SORTS for sign in ("", "-")], "default": "-created_at"},
    ),
    Param("include_deleted", "What was deleted, too; for keys of administrators.", {"type": "boolean"}),
)


def read_page(request: Request) -> Span:
    """`limit` and `offset`; InvalidError."""
    limit, offset = (_number(request, name, default) for name, default in (("limit", 20), ("offset", 0)))
    if not 1 <= limit <= _MOST:
        raise InvalidError(f'"limit" must be from 1 to {_MOST}')
    if offset > _FAR:
        raise InvalidError(f'"offset" must be at most {_FAR}')
    return Span(limit, offset)


def read_filter(request: Request) -> LibraryFilter:
    """Which recordings are wanted; InvalidError."""
    query = Query(request.query_params)
    statuses = query.choices("status", [str(status) for status in LibraryStatus])
    sort = query.choice("sort", [f"{sign}{name}" for name in SORTS for sign in ("", "-")]) or "-created_at"
    start, end = query.time("from", round_up=True), query.time("to")
    search, room, deleted = query.search(), query.text("room_id"), query.flag("include_deleted")
    query.done()
    return LibraryFilter(
        meeting_id=None if room is None else _room(room),
        statuses=None if statuses is None else frozenset(LibraryStatus(status) for status in statuses),
        search=None if search is None else search.removeprefix("rec_"),
        start=start,
        end=end,
        sort=sort.removeprefix("-"),
        ascending=not sort.startswith("-"),
        with_deleted=deleted is True,
    )


def _room(text: str) -> str:
    """The room that is meant; of what is no room there are no recordings."""
    try:
        return uuid_of(text, "room", "room")
    except NotFoundError:
        return _NOWHERE


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise InvalidError(f'"{name}" must be a whole number')
    return int(text)
