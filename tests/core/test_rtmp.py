"""The conversation with a server, byte for byte where it matters; real servers are in tests/workers and tests/e2e."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.flv import AUDIO, VIDEO, Tag
from tapedeck.core.rtmp import Publication, RefusedStreamError

SHAKE = b"\x03" + bytes(1536 * 2)


def text(value: str) -> bytes:
    return b"\x02" + struct.pack(">H", len(value)) + value.encode()


def number(value: float) -> bytes:
    return b"\0" + struct.pack(">d", value)


def about(**fields: str) -> bytes:
    body = b"".join(struct.pack(">H", len(k)) + k.encode() + text(v) for k, v in fields.items())
    return b"\x03" + body + b"\0\0\x09"


def chunk(kind: int, body: bytes, lane: int = 3) -> bytes:
    head = bytes([lane]) + bytes(3) + len(body).to_bytes(3, "big") + bytes([kind]) + bytes(4)
    out = head + body[:128]
    for at in range(128, len(body), 128):
        out += bytes([0xC0 | lane]) + body[at : at + 128]
    return out


CONNECTED = chunk(20, text("_result") + number(1) + about(fmsVer="x") + about(code="NetConnection.Connect.Success"))
CREATED = chunk(20, text("_result") + number(4) + b"\x05" + number(7))
STARTED = chunk(20, text("onStatus") + number(0) + b"\x05" + about(level="status", code="NetStream.Publish.Start"))


def publication() -> Publication:
    return Publication("app", "s3cret", "rtmp://host/app", bytes(1528))


def live() -> Publication:
    made = publication()
    made.begin()
    made.receive(SHAKE + CONNECTED + CREATED + STARTED)
    assert made.is_live
    return made


@given(st.lists(st.integers(1, 900), min_size=1, max_size=30))
def test_a_stream_is_published_whatever_pieces_the_answers_come_in(steps: list[int]) -> None:
    made = publication()
    assert len(made.begin()) == 1537
    data, said, at, turn = SHAKE + CONNECTED + CREATED + STARTED, b"", 0, 0
    while at < len(data):
        step = steps[turn % len(steps)]
        said += made.receive(data[at : at + step])
        at, turn = at + step, turn + 1
    assert made.is_live
    for word in (b"connect", b"rtmp://host/app", b"releaseStream", b"FCPublish", b"createStream", b"publish"):
        assert word in said
    assert made.end().count(b"s3cret") == 1


@pytest.mark.parametrize(
    "answer",
    [
        chunk(20, text("_error") + number(1) + b"\x05" + about(level="error", code="NetConnection.Connect.Rejected")),
        CONNECTED
        + CREATED
        + chunk(20, text("onStatus") + number(0) + b"\x05" + about(level="error", code="NetStream.Publish.BadName")),
    ],
)
def test_a_refusal_is_told_by_its_code(answer: bytes) -> None:
    made = publication()
    made.begin()
    with pytest.raises(RefusedStreamError, match=r"refused the stream \(Net"):
        made.receive(SHAKE + answer)


def test_a_refusal_that_repeats_the_key_is_told_without_it() -> None:
    made = publication()
    made.begin()
    said = about(level="error", code="NetStream.s3cret", description="no stream s3cret")
    with pytest.raises(RefusedStreamError) as caught:
        made.receive(SHAKE + chunk(20, text("_error") + number(1) + b"\x05" + said))
    assert "s3cret" not in str(caught.value)


@given(st.binary(max_size=5000))
def test_nonsense_is_an_answer_or_a_refusal_and_nothing_else(data: bytes) -> None:
    made = publication()
    made.begin()
    try:
        made.receive(SHAKE + data)
    except RefusedStreamError:
        pass


def test_messages_that_a_server_begins_and_never_ends_fill_no_memory() -> None:
    made = publication()
    made.begin()
    made.receive(SHAKE + chunk(1, struct.pack(">I", 1 << 19), 2))
    begun = bytes(3) + (1 << 20).to_bytes(3, "big") + b"\x09" + bytes(4) + bytes(1 << 19)
    assert made.receive(b"\x03" + begun) == b""
    for _ in range(3):
        ended = b"\x04" + bytes(3) + (1 << 19).to_bytes(3, "big") + b"\x09" + bytes(4) + bytes(1 << 19)
        assert made.receive(ended) == b"", "what is whole is not kept"
    with pytest.raises(RefusedStreamError):
        made.receive(b"\x05" + begun + b"\x06" + begun)


def test_pings_windows_and_bandwidth_are_answered() -> None:
    made = live()
    assert b"\0\x07\0\0\0\x09" in made.receive(chunk(4, b"\0\x06\0\0\0\x09", 2))
    assert made.receive(chunk(6, struct.pack(">I", 5000) + b"\x02", 2))[7] == 5
    assert made.receive(chunk(5, struct.pack(">I", 40), 2))[7] == 3, "so much was received already"


def test_time_begins_with_the_first_media_and_never_goes_back() -> None:
    made = live()

    def time_of(tag: Tag) -> int:
        sent = made.send(tag)
        return int.from_bytes(sent[1:4], "big")

    assert time_of(Tag(VIDEO, 0, b"\x17\x00setup")) == 0
    assert time_of(Tag(VIDEO, 5000, b"\x17\x01key")) == 0
    assert time_of(Tag(AUDIO, 4990, b"\xaf\x01")) == 0
    assert time_of(Tag(VIDEO, 5033, b"\x27\x01")) == 33
    assert time_of(Tag(VIDEO, 5010, b"\x17\x01")) == 33


def test_a_stream_of_more_than_four_hours_has_long_times_in_each_chunk() -> None:
    made = live()
    made.send(Tag(VIDEO, 0, b"\x17\x01"))
    at = 5 * 3600 * 1000
    sent = made.send(Tag(VIDEO, at, bytes(10_000)))
    long = struct.pack(">I", at)
    assert sent[1:4] == b"\xff\xff\xff"
    assert sent[12:16] == long
    assert sent[16 + 4096 : 16 + 4096 + 5] == b"\xc6" + long
    assert len(sent) == 16 + 10_000 + 2 * 5
