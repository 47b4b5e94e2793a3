"""What a route says of itself: the decorator every handler wears, and nothing that runs when it is called.

`api/openapi.py` makes the API's description of it. A route without one is a failing test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

from pydantic import BaseModel

__all__ = [
    "ASCENDING",
    "PAGE",
    "SEARCH",
    "SPAN",
    "Operation",
    "Param",
    "Raw",
    "Tag",
    "Who",
    "describe",
    "operation_of",
]

F = TypeVar("F", bound=Callable[..., Any])
_ATTRIBUTE = "__operation__"
Schema = dict[str, Any]


class Who(Enum):
    """Whose token a route takes."""

    ADMIN = "an API token with the scope Realtime Admin"
    BACKEND = "an API token"
    ANYONE = "an API token, or the token of a participant who may record"
    PERSON = "a participant token"
    TENANT = "a tenant's key, or a token that stands for it"
    TENANT_ADMIN = "a tenant's key of an administrator, or a token that stands for it"
    NOBODY = "no token"


@dataclass(frozen=True, slots=True)
class Tag:
    """A chapter of the description, within a face."""

    name: str
    face: str
    about: str


@dataclass(frozen=True, slots=True)
class Param:
    """A query parameter or a header."""

    name: str
    about: str
    schema: Schema
    place: str = "query"
    required: bool = False


@dataclass(frozen=True, slots=True)
class Raw:
    """A body that is not JSON; `headers` maps names to what they say."""

    media_type: str
    about: str
    headers: Mapping[str, str] = field(default_factory=dict)
    example: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path, as its reader sees it."""

    tag: Tag
    summary: str
    who: Who
    about: str
    data: Any
    items: Any
    plain: Any
    raw: Mapping[int, Raw | None]
    body: type[BaseModel] | Raw | None
    query: Sequence[Param]
    status: int
    fields: int
    fails: Mapping[int, str]
    same: Mapping[int, str]
    optional_body: bool = False


def describe(
    tag: Tag,
    summary: str,
    who: Who = Who.BACKEND,
    *,
    about: str = "",
    data: Any = None,
    items: Any = None,
    plain: Any = None,
    raw: Mapping[int, Raw | None] | None = None,
    body: type[BaseModel] | Raw | None = None,
    query: Sequence[Param] = (),
    status: int = 200,
    fields: int = 400,
    fails: Mapping[int, str] | None = None,
    same: Mapping[int, str] | None = None,
    optional_body: bool = False,
) -> Callable[[F], F]:
    """Describe a handler; put it right below the line that gives the path.

    The answer is one of: `data`, the type inside `{"success": true, "data": …}` (shapes.answers); `items`, the type of
    each item of a list with paging; `plain`, the type of a body without envelope; `raw`, bodies that are not JSON, by
    status. `body` is the model of the request, `fields` the status when its fields are wrong (422 on recordings).
    With `optional_body` there need not be one. `fails` adds what only this route answers, by status, and `same` other
    statuses with the body of success; what follows from `who`, `body` and `query` adds itself.
    """
    operation = Operation(
        tag,
        summary,
        who,
        about,
        data,
        items,
        plain,
        raw or {},
        body,
        query,
        status,
        fields,
        fails or {},
        same or {},
        optional_body,
    )

    def wear(handler: F) -> F:
        setattr(handler, _ATTRIBUTE, operation)
        return handler

    return wear


def operation_of(handler: object) -> Operation | None:
    """What a handler says of itself."""
    return getattr(handler, _ATTRIBUTE, None)


def _number(most: int | None = None) -> Schema:
    return {"type": "number", "minimum": 0, "multipleOf": 1} | ({} if most is None else {"maximum": most})


PAGE = (
    Param("page_no", "Page, from 1; 0 is the first one too.", _number() | {"default": 1}),
    Param("per_page", "Items a page: more than 100 is 100, 0 the default.", _number() | {"default": 20}),
)
SEARCH = Param("search", "Only what has this text in its name or title.", {"type": "string", "maxLength": 256})
ASCENDING = Param("sort_order", "By age.", {"type": "string", "enum": ["ASC", "DESC"], "default": "DESC"})
_TIME = {"type": "string", "format": "date-time"}
SPAN = (
    Param("start_time", "Only what began then or later.", _TIME),
    Param("end_time", "Only what began then or earlier.", _TIME),
)
