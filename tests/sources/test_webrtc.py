"""A publisher and a peer over real ICE, DTLS and SRTP: bad networks, senders that begin anew, feedback."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable, Coroutine
from typing import cast

import pytest
import uvloop
from aioice import ice, stun
from tests.pace import beat, eventually
from tests.ports import free_port
from tests.sources.kit import Studio, h264_frame, publisher, studio, vp8_frame

from tapedeck.core.errors import InvalidError, UnavailableError
from tapedeck.core.frames import Codec, FrameFlags
from tapedeck.core.rtp import RtpPacket, build_rtp
from tapedeck.sources.network import NetworkSettings
from tapedeck.sources.publish import OutgoingTrack, Publisher
from tapedeck.testing.link import HookedLink, Impairment

BAD = Impairment(loss=0.05, delay_ms=80, jitter_ms=10, reorder=0.05, reorder_ms=40, duplicate=0.01)
S = 1_000_000_000


async def send_video(track: OutgoingTrack, numbers: range, *, fps: int = 60, key_every: int = 1000) -> list[bytes]:
    """Send frames at their pace; returns them."""
    make = vp8_frame if track.codec is Codec.VP8 else h264_frame
    sent = []
    for i in numbers:
        sent.append(make(i, 1000 + i * 37 % 5000, key=i % key_every == 0))
        track.send(sent[-1], i * 90_000 // fps)
        await beat(1 / fps)
    return sent


async def spin(condition: Callable[[], bool]) -> None:
    """Let the loop run until something that nobody announces is true."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def connected(place: Studio, person: Publisher) -> None:
    await person.connect(place.poster())
    await place.until(lambda: bool(place.ingest.peers))


# bad networks


@pytest.mark.parametrize(("codec", "rtx"), [(Codec.H264, True), (Codec.VP8, False)])
async def test_loss_delay_and_reorder_cost_no_frame(codec: Codec, rtx: bool) -> None:
    """5 % loss both ways, 80 ms, reordering; resent as RTX or as it was."""
    there, back = HookedLink(BAD, 11), HookedLink(BAD, 12)
    async with studio() as place, publisher(send_hook=there, receive_hook=back, seed=3) as person:
        video, audio = person.add_video(codec, rtx=rtx), person.add_audio()
        await connected(place, person)
        sounds = [b"\xfc%d" % i for i in range(180)]
        # The very first and the very last packet of a track cannot be known to be missing: they pass.
        there.active = False
        audio.send(sounds[0], 0)
        frames = await send_video(video, range(1))
        there.active = True
        for i, sound in enumerate(sounds[1:-1], 1):
            asyncio.get_running_loop().call_later(i / 60, audio.send, sound, i * 800)
        frames += await send_video(video, range(1, 179))
        there.active = False
        frames += await send_video(video, range(179, 180))
        await beat(0.1)  # the pace of the sound, which is sent by timers
        audio.send(sounds[-1], 179 * 800)
        await place.until(lambda: len(place.peer.video.frames) == 180 and len(place.peer.audio.frames) == 180)
        assert place.peer.video.payloads == frames
        assert place.peer.audio.payloads == sounds
        assert place.peer.video.breaks == place.peer.audio.breaks == []
        assert there.lost > 10
        assert video.packets_resent > 10
        held = place.peer.video.held
        assert held[-1] is None and any(held)
        there.close()
        back.close()


async def test_packets_lost_for_good_end_in_a_key_frame_request_and_a_marked_gap() -> None:
    async with studio() as place, publisher() as person:
        video = person.add_video(Codec.H264)
        await connected(place, person)
        wanted = asyncio.Event()
        video.on_keyframe_request = wanted.set
        frames = await send_video(video, range(5))
        video.lose(2)
        for i in itertools.count(5):
            frames += await send_video(video, range(i, i + 1))
            if wanted.is_set():
                break
        frames += await send_video(video, range(i + 1, i + 2), key_every=1)
        await place.until(lambda: place.peer.video.payloads[-1:] == frames[-1:])
        got = place.peer.video.payloads
        assert set(got) <= set(frames)
        assert len(frames) - 2 <= len(got) < len(frames)
        assert len(place.peer.video.breaks) == 1
        assert place.peer.video.frames[-1].flags & FrameFlags.KEY

        async def is_told() -> bool:
            return video.ssrc in person.report_blocks and person.report_blocks[video.ssrc].packets_lost == 2

        await eventually(is_told)


async def test_capture_can_ask_for_a_key_frame() -> None:
    async with studio() as place, publisher() as person:
        video, audio = person.add_video(Codec.VP8), person.add_audio()
        await connected(place, person)
        wanted = asyncio.Event()
        video.on_keyframe_request = wanted.set
        video.send(vp8_frame(0, key=True), 0)
        audio.send(b"\xfc", 0)
        await place.until(lambda: len(place.peer.tracks) == 2)
        await place.until(lambda: bool(place.peer.video.frames))
        assert not wanted.is_set()
        for track in place.peer.tracks:
            track.control.request_keyframe()
        async with asyncio.timeout(60):
            await wanted.wait()


@pytest.mark.parametrize("loss", [0.0, 0.1])
async def test_tracks_without_ssrcs_in_the_offer_are_told_apart_by_mid(loss: float) -> None:
    """Two tracks of one payload type; their retransmissions, too, say whose they are."""
    there = HookedLink(Impairment(loss=loss, delay_ms=5), 4)
    there.active = False
    async with studio() as place, publisher(send_hook=there) as person:
        tracks = [person.add_video(Codec.H264), person.add_video(Codec.H264)]

        async def post(offer: str) -> str:
            return await place.poster()(re.sub(r"a=ssrc.*\r\n", "", offer))

        await person.connect(post)
        frames = [[h264_frame(i + 100 * k, key=i == 0) for i in range(30)] for k in range(2)]
        for i in range(30):
            there.active = 0 < i < 29  # a lost beginning or end cannot be known to be missing
            for k in range(2):
                tracks[k].send(frames[k][i], i * 3000)
            await beat(0.01)
        await place.until(lambda: [len(t.frames) for t in place.peer.tracks] == [30, 30])
        assert sorted(t.payloads for t in place.peer.tracks) == sorted(frames)
        there.close()


# senders that begin anew


async def test_new_ssrc_continues_the_track() -> None:
    async with studio() as place, publisher(seed=1) as person:
        video = person.add_video(Codec.H264)
        await connected(place, person)
        frames = await send_video(video, range(10))
        old = video.ssrc
        video.change_ssrc()
        assert video.ssrc != old
        frames += await send_video(video, range(10, 20), key_every=10)
        await place.until(lambda: len(place.peer.video.frames) == 20)
        assert len(place.peer.tracks) == 1
        assert place.peer.video.payloads == frames
        assert place.peer.video.breaks == [10]
        times = [frame.media_time for frame in place.peer.video.frames]
        assert times == sorted(times)
        assert times[10] - times[9] < 45_000


@pytest.mark.parametrize("ticks", [1 << 31, -10_000_000, 12345 * 90_000])
async def test_timestamp_reset_continues_the_track(ticks: int) -> None:
    async with studio() as place, publisher() as person:
        video = person.add_video(Codec.VP8)
        await connected(place, person)
        frames = await send_video(video, range(5))
        video.jump_timestamp(ticks)
        video.report()
        frames += await send_video(video, range(5, 10))
        video.report()
        await place.until(lambda: len(place.peer.video.frames) == 10)
        assert place.peer.video.payloads == frames
        assert place.peer.video.resets == [5]
        assert place.peer.video.breaks == [], "a decoder goes on"
        times = [frame.media_time for frame in place.peer.video.frames]
        assert times == sorted(times)
        assert times[-1] - times[0] < 90_000
        await place.until(lambda: len(place.peer.video.reports) >= 3)
        assert all(abs(media - times[-1]) < 90_000 for _, _, media in place.peer.video.reports)


async def test_bye_closes_the_track_and_media_opens_another() -> None:
    async with studio() as place, publisher() as person:
        video = person.add_video(Codec.VP8)
        await connected(place, person)
        await send_video(video, range(3))
        await place.until(lambda: len(place.peer.video.frames) == 3)
        first = place.peer.video
        video.bye()
        await place.until(lambda: first.closed)
        first.control.request_keyframe()  # of no effect any more
        for i in itertools.count(3):
            await send_video(video, range(i, i + 1), key_every=1)
            if len(place.peer.tracks) == 2:
                break
        assert place.peer.tracks[1].info.track_id != first.info.track_id
        assert video.keyframe_requests == 0


async def test_silence_is_not_missing_and_mute_is_told_for_pictures_only() -> None:
    async with studio(mute_after_ns=300_000_000) as place, publisher() as person:
        video, audio = person.add_video(Codec.VP8), person.add_audio()
        await connected(place, person)
        video.send(vp8_frame(0, key=True), 0)
        audio.send(b"\xfc", 0)
        await place.until(lambda: len(place.peer.tracks) == 2)
        video.muted = True
        video.send(vp8_frame(1), 3000)
        await place.until(lambda: place.peer.video.mutes == [True])
        audio.send(b"\xfc", 48_000)  # a second of silence on
        video.muted = False
        video.send(vp8_frame(2), 90_000)
        await place.until(lambda: place.peer.video.mutes == [True, False] and len(place.peer.audio.frames) == 2)
        await place.until(lambda: len(place.peer.video.frames) == 2)
        assert place.peer.audio.mutes == []
        assert place.peer.audio.breaks == place.peer.video.breaks == []
        assert place.peer.audio.held == []
        assert place.peer.audio.frames[1].media_time - place.peer.audio.frames[0].media_time == 48_000


@pytest.mark.parametrize("rtx", [True, False])
async def test_padding_is_not_media(rtx: bool) -> None:
    async with studio() as place, publisher() as person:
        video = person.add_video(Codec.H264, rtx=rtx)
        await connected(place, person)
        video.pad(3)
        frames = []
        for i in range(5):
            frames += await send_video(video, range(i, i + 1))
            video.pad(2)
        await place.until(lambda: bool(place.peer.tracks) and len(place.peer.video.frames) == 5)
        assert place.peer.video.payloads == frames
        assert place.peer.video.breaks == []


# clocks and feedback


async def test_sender_reports_carry_the_senders_clock_exactly() -> None:
    """The sender's clock is 200 ppm fast and its epoch is its own; its reports are exact to a tick."""
    begin = asyncio.get_running_loop().time()

    def clock_ns() -> int:
        return 5_000 * S + int((asyncio.get_running_loop().time() - begin) * S * 1.0002)

    async with studio() as place, publisher(wallclock_ns=clock_ns) as person:
        video = person.add_video(Codec.VP8, origin_ns=5_000 * S)
        audio = person.add_audio(origin_ns=5_000 * S)
        await connected(place, person)
        for i in range(6):
            video.send(vp8_frame(i, key=i == 0), i * 9000)
            audio.send(b"\xfc", i * 4800, level=5)
            video.report()
            audio.report()
            await beat(0.02)
        await place.until(lambda: all(len(t.reports) >= 6 for t in place.peer.tracks) and len(place.peer.tracks) == 2)
        for track, rate in ((place.peer.video, 90_000), (place.peer.audio, 48_000)):
            base = track.frames[0].media_time
            for at, wallclock, media in track.reports:
                assert abs((wallclock - 5_000 * S) * rate - (media - base) * S) <= S
                assert at >= place.peer.joined_at


async def test_receiver_reports_and_bit_rate_reach_the_sender_soon() -> None:
    async with studio(video_bitrate=3_000_000) as place, publisher() as person:
        tracks = [person.add_video(Codec.H264), person.add_video(Codec.VP8), person.add_audio()]
        await connected(place, person)

        def are_told() -> bool:
            blocks = [person.report_blocks.get(track.ssrc) for track in tracks]
            return person.remb == 6_000_000 and all(block is not None and block.last_sr for block in blocks)

        for i in range(300):  # five seconds of media
            tracks[0].send(h264_frame(i, key=i == 0), i * 1500)
            tracks[1].send(vp8_frame(i, key=i == 0), i * 1500)
            tracks[2].send(b"\xfc", i * 800)
            await beat(1 / 60)
            if are_told():
                break
        assert are_told()
        block = person.report_blocks[tracks[0].ssrc]
        assert (block.packets_lost, block.fraction_lost) == (0, 0)
        assert 0 < block.delay_since_sr < 3 * 65536


# what may go wrong


async def test_peer_that_is_not_heard_any_more_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice, "CONSENT_INTERVAL", 0.02)
    monkeypatch.setattr(ice, "CONSENT_FAILURES", 2)
    async with studio() as place, publisher() as person:
        person.add_audio()
        await connected(place, person)
        person.vanish()
        await place.until(lambda: place.peer.closed)
        assert len(place.server) <= 1


async def test_answer_to_somebody_else_does_not_connect() -> None:
    """The certificate's fingerprint is not that of the SDP: on either side the connection fails."""
    async with studio(connect_timeout_s=10) as place:
        for tampered in ("offer", "answer"):
            async with publisher() as person:
                person.add_audio()

                async def post(offer: str, what: str = tampered) -> str:
                    def other(sdp: str) -> str:
                        return re.sub("sha-256 ..", "sha-256 00", sdp) if "sha-256 00" not in sdp else sdp

                    answer = await place.poster()(other(offer) if what == "offer" else offer)
                    return other(answer) if what == "answer" else answer

                if tampered == "answer":
                    with pytest.raises(UnavailableError):
                        await person.connect(post, timeout_s=3)
                else:
                    await person.connect(post, timeout_s=30)
                    async with asyncio.timeout(60):
                        await person.wait_closed()
                    assert place.ingest.peers == []
        assert all(peer.closed and not peer.tracks for peer in place.ingest.peers)


async def test_malformed_candidate_in_an_offer_is_refused_and_nothing_stays_open() -> None:
    async with studio() as place, publisher() as person:
        person.add_audio()
        offer = (await person.offer()).replace(" udp ", " udp x", 1)
        with pytest.raises(InvalidError, match="malformed ICE candidate"):
            await place.poster()(offer)
        assert len(place.server) == 0


async def test_ports_are_taken_from_the_range_until_it_is_used_up() -> None:
    port = free_port()
    network = NetworkSettings(hosts=("127.0.0.1",), ports=(port, port))
    async with studio(network=network) as place, publisher() as person, publisher() as other:
        person.add_audio()
        other.add_audio()
        await person.connect(place.poster())
        assert f"127.0.0.1 {port} typ host" in place.answers[0].sdp
        with pytest.raises(UnavailableError, match=f"every UDP port from {port} to {port} is in use") as caught:
            await other.connect(place.poster())
        assert caught.value.retry_after_s
        await person.close()
        await place.until(lambda: bool(place.ingest.peers) and place.peer.closed)
        await spin(lambda: len(place.server) == 0)


async def test_lite_publisher_is_connected_to() -> None:
    """It only answers checks (RFC 8445 2.5): we begin them and nominate."""
    async with studio() as place, publisher() as person:
        video = person.add_video(Codec.VP8)
        person._link._controlling = person._link._connection.ice_controlling = False

        async def post(offer: str) -> str:
            return await place.poster()(offer.replace("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n"))

        await person.connect(post)
        await send_video(video, range(2))
        await place.until(lambda: bool(place.ingest.peers and place.peer.tracks))
        assert place.server._sessions[place.answers[0].session_id].peer._link.role == "controlling"


async def test_stun_server_adds_the_address_the_world_sees() -> None:
    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast(asyncio.DatagramTransport, transport)

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            request = stun.parse_message(data)
            answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id)
            answer.attributes["XOR-MAPPED-ADDRESS"] = ("198.51.100.7", 4242)
            self.transport.sendto(bytes(answer), addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    network = NetworkSettings(hosts=("127.0.0.1",), ice_servers=(f"stun:127.0.0.1:{port}",))
    async with studio(network=network) as place, publisher() as person:
        person.add_audio()
        await connected(place, person)
        assert re.search(r"a=candidate:\S+ 1 udp \d+ 198\.51\.100\.7 4242 typ srflx", place.answers[0].sdp)
    transport.close()


async def test_address_that_is_not_ours_cannot_be_offered() -> None:
    async with studio(network=NetworkSettings(hosts=("192.0.2.77",))) as place, publisher() as person:
        person.add_audio()
        with pytest.raises(UnavailableError, match="no UDP port can be opened"):
            await person.connect(place.poster())


def flood(person: Publisher, packets: Callable[[int], RtpPacket], count: int) -> None:
    """Send packets that no track would: authentic, and nonsense."""
    for i in range(count):
        person._send(build_rtp(packets(i)), False)


async def test_thousands_of_sources_are_not_all_remembered() -> None:
    async with studio() as place, publisher(seed=9) as person:
        video = person.add_video(Codec.VP8)
        await connected(place, person)
        await send_video(video, range(2))
        await place.until(lambda: bool(place.peer.tracks) and len(place.peer.video.frames) == 2)
        flood(person, lambda i: RtpPacket(i, 96, 7, 7, True, b"\x10\x00"), 400)
        flood(person, lambda i: RtpPacket(100_000 + i, 5, 7, 7, True, b"\x10\x00"), 400)
        await asyncio.sleep(0)
        session = next(iter(place.server._sessions.values()))
        receiver = session.peer._receiver
        assert receiver is not None
        await spin(lambda: receiver.refused >= 700)
        assert len(receiver._streams) == 64
        assert person.connected


async def test_rubbish_of_an_authentic_sender_does_no_harm() -> None:
    async with studio() as place, publisher(seed=9) as person:
        video = person.add_video(Codec.H264)
        await connected(place, person)
        await send_video(video, range(2))
        await place.until(lambda: bool(place.peer.tracks) and len(place.peer.video.frames) == 2)
        ssrc = video.ssrc
        flood(
            person, lambda i: RtpPacket(ssrc, 102, i * 977 & 0xFFFF, i * 99991, i % 3 == 0, bytes([i & 255]) * 5), 500
        )
        flood(person, lambda i: RtpPacket(ssrc, 103, i, i, False, b"\0"), 50)
        for data in (b"\x80\xc8\0\1" + bytes(4), b"\x80\xcb\0\0" + bytes(4), b"\x9f\xcd\xff\xff" + bytes(8)):
            person._send(data, True)
        for data in (b"\x90\x66" + bytes(10) + b"\xbe\xde\xff\xff", b"\xbf\x66" + bytes(70), b"\x80"):
            person._link.send_nowait(data)
        video.change_ssrc()
        frames = await send_video(video, range(2, 6), key_every=2)
        await place.until(lambda: place.peer.video.payloads[-1] == frames[-1])
        session = next(iter(place.server._sessions.values()))
        assert session.peer._faults == 0


async def test_fault_of_a_sink_stays_its_own() -> None:
    async with studio() as place, publisher() as person:
        video = person.add_video(Codec.VP8)
        await connected(place, person)
        await send_video(video, range(2))
        await place.until(lambda: bool(place.peer.tracks) and len(place.peer.video.frames) == 2)
        track = place.peer.video
        good = track.frame
        faults: list[object] = []

        def bad(frame: object) -> None:
            faults.append(frame)
            raise RuntimeError("a fault of capture")

        track.frame = bad  # type: ignore[method-assign]
        await send_video(video, range(2, 5))
        await spin(lambda: len(faults) == 3)
        track.frame = good  # type: ignore[method-assign]
        frames = await send_video(video, range(5, 8))
        await place.until(lambda: track.payloads[-1] == frames[-1])
        assert person.connected


@pytest.mark.parametrize(
    "scenario",
    [
        test_new_ssrc_continues_the_track,
        test_sender_reports_carry_the_senders_clock_exactly,
        test_ports_are_taken_from_the_range_until_it_is_used_up,
        test_address_that_is_not_ours_cannot_be_offered,
        test_thousands_of_sources_are_not_all_remembered,
    ],
)
def test_the_same_on_the_loop_that_serves(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    uvloop.run(scenario())
