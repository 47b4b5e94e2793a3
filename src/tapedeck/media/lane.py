"""An encoder of a film and where its packets go: into files, and to whoever taps it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import av
from av.stream import Stream

from tapedeck.core.avc import to_lengths
from tapedeck.media.encode import PictureEncoder, SoundEncoder
from tapedeck.media.live import Tap, copy_packet
from tapedeck.media.passed import PassedPictures
from tapedeck.media.sharing import SharedPictures

if TYPE_CHECKING:  # what few films need is imported by those: a process has half of its start from imports
    from tapedeck.media.segments import Muxer
    from tapedeck.media.vorbis import VorbisEncoder

__all__ = ["PICTURES", "Encoder", "Lane"]

PICTURES = PictureEncoder | SharedPictures | PassedPictures
Encoder: TypeAlias = "PictureEncoder | SharedPictures | PassedPictures | SoundEncoder | VorbisEncoder"


class Lane:
    """An encoder and the streams that its packets go to."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.streams: list[tuple[Muxer, Stream]] = []
        self.packets = self.keys = 0
        self.taps: list[Tap] = []
        self._is_sound = not isinstance(encoder, PICTURES)

    @property
    def count(self) -> int:
        """Pictures or samples that the encoder took."""
        return self.encoder.count

    def put(self, packets: Iterable[av.Packet[Any]]) -> None:
        """Packets of the encoder, in its order."""
        for packet in packets:
            self.packets += 1
            self.keys += packet.is_keyframe
            for muxer, stream in self.streams[1:]:
                copy = copy_packet(packet)
                copy.stream = stream
                muxer.mux(copy)
            if self.taps:  # once for all: only H264 and AAC are lent
                media = bytes(packet) if self._is_sound else to_lengths(bytes(packet))
                for tap in tuple(self.taps):
                    tap(packet, media)
            muxer, packet.stream = self.streams[0]
            muxer.mux(packet)

    def flush(self) -> None:
        """What the encoder still holds."""
        self.put(self.encoder.flush())
