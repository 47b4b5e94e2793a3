"""Timed metadata of a recording: what somebody says in a meeting for players to hear at that moment of the film.

Owns what of a message is taken (`ID3Data`, its size, its text), what ends it (`CLOSE_TRANSPORT`), how many may come,
and where in a film each belongs. Refuses to know who may say something, files and tags (`core/id3.py`).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from tapedeck.core.film import Cut
from tapedeck.core.timeline import TimedText, TimelineEvent

__all__ = ["CLOSE", "MESSAGE_LIMIT", "TEXT_LIMIT", "Allowance", "TimedTexts", "message_text", "text_of"]

CLOSE = "CLOSE_TRANSPORT"
"""As a text: nothing that comes later is taken. It is no metadata itself."""
TEXT_LIMIT = 16_384
"""Longest text (bytes of UTF-8)."""
MESSAGE_LIMIT = 2 * TEXT_LIMIT
"""Longest message that holds one: in JSON a text is longer (bytes)."""
_TYPES = ("ID3Data", "ID3")
_RATE, _BURST = 20, 100
_SECOND_NS = 1_000_000_000


def text_of(data: Any) -> str:
    """The text that stands for a JSON value: a string as it is, everything else as compact JSON.

    ValueError says what is wrong with it, to follow the name of a field.
    """
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    if not text:
        raise ValueError("must not be empty")
    if "\0" in text:
        raise ValueError("must not contain a NUL")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("must be text that UTF-8 can hold") from None
    if size > TEXT_LIMIT:
        raise ValueError(f"must have at most {TEXT_LIMIT} bytes")
    return text


def message_text(message: str | bytes) -> str | None:
    """The text of a message of the meeting, `{"type": "ID3Data", "payload": …}`; None for everything else."""
    if len(message) > MESSAGE_LIMIT:
        return None
    try:
        body = json.loads(message)
        if not isinstance(body, dict) or body.get("type") not in _TYPES or body.get("payload") is None:
            return None
        return text_of(body["payload"])
    except (ValueError, RecursionError):
        return None


class Allowance:
    """How many messages one sender may send: 20 a second, and up to 100 at once."""

    def __init__(self) -> None:
        self._left = float(_BURST)
        self._at_ns: int | None = None

    def take(self, now_ns: int) -> bool:
        """Whether there is one more."""
        if self._at_ns is not None:
            self._left = min(_BURST, self._left + max(0, now_ns - self._at_ns) * _RATE / _SECOND_NS)
        self._at_ns = now_ns
        if self._left < 1:
            return False
        self._left -= 1
        return True


class TimedTexts:
    """The texts of one film, in the order of its log. `feed` events, then `take` what belongs before a moment."""

    def __init__(self, recording_id: str | None) -> None:
        """`recording_id` None: of everything in the log."""
        self._recording_id = recording_id
        self._closed = False
        self._waiting: deque[TimedText] = deque()

    def feed(self, events: Iterable[TimelineEvent]) -> None:
        """Take further events in log order."""
        for event in events:
            if not isinstance(event, TimedText) or self._closed:
                continue
            if event.text == CLOSE:
                self._closed = event.recording_id in (None, self._recording_id)
            elif self._recording_id is None or event.recording_id in (None, self._recording_id):
                self._waiting.append(event)

    def take(self, cuts: Sequence[Cut], until_ns: int | None = None) -> list[tuple[int, str]]:
        """Film times (ns) and texts of what was said by `until_ns` of capture, or of all; each is given once.

        What was said outside every span of the film is not in it. A span that waits for the next picture of another
        film to begin begins with what was said meanwhile.
        """
        found: list[tuple[int, str]] = []
        while self._waiting and (until_ns is None or self._waiting[0].at_ns <= until_ns):
            event = self._waiting.popleft()
            at_ns = next((cut.start_ns for cut in cuts if 0 < cut.start_ns - event.at_ns <= cut.lead_ns), event.at_ns)
            cut = next((cut for cut in cuts if at_ns in cut), None)
            if cut is not None:
                found.append((cut.to_film(at_ns), event.text))
        return found
