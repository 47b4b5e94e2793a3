"""Fragmented MP4 (ISO/IEC 14496-12), as HLS and MSE want it: a head without media, and fragments that stand alone.

Owns the boxes. A picture's place is its decoding time and an offset; there is no edit list, and every fragment tells
where it belongs. Decoding begins at zero and every track is later by the reordering of pictures: offsets below zero,
the other way without edit lists, are misplaced by FFmpeg. Refuses to know codecs: the description of a stream (`stsd`)
is taken as another muxer wrote it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["FragmentTrack", "Sample", "TrackHead", "codec_of", "fragment", "init_segment", "read_fragment"]

_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_SYNC, _OTHER = 0x0200_0000, 0x0101_0000
"""Sample flags: depends on nobody; depends on others, and is no sync sample (8.8.3.1)."""
_UNKNOWN_LANGUAGE = 0x55C4
_MFHD = 24
"""Where the first `traf` of a `moof` begins, behind its number."""
_TRUN_ROWS = 8 + 16 + 20 + 20
"""Where the rows of samples begin in a `traf`: behind `tfhd`, `tfdt` and what `trun` says first."""
_MOST_TRACKS = 2


@dataclass(frozen=True, slots=True)
class TrackHead:
    """What a player must know of a track before its media."""

    is_video: bool
    timescale: int
    "Ticks per second."
    stsd: bytes = b""
    "The whole box."
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture, or a packet of sound, in a fragment. Times in ticks."""

    size: int
    duration: int
    offset: int = 0
    "From its decoding to its presentation."
    is_sync: bool = True


@dataclass(frozen=True, slots=True)
class FragmentTrack:
    """The samples of one track, in decoding order."""

    track_id: int
    "1 for the first track of the head."
    decode_time: int
    "Of the first one, in ticks."
    samples: Sequence[Sample]


def init_segment(tracks: Sequence[TrackHead]) -> bytes:
    """The head: `ftyp` and a `moov` without samples. Tracks have the ids 1, 2, ..."""
    mvhd = struct.pack(">5I", 0, 0, 0, 1000, 0) + struct.pack(">IHH8x", 0x10000, 0x100, 0) + _MATRIX
    mvhd += bytes(24) + struct.pack(">I", len(tracks) + 1)
    traks = [_trak(number, track) for number, track in enumerate(tracks, 1)]
    trexs = [_box(b"trex", struct.pack(">6I", 0, number, 1, 0, 0, 0)) for number in range(1, len(tracks) + 1)]
    ftyp = _box(b"ftyp", b"iso6" + struct.pack(">I", 0) + b"iso6cmfcmp41")
    return ftyp + _box(b"moov", _box(b"mvhd", mvhd), *traks, _box(b"mvex", *trexs))


def fragment(number: int, tracks: Sequence[FragmentTrack]) -> bytes:
    """A `moof` and the header of its `mdat`; the bytes of the samples follow, track by track, in the same order."""
    size = len(_moof(number, tracks, 0))
    media = sum(sample.size for track in tracks for sample in track.samples)
    return _moof(number, tracks, size + 8) + struct.pack(">I4s", 8 + media, b"mdat")


def read_fragment(data: bytes) -> tuple[list[FragmentTrack], int]:
    """The tracks of a whole fragment, and where in it the bytes of the samples begin.

    ValueError when it is not one that `fragment` made, or not all of it.
    """
    try:
        tracks, number, media = _read_moof(data)
    except struct.error as exc:
        raise ValueError("the fragment breaks off") from exc
    size = sum(sample.size for track in tracks for sample in track.samples)
    if media + size != len(data) or fragment(number, tracks) != data[:media]:
        raise ValueError("the fragment is not whole")
    return tracks, media


def _read_moof(data: bytes) -> tuple[list[FragmentTrack], int, int]:
    """What it says if it is one of ours; nothing of that is proven."""
    end, number = struct.unpack_from(">I", data)[0], struct.unpack_from(">I", data, _MFHD - 4)[0]
    tracks: list[FragmentTrack] = []
    at = _MFHD
    while at < end and len(tracks) < _MOST_TRACKS:
        size = struct.unpack_from(">I", data, at)[0]
        track_id, decode_time = struct.unpack_from(">20xI12xQ", data, at)
        rows = data[at + _TRUN_ROWS : at + size]
        samples = [
            Sample(length, duration, offset, flags == _SYNC)
            for duration, length, flags, offset in struct.iter_unpack(">IIIi", rows)
        ]
        tracks.append(FragmentTrack(track_id, decode_time, samples))
        at += size
    return tracks, number, end + 8


def codec_of(stsd: bytes) -> str:
    """The codec as RFC 6381 writes it: `avc1.64001f`, `mp4a.40.2`. ValueError for one that is neither."""
    at = stsd.find(b"avcC")
    if at >= 0 and len(stsd) >= at + 8:
        return f"avc1.{stsd[at + 5 : at + 8].hex()}"
    if b"mp4a" in stsd:
        return "mp4a.40.2"
    raise ValueError("a film in another codec than H264 and AAC")


def _moof(number: int, tracks: Sequence[FragmentTrack], first: int) -> bytes:
    """`first`: where the first sample lies, from the beginning of the `moof`."""
    trafs: list[bytes] = []
    at = first
    for track in tracks:
        # default-base-is-moof: no offset is one of the file, so that fragments can be cut out and joined.
        tfhd = _box(b"tfhd", struct.pack(">II", 0x020000, track.track_id))
        tfdt = _box(b"tfdt", struct.pack(">IQ", 0x1000000, track.decode_time))
        rows = b"".join(
            struct.pack(">IIIi", sample.duration, sample.size, _SYNC if sample.is_sync else _OTHER, sample.offset)
            for sample in track.samples
        )
        trun = _box(b"trun", struct.pack(">IIi", 0x1000F01, len(track.samples), at), rows)
        trafs.append(_box(b"traf", tfhd, tfdt, trun))
        at += sum(sample.size for sample in track.samples)
    return _box(b"moof", _box(b"mfhd", struct.pack(">II", 0, number)), *trafs)


def _trak(number: int, track: TrackHead) -> bytes:
    tkhd = struct.pack(">6I8x", 3, 0, 0, number, 0, 0) + struct.pack(">HHHH", 0, 0, 0 if track.is_video else 0x100, 0)
    tkhd += _MATRIX + struct.pack(">II", track.width << 16, track.height << 16)
    mdhd = struct.pack(">5IHH", 0, 0, 0, track.timescale, 0, _UNKNOWN_LANGUAGE, 0)
    hdlr = struct.pack(">II4s12x", 0, 0, b"vide" if track.is_video else b"soun") + b"\0"
    kind = _box(b"vmhd", struct.pack(">I8x", 1)) if track.is_video else _box(b"smhd", bytes(8))
    dref = _box(b"dref", struct.pack(">II", 0, 1), _box(b"url ", struct.pack(">I", 1)))
    empty = (_box(b"stts", bytes(8)), _box(b"stsc", bytes(8)), _box(b"stsz", bytes(12)), _box(b"stco", bytes(8)))
    stbl = _box(b"stbl", track.stsd, *empty)
    minf = _box(b"minf", kind, _box(b"dinf", dref), stbl)
    return _box(b"trak", _box(b"tkhd", tkhd), _box(b"mdia", _box(b"mdhd", mdhd), _box(b"hdlr", hdlr), minf))


def _box(kind: bytes, *contents: bytes) -> bytes:
    body = b"".join(contents)
    return struct.pack(">I4s", len(body) + 8, kind) + body
