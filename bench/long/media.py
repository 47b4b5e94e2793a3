"""Ten seconds of a meeting, encoded once, and hours of them in front of a film that is being made."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tapedeck.core.output import AudioOutput, VideoOutput
from tapedeck.media.encode import PictureEncoder, SoundEncoder
from tapedeck.media.mux import FilmWriter

__all__ = ["Order", "Unit", "encode_unit", "lengthen"]

UNIT_S, FPS, RATE, BLOCK = 10, 30, 48_000, 1024
_ORDER, _DONE = "long.pickle", "long.done"


@dataclass(frozen=True)
class Unit:
    """Ten seconds of 720p and its sound."""

    pictures: Sequence[tuple[bytes, int, int, bool]]
    "Bytes, presentation and decoding time (frames), key."
    sound: Sequence[bytes]


@dataclass(frozen=True)
class Order:
    """How long the next film is to be before it begins; between the bench and the render, through a directory."""

    unit: Unit
    seconds: int

    @classmethod
    def read(cls, directory: Path) -> Order:
        order = pickle.loads((directory / _ORDER).read_bytes())
        assert isinstance(order, cls)
        return order

    def write(self, directory: Path) -> None:
        (directory / _DONE).unlink(missing_ok=True)
        (directory / _ORDER).write_bytes(pickle.dumps(self))

    def note_done(self, directory: Path) -> None:
        """The hours are in the film."""
        (directory / _DONE).touch()

    @staticmethod
    def is_done(directory: Path) -> bool:
        return (directory / _DONE).exists()


def encode_unit(directory: Path) -> Unit:
    """Half of the picture moves a little, the rest stands still; speech-like sound."""
    noise, video = np.random.default_rng(1), VideoOutput()
    with av.open(str(directory / "unit.mp4"), "w") as container:
        pictures, sound = PictureEncoder(container, video, 2), SoundEncoder(container, AudioOutput())
        packets: list[Any] = []
        still = noise.integers(60, 190, (90, 160), np.uint8).repeat(8, 0).repeat(8, 1)
        for index in range(UNIT_S * FPS):
            frame = av.VideoFrame(1280, 720, "yuv420p")
            for plane in frame.planes:
                np.frombuffer(memoryview(plane), np.uint8)[:] = 128
            luma = np.frombuffer(memoryview(frame.planes[0]), np.uint8).reshape(720, -1)[:, :1280]
            luma[:] = still
            luma[:360, :640] = np.roll(still[:360, :640], index // 3, axis=1)
            packets += pictures.encode(frame, index)
        packets += pictures.flush()
        spoken = sound.encode(noise.standard_normal((2, UNIT_S * RATE)).astype(np.float32) * 0.002)
        coded = sorted((bytes(p), p.pts or 0, p.dts or 0, p.is_keyframe) for p in packets)
    return Unit(sorted(coded, key=lambda packet: packet[2]), [bytes(p) for p in spoken])


class _Later:
    """A muxer whose packets come after the hours."""

    def __init__(self, muxer: Any, shift: int) -> None:
        self._muxer, self._shift = muxer, shift

    def mux(self, packet: Any) -> None:
        packet.pts += self._shift
        packet.dts += self._shift
        self._muxer.mux(packet)


def lengthen(writer: FilmWriter, order: Order) -> None:
    """Write the hours, and have all that follows come after them."""
    assert writer._pictures is not None
    (muxer, video), (_, sound) = writer._pictures.streams[0], writer._sound.streams[0]
    container: Any = muxer
    frame, sample = Fraction(1, FPS), Fraction(1, RATE)
    blocks = 0
    for turn in range(order.seconds // UNIT_S):
        at = turn * UNIT_S * FPS
        for index, (data, pts, dts, key) in enumerate(order.unit.pictures):
            packet: Any = av.Packet(data)
            packet.stream, packet.time_base, packet.is_keyframe = video, frame, key
            packet.pts, packet.dts = pts + at, dts + at
            container.mux_one(packet)
            while (blocks - 1) * BLOCK * FPS < (at + index) * RATE:
                packet = av.Packet(order.unit.sound[blocks % len(order.unit.sound)])
                packet.stream, packet.time_base, packet.duration = sound, sample, BLOCK
                packet.pts = packet.dts = (blocks - 1) * BLOCK
                blocks += 1
                container.mux_one(packet)
    for lane, shift in ((writer._pictures, order.seconds * FPS), (writer._sound, blocks * BLOCK)):
        later: list[Any] = [(_Later(target, shift), stream) for target, stream in lane.streams]
        lane.streams = later
