"""Data channels beside media: messages arrive, and nothing that is sent there ends the media or takes memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import google_crc32c
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription, rtcsctptransport
from aiortc.mediastreams import AudioStreamTrack
from tests.sources.kit import Studio, publisher, studio

from tapedeck.core.frames import Codec, Kind
from tapedeck.core.timed import MESSAGE_LIMIT
from tapedeck.sources.messages import Messages
from tapedeck.sources.publish import OutgoingTrack, Publisher


@asynccontextmanager
async def talking() -> AsyncIterator[tuple[Studio, Publisher, OutgoingTrack]]:
    """Somebody who sends sound, with a data channel."""
    async with studio() as place, publisher() as person:
        track = person.add_audio()
        person.add_messages()
        await person.connect(place.poster())
        track.send(b"first", 0)
        await place.until(lambda: bool(place.ingest.peers) and bool(place.peer.of(Kind.AUDIO)))
        yield place, person, track


async def hears(place: Studio, track: OutgoingTrack, payload: bytes, number: int) -> None:
    """The media goes on."""
    track.send(payload, number * 960)
    await place.until(lambda: payload in place.peer.audio.payloads)


def association(person: Publisher) -> Messages:
    found = person._messages
    assert found is not None
    return found


async def test_messages_arrive_in_order_whatever_their_size() -> None:
    async with talking() as (place, person, _):
        sent: list[str | bytes] = ["hello", b"\x00bytes", "Grüße 👋", "x" * MESSAGE_LIMIT, "", "last"]
        for message in sent:
            await person.say(message)
        expected = [message.encode() if isinstance(message, str) else message for message in sent]
        assert place.peer.messages == expected
        assert person.faults == []


async def test_a_stock_peer_connection_can_send_them() -> None:
    async with studio() as place:
        peer = RTCPeerConnection()
        try:
            peer.addTrack(AudioStreamTrack())
            channel = peer.createDataChannel("chat", negotiated=False)
            channel.on("open", lambda: channel.send('{"type":"ID3Data","payload":1}'))
            await peer.setLocalDescription(await peer.createOffer())
            answer = await place.poster()(peer.localDescription.sdp.replace("a=sendrecv", "a=sendonly"))
            await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await place.until(lambda: bool(place.ingest.peers) and bool(place.peer.messages))
            assert place.peer.messages == [b'{"type":"ID3Data","payload":1}']
        finally:
            await peer.close()


async def test_rubbish_in_every_field_ends_neither_media_nor_messages() -> None:
    async with talking() as (place, person, track):
        await person.say("before")
        assert place.peer.messages == [b"before"]
        luck = random.Random(7)
        ours = association(person)
        tag = ours._remote_verification_tag
        for number in range(400):
            kind = luck.choice([0, 1, 2, 3, 6, 7, 9, 10, 11, 14, 130, 192, luck.randrange(256)])
            body = luck.randbytes(luck.randrange(0, 60))
            chunk = bytes((kind, luck.randrange(8))) + (len(body) + 4).to_bytes(2) + body + bytes(-len(body) % 4)
            head = (5000).to_bytes(2) + (5000).to_bytes(2) + (0 if kind == 1 else tag).to_bytes(4)
            packet = head + bytes(4) + chunk
            packet = packet[:8] + google_crc32c.value(packet).to_bytes(4, "little") + packet[12:]
            if kind not in (6, 7, 14):  # those end an association as they may
                await ours.transport._send_data(packet if number % 3 else luck.randbytes(40))
        await hears(place, track, b"still here", 2)
        assert not place.peer.closed


@pytest.mark.parametrize("way", ["fragments", "gaps", "streams"])
async def test_who_does_not_keep_to_the_window_loses_the_channel_and_not_the_media(way: str) -> None:
    async with talking() as (place, person, track):
        await person.say("before")
        assert place.peer.messages == [b"before"]
        ours = association(person)
        for number in range(3000):
            chunk = rtcsctptransport.DataChunk(flags=2)
            step = 2 if way == "gaps" else 1
            chunk.tsn = (ours._local_tsn + 1 + number * step) & 0xFFFF_FFFF
            chunk.stream_id = number if way == "streams" else 1
            chunk.stream_seq = 1
            chunk.protocol = 51
            chunk.user_data = b"x" * (1000 if way == "fragments" else 1)
            with_tag = rtcsctptransport.serialize_packet(5000, 5000, ours._remote_verification_tag, chunk)
            await ours.transport._send_data(with_tag)
            if number % 50 == 49:
                await asyncio.sleep(0)
        await hears(place, track, b"still here", 2)
        await hears(place, track, b"and now", 3)
        assert place.peer.messages == [b"before"] and not place.peer.closed


async def test_nobody_has_to_offer_one() -> None:
    async with studio() as place, publisher() as person:
        track: Any = person.add_audio(codec=Codec.OPUS)
        await person.connect(place.poster())
        track.send(b"alone", 0)
        await place.until(lambda: bool(place.ingest.peers) and bool(place.peer.of(Kind.AUDIO)))
        assert place.peer.messages == []
