"""File names, object keys and download names."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.errors import InvalidError
from tapedeck.core.ids import is_account_id, is_app_id, is_uuid, parse_uuid
from tapedeck.core.naming import (
    NAME_LIMIT,
    check_key,
    content_disposition,
    is_prefix,
    object_key,
    output_file_name,
    track_file_name,
)

AT = datetime(2022, 12, 1, 8, 11, 10, 430_000, tzinfo=UTC)
MEETING = "8b1c5a0e-0a54-4d0d-9a39-2f3f0c6a1d11"


def test_output_name_is_prefix_room_and_milliseconds() -> None:
    assert output_file_name(None, MEETING, AT) == f"{MEETING}_1669882270430.mp4"
    assert output_file_name("Physics_9am", MEETING, AT) == f"Physics_9am_{MEETING}_1669882270430.mp4"


@pytest.mark.parametrize("text", ["a", "A_9", "x" * 100])
def test_prefixes_that_are_taken(text: str) -> None:
    assert is_prefix(text)


@pytest.mark.parametrize("text", ["", "a b", "a-b", "ä", "a\n", "x" * 101, "../a", "１"])
def test_prefixes_that_are_refused(text: str) -> None:
    assert not is_prefix(text)


@given(st.integers(1, 100), st.text(min_size=1, max_size=300), st.booleans())
def test_the_longest_name_of_tracks_leaves_room_for_what_lies_beside_it(
    length: int, user_id: str, is_screen: bool
) -> None:
    """All but the user's id is whole: the id of the connection tells people apart."""
    name = track_file_name("p" * length, user_id, MEETING, is_screen, "audio", AT, "webm")
    kind = "screenshare" if is_screen else "peer"
    assert check_key(name) == name and len(name) <= NAME_LIMIT
    assert name.startswith("p" * length + "_")
    assert name.endswith(f"_{MEETING}_{kind}_audio_1669882270430.webm")


def test_keys_lie_by_day_and_recording() -> None:
    assert object_key("r1", AT, "f.mp4") == "recordings/2022-12-01/r1/f.mp4"


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a b", "ä", "a\\b", "~x", "x" * 1025]
)
def test_keys_that_could_climb_are_refused(key: str) -> None:
    with pytest.raises(InvalidError):
        check_key(key)


@given(st.text(max_size=60).filter(lambda s: not any("\ud800" <= c <= "\udfff" for c in s)))
def test_any_download_name_is_one_safe_header_that_gives_the_name_back(name: str) -> None:
    value = content_disposition(name)
    assert value.isascii() and value.isprintable()
    plain = value.removeprefix('attachment; filename="').split('"')[0]
    assert len(plain) == len(name)
    if plain != name:
        assert unquote(value.split("filename*=UTF-8''")[1]) == name


def test_ids_are_parsed_into_one_form() -> None:
    assert parse_uuid(MEETING.upper(), "meeting_id") == MEETING
    for text in ("", "x", MEETING[:-1], MEETING + "0", MEETING.replace("-", ""), f"{{{MEETING}}}", MEETING + "\n"):
        assert not is_uuid(text)
        with pytest.raises(InvalidError, match='"meeting_id" must be a valid GUID') as caught:
            parse_uuid(text, "meeting_id")
        assert caught.value.problems == ()


def test_configured_ids_need_no_escape() -> None:
    assert is_account_id("0123456789abcdef") and is_account_id("acme_1-x")
    assert is_app_id("campus.v2~a") and is_app_id(MEETING)
    for text in ("", "a/b", "a b", "é", "x" * 65, "a%2f"):
        assert not is_account_id(text) and not is_app_id(text)
    for text in (".", "..", "apps"):
        assert not is_app_id(text)
