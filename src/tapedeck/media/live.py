"""The live stream of a film: what the film's encoders make, handed on as FLV while somebody wants it.

Shares the encoders of the files where one of them makes H264 and one AAC; what none makes gets an encoder of its own,
of the same canvas, while the stream is wanted. Owns that nothing which goes wrong here reaches the film: the stream is
given up, and begun again a little later. Refuses to know who wants it and where it goes (`media/spool.py`).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.stream import Stream
from numpy.typing import NDArray

from tapedeck.core.output import AudioOutput, Output
from tapedeck.media.encode import PictureEncoder, SoundEncoder
from tapedeck.media.spool import SpoolWriter

__all__ = ["Lender", "LiveStream", "copy_packet"]

log = logging.getLogger(__name__)

_LOOK_EVERY = 15
"""Pictures between two looks at whether somebody wants the stream."""
_REST = 20
"""Looks that it is left alone after a fault."""
_FLV = {"flvflags": "no_duration_filesize", "flush_packets": "1"}

Tap = Callable[["av.Packet[Any]"], None]


class Lender:
    """An encoder of a file whose packets others may have too."""

    def __init__(self, template: Stream, taps: list[Tap]) -> None:
        self.template = template
        self.taps = taps
        "Each is called with a copy of every packet, and never raises."


class LiveStream:
    """Beside the files of a film. Called by whoever writes them, in the same thread."""

    def __init__(self, directory: Path, outputs: Iterable[Output], lend: Callable[[Any], Lender | None]) -> None:
        """`lend` finds the encoder of a file with just these settings."""
        self.is_current = False
        "Whether the film is about as far as life; may be set from another thread."
        outputs = tuple(outputs)
        pictures = [output.video for output in outputs if output.video is not None]
        self._video = next((video for video in pictures if video.codec == "h264"), None)
        if self._video is None and pictures:
            self._video = replace(pictures[0], codec="h264")
        sounds = [output.audio for output in outputs if output.audio.codec == "aac" and output.audio.channels == 2]
        self._audio = sounds[0] if sounds else AudioOutput()
        self._directory = directory
        self._lend = lend
        self._rest = 0
        self._samples = 0
        self._spool: SpoolWriter | None = None
        self._container: OutputContainer | None = None
        self._own_pictures: PictureEncoder | None = None
        self._own_sound: SoundEncoder | None = None
        self._taken: list[tuple[list[Tap], Tap]] = []

    def write_picture(self, frame: av.VideoFrame, index: int) -> None:
        """A picture of the film, before the files have it."""
        if index % _LOOK_EVERY == 0:
            self._look(index)
        if self._own_pictures is not None:
            own = self._own_pictures
            with self._harmless():
                self._mux(own.template, own.encode(frame, index))

    def write_sound(self, samples: NDArray[np.float32]) -> None:
        """Sound of the film, (2, n)."""
        if self._video is None:
            self._look(0)
        self._samples += samples.shape[1]
        if self._own_sound is not None:
            own = self._own_sound
            with self._harmless():
                self._mux(own.template, own.encode(samples))

    def finish(self) -> None:
        """The film has ended, and its encoders are flushed."""
        spool = self._spool
        with self._harmless():
            for own in (self._own_pictures, self._own_sound):
                if own is not None:
                    self._mux(own.template, own.flush())
        self._stop()
        if spool is not None:
            spool.end()

    def abort(self) -> None:
        """Give up, without an end that anybody would take for the film's."""
        self._stop()

    def _look(self, index: int) -> None:
        if self._spool is not None:
            self._spool.muted = not self.is_current
        wanted = (self._directory / "wanted").exists()
        if self._rest:
            self._rest -= 1
        elif wanted and self._container is None and self.is_current:
            with self._harmless():
                self._start(index)
        elif not wanted and self._container is not None:
            self._stop()

    def _start(self, index: int) -> None:
        self._spool = SpoolWriter(self._directory, has_video=self._video is not None)
        container = self._container = av.open(self._spool, "w", "flv", options=_FLV, buffer_size=1 << 16)
        if self._video is not None:
            lent = self._lend(self._video)
            if lent is None:
                self._own_pictures = PictureEncoder(container, self._video, 1, first=index)
            else:
                self._take(lent, container)
        lent = self._lend(self._audio)
        if lent is None:
            self._own_sound = SoundEncoder(container, self._audio, first=self._samples)
        else:
            self._take(lent, container)
        container.start_encoding()

    def _take(self, lent: Lender, container: OutputContainer) -> None:
        stream = container.add_stream_from_template(lent.template)

        def tap(packet: av.Packet[Any]) -> None:
            with self._harmless():
                self._mux(stream, [packet])

        lent.taps.append(tap)
        self._taken.append((lent.taps, tap))

    def _mux(self, stream: Stream, packets: Iterable[av.Packet[Any]]) -> None:
        for packet in packets:
            packet.stream = stream
            if self._container is not None:
                self._container.mux(packet)

    @contextlib.contextmanager
    def _harmless(self) -> Any:
        """What goes wrong ends the stream, never the film."""
        try:
            yield
        except Exception as exc:
            log.warning("the live stream of a film was interrupted: %s", type(exc).__name__)
            self._rest = _REST
            self._stop()

    def _stop(self) -> None:
        for taps, tap in self._taken:
            taps.remove(tap)
        self._taken.clear()
        self._own_pictures = self._own_sound = None
        container, self._container = self._container, None
        self._spool = None
        if container is not None:
            with contextlib.suppress(Exception):
                container.close()


def copy_packet(packet: av.Packet[Any]) -> av.Packet[Any]:
    """A packet that another container may have."""
    copy = av.Packet(bytes(packet))
    copy.time_base = packet.time_base
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.is_keyframe = packet.is_keyframe
    for side in packet.iter_sidedata():
        copy.set_sidedata(side)
    return copy
