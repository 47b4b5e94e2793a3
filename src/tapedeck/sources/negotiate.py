"""What of an offer we take: codecs we can store, in the order the publisher prefers them.

Owns the answer (RFC 3264, 9725) and the reasons for refusing an offer. A publication is taken whole: a section that
would send something we cannot store is refused with the reason rather than silently left out of the film.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tapedeck.core.errors import InvalidError
from tapedeck.core.frames import Codec, Kind
from tapedeck.core.timed import MESSAGE_LIMIT
from tapedeck.sources.messages import SCTP_PORT
from tapedeck.sources.sdp import (
    LEVEL_URI,
    MID_URI,
    Description,
    Format,
    Section,
    Transport,
    parse_parameter_sets,
)

__all__ = ["MediaLine", "answer_for", "data_section", "negotiate"]

_CODECS = {("OPUS", 48_000): Codec.OPUS, ("VP8", 90_000): Codec.VP8, ("H264", 90_000): Codec.H264}
_FEEDBACK = ("nack", "nack pli", "ccm fir", "goog-remb")
_PROTOCOLS = ("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF")
_DATA_PROTOCOLS = ("UDP/DTLS/SCTP", "DTLS/SCTP")
_DATA_FORMAT = "webrtc-datachannel"
_HASHES = ("sha-256", "sha-384", "sha-512")
_H264_PARAMETERS = ("level-asymmetry-allowed", "packetization-mode", "profile-level-id")
_MAX_LINES = 8


@dataclass(slots=True)
class MediaLine:
    """One media section that we receive."""

    index: int
    mid: str
    kind: Kind
    codecs: dict[int, Codec] = field(default_factory=dict)
    "Payload type to codec, in the offer's order."
    repairs: dict[int, int] = field(default_factory=dict)
    "RTX payload type to the payload type it carries."
    ssrcs: list[int] = field(default_factory=list)
    retransmits: dict[int, int] = field(default_factory=dict)
    "RTX SSRC to media SSRC, as far as the offer tells."
    mid_extension: int = 0
    "Header extension id, 0 when not offered."
    level_extension: int = 0
    nack: bool = False
    remb: bool = False
    channels: int = 0
    parameter_sets: list[bytes] = field(default_factory=list)


def negotiate(offer: Description) -> list[MediaLine]:
    """The media lines to receive. Raises InvalidError with the reason when the offer cannot be answered."""
    media = [s for s in offer.sections if s.kind in ("audio", "video") and s.port]
    if not media:
        raise InvalidError("the offer has no audio or video media section")
    sending = [s for s in media if s.direction in ("sendonly", "sendrecv")]
    if not sending:
        raise InvalidError("no media section of the offer is sendonly or sendrecv: there is nothing to receive")
    if len(sending) > _MAX_LINES:
        raise InvalidError(f"the offer sends more than {_MAX_LINES} tracks")
    lines = []
    for section in sending:
        name = f"media section {section.mid or offer.sections.index(section)} ({section.kind})"
        if section.protocol not in _PROTOCOLS:
            raise InvalidError(f"{name} uses {section.protocol}; only UDP/TLS/RTP/SAVPF is supported")
        if not section.rtcp_mux:
            raise InvalidError(f"{name} does not multiplex RTCP: a=rtcp-mux is required")
        if len(sending) > 1 and (not section.mid or section.mid not in offer.bundle):
            raise InvalidError(f"{name} is not bundled: list its a=mid in a=group:BUNDLE")
        lines.append(_media_line(offer.sections.index(section), section, name))
    _check_transport(offer.transport)
    return lines


def data_section(offer: Description) -> Section | None:
    """Where the offer has data channels (RFC 8841), in the bundle of its media; None: it has none that we take."""
    for section in offer.sections:
        is_ours = section.protocol in _DATA_PROTOCOLS and section.raw_formats == _DATA_FORMAT
        if section.kind == "application" and section.port and is_ours and section.mid in offer.bundle:
            return section
    return None


def _check_transport(transport: Transport) -> None:
    if transport.ice is None or not transport.ice.ufrag or not transport.ice.password:
        raise InvalidError("the offer has no a=ice-ufrag and a=ice-pwd")
    if not any(algorithm in _HASHES for algorithm, _ in transport.fingerprints):
        raise InvalidError("the offer has no a=fingerprint with sha-256, sha-384 or sha-512")
    if not transport.setup:
        raise InvalidError("the offer has no a=setup")


def _media_line(index: int, section: Section, name: str) -> MediaLine:
    line = MediaLine(index, section.mid, Kind(section.kind))
    accepted = [(item, codec) for item in section.formats if (codec := _codec(item, line.kind)) is not None]
    if not accepted:
        offered = ", ".join(dict.fromkeys(item.name or str(item.payload_type) for item in section.formats))
        takes = "Opus" if line.kind is Kind.AUDIO else "H264 (packetization mode 0 or 1) and VP8"
        raise InvalidError(f"{name} offers no codec that can be recorded: it offers {offered}; we take {takes}")
    line.codecs = {item.payload_type: codec for item, codec in accepted}
    for item in section.formats:
        carried = item.parameters.get("apt", "")
        if item.name == "RTX" and carried.isdigit() and int(carried) in line.codecs:
            line.repairs[item.payload_type] = int(carried)
    first = accepted[0][0]
    line.nack = "nack" in first.feedback
    line.remb = "goog-remb" in first.feedback
    if line.kind is Kind.AUDIO:
        line.channels = 2 if _wants_stereo(first) else 1
    line.parameter_sets = [
        nal for item, _ in accepted for nal in parse_parameter_sets(item.parameters.get("sprop-parameter-sets", ""))
    ]
    line.retransmits = dict(section.retransmits)
    line.ssrcs = [ssrc for ssrc in section.ssrcs if ssrc not in line.retransmits]
    line.mid_extension = _extension(section, MID_URI)
    line.level_extension = _extension(section, LEVEL_URI) if line.kind is Kind.AUDIO else 0
    return line


def _codec(item: Format, kind: Kind) -> Codec | None:
    codec = _CODECS.get((item.name, item.clock_rate))
    if codec is None or codec.kind is not kind:
        return None
    if codec is Codec.H264 and item.parameters.get("packetization-mode", "0") not in ("0", "1"):
        return None
    return codec


def _wants_stereo(item: Format) -> bool:
    return "1" in (item.parameters.get("sprop-stereo"), item.parameters.get("stereo"))


def _extension(section: Section, uri: str) -> int:
    number = section.extensions.get(uri, 0)
    return number if 1 <= number <= 255 else 0


def answer_for(
    offer: Description, lines: list[MediaLine], transport: Transport, session_id: int, *, video_bitrate: int = 0
) -> Description:
    """The answer: the given lines are received, and data channels; everything else is refused or inactive.

    `video_bitrate` in bit/s: senders that adapt (those that offer REMB) are asked to start there, not at 300 kbit/s.
    """
    taken = {line.index: line for line in lines}
    answer = Description(transport=transport, session_id=session_id, mixed_extensions=offer.mixed_extensions)
    data = data_section(offer)
    for index, section in enumerate(offer.sections):
        line = taken.get(index)
        if line is not None:
            answer.sections.append(_reception(section, line, video_bitrate))
        else:
            answer.sections.append(_data_channels(section) if section is data else _refusal(section))
        if line is not None or section is data:
            answer.bundle.append(section.mid)
    return answer


def _data_channels(section: Section) -> Section:
    answer = Section(section.kind, 9, section.protocol, mid=section.mid, raw_formats=section.raw_formats)
    answer.attributes = [f"sctp-port:{SCTP_PORT}", f"max-message-size:{MESSAGE_LIMIT}"]
    return answer


def _refusal(section: Section) -> Section:
    return Section(
        section.kind, 0, section.protocol, mid=section.mid, direction="inactive", raw_formats=section.raw_formats
    )


def _parameters(item: Format, codec: Codec) -> dict[str, str]:
    """What we ask of the sender. H264 repeats what identifies the format (RFC 6184 8.2.2)."""
    if codec is Codec.H264:
        return {key: item.parameters[key] for key in _H264_PARAMETERS if key in item.parameters}
    if codec is Codec.OPUS:
        stereo = {"stereo": "1"} if _wants_stereo(item) else {}
        return {"minptime": "10", "useinbandfec": "1", **stereo}
    return {}


def _reception(section: Section, line: MediaLine, video_bitrate: int) -> Section:
    answer = Section(section.kind, 9, section.protocol, mid=section.mid, direction="recvonly")
    answer.rtcp_mux = True
    answer.rtcp_rsize = section.rtcp_rsize
    for item in section.formats:
        codec = line.codecs.get(item.payload_type)
        if codec is not None:
            feedback = [f for f in item.feedback if f in _FEEDBACK]
            name = "opus" if codec is Codec.OPUS else item.name
            parameters = _parameters(item, codec)
            if video_bitrate and "goog-remb" in feedback:
                parameters["x-google-start-bitrate"] = str(video_bitrate // 1000)
            answer.formats.append(Format(item.payload_type, name, item.clock_rate, item.channels, parameters, feedback))
        elif item.payload_type in line.repairs:
            parameters = {"apt": str(line.repairs[item.payload_type])}
            answer.formats.append(Format(item.payload_type, "rtx", item.clock_rate, 1, parameters))
    answer.raw_formats = " ".join(str(item.payload_type) for item in answer.formats)
    if line.mid_extension:
        answer.extensions[MID_URI] = line.mid_extension
    if line.level_extension:
        answer.extensions[LEVEL_URI] = line.level_extension
    return answer
