"""HLS playlists as text (RFC 8216): what a player is told of segments. Pure.

Owns the tags and their order. Refuses to know where segments come from and what is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tapedeck.core.times import format_time

__all__ = ["Segment", "Variant", "growing_target_s", "main_playlist", "media_playlist", "target_seconds"]

_SECOND_NS = 1_000_000_000
_EVEN_S, _UNEVEN_S = 2, 4
_SLACK_NS = 20_000_000
_PLAIN_VERSION, _MAP_VERSION = 3, 7
"""3: durations with decimals. 7: segments of fMP4 (6 would do for the tag)."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as a playlist names it."""

    uri: str
    duration_ns: int
    at: datetime | None = None
    "When its first picture was captured, where that does not follow from the segment before."
    init: str | None = None
    "URI of what has to be read before it (fMP4); None: nothing (MPEG-TS)."
    is_break: bool = False
    "Whether its time stamps or its encoding do not go on from the segment before."


@dataclass(frozen=True, slots=True)
class Variant:
    """The one stream of a main playlist."""

    uri: str
    bandwidth_bps: int
    "Peak rate."
    codecs: str
    "As of RFC 6381: `avc1.64001f,mp4a.40.2`."
    width: int = 0
    "0: no picture."
    height: int = 0
    fps: int = 0


def target_seconds(segments: Sequence[Segment], least: int) -> int:
    """EXT-X-TARGETDURATION: no segment, rounded to the nearest second, is longer (4.3.3.1)."""
    return max([least, *((2 * one.duration_ns + _SECOND_NS) // (2 * _SECOND_NS) for one in segments)])


def growing_target_s(segments: Sequence[Segment]) -> int:
    """The same of a playlist that grows, where it must not change (6.2.1), and of the film that it becomes.

    Segments of what we encode are 2 s long to the picture. Those of a web page, whose pictures are its browser's, have
    never just that length: 2.1 s while it moves, up to 4 s while it stands still. So the first one tells.
    """
    is_even = not segments or segments[0].duration_ns <= _EVEN_S * _SECOND_NS + _SLACK_NS
    return target_seconds(segments, _EVEN_S if is_even else _UNEVEN_S)


def media_playlist(
    segments: Sequence[Segment], target_s: int, *, kind: str | None, is_ended: bool, sequence: int = 0
) -> str:
    """A media playlist. `kind`: `EVENT` (segments are only added), `VOD`, or None (a window that moves).

    EXT-X-MAP stands where it changes, and anew behind a discontinuity, where none is inherited by some players.
    """
    has_map = any(one.init is not None for one in segments)
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{_MAP_VERSION if has_map else _PLAIN_VERSION}"]
    lines += [f"#EXT-X-TARGETDURATION:{target_s}", f"#EXT-X-MEDIA-SEQUENCE:{sequence}"]
    if kind is not None:
        lines.append(f"#EXT-X-PLAYLIST-TYPE:{kind}")
    lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
    init: str | None = None
    for number, one in enumerate(segments):
        if one.is_break and number:
            lines.append("#EXT-X-DISCONTINUITY")
            init = None
        if one.init is not None and one.init != init:
            lines.append(f'#EXT-X-MAP:URI="{one.init}"')
            init = one.init
        if one.at is not None:
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{format_time(one.at)}")
        lines += [f"#EXTINF:{_seconds(one.duration_ns)},", one.uri]
    if is_ended:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def main_playlist(variant: Variant) -> str:
    """A main ("master") playlist of one stream, which tells players the codecs before they load anything."""
    told = [f"BANDWIDTH={variant.bandwidth_bps}", f'CODECS="{variant.codecs}"']
    if variant.width:
        told.append(f"RESOLUTION={variant.width}x{variant.height}")
    if variant.fps:
        told.append(f"FRAME-RATE={variant.fps:.3f}")
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{_MAP_VERSION}", "#EXT-X-INDEPENDENT-SEGMENTS"]
    return "\n".join([*lines, f"#EXT-X-STREAM-INF:{','.join(told)}", variant.uri]) + "\n"


def _seconds(duration_ns: int) -> str:
    """In microseconds: what is left out is less than a sample."""
    micros = (duration_ns + 500) // 1000
    return f"{micros // 1_000_000}.{micros % 1_000_000:06}"
