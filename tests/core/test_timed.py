"""Timed metadata: which messages count, how many, and that nonsense is nothing. Where texts go is tested with films."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.film import FilmClock
from tapedeck.core.id3 import text_tag
from tapedeck.core.timed import CLOSE, MESSAGE_LIMIT, TEXT_LIMIT, Allowance, TimedTexts, message_text, text_of
from tapedeck.core.timeline import (
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    TimedText,
    TimelineEvent,
)

S = 1_000_000_000
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("a quiz", "a quiz"),
        (CLOSE, CLOSE),
        ({"quiz": 7, "name": "Grüße 👋"}, '{"quiz":7,"name":"Grüße 👋"}'),
        ([1, None], "[1,null]"),
        (0, "0"),
        (False, "false"),
        ("x" * TEXT_LIMIT, "x" * TEXT_LIMIT),
    ],
)
def test_what_was_said_is_a_text(data: Any, text: str) -> None:
    assert text_of(data) == text
    assert message_text(json.dumps({"type": "ID3Data", "payload": data})) == text
    assert message_text(json.dumps({"type": "ID3", "payload": data, "timestamp": 1}).encode()) == text


@pytest.mark.parametrize("data", ["", "a\0b", "\ud800", "x" * (TEXT_LIMIT + 1), "é" * (TEXT_LIMIT // 2 + 1)])
def test_what_no_tag_can_hold_is_refused(data: str) -> None:
    with pytest.raises(ValueError, match="must"):
        text_of(data)
    assert message_text(json.dumps({"type": "ID3Data", "payload": data})) is None


@pytest.mark.parametrize(
    "message",
    [
        "",
        "ID3Data",
        "null",
        "[1]",
        '{"type":"ID3Data"}',
        '{"type":"ID3Data","payload":null}',
        '{"type":"chat","payload":"hello"}',
        '{"type":["ID3Data"],"payload":"hello"}',
        '{"type":{},"payload":"hello"}',
        b"\xff\xfe\x00",
        b"\x80" * 100,
        "[" * MESSAGE_LIMIT,
        '{"type":"ID3Data","payload":"' + "x" * MESSAGE_LIMIT + '"}',
        '{"type":"ID3Data","payload":' + "9" * 10_000 + "}",
    ],
)
def test_other_messages_and_nonsense_are_nothing(message: str | bytes) -> None:
    assert message_text(message) is None


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_no_message_raises(message: str | bytes) -> None:
    message_text(message)


@given(json_values)
def test_every_text_that_is_taken_fits_into_a_tag(payload: Any) -> None:
    text = message_text(json.dumps({"type": "ID3Data", "payload": payload}))
    if text is not None:
        assert text_tag("ID3Data", text).startswith(b"ID3\x04")


@given(st.integers(0, 5 * S), st.integers(0, S))
def test_what_is_said_in_a_recording_is_in_its_film_whatever_step_it_keeps(told_ns: int, after_ns: int) -> None:
    """Another recording runs: this one begins, and goes on, with a picture of that one's."""
    said = [told_ns + after_ns, told_ns + 4 * S + after_ns, told_ns + 2 * S + after_ns]
    events: list[TimelineEvent] = [
        RecordingStarted(0, "other"),
        RecordingStarted(told_ns, "r"),
        TimedText(said[0], "first", "r"),
        RecordingPaused(told_ns + 2 * S, "r"),
        TimedText(said[2], "not this", "r"),
        RecordingResumed(told_ns + 4 * S, "r"),
        TimedText(said[1], "second", "r"),
        RecordingStopped(told_ns + 6 * S, "r"),
    ]
    film, texts = FilmClock("r", fps=30), TimedTexts("r")
    film.feed(events)
    texts.feed(events)
    found = texts.take(film.cuts)
    assert [text for _, text in found] == ["first", "second"]
    for (film_ns, _), at_ns, cut in zip(found, said, film.cuts, strict=False):
        assert cut.film_ns <= film_ns and 0 <= film_ns - cut.to_film(at_ns) <= S // 30 + 1


def test_a_sender_may_send_a_hundred_at_once_and_twenty_a_second() -> None:
    allowance = Allowance()
    assert sum(allowance.take(5 * S) for _ in range(200)) == 100
    assert sum(allowance.take(5 * S + n * S // 100) for n in range(1, 1001)) == 200
    assert sum(allowance.take(100 * S) for _ in range(200)) == 100
    assert not allowance.take(50 * S), "a clock that goes back gives nothing"


@pytest.mark.parametrize(("description", "text"), [("a\0", "b"), ("a", "\0"), ("", "x" * (1 << 28))])
def test_a_tag_is_never_broken(description: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"NUL|long"):
        text_tag(description, text)
