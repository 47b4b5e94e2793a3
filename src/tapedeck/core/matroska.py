"""One track as a Matroska or WebM file (RFC 9559), in bytes: blocks in clusters, an index at the end, a head at last.

Owns the container and nothing else: what is put in comes out unchanged, at the times it was given. Bytes are returned
in the order of the file; only the head, whose length does not change, is made anew when everything is known.
Timestamps count milliseconds, as WebM wants. Refuses to do input or output, and to know codecs.

Why not libavformat: it moves times by a codec's delay and by the first packet's, and its head is patched in places, so
that no checksum can be kept while it writes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

__all__ = ["MatroskaTrack", "TrackFormat"]

_CLUSTER_MS = 5_000
_CLUSTER_BYTES = 1 << 20
_KEY_CLUSTER_MS = 1_000
"""A key frame begins a cluster, which the index can name, unless the last one is younger."""
_EPOCH = datetime(2001, 1, 1, tzinfo=UTC)
_EBML, _SEGMENT, _SEEK_HEAD, _INFO = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x11\x4d\x9b\x74", b"\x15\x49\xa9\x66"
_TRACKS, _CUES, _TAGS, _CLUSTER = b"\x16\x54\xae\x6b", b"\x1c\x53\xbb\x6b", b"\x12\x54\xc3\x67", b"\x1f\x43\xb6\x75"


@dataclass(frozen=True, slots=True)
class TrackFormat:
    """What a file says of its track. Sizes in pixels, 0 for sound; `channels` 0 for pictures."""

    codec_id: str
    "As Matroska calls it: `A_OPUS`, `V_VP8`, `V_MPEG4/ISO/AVC`."
    private: bytes = b""
    channels: int = 0
    width: int = 0
    height: int = 0
    delay_ns: int = 0
    "What comes out of the decoder first is so much too early."
    preroll_ns: int = 0
    "A decoder that starts in the middle is to be believed after so long."

    @property
    def is_webm(self) -> bool:
        """Whether it may be called WebM."""
        return self.codec_id in ("A_OPUS", "V_VP8", "V_VP9")


class MatroskaTrack:
    """A file in the making. Add blocks in order of time; then `finish`, then `head`."""

    def __init__(
        self, what: TrackFormat, *, writer: str, created_at: datetime, uid: int, tags: dict[str, str] | None = None
    ) -> None:
        """`uid` is any number but 0; `tags` are written as they are."""
        self._what = what
        self._writer = writer
        self._created_at = created_at
        self._uid = uid
        self._tags = tags or {}
        self._blocks: list[bytes] = []
        self._cluster_ms = 0
        self._cluster_size = 0
        self._cues: list[tuple[int, int]] = []
        self._last_ms = -1
        self._duration_ms = 0
        self._places = {_CUES: 0, _TAGS: 0}
        self._body = 0
        self._size = 0
        self._body = len(self.head())
        self._first = self._places_at()
        self._size = self._body

    @property
    def size(self) -> int:
        """Bytes so far, the head included."""
        return self._size

    def add(self, at_ms: int, payload: bytes, *, key: bool, duration_ms: int | None = None) -> bytes:
        """A block; returns bytes to append to the file, most often none.

        A time that is not after the last one's is moved behind it. `duration_ms`: as long is it shown or heard, for a
        last block that nothing follows.
        """
        at_ms = max(at_ms, self._last_ms + 1)
        before = self._last_ms
        self._last_ms = at_ms
        done = b""
        since = at_ms - self._cluster_ms
        is_full = since > _CLUSTER_MS or self._cluster_size > _CLUSTER_BYTES
        if not self._blocks or is_full or (key and since >= _KEY_CLUSTER_MS):
            done = self._close()
            self._cluster_ms = at_ms
            if key:
                self._cues.append((at_ms, self._size))
        relative = struct.pack(">Bh", 0x81, at_ms - self._cluster_ms)
        if duration_ms is None:
            block = _head(b"\xa3", len(payload) + 4) + relative + (b"\x80" if key else b"\0") + payload
        else:
            inner = _element(b"\xa1", relative + b"\0" + payload) + _number(b"\x9b", duration_ms)
            if not key:
                inner += _element(b"\xfb", struct.pack(">q", before - at_ms))
            block = _element(b"\xa0", inner)
        self._blocks.append(block)
        self._cluster_size += len(block)
        return done

    def finish(self, duration_ms: int) -> bytes:
        """The rest of the file; no block may follow."""
        self._duration_ms = duration_ms
        parts = [self._close()]
        if self._tags:
            self._places[_TAGS] = self._size
            simple = b"".join(
                _element(b"\x67\xc8", _text(b"\x45\xa3", name) + _text(b"\x44\x87", value))
                for name, value in self._tags.items()
            )
            parts.append(_element(_TAGS, _element(b"\x73\x73", _element(b"\x63\xc0", b"") + simple)))
            self._size += len(parts[-1])
        self._places[_CUES] = self._size
        points = b"".join(
            _element(
                b"\xbb",
                _number(b"\xb3", at_ms)
                + _element(b"\xb7", _number(b"\xf7", 1) + _number(b"\xf1", place - self._first)),
            )
            for at_ms, place in self._cues
        )
        parts.append(_element(_CUES, points))
        self._size += len(parts[-1])
        return b"".join(parts)

    def head(self) -> bytes:
        """The beginning of the file, by what is known now; always of one length."""
        doc_type = "webm" if self._what.is_webm else "matroska"
        ebml = _element(
            _EBML,
            _number(b"\x42\x86", 1)
            + _number(b"\x42\xf7", 1)
            + _number(b"\x42\xf2", 4)
            + _number(b"\x42\xf3", 8)
            + _text(b"\x42\x82", doc_type)
            + _number(b"\x42\x87", 4)
            + _number(b"\x42\x85", 2),
        )
        first = len(ebml) + len(_SEGMENT) + 8
        info, tracks = self._info(), _element(_TRACKS, self._entry())
        seek_size = len(self._seek_head(0, 0, 0))
        seek = self._seek_head(seek_size, seek_size + len(info), first)
        segment = _SEGMENT + (1 << 56 | max(self._size - first, 0)).to_bytes(8)
        return ebml + segment + seek + info + tracks

    def _places_at(self) -> int:
        """Where the contents of the segment begin: places in it are counted from there."""
        return self.head().index(_SEGMENT) + len(_SEGMENT) + 8

    def _close(self) -> bytes:
        if not self._blocks:
            return b""
        cluster = _element(_CLUSTER, b"".join((_number(b"\xe7", self._cluster_ms), *self._blocks)))
        self._blocks.clear()
        self._cluster_size = 0
        self._size += len(cluster)
        return cluster

    def _seek_head(self, info: int, tracks: int, first: int) -> bytes:
        later = [(kind, max(place - first, 0)) for kind, place in self._places.items()]
        found = [(_INFO, info), (_TRACKS, tracks), *(entry for entry in later if entry[0] is _CUES or self._tags)]
        return _element(
            _SEEK_HEAD,
            b"".join(
                _element(b"\x4d\xbb", _element(b"\x53\xab", kind) + _element(b"\x53\xac", place.to_bytes(8)))
                for kind, place in found
            ),
        )

    def _info(self) -> bytes:
        since = (self._created_at - _EPOCH) // timedelta(microseconds=1) * 1000
        return _element(
            _INFO,
            _number(b"\x2a\xd7\xb1", 1_000_000)
            + _element(b"\x44\x89", struct.pack(">d", self._duration_ms))
            + _element(b"\x44\x61", struct.pack(">q", since))
            + _text(b"\x4d\x80", self._writer)
            + _text(b"\x57\x41", self._writer),
        )

    def _entry(self) -> bytes:
        what = self._what
        entry = [
            _number(b"\xd7", 1),
            _element(b"\x73\xc5", self._uid.to_bytes(8)),
            _number(b"\x83", 2 if what.channels else 1),
            _number(b"\x9c", 0),
            _text(b"\x22\xb5\x9c", "und"),
            _text(b"\x86", what.codec_id),
        ]
        if what.private:
            entry.append(_element(b"\x63\xa2", what.private))
        if what.channels:
            entry.append(_number(b"\x56\xaa", what.delay_ns))
            entry.append(_number(b"\x56\xbb", what.preroll_ns))
            entry.append(
                _element(b"\xe1", _element(b"\xb5", struct.pack(">d", 48_000)) + _number(b"\x9f", what.channels))
            )
        else:
            entry.append(_element(b"\xe0", _number(b"\xb0", what.width) + _number(b"\xba", what.height)))
        return _element(b"\xae", b"".join(entry))


def _head(kind: bytes, size: int) -> bytes:
    """Id and length of an element."""
    width = max((size + 1).bit_length() + 6, 7) // 7  # all ones are kept for "unknown"
    return kind + (1 << 7 * width | size).to_bytes(width)


def _element(kind: bytes, payload: bytes) -> bytes:
    return _head(kind, len(payload)) + payload


def _number(kind: bytes, value: int) -> bytes:
    return _element(kind, value.to_bytes(max((value.bit_length() + 7) // 8, 1)))


def _text(kind: bytes, value: str) -> bytes:
    return _element(kind, value.encode())
