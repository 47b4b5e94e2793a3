"""A live stream as MPEG-TS, read back by libavformat."""

from __future__ import annotations

import io

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.avc import from_lengths, to_lengths
from tapedeck.core.errors import MediaError
from tapedeck.core.flv import AUDIO, VIDEO, Tag, TagReader, metadata_tag, picture_tag, setup_tag, sound_tag
from tapedeck.core.transport import TransportFeed

AVCC = bytes.fromhex("014d4028ffe1000a674d4028965602802dd801000468ee3c80")
ASC = b"\x11\x90"


def tags(*data: bytes) -> list[Tag]:
    return TagReader(has_header=False).feed(b"".join(data))


def demuxed(packets: bytes) -> dict[str, list[tuple[int | None, int | None, bytes]]]:
    with av.open(io.BytesIO(packets), "r", format="mpegts") as container:
        found: dict[str, list[tuple[int | None, int | None, bytes]]] = {s.type: [] for s in container.streams}
        for packet in container.demux():
            if packet.size:
                found[packet.stream.type].append((packet.pts, packet.dts, bytes(packet)))
    return found


@pytest.mark.parametrize("size", [5, 255, 256, 460, 511, 512, 70_000])
def test_units_keep_their_size_whatever_a_length_looks_like(size: int) -> None:
    """A length of 256 to 511 bytes begins as a start code does."""
    unit = b"\x41" + bytes(range(1, 256)) * (size // 255 + 1)
    frame = len(unit[:size]).to_bytes(4, "big") + unit[:size]
    assert from_lengths(frame) == b"\0\0\0\1" + unit[:size]
    assert to_lengths(from_lengths(frame)) == frame
    with pytest.raises(ValueError, match="too early"):
        from_lengths(frame[:-1])


def test_pictures_and_sound_come_out_as_they_went_in_with_their_times() -> None:
    feed, out = TransportFeed(), b""
    slices = [b"\x65" + bytes([n]) * (300 + n) if n == 1 else b"\x41" + bytes([n]) * (250 + n) for n in range(1, 11)]
    data = metadata_tag(width=1.0) + setup_tag(VIDEO, AVCC) + setup_tag(AUDIO, ASC)
    for n, unit in enumerate(slices):
        frame = len(unit).to_bytes(4, "big") + unit
        data += picture_tag(frame, 5000 + n * 40, 80, is_key=n == 0)
        data += b"".join(sound_tag(bytes([n, k]) * 50, 5000 + n * 40 + k * 20) for k in range(2))
    for tag in tags(data):
        out += feed.send(tag)
    out += feed.finish()
    assert feed.has_begun
    assert len(out) % 188 == 0
    found = demuxed(out)
    assert [dts for _, dts, _ in found["video"]] == [90_000 + n * 3600 for n in range(10)]
    assert [pts for pts, _, _ in found["video"]] == [90_000 + 7200 + n * 3600 for n in range(10)]
    for (_, _, body), unit in zip(found["video"], slices, strict=True):
        assert body.endswith(b"\0\0\0\1" + unit)
    assert b"\x67\x4d\x40\x28" in found["video"][0][2], "parameter sets stand before a key frame"
    assert [pts for pts, _, _ in found["audio"] if pts is not None] == [90_000 + n * 80 * 90 for n in range(5)]
    assert [body[-100:] for _, _, body in found["audio"]] == [bytes([n, k]) * 50 for n in range(10) for k in range(2)]


def test_sound_alone_has_its_tables_again_and_again() -> None:
    feed, out = TransportFeed(), b""
    for tag in tags(setup_tag(AUDIO, ASC), *(sound_tag(bytes(80), n * 20) for n in range(200))):
        out += feed.send(tag)
    assert out.count(b"\x47\x40\x00") >= 4
    late = demuxed(out[len(out) // 2 // 188 * 188 :])
    assert set(late) == {"audio"}
    assert len(late["audio"]) > 50


@given(st.sampled_from([AUDIO, VIDEO]), st.binary(max_size=60), st.booleans())
def test_nonsense_is_packets_or_a_fault_that_is_told(kind: int, body: bytes, with_setup: bool) -> None:
    feed = TransportFeed()
    try:
        for tag in tags(setup_tag(VIDEO, AVCC), setup_tag(AUDIO, ASC)) if with_setup else []:
            feed.send(tag)
        assert len(feed.send(Tag(kind, 0, body))) % 188 == 0
    except MediaError:
        pass
