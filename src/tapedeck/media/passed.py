"""Pictures that a sender encoded, as packets of a film's stream: in the place of an encoder, and without its cost.

Owns the stream's head, which is made of the first key frame, and when each picture is shown: at its own time, until
the next one. Refuses to choose pictures (`render/passage.py`). H264 in Annex B, shown in the order in which it is
decoded; the muxers turn it into what they need.
"""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
from av.container import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from tapedeck.core.errors import MediaError
from tapedeck.core.output import VideoOutput

__all__ = ["PassedPictures"]

_S = 1_000_000_000
_UNSPECIFIED = 2
"Of colour (ITU-T H.273)."


class PassedPictures:
    """Where a `media.encode.PictureEncoder` would be. `put` each picture, `end` after the last."""

    def __init__(self, container: OutputContainer, output: VideoOutput, first: bytes) -> None:
        """`first`: the key frame that the film begins with. MediaError: nothing can be made of it."""
        self._rate = output.fps * 1000
        self._time_base = Fraction(1, self._rate)
        self._held: av.Packet[Any] | None = None
        "How long it is shown only the next one tells."
        self._end = 0
        self._count = 0
        with av.open(io.BytesIO(first), "r", format="h264", options={"framerate": str(output.fps)}) as parsed:
            source = parsed.streams.video[0]
            if not source.codec_context.extradata:
                raise MediaError("The first picture tells no parameter sets.")
            # As a decoder's: there is nothing to be set up for encoding.
            self._stream = container.add_stream_from_template(source, opaque=True)
        context = self._stream.codec_context
        self._stream.time_base = self._time_base
        if context.colorspace == _UNSPECIFIED:  # as everywhere (docs/explain/render.md)
            context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
            context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG

    @property
    def template(self) -> VideoStream:
        """What another container makes its stream from."""
        return self._stream

    @property
    def count(self) -> int:
        """Pictures taken so far."""
        return self._count

    @property
    def duration_ns(self) -> int:
        """Where the last one ends."""
        return self._end * _S // self._rate

    def put(self, payload: bytes, film_ns: int, *, is_key: bool) -> list[av.Packet[Any]]:
        """The packet that is known to its end by now. Times that do not grow are moved on by the least there is."""
        at = film_ns * self._rate // _S
        last = self._held
        if last is not None and last.pts is not None:
            at = max(at, last.pts + 1)
        packet: av.Packet[Any] = av.Packet(payload)
        packet.time_base = self._time_base
        packet.pts = packet.dts = at
        packet.is_keyframe = is_key
        self._held, self._end = packet, at + 1000
        self._count += 1
        return [] if last is None else [_until(last, at)]

    def end(self, film_ns: int) -> None:
        """The last picture is shown until then."""
        if self._held is not None and self._held.pts is not None:
            self._end = max(film_ns * self._rate // _S, self._held.pts + 1)

    def flush(self) -> list[av.Packet[Any]]:
        """The last packet."""
        last, self._held = self._held, None
        return [] if last is None else [_until(last, self._end)]


def _until(packet: av.Packet[Any], end: int) -> av.Packet[Any]:
    packet.duration = end - (packet.pts or 0)
    return packet
