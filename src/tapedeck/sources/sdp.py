"""SDP as WHIP uses it: read offers, answers and trickle fragments; write them.

Owns syntax (RFC 8866, 8839, 8840, 8843, 5888) and refuses what is malformed with an InvalidError that says which line.
What to accept of an offer is decided in sources/negotiate.py. We read SDP ourselves because aiortc's parser stops with
assertions at lines that real publishers send and keeps no reason.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tapedeck.core.errors import InvalidError

__all__ = [
    "LEVEL_URI",
    "MID_URI",
    "Description",
    "Format",
    "Fragment",
    "IceCredentials",
    "Section",
    "Transport",
    "parse_description",
    "parse_fragment",
    "parse_parameter_sets",
    "write_description",
    "write_fragment",
]

MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
LEVEL_URI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"

_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`{|}~A-Za-z0-9-]{1,64}")
_MAX_SECTIONS = 24


@dataclass(frozen=True, slots=True)
class IceCredentials:
    """User fragment and password of one ICE session (RFC 8839 5.4)."""

    ufrag: str
    password: str


@dataclass(slots=True)
class Format:
    """One payload type."""

    payload_type: int
    name: str = ""
    "Encoding name in upper case; empty when the description does not say."
    clock_rate: int = 0
    channels: int = 1
    parameters: dict[str, str] = field(default_factory=dict)
    feedback: list[str] = field(default_factory=list)
    "RTCP feedback such as `nack pli`."


@dataclass(slots=True)
class Section:
    """One media section."""

    kind: str
    port: int
    protocol: str
    formats: list[Format] = field(default_factory=list)
    mid: str = ""
    direction: str = "sendrecv"
    extensions: dict[str, int] = field(default_factory=dict)
    "Header extension URI to id."
    ssrcs: list[int] = field(default_factory=list)
    retransmits: dict[int, int] = field(default_factory=dict)
    "RTX SSRC to the SSRC it repairs (a=ssrc-group:FID)."
    rtcp_mux: bool = False
    rtcp_rsize: bool = False
    attributes: list[str] = field(default_factory=list)
    "Further lines to write, without `a=`."
    raw_formats: str = ""
    sctp_port: int = 0
    "0: not given."


@dataclass(slots=True)
class Transport:
    """ICE and DTLS parameters, the same for all bundled sections."""

    ice: IceCredentials | None = None
    ice_lite: bool = False
    fingerprints: list[tuple[str, str]] = field(default_factory=list)
    "Hash function in lower case, and digest."
    setup: str = ""
    candidates: list[str] = field(default_factory=list)
    "Values of a=candidate."
    end_of_candidates: bool = False


@dataclass(slots=True)
class Description:
    """A session description with one transport (BUNDLE)."""

    sections: list[Section] = field(default_factory=list)
    bundle: list[str] = field(default_factory=list)
    transport: Transport = field(default_factory=Transport)
    session_id: int = 0
    mixed_extensions: bool = False


@dataclass(slots=True)
class Fragment:
    """A trickle-ICE fragment (RFC 8840 9)."""

    ice: IceCredentials | None = None
    candidates: list[str] = field(default_factory=list)
    end_of_candidates: bool = False


class _Malformed(Exception):
    """A line we cannot read."""


def parse_description(text: str) -> Description:
    """Read an offer or an answer. Raises InvalidError."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != "v=0":
        raise InvalidError("the body is not SDP: it must begin with v=0")
    description = Description()
    session = Transport()
    session_direction = "sendrecv"
    section: Section | None = None
    transports: list[Transport] = []
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line:
            continue
        if len(line) < 3 or line[1] != "=":
            raise InvalidError(f"SDP line {number} is not of the form x=value")
        try:
            if line[0] == "m":
                section = _parse_media(line[2:])
                section.direction = session_direction
                description.sections.append(section)
                transports.append(Transport())
                if len(transports) > _MAX_SECTIONS:
                    raise InvalidError(f"the SDP has more than {_MAX_SECTIONS} media sections")
            elif line[0] == "a":
                name, _, value = line[2:].partition(":")
                if _parse_transport(transports[-1] if transports else session, name, value):
                    continue
                if section is not None:
                    _parse_attribute(section, name, value)
                elif name == "group" and value.split()[:1] == ["BUNDLE"]:
                    description.bundle = value.split()[1:]
                elif name == "extmap-allow-mixed":
                    description.mixed_extensions = True
                elif name in _DIRECTIONS:
                    session_direction = name
        except (_Malformed, ValueError, IndexError) as exc:
            raise InvalidError(f"SDP line {number} is malformed: {line[:40]!r}") from exc
    mids = [section.mid for section in description.sections if section.mid]
    if len(set(mids)) != len(mids):
        raise InvalidError("two media sections of the SDP have the same a=mid")
    description.transport = _merge(session, description, transports)
    return description


def _parse_media(value: str) -> Section:
    kind, port, protocol, formats = value.split(maxsplit=3)
    section = Section(kind, int(port.partition("/")[0]), protocol, raw_formats=formats)
    if not 0 <= section.port <= 65535 or not _TOKEN.fullmatch(kind):
        raise _Malformed
    if kind in ("audio", "video"):
        for item in formats.split():
            if not 0 <= int(item) <= 127:
                raise _Malformed
            section.formats.append(_format(int(item)))
    return section


def _format(payload_type: int) -> Format:
    found = Format(payload_type)
    if payload_type == 0:
        found.name, found.clock_rate = "PCMU", 8000
    elif payload_type == 8:
        found.name, found.clock_rate = "PCMA", 8000
    return found


def _parse_transport(transport: Transport, name: str, value: str) -> bool:
    """Read an attribute that belongs to ICE or DTLS; False when it does not."""
    ice = transport.ice or IceCredentials("", "")
    if name == "ice-ufrag":
        if not _UFRAG.fullmatch(value):
            raise _Malformed
        transport.ice = IceCredentials(value, ice.password)
    elif name == "ice-pwd":
        if not _PASSWORD.fullmatch(value):
            raise _Malformed
        transport.ice = IceCredentials(ice.ufrag, value)
    elif name == "ice-lite":
        transport.ice_lite = True
    elif name == "fingerprint":
        algorithm, digest = value.split()
        transport.fingerprints.append((algorithm.lower(), digest.upper()))
    elif name == "setup":
        if value not in ("actpass", "active", "passive"):
            raise _Malformed
        transport.setup = value
    elif name == "candidate":
        if len(value.split()) < 8:
            raise _Malformed
        transport.candidates.append(value)
    elif name == "end-of-candidates":
        transport.end_of_candidates = True
    else:
        return False
    return True


def _parse_attribute(section: Section, name: str, value: str) -> None:
    if name == "mid":
        if not _TOKEN.fullmatch(value):
            raise _Malformed
        section.mid = value
    elif name in _DIRECTIONS:
        section.direction = name
    elif name == "rtcp-mux":
        section.rtcp_mux = True
    elif name == "rtcp-rsize":
        section.rtcp_rsize = True
    elif name == "extmap":
        number, uri = value.split()[:2]
        section.extensions.setdefault(uri, int(number.partition("/")[0]))
    elif name == "rtpmap":
        payload_type, encoding = value.split(maxsplit=1)
        parts = encoding.split("/")
        for item in _formats(section, payload_type):
            item.name, item.clock_rate = parts[0].upper(), int(parts[1])
            item.channels = int(parts[2]) if len(parts) > 2 else 1
    elif name == "fmtp":
        payload_type, _, parameters = value.partition(" ")
        for item in _formats(section, payload_type):
            for parameter in parameters.split(";"):
                key, _, setting = parameter.strip().partition("=")
                if key:
                    item.parameters[key.lower()] = setting
    elif name == "rtcp-fb":
        payload_type, _, feedback = value.partition(" ")
        for item in section.formats if payload_type == "*" else _formats(section, payload_type):
            item.feedback.append(" ".join(feedback.split()))
    elif name == "sctp-port":
        section.sctp_port = _ssrc(value) & 0xFFFF
    elif name == "ssrc":
        ssrc = _ssrc(value.split()[0])
        if ssrc not in section.ssrcs:
            section.ssrcs.append(ssrc)
    elif name == "ssrc-group":
        semantics, *ssrcs = value.split()
        if semantics == "FID" and len(ssrcs) == 2:
            section.retransmits[_ssrc(ssrcs[1])] = _ssrc(ssrcs[0])


def _formats(section: Section, payload_type: str) -> Iterable[Format]:
    number = int(payload_type)
    return [item for item in section.formats if item.payload_type == number]


def _ssrc(text: str) -> int:
    value = int(text)
    if not 0 <= value < 1 << 32:
        raise _Malformed
    return value


def _merge(session: Transport, description: Description, transports: Sequence[Transport]) -> Transport:
    """The transport of the bundle: that of the section with the first bundled mid, completed by the session's lines.

    Candidates may stand in any section.
    """
    tag = description.bundle[0] if description.bundle else ""
    chosen = next((t for s, t in zip(description.sections, transports, strict=True) if s.mid == tag and tag), None)
    if chosen is None:
        chosen = transports[0] if transports else Transport()
    return Transport(
        ice=chosen.ice or session.ice,
        ice_lite=session.ice_lite or chosen.ice_lite,
        fingerprints=chosen.fingerprints or session.fingerprints,
        setup=chosen.setup or session.setup,
        candidates=list(dict.fromkeys(c for t in (session, *transports) for c in t.candidates)),
        end_of_candidates=session.end_of_candidates or any(t.end_of_candidates for t in transports),
    )


def parse_fragment(text: str) -> Fragment:
    """Read a trickle fragment. Raises InvalidError."""
    transport = Transport()
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line:
            continue
        if len(line) < 3 or line[1] != "=":
            raise InvalidError(f"line {number} of the SDP fragment is not of the form x=value")
        name, _, value = line[2:].partition(":")
        try:
            if line[0] == "a":
                _parse_transport(transport, name, value)
        except (_Malformed, ValueError) as exc:
            raise InvalidError(f"line {number} of the SDP fragment is malformed: {line[:40]!r}") from exc
    ice = transport.ice
    if ice is not None and not (ice.ufrag and ice.password):
        raise InvalidError("the SDP fragment has only one of a=ice-ufrag and a=ice-pwd")
    return Fragment(ice, list(dict.fromkeys(transport.candidates)), transport.end_of_candidates)


def parse_parameter_sets(value: str) -> list[bytes]:
    """NAL units of an H264 `sprop-parameter-sets`; what is not base64 is left out."""
    found = []
    for item in value.split(","):
        try:
            found.append(base64.b64decode(item, validate=True))
        except (binascii.Error, ValueError):
            continue
    return [nal for nal in found if nal]


def write_description(description: Description) -> str:
    """The text of a description. Transport lines stand in every bundled section, candidates in the first."""
    lines = [
        "v=0",
        f"o=- {description.session_id} 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
    ]
    if any(description.bundle):
        lines.append(f"a=group:BUNDLE {' '.join(description.bundle)}")
    if description.mixed_extensions:
        lines.append("a=extmap-allow-mixed")
    lines.append("a=msid-semantic: WMS *")
    if description.transport.ice_lite:
        lines.append("a=ice-lite")
    first = True
    for section in description.sections:
        lines.append(f"m={section.kind} {section.port} {section.protocol} {section.raw_formats}")
        lines.append("c=IN IP4 0.0.0.0")
        if section.mid:
            lines.append(f"a=mid:{section.mid}")
        lines.append(f"a={section.direction}")
        if section.mid in description.bundle:
            lines += _transport_lines(description.transport, first)
            first = False
        lines += _section_lines(section)
    return "\r\n".join(lines) + "\r\n"


def _section_lines(section: Section) -> list[str]:
    lines = ["a=rtcp-mux"] if section.rtcp_mux else []
    if section.rtcp_rsize:
        lines.append("a=rtcp-rsize")
    lines += [f"a=extmap:{number} {uri}" for uri, number in section.extensions.items()]
    for item in section.formats:
        channels = f"/{item.channels}" if item.channels > 1 else ""
        lines.append(f"a=rtpmap:{item.payload_type} {item.name}/{item.clock_rate}{channels}")
        lines += [f"a=rtcp-fb:{item.payload_type} {feedback}" for feedback in item.feedback]
        if item.parameters:
            lines.append(f"a=fmtp:{item.payload_type} " + ";".join(f"{k}={v}" for k, v in item.parameters.items()))
    lines += [f"a={line}" for line in section.attributes]
    return lines


def _transport_lines(transport: Transport, candidates: bool) -> list[str]:
    lines = []
    if transport.ice:
        lines += [f"a=ice-ufrag:{transport.ice.ufrag}", f"a=ice-pwd:{transport.ice.password}"]
    lines.append("a=ice-options:trickle")
    lines += [f"a=fingerprint:{algorithm} {digest}" for algorithm, digest in transport.fingerprints]
    lines.append(f"a=setup:{transport.setup}")
    if candidates:
        lines += [f"a=candidate:{candidate}" for candidate in transport.candidates]
        if transport.end_of_candidates:
            lines.append("a=end-of-candidates")
    return lines


def write_fragment(fragment: Fragment, kind: str, mid: str) -> str:
    """The text of a fragment; `kind` and `mid` are those of the first bundled section (RFC 9725 4.3.2)."""
    lines = ["a=ice-options:trickle"]
    if fragment.ice:
        lines += [f"a=ice-ufrag:{fragment.ice.ufrag}", f"a=ice-pwd:{fragment.ice.password}"]
    lines += [f"m={kind} 9 UDP/TLS/RTP/SAVPF 0", f"a=mid:{mid}"]
    lines += [f"a=candidate:{candidate}" for candidate in fragment.candidates]
    if fragment.end_of_candidates:
        lines.append("a=end-of-candidates")
    return "\r\n".join(lines) + "\r\n"
