"""The film as HLS in one tar: segments of MPEG-TS with timed metadata, and their playlist (spec E5).

Takes the packets of the film's own encoders. Owns where a segment ends (at the first key frame from ten seconds on),
the order of pictures, sound and metadata in it, and the tar, which is only ever appended to: a segment at a time is in
memory, and what is on the disk stays as it is. Refuses to encode, and to know how a transport stream is made
(`core/mpegts.py`).
"""

from __future__ import annotations

import io
import tarfile
from collections import deque
from datetime import datetime
from typing import Any, Protocol

import av
from av.container import OutputContainer

from tapedeck.core.avc import config_sets, from_lengths, has_parameter_sets, is_config
from tapedeck.core.errors import MediaError
from tapedeck.core.hls import Segment, media_playlist, target_seconds
from tapedeck.core.id3 import text_tag
from tapedeck.core.mpegts import CLOCK, TransportStream, adts
from tapedeck.core.output import AudioOutput, VideoOutput
from tapedeck.media.place import PartFile

__all__ = ["DESCRIPTION", "Muxer", "SegmentArchive"]

DESCRIPTION = "ID3Data"
"""Of the TXXX frames: the type of the messages that they come from."""
_SEGMENT = 10 * CLOCK
_ZERO = 10 * CLOCK
"""Time of the film's first picture: what is decoded before it is shown has a time too, and none is below zero."""
_SOUND_FRAMES = 4
"""In one PES packet: 85 ms of sound."""
_SECOND_NS = 1_000_000_000
_BLOCK = 512


class Muxer(Protocol):
    """Takes the packets of a film: a container of libavformat, or an archive."""

    def mux(self, packet: av.Packet[Any]) -> None:
        """The next packet of the stream that it names."""

    def close(self) -> None:
        """Nothing more comes."""


class SegmentArchive:
    """Writes the tar. Packets of each kind come in decoding order."""

    def __init__(self, file: PartFile, video: VideoOutput, audio: AudioOutput, created_at: datetime | None) -> None:
        """MediaError: not the codecs that HLS takes."""
        if video.codec != "h264" or audio.codec != "aac":
            raise MediaError("A film with timed metadata is H264 with AAC.")
        self.carrier: OutputContainer = av.open(io.BytesIO(), "w", "mp4")
        "Whose streams the encoders are made for: nothing is written to it."
        self._file = file
        self._audio = audio
        self._frame = round(CLOCK / video.fps)
        self._mtime = 0 if created_at is None else int(created_at.timestamp())
        self._stream = TransportStream()
        self._parameters = b""
        self._has_lengths = False
        self._pictures: deque[av.Packet[Any]] = deque()
        self._sounds: deque[av.Packet[Any]] = deque()
        self._texts: deque[tuple[int, str]] = deque()
        self._held: list[bytes] = []
        self._held_pts = 0
        self._segment: list[bytes] = []
        self._start = _ZERO
        self._end = _ZERO
        self._done: list[Segment] = []

    def start(self) -> None:
        """The encoders are open, and the carrier was started: know what is said of the streams."""
        video = self.carrier.streams.video[0].codec_context
        description = bytes(video.extradata or b"")
        self._has_lengths = is_config(description)
        self._parameters = config_sets(description) if self._has_lengths else description

    def mux(self, packet: av.Packet[Any]) -> None:
        """The next packet of a stream of the carrier."""
        (self._pictures if packet.stream.type == "video" else self._sounds).append(packet)
        while self._pictures and self._sounds:
            self._next()

    def write_text(self, film_ns: int, text: str) -> None:
        """Timed metadata, before the first picture that is shown after it."""
        self._texts.append((_ZERO + film_ns * CLOCK // _SECOND_NS, text))

    def close(self) -> None:
        """Write what is left, the playlist, and the end of the tar."""
        while self._pictures or self._sounds:
            self._next()
        self._cut(self._end, last=True)
        playlist = media_playlist(self._done, target_seconds(self._done, 1), kind="VOD", is_ended=True)
        self._member("index.m3u8", playlist.encode())
        self._file.write(bytes(2 * _BLOCK))
        self.carrier.close()

    def _next(self) -> None:
        if not self._sounds or (self._pictures and _dts(self._pictures[0]) <= _dts(self._sounds[0])):
            self._picture(self._pictures.popleft())
        else:
            self._sound(self._sounds.popleft())

    def _picture(self, packet: av.Packet[Any]) -> None:
        pts, dts = _pts(packet), _dts(packet)
        if packet.is_keyframe and pts - self._start >= _SEGMENT:
            self._cut(pts)
        self._put_texts(dts)
        data = from_lengths(bytes(packet)) if self._has_lengths else bytes(packet)
        if packet.is_keyframe and not has_parameter_sets(data):
            data = self._parameters + data
        self._put(self._stream.picture(data, pts, dts, is_key=packet.is_keyframe))
        self._end = max(self._end, pts + self._frame)

    def _sound(self, packet: av.Packet[Any]) -> None:
        if not self._held:
            self._held_pts = _pts(packet)
        self._held.append(adts(bytes(packet), self._audio.sample_rate, self._audio.channels))
        if len(self._held) >= _SOUND_FRAMES:
            self._put_sound()

    def _put_sound(self) -> None:
        if self._held:
            self._put(self._stream.sound(self._held, self._held_pts))
            self._held.clear()

    def _put_texts(self, until: int) -> None:
        while self._texts and self._texts[0][0] <= until:
            at, text = self._texts.popleft()
            self._put(self._stream.metadata(text_tag(DESCRIPTION, text), at))

    def _put(self, packets: bytes) -> None:
        if not self._segment:
            self._segment.append(self._stream.tables())
        self._segment.append(packets)

    def _cut(self, at: int, *, last: bool = False) -> None:
        """End the segment at a time: what belongs before it is in it."""
        self._put_sound()
        self._put_texts(at if last else at - 1)
        name = f"segment_{len(self._done):05d}.ts"
        self._member(name, b"".join(self._segment))
        self._done.append(Segment(name, (at - self._start) * _SECOND_NS // CLOCK))
        self._segment.clear()
        self._start = at

    def _member(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = len(data), self._mtime, 0o644
        self._file.write(info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % _BLOCK))


def _pts(packet: av.Packet[Any]) -> int:
    return _ticks(packet, packet.pts)


def _dts(packet: av.Packet[Any]) -> int:
    return _ticks(packet, packet.dts)


def _ticks(packet: av.Packet[Any], time: int | None) -> int:
    if time is None or packet.time_base is None:
        raise MediaError("An encoder gave a packet without a time.")
    return _ZERO + round(time * packet.time_base * CLOCK)
