"""HTTP in and out: bodies read with limits and parsed without surprises, answers written as compact JSON.

Refuses to know any route. What JSON allows and a database does not (lone surrogates, NUL, infinities, bottomless
nesting) is refused here, once for all routes.
"""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.core.errors import InvalidError, LimitError

__all__ = ["BODY_S", "JSON_LIMIT", "SDP_LIMIT", "Reply", "parse_json", "read_body", "read_json", "read_text"]

JSON_LIMIT = 1 << 20
"""Largest JSON body in bytes."""
SDP_LIMIT = 1 << 16
"""Largest SDP offer or fragment in bytes."""
BODY_S = 60.0
"""How long a body may take to come."""
_DEPTH = 32
"""Deepest nesting of objects and lists; the API's own bodies need five."""


class Reply(Response):
    """A JSON answer: compact, UTF-8, never NaN."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body; LimitError as soon as it is known to be longer than `limit` bytes, 408 when it does not come."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise LimitError(f"The body is larger than {limit} bytes")
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise LimitError(f"The body is larger than {limit} bytes")
                chunks.append(chunk)
    except TimeoutError:
        raise HTTPException(408, f"The body did not come within {BODY_S:.0f} s", {"connection": "close"}) from None
    return b"".join(chunks)


async def read_text(request: Request, limit: int) -> str:
    """The body as UTF-8 text; InvalidError, LimitError."""
    raw = await read_body(request, limit)
    try:
        return raw.decode()
    except UnicodeDecodeError as exc:
        raise InvalidError("The body is not UTF-8 text") from exc


async def read_json(request: Request) -> Any:
    """The body as JSON; InvalidError without field problems when it is none that we take, LimitError."""
    return parse_json(await read_text(request, JSON_LIMIT))


def parse_json(text: str) -> Any:
    """Text as JSON; InvalidError when it is none that we take."""
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=_finite)
    except RecursionError as exc:
        raise InvalidError(f"The body is nested deeper than {_DEPTH} levels") from exc
    except ValueError as exc:
        raise InvalidError("The body is not valid JSON") from exc
    _check(value)
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def _check(value: Any) -> None:
    """Refuse nesting without end, and text that an escape can spell but UTF-8 or a database cannot hold."""
    level = [value]
    for _ in range(_DEPTH + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item)
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
            elif isinstance(item, str):
                _check_text(item)
        if not inner:
            return
        level = inner
    raise InvalidError(f"The body is nested deeper than {_DEPTH} levels")


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise InvalidError("The body has a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise InvalidError("The body has text that is not valid Unicode") from exc
