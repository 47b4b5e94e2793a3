"""sources.whip: sessions from offer to end, over real ICE, DTLS and SRTP on loopback."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest
from tests.pace import beat
from tests.sources.kit import h264_frame, peer_info, publisher, studio, vp8_frame

from tapedeck.core.errors import ConflictError, InvalidError, LimitError, NotFoundError, UnavailableError
from tapedeck.core.frames import Codec, Kind, Origin
from tapedeck.sources.publish import Publisher
from tapedeck.sources.whip import EntityTagMissingError, EntityTagStaleError, WhipLimits


def task_named(name: str) -> asyncio.Task[object]:
    """A task of the server, to wait for its end."""
    return next(task for task in asyncio.all_tasks() if task.get_name() == name)


async def offer_of(*kinds: str) -> str:
    """The text of an offer that nobody will connect."""
    async with publisher(seed=1) as person:
        for kind in kinds:
            if kind == "audio":
                person.add_audio()
            else:
                person.add_video(Codec[kind])
        return await person.offer()


async def test_publication_lasts_from_offer_to_delete() -> None:
    async with studio() as place, publisher() as person:
        video, audio = person.add_video(Codec.H264), person.add_audio()
        await person.connect(place.poster())
        await place.until(lambda: bool(place.ingest.peers))
        assert place.peer.info == peer_info()
        assert place.peer.tracks == []
        frames = [h264_frame(i, key=i == 0) for i in range(20)]
        for i, frame in enumerate(frames):
            video.send(frame, i * 3000)
            audio.send(b"\xfc%d" % i, i * 960, level=40 + i)
        await place.until(lambda: len(place.peer.tracks) == 2 and len(place.peer.video.frames) == 20)
        await place.until(lambda: len(place.peer.audio.frames) == 20)
        assert place.peer.video.payloads == frames
        assert place.peer.audio.payloads == [b"\xfc%d" % i for i in range(20)]
        assert place.peer.audio.levels == list(range(40, 60))
        info = place.peer.video.info
        assert (info.kind, info.codec, info.peer_id, info.participant_id) == (
            Kind.VIDEO,
            Codec.H264,
            "peer-1",
            "person",
        )
        assert (info.origin, info.channels, place.peer.audio.info.channels) == (Origin.CAMERA, 0, 2)
        await place.server.delete(place.answers[0].session_id)
        assert place.peer.closed
        await person.wait_closed()
        with pytest.raises(NotFoundError):
            await place.server.delete(place.answers[0].session_id)


async def test_delete_that_is_given_up_still_ends_the_session_whole() -> None:
    """In whatever moment: the server's own end cancels requests that take too long."""
    async with studio() as place:
        for steps in range(6):
            async with publisher() as person:
                person.add_audio()
                await person.connect(place.poster(peer_id=str(steps)))
                await place.until(lambda steps=steps: len(place.ingest.peers) > steps)  # type: ignore[misc]
                deleting = asyncio.create_task(place.server.delete(place.answers[-1].session_id))
                for _ in range(steps):
                    await beat(0)
                deleting.cancel()
                await asyncio.gather(deleting, return_exceptions=True)
                await place.server.disconnect("meeting")
                assert place.ingest.peers[-1].closed


async def test_frames_sent_while_the_meeting_takes_its_time_to_start_are_not_lost() -> None:
    async with studio() as place, publisher() as person:
        video = person.add_video(Codec.VP8)
        place.ingest.gate.clear()
        await person.connect(place.poster())
        frames = [vp8_frame(i, key=i == 0) for i in range(30)]
        for i, frame in enumerate(frames):
            video.send(frame, i * 3000)
        place.ingest.gate.set()
        await place.until(lambda: bool(place.ingest.peers and place.peer.tracks) and len(place.peer.video.frames) == 30)
        assert place.peer.video.payloads == frames


@pytest.mark.parametrize("candidate", ["", "a=candidate:1 1 udp 2122 4f3a.local 50000 typ host\r\n"])
async def test_peer_that_hides_its_addresses_is_found_by_its_own_checks(candidate: str) -> None:
    """As a browser page that shares a screen and was granted no camera: mDNS names, and the end of candidates."""
    async with studio() as place, publisher() as person:
        video = person.add_video(Codec.VP8)
        post = place.poster()

        async def post_hidden(offer: str) -> str:
            hidden, count = re.subn(r"(a=candidate:.*\r\n)+", candidate, offer)
            assert count == 1
            assert "a=end-of-candidates" in hidden
            return await post(hidden)

        await person.connect(post_hidden)
        video.send(vp8_frame(0, key=True), 0)
        await place.until(lambda: bool(place.ingest.peers and place.peer.tracks) and len(place.peer.video.frames) == 1)


async def test_mono_is_told_from_stereo() -> None:
    async with studio() as place, publisher() as person:
        audio = person.add_audio(channels=1)
        await person.connect(place.poster())
        audio.send(b"\xfc", 0)
        await place.until(lambda: bool(place.ingest.peers and place.peer.tracks))
        assert place.peer.audio.info.channels == 1
        assert "stereo=1" not in place.answers[0].sdp


async def test_several_publications_of_one_participant_stand_side_by_side() -> None:
    async with studio() as place, publisher() as camera, publisher() as screen:
        tracks = [camera.add_video(Codec.H264), screen.add_video(Codec.VP8)]
        await camera.connect(place.poster(peer_id="cam"))
        await screen.connect(place.poster(peer_id="scr", origin=Origin.SCREEN))
        tracks[0].send(h264_frame(0, key=True), 0)
        tracks[1].send(vp8_frame(0, key=True), 0)
        await place.until(lambda: all(p.tracks for p in place.ingest.peers) and len(place.ingest.peers) == 2)
        seen = {(p.info.peer_id, p.video.info.origin, p.video.info.codec) for p in place.ingest.peers}
        assert seen == {("cam", Origin.CAMERA, Codec.H264), ("scr", Origin.SCREEN, Codec.VP8)}
        await place.server.delete(place.answers[0].session_id)
        assert [p.closed for p in place.ingest.peers if p.info.peer_id == "cam"] == [True]
        assert screen.connected
        assert len(place.server) == 1


async def test_several_video_sections_become_several_tracks() -> None:
    async with studio() as place, publisher() as person:
        tracks = [person.add_video(Codec.H264), person.add_video(Codec.H264), person.add_video(Codec.VP8)]
        await person.connect(place.poster())
        for i, track in enumerate(tracks):
            frame = vp8_frame(i, key=True) if track.codec is Codec.VP8 else h264_frame(i, key=True)
            track.send(frame, 0)
        await place.until(lambda: bool(place.ingest.peers) and sum(len(t.frames) for t in place.peer.tracks) == 3)
        got = {track.payloads[0] for track in place.peer.tracks}
        assert got == {h264_frame(0, key=True), h264_frame(1, key=True), vp8_frame(2, key=True)}


async def test_reconnecting_participant_is_a_new_peer() -> None:
    async with studio() as place:
        for number in ("one", "two"):
            async with publisher() as person:
                video = person.add_video(Codec.VP8)
                await person.connect(place.poster(peer_id=number))
                video.send(vp8_frame(0, key=True), 0)
                await place.until(lambda: bool(place.ingest.peers and place.peer.tracks))
            await place.until(lambda: place.peer.closed)
        assert [p.info.peer_id for p in place.ingest.peers] == ["one", "two"]
        assert len({p.video.info.track_id for p in place.ingest.peers}) == 2


async def test_silent_ghost_ends_when_its_participant_publishes_anew() -> None:
    async with studio(silence_limit_s=0.5) as place, publisher() as ghost, publisher() as person:
        first = ghost.add_video(Codec.VP8)
        await ghost.connect(place.poster(peer_id="ghost"))
        first.send(vp8_frame(0, key=True), 0)
        await place.until(lambda: bool(place.ingest.peers and place.peer.tracks))
        ghost.vanish()
        person.add_video(Codec.VP8)
        await person.connect(place.poster(peer_id="again"))
        await place.until(lambda: place.ingest.peers[0].closed)
        assert person.connected
        assert not place.ingest.peers[1].closed


async def test_peer_that_closes_politely_is_gone_at_once() -> None:
    async with studio() as place, publisher() as person:
        person.add_video(Codec.VP8)
        await person.connect(place.poster())
        await place.until(lambda: bool(place.ingest.peers))
        await person.close()
        await place.until(lambda: place.peer.closed, 20)


async def test_offer_that_never_connects_is_forgotten() -> None:
    async with studio(connect_timeout_s=0.3) as place, publisher() as person:
        person.add_audio()
        await place.poster()(await person.offer())
        assert len(place.server) == 1
        await task_named("peer peer-1")
        assert len(place.server) == 0
        assert place.ingest.peers == []


async def test_meeting_that_refuses_ends_the_connection() -> None:
    async with studio() as place, publisher() as person:
        place.ingest.refusal = ConflictError("the meeting is inactive")
        person.add_audio()
        await person.connect(place.poster())
        async with asyncio.timeout(60):
            await person.wait_closed()
        assert place.ingest.peers == []


# patch


async def test_trickled_candidates_connect_an_offer_without_any() -> None:
    async with studio() as place, publisher() as person:
        video = person.add_video(Codec.VP8)
        offer = await person.offer(candidates=False)
        assert "a=candidate" not in offer
        answer = await place.server.offer(peer_info(), offer)
        patched = await place.server.patch(answer.session_id, person.candidate_fragment(), answer.etag)
        assert (patched.sdp, patched.etag) == (None, answer.etag)
        await person.accept(answer.sdp)
        video.send(vp8_frame(0, key=True), 0)
        await place.until(lambda: bool(place.ingest.peers and place.peer.tracks))


async def test_ice_restart_moves_the_connection_without_losing_a_frame() -> None:
    async with studio() as place, publisher() as person:
        video = person.add_video(Codec.H264)
        await person.connect(place.poster())
        frames = [h264_frame(i, key=i == 0) for i in range(60)]
        old = place.answers[0]

        async def send(numbers: range) -> None:
            for i in numbers:
                video.send(frames[i], i * 3000)
                await beat(0.01)

        await send(range(20))
        media = asyncio.ensure_future(send(range(20, 40)))
        restarted: list[str] = []

        async def patch(fragment: str) -> str:
            patched = await place.server.patch(old.session_id, fragment, "*")
            assert patched.sdp is not None
            assert patched.etag != old.etag
            restarted.append(patched.sdp)
            return patched.sdp

        await person.restart_ice(patch)
        await media
        await send(range(40, 60))
        await place.until(lambda: len(place.peer.video.frames) == 60)
        assert place.peer.video.payloads == frames
        assert place.peer.video.breaks == []
        assert len(place.ingest.peers) == 1
        credentials = [re.findall(r"a=ice-(?:ufrag|pwd):(\S+)", text)[:2] for text in (old.sdp, restarted[0])]
        assert credentials[0] != credentials[1]
        ports = [set(re.findall(r"a=candidate:\S+ 1 udp \d+ \S+ (\d+)", text)) for text in (old.sdp, restarted[0])]
        assert ports[0] and ports[1] and not ports[0] & ports[1]


async def test_ice_may_be_restarted_again_and_again() -> None:
    async with studio() as place, publisher() as person:
        video = person.add_video(Codec.VP8)
        await person.connect(place.poster())
        for i in range(3):
            await person.restart_ice(place.patcher())
            video.send(vp8_frame(i, key=True), i * 3000)
            await place.until(lambda n=i: bool(place.peer.tracks) and len(place.peer.video.frames) == n + 1)  # type: ignore[misc]


async def test_restart_that_does_not_connect_leaves_the_session_as_it_was() -> None:
    async with studio() as place, publisher() as person:
        video = person.add_video(Codec.VP8)
        await person.connect(place.poster())
        await place.until(lambda: bool(place.ingest.peers))
        session = place.answers[0].session_id
        peer = place.server._sessions[session].peer
        usual, peer._settings = peer._settings, replace(peer._settings, connect_timeout_s=0.5)
        nobody = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
        patched = await place.server.patch(session, nobody, "*")
        assert patched.sdp is not None
        assert await task_named("ice restart") is False
        peer._settings = usual
        video.send(vp8_frame(0, key=True), 0)
        await place.until(lambda: bool(place.peer.tracks))
        await person.restart_ice(place.patcher())


@pytest.mark.parametrize(
    ("if_match", "error"),
    [(None, EntityTagMissingError), ("", EntityTagStaleError), ("0123456789abcdef", EntityTagStaleError)],
)
async def test_patch_of_another_ice_session_is_refused(if_match: str | None, error: type[Exception]) -> None:
    async with studio() as place, publisher() as person:
        person.add_audio()
        answer = await place.server.offer(peer_info(), await person.offer(candidates=False))
        with pytest.raises(error) as caught:
            await place.server.patch(answer.session_id, person.candidate_fragment(), if_match)
        assert isinstance(caught.value, ConflictError)
        assert len(place.server) == 1


async def test_old_entity_tag_is_refused_after_a_restart() -> None:
    async with studio() as place, publisher() as person:
        person.add_audio()
        await person.connect(place.poster())
        await place.until(lambda: bool(place.ingest.peers))
        await person.restart_ice(place.patcher())
        with pytest.raises(EntityTagStaleError):
            await place.server.patch(place.answers[0].session_id, person.candidate_fragment(), place.answers[0].etag)


@pytest.mark.parametrize(
    ("fragment", "reason"),
    [
        ("rubbish", "not of the form"),
        ("a=ice-ufrag:abcd\r\n", "only one of"),
        ("a=ice-ufrag:a\r\na=ice-pwd:0123456789012345678901\r\n", "malformed"),
        ("a=candidate:1 1 udp\r\n", "malformed"),
        ("a=candidate:1 1 udp x 127.0.0.1 9 typ host\r\n", "malformed"),
        ("a=" + "x" * 20_000, "longer than"),
    ],
)
async def test_fragment_that_makes_no_sense_is_refused_and_the_session_lives(fragment: str, reason: str) -> None:
    async with studio() as place, publisher() as person:
        person.add_audio()
        await person.connect(place.poster())
        await place.until(lambda: bool(place.ingest.peers))
        session = place.answers[0].session_id
        for if_match in (place.answers[0].etag, "*"):
            with pytest.raises(InvalidError, match=reason):
                await place.server.patch(session, fragment, if_match)
        await person.restart_ice(place.patcher())
        assert person.connected


async def test_restart_with_a_malformed_candidate_is_refused_and_the_session_lives() -> None:
    async with studio() as place, publisher() as person:
        person.add_audio()
        await person.connect(place.poster())
        await place.until(lambda: bool(place.ingest.peers))
        bad = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=candidate:1 1 udp x 127.0.0.1 9 typ host\r\n"
        with pytest.raises(InvalidError, match="malformed ICE candidate"):
            await place.server.patch(place.answers[0].session_id, bad, "*")
        await person.restart_ice(place.patcher())


async def test_restart_before_the_first_connection_has_to_wait() -> None:
    async with studio() as place, publisher() as person:
        person.add_audio()
        answer = await place.server.offer(peer_info(), await person.offer())
        other = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
        with pytest.raises(UnavailableError):
            await place.server.patch(answer.session_id, other, "*")
        with pytest.raises(NotFoundError):
            await place.server.patch("nobody", other, "*")


# who, how many, until when


async def test_session_belongs_to_its_peer_and_cannot_be_guessed() -> None:
    async with studio() as place:
        offer = await offer_of("audio")
        answers = [await place.server.offer(peer_info(peer_id=str(i)), offer) for i in range(5)]
        assert [place.server.peer(a.session_id).peer_id for a in answers] == list("01234")
        assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}", a.session_id) for a in answers)
        assert len({a.session_id for a in answers}) == 5
        with pytest.raises(NotFoundError):
            place.server.peer("0" * 32)


async def test_disconnect_ends_one_participant_or_all() -> None:
    async with studio() as place:
        people = [Publisher() for _ in range(3)]
        for i, person in enumerate(people):
            person.add_audio()
            await person.connect(place.poster(peer_id=str(i), participant_id=f"person {i}"))
        await place.until(lambda: len(place.ingest.peers) == 3)
        await place.server.disconnect("another meeting")
        assert len(place.server) == 3
        await place.server.disconnect("meeting", "person 1")
        assert [p.closed for p in sorted(place.ingest.peers, key=lambda p: p.info.peer_id)] == [False, True, False]
        await place.server.disconnect("meeting")
        assert len(place.server) == 0
        for person in people:
            await person.wait_closed()
            await person.close()


async def test_new_name_reaches_the_sink() -> None:
    async with studio() as place, publisher() as person:
        person.add_audio()
        await person.connect(place.poster())
        await place.until(lambda: bool(place.ingest.peers))
        place.server.rename("meeting", "person", "Grace")
        place.server.rename("meeting", "somebody else", "Nobody")
        assert place.peer.names == ["Grace"]


async def test_draining_server_takes_nobody_new_and_keeps_whom_it_has() -> None:
    async with studio() as place, publisher() as person:
        person.add_audio()
        await person.connect(place.poster())
        place.server.drain()
        with pytest.raises(UnavailableError) as caught:
            await place.server.offer(peer_info(), await offer_of("audio"))
        assert caught.value.retry_after_s == 10
        assert person.connected
        await place.server.aclose()
        await person.wait_closed()


async def test_number_of_publications_is_limited() -> None:
    async with studio(limits=WhipLimits(sessions=2)) as place:
        offer = await offer_of("audio")
        for _ in range(2):
            await place.server.offer(peer_info(), offer)
        with pytest.raises(LimitError):
            await place.server.offer(peer_info(), offer)


async def test_oversized_offer_is_refused() -> None:
    async with studio() as place:
        offer = await offer_of("audio") + "a=x:" + "y" * 70_000
        with pytest.raises(InvalidError, match="longer than 65536"):
            await place.server.offer(peer_info(), offer)
        assert len(place.server) == 0
