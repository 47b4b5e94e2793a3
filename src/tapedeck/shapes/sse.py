"""Server-sent events (WHATWG HTML, section 9.2) as text: what is written, and where a reader left off. Pure."""

from __future__ import annotations

from tapedeck.core.errors import InvalidError

__all__ = ["ALIVE", "event_lines", "last_event_id"]

ALIVE = ": alive\n\n"
"""A comment, which readers skip; it shows both sides that the connection lives."""
_MOST_DIGITS = 18


def event_lines(event_id: int, event: str, data: str) -> str:
    """One event. `data` is one line: JSON has no raw line break."""
    return f"id: {event_id}\nevent: {event}\ndata: {data}\n\n"


def last_event_id(text: str | None) -> int | None:
    """What a reader has had, by its `Last-Event-ID`; None when it begins. InvalidError when it is no id of ours."""
    if text is None or not text.strip():
        return None
    if not text.strip().isascii() or not text.strip().isdecimal() or len(text.strip()) > _MOST_DIGITS:
        raise InvalidError('BAD_REQUEST: "Last-Event-ID" must be an id of this server')
    return int(text)
