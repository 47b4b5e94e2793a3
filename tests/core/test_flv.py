from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.amf import read_values
from tapedeck.core.errors import MediaError
from tapedeck.core.flv import (
    AUDIO,
    SCRIPT,
    VIDEO,
    Tag,
    TagReader,
    metadata_tag,
    picture_tag,
    setup_tag,
    sound_tag,
)

TAGS = st.builds(Tag, st.sampled_from([AUDIO, VIDEO, SCRIPT]), st.integers(0, 2**32 - 1), st.binary(max_size=400))


@given(st.lists(TAGS, max_size=8), st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_tags_are_found_whatever_the_pieces_are(tags: list[Tag], steps: list[int]) -> None:
    data = b"FLV\x01\x05\0\0\0\x09\0\0\0\0" + b"".join(map(bytes, tags))
    reader, found, at, turn = TagReader(has_header=True), [], 0, 0
    while at < len(data):
        step = steps[turn % len(steps)]
        found += reader.feed(data[at : at + step])
        at, turn = at + step, turn + 1
    assert found == tags
    assert reader.held_bytes == 0


def test_what_a_stream_can_begin_with() -> None:
    assert Tag(VIDEO, 0, b"\x17\x01\0\0\0key").is_key
    assert not Tag(VIDEO, 0, b"\x27\x01\0\0\0delta").is_key
    setup = Tag(VIDEO, 0, b"\x17\x00\0\0\0avcC")
    assert setup.is_setup
    assert not setup.is_key
    assert Tag(AUDIO, 0, b"\xaf\x00\x11\x90").is_setup
    assert not Tag(AUDIO, 0, b"\xaf\x01sound").is_setup
    assert Tag(SCRIPT, 0, b"").is_setup


def test_what_is_not_flv_is_refused() -> None:
    with pytest.raises(MediaError):
        TagReader(has_header=True).feed(b"RIFF" + bytes(20))
    with pytest.raises(MediaError):
        TagReader(has_header=False).feed(b"\x07" + bytes(20))


def test_media_stands_in_tags_as_players_expect_it() -> None:
    """Annex E.4: form and codec, kind, composition time, media."""
    made = (
        metadata_tag(width=1280.0, stereo=True, encoder="us"),
        setup_tag(VIDEO, b"avcC"),
        setup_tag(AUDIO, b"\x11\x90"),
        picture_tag(b"key", 16_777_217, 66, is_key=True),
        picture_tag(b"more", 16_777_250, 0x010203, is_key=False),
        sound_tag(b"sound", 16_777_251),
    )
    about, *media = TagReader(has_header=False).feed(b"".join(made))
    assert about.kind == SCRIPT
    assert read_values(about.body) == ["onMetaData", {"width": 1280.0, "stereo": True, "encoder": "us"}]
    assert media == [
        Tag(VIDEO, 0, b"\x17\0\0\0\0avcC"),
        Tag(AUDIO, 0, b"\xaf\0\x11\x90"),
        Tag(VIDEO, 16_777_217, b"\x17\x01\0\0\x42key"),
        Tag(VIDEO, 16_777_250, b"\x27\x01\x01\x02\x03more"),
        Tag(AUDIO, 16_777_251, b"\xaf\x01sound"),
    ]
    assert [tag.is_setup for tag in media] == [True, True, False, False, False]
    assert [tag.is_key for tag in media] == [False, False, True, False, False]
