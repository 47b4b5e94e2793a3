"""sources.sdp and sources.negotiate: offers of real publishers, offers that must be refused, answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sources.offers import CHROMIUM, FFMPEG, OBS

from tapedeck.core.errors import InvalidError
from tapedeck.core.frames import Codec, Kind
from tapedeck.sources.negotiate import MediaLine, answer_for, data_section, negotiate
from tapedeck.sources.sdp import (
    Fragment,
    IceCredentials,
    Transport,
    parse_description,
    parse_fragment,
    parse_parameter_sets,
    write_description,
    write_fragment,
)

TRANSPORT = Transport(
    IceCredentials("ufrag", "0123456789012345678901"),
    fingerprints=[("sha-256", "CD:EF")],
    setup="passive",
    candidates=["1 1 udp 2130706431 127.0.0.1 40000 typ host"],
    end_of_candidates=True,
)


def lines_of(offer: str) -> list[MediaLine]:
    return negotiate(parse_description(offer))


def answer_to(offer: str) -> str:
    parsed = parse_description(offer)
    return write_description(answer_for(parsed, negotiate(parsed), TRANSPORT, 77))


def without(offer: str, *starts: str) -> str:
    return "".join(line + "\n" for line in offer.splitlines() if not line.startswith(starts))


# real publishers


def test_chromium_is_understood() -> None:
    audio, video = lines_of(CHROMIUM)
    assert (audio.kind, audio.codecs, audio.ssrcs, audio.channels) == (Kind.AUDIO, {111: Codec.OPUS}, [1001], 1)
    assert (audio.level_extension, audio.mid_extension, audio.nack) == (1, 4, False)
    assert list(video.codecs.items()) == [
        (96, Codec.VP8),
        (102, Codec.H264),
        (104, Codec.H264),
        (106, Codec.H264),
    ]
    assert video.repairs == {97: 96, 103: 102, 105: 104, 107: 106}
    assert (video.ssrcs, video.retransmits) == ([2001], {2002: 2001})
    assert (video.nack, video.remb, video.level_extension, video.mid_extension) == (True, True, 0, 4)


def test_chromium_gets_the_answer_it_can_use() -> None:
    answer = answer_to(CHROMIUM).split("m=")
    assert "a=group:BUNDLE 0 1\r\n" in answer[0]
    assert "a=extmap-allow-mixed\r\n" in answer[0]
    assert answer[1].startswith("audio 9 UDP/TLS/RTP/SAVPF 111\r\n")
    assert "a=rtpmap:111 opus/48000/2\r\n" in answer[1]
    assert "a=fmtp:111 minptime=10;useinbandfec=1\r\n" in answer[1]
    assert "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n" in answer[1]
    assert answer[2].startswith("video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 104 105 106 107\r\n")
    assert "a=fmtp:103 apt=102\r\n" in answer[2]
    assert "a=fmtp:104 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f\r\n" in answer[2]
    assert [line for line in answer[2].splitlines() if line.startswith("a=rtcp-fb:96")] == [
        "a=rtcp-fb:96 goog-remb",
        "a=rtcp-fb:96 ccm fir",
        "a=rtcp-fb:96 nack",
        "a=rtcp-fb:96 nack pli",
    ]
    for section in answer[1:]:
        assert "a=recvonly\r\n" in section
        assert "a=rtcp-mux\r\n" in section
        assert "a=rtcp-rsize\r\n" in section
        assert "a=setup:passive\r\n" in section
        assert "a=ice-ufrag:ufrag\r\n" in section
        assert "transport-cc" not in section
        assert "video-orientation" not in section
    assert "a=candidate:1 1 udp 2130706431 127.0.0.1 40000 typ host\r\na=end-of-candidates" in answer[1]
    assert "a=candidate" not in answer[2]


def test_ffmpeg_is_understood() -> None:
    audio, video = lines_of(FFMPEG)
    assert audio.codecs == {111: Codec.OPUS}
    assert (video.codecs, video.repairs, video.nack, video.remb) == ({106: Codec.H264}, {105: 106}, True, False)
    assert parse_description(FFMPEG).transport.setup == "passive"
    assert "extmap:" not in answer_to(FFMPEG)


def test_obs_is_understood_with_its_session_level_transport() -> None:
    audio, video = lines_of(OBS)
    assert (audio.codecs, audio.channels, video.codecs) == ({111: Codec.OPUS}, 2, {96: Codec.H264})
    transport = parse_description(OBS).transport
    assert transport.ice == IceCredentials("jBua", "XY7G9R0T0AXbmxJQkXSBpH")
    assert (transport.setup, len(transport.candidates), transport.end_of_candidates) == ("actpass", 1, True)
    assert "a=fmtp:111 minptime=10;useinbandfec=1;stereo=1\r\n" in answer_to(OBS)


def test_single_section_needs_neither_bundle_nor_mid() -> None:
    offer = without(FFMPEG.split("m=video")[0], "a=mid", "a=group")
    answer = answer_to(offer)
    assert "BUNDLE" not in answer
    assert "a=ice-ufrag:ufrag" in answer
    assert "a=recvonly" in answer


def test_section_that_sends_nothing_is_refused_within_the_answer() -> None:
    data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\nc=IN IP4 0.0.0.0\na=mid:2\na=sctp-port:5000\n"
    receiving = CHROMIUM.replace("a=mid:0\n", "a=mid:0\na=x\n").replace("a=sendonly\na=msid", "a=recvonly\na=msid")
    answer = answer_to(receiving + data)  # which is in no bundle
    assert "a=group:BUNDLE 1\r\n" in answer
    assert "m=audio 0 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\n" in answer
    assert "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n" in answer
    assert answer.count("a=inactive") == 2
    assert answer.split("m=video")[1].count("a=candidate") == 1


@pytest.mark.parametrize("protocol", ["UDP/DTLS/SCTP", "DTLS/SCTP"])
def test_data_channels_in_the_bundle_are_taken(protocol: str) -> None:
    data = f"m=application 9 {protocol} webrtc-datachannel\nc=IN IP4 0.0.0.0\na=mid:2\na=sctp-port:5005\n"
    offer = CHROMIUM.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0 1 2") + data
    found = data_section(parse_description(offer))
    assert found is not None and found.sctp_port == 5005
    answer = answer_to(offer)
    assert "a=group:BUNDLE 0 1 2\r\n" in answer
    section = answer.split("m=application")[1]
    assert section.startswith(f" 9 {protocol} webrtc-datachannel\r\n") and "a=setup:passive\r\n" in section
    assert "a=sctp-port:5000\r\n" in section and "a=max-message-size:32768\r\n" in section


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("application 9", "application 0"),
        ("UDP/DTLS/SCTP", "TCP/DTLS/SCTP"),
        ("datachannel", "other"),
        ("mid:2", "mid:3"),
    ],
)
def test_other_data_is_refused_within_the_answer(old: str, new: str) -> None:
    data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=mid:2\n".replace(old, new)
    offer = CHROMIUM.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0 1 2") + data
    assert data_section(parse_description(offer)) is None
    assert "m=application 0 " in answer_to(offer)


def test_simulcast_is_answered_with_one_layer() -> None:
    offer = CHROMIUM + "a=rid:h send\na=rid:l send\na=simulcast:send h;l\n"
    assert "simulcast" not in answer_to(offer)
    assert "a=rid" not in answer_to(offer)


def test_parameter_sets_of_the_sdp_are_read() -> None:
    sprop = "profile-level-id=42e01f;sprop-parameter-sets=Z0LgH42NaA==,aM48gA=="
    (_, video) = lines_of(OBS.replace("profile-level-id=42e01f", sprop))
    assert [nal[0] & 31 for nal in video.parameter_sets] == [7, 8]
    assert "sprop-parameter-sets" not in answer_to(OBS.replace("profile-level-id=42e01f", sprop))
    assert parse_parameter_sets("Z0LgHw==,???,,aM4=") == [b"gB\xe0\x1f", b"h\xce"]


# refused


@pytest.mark.parametrize(
    ("offer", "reason"),
    [
        ("", "must begin with v=0"),
        ("hello", "must begin with v=0"),
        ("v=0\r\nwhat is this", "line 2 is not of the form"),
        (CHROMIUM.split("m=")[0], "no audio or video media section"),
        (CHROMIUM.split("m=")[0] + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\n", "no audio or video"),
        (CHROMIUM.replace("a=sendonly", "a=recvonly"), "there is nothing to receive"),
        (CHROMIUM.replace("a=sendonly", "a=inactive"), "there is nothing to receive"),
        (CHROMIUM.replace("m=audio 9", "m=audio 0").replace("m=video 9", "m=video 0"), "no audio or video"),
        (CHROMIUM.replace("VP8/90000", "VP9/90000").replace("H264/", "H265/"), "we take H264"),
        (CHROMIUM.replace("opus/48000/2", "speex/16000"), r"section 0 \(audio\) offers no codec.*RED, G722, PCMU"),
        (OBS.replace("packetization-mode=1", "packetization-mode=2"), r"section 1 \(video\).*it offers H264"),
        (without(CHROMIUM, "a=rtcp-mux"), "a=rtcp-mux is required"),
        (CHROMIUM.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"), "only UDP/TLS/RTP/SAVPF"),
        (without(CHROMIUM, "a=group"), "is not bundled"),
        (CHROMIUM.replace("BUNDLE 0 1", "BUNDLE 0"), r"section 1 \(video\) is not bundled"),
        (without(CHROMIUM, "a=ice-ufrag"), "no a=ice-ufrag"),
        (without(CHROMIUM, "a=ice-pwd"), "no a=ice-ufrag and a=ice-pwd"),
        (without(CHROMIUM, "a=fingerprint"), "no a=fingerprint"),
        (CHROMIUM.replace("sha-256", "md5"), "no a=fingerprint with sha-256"),
        (without(CHROMIUM, "a=setup"), "no a=setup"),
        (CHROMIUM.replace("a=setup:actpass", "a=setup:holdconn"), "line 16 is malformed"),
        (CHROMIUM.replace("a=mid:1", "a=mid:0"), "the same a=mid"),
        (CHROMIUM.replace("m=audio 9", "m=audio nine"), "line 8 is malformed"),
        (CHROMIUM.replace("SAVPF 111", "SAVPF 300"), "line 8 is malformed"),
        (CHROMIUM.replace("opus/48000/2", "opus"), "malformed"),
        (CHROMIUM.replace("a=ssrc:1001 cname", "a=ssrc:x cname"), "malformed"),
        (CHROMIUM.replace("a=ssrc:1001 cname", "a=ssrc:99999999999 cname"), "malformed"),
        (CHROMIUM.replace("a=candidate:1467250027 1 udp", "a=candidate:1 1 udp\na=x:"), "line 11 is malformed"),
        (CHROMIUM + "m=video 9 UDP/TLS/RTP/SAVPF 96\n" * 30, "more than 24 media sections"),
        (
            CHROMIUM.replace("BUNDLE 0 1", "BUNDLE " + " ".join(map(str, range(12))))
            + "".join(
                f"m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:{i}\na=rtcp-mux\na=rtpmap:96 VP8/90000\n" for i in range(2, 12)
            ),
            "more than 8 tracks",
        ),
    ],
)
def test_offer_is_refused_with_the_reason(offer: str, reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        lines_of(offer)


@given(st.data())
def test_mangled_offers_are_answered_or_refused_but_never_break(data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from([CHROMIUM, FFMPEG, OBS])).splitlines()
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(lines) - 1))
        what = data.draw(st.sampled_from(["drop", "cut", "twice", "swap", "poke"]))
        if what == "drop":
            lines[at] = ""
        elif what == "cut":
            lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at])))]
        elif what == "twice":
            lines.insert(at, lines[at])
        elif what == "swap":
            lines[at], lines[-1] = lines[-1], lines[at]
        else:
            place = data.draw(st.integers(0, len(lines[at])))
            lines[at] = lines[at][:place] + data.draw(st.text(max_size=3)) + lines[at][place:]
    try:
        answer = answer_to("\n".join(lines))
    except InvalidError:
        return
    again = parse_description(answer)
    assert all(section.direction in ("recvonly", "inactive") for section in again.sections)


@given(st.text(max_size=300))
def test_text_of_any_kind_is_refused_as_an_offer_and_as_a_fragment(text: str) -> None:
    with pytest.raises(InvalidError):
        lines_of("v=0\n" + text)
    try:
        parse_fragment(text)
    except InvalidError:
        return


# fragments


def test_fragment_of_chromium_is_read() -> None:
    text = (
        "a=ice-options:trickle\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
        "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
        "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r\n"
        "a=end-of-candidates\r\n"
    )
    fragment = parse_fragment(text)
    assert fragment.ice == IceCredentials("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")
    assert len(fragment.candidates) == 1
    assert fragment.end_of_candidates


def test_fragment_is_written_as_it_is_read() -> None:
    fragment = Fragment(IceCredentials("abcd", "0123456789012345678901"), ["1 1 udp 1 127.0.0.1 9 typ host"], True)
    text = write_fragment(fragment, "video", "7")
    assert parse_fragment(text) == fragment
    assert "m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:7\r\n" in text
