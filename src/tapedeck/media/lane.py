"""An encoder of a film and where its packets go: into files, and to whoever taps it."""

from __future__ import annotations

from collections import deque
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

    def __init__(self, encoder: Encoder, since: int = 0) -> None:
        """`since`: packets of sound before this sample are not used (an encoder's own priming apart, if it is 0)."""
        self.encoder = encoder
        self.streams: list[tuple[Muxer, Stream]] = []
        self.packets = self.keys = 0
        self.taps: list[Tap] = []
        self._is_sound = not isinstance(encoder, PICTURES)
        self._since = since
        self._held: deque[av.Packet[Any]] | None = None
        "What waits for others to be in the files before it; None: nothing has to."
        self._next_dts: int | None = None
        "When the next picture is decoded at the latest, where an encoder goes on behind another."

    @property
    def count(self) -> int:
        """Pictures or samples that the encoder took."""
        return self.encoder.count

    def put(self, packets: Iterable[av.Packet[Any]]) -> None:
        """Packets of the encoder, in its order."""
        for packet in packets:
            if self._since and (packet.pts is None or packet.pts < self._since):
                continue
            if self._next_dts is not None:
                # An encoder that makes only one or two pictures does not decode ahead as the one before it did.
                packet.dts = self._next_dts if packet.dts is None else min(packet.dts, self._next_dts)
                self._next_dts += 1
            if self.taps:  # once for all: only H264 and AAC are lent
                media = bytes(packet) if self._is_sound else to_lengths(bytes(packet))
                for tap in tuple(self.taps):
                    tap(packet, media)
            if self._held is None:
                self.copy(packet)
            else:
                self._held.append(packet)

    def copy(self, packet: av.Packet[Any]) -> None:
        """A packet for the files alone, in the encoder's time base."""
        self.packets += 1
        self.keys += packet.is_keyframe
        for muxer, stream in self.streams[1:]:
            copy = copy_packet(packet)
            copy.stream = stream
            muxer.mux(copy)
        muxer, packet.stream = self.streams[0]
        muxer.mux(packet)

    def hold(self, dts: int | None = None) -> None:
        """Let what is `put` wait while others are copied. `dts`: when the first picture of those is decoded."""
        self._held, self._next_dts = deque(), dts

    def release(self) -> None:
        """All were."""
        held, self._held = self._held, None
        for packet in held or ():
            self.copy(packet)

    def flush(self) -> None:
        """What the encoder still holds."""
        self.put(self.encoder.flush())
