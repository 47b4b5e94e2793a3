"""The live stream of a film: what the film's encoders make, handed on as FLV while somebody wants it.

Shares the encoders of the files where one of them makes H264 and one AAC; what none makes gets an encoder of its own,
of the same canvas, while the stream is wanted. Owns that nothing which goes wrong here reaches the film: the stream is
given up, and begun again a little later. Refuses to know who wants it and where it goes (`media/spool.py`).

Packets become tags here and not in libavformat, whose muxer costs several times as much (docs/explain/live.md): a film
pays for its stream with its own time.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.stream import Stream
from numpy.typing import NDArray

from tapedeck import __version__
from tapedeck.core.avc import decoder_config, parameter_sets, to_lengths
from tapedeck.core.errors import MediaError
from tapedeck.core.flv import AUDIO, VIDEO, metadata_tag, picture_tag, setup_tag, sound_tag
from tapedeck.core.output import AudioOutput, Output, VideoOutput
from tapedeck.media.encode import PictureEncoder, SoundEncoder
from tapedeck.media.spool import SpoolWriter

__all__ = ["Lender", "LiveStream", "Tap", "copy_packet"]

log = logging.getLogger(__name__)

_S = 1_000_000_000
_LOOK_EVERY = 15
"""Pictures between two looks at whether somebody wants the stream; there may be fewer, each for longer."""
_REST = 20
"""Looks that it is left alone after a fault."""
_MOST_WAITING = 3000
"""Packets of one kind that wait for the other: a minute. An encoder that is so late makes nothing."""

Tap = Callable[["av.Packet[Any]", bytes], None]
"""Takes a packet, and its media as files hold it: H264 with lengths."""


class Lender:
    """An encoder of a file whose packets others may have too."""

    def __init__(self, template: Stream, taps: list[Tap]) -> None:
        self.template = template
        self.taps = taps
        "Each sees every packet before the file has it, in the encoder's time base; changes nothing, never raises."


class LiveStream:
    """Beside the files of a film. Called by whoever writes them, in the same thread."""

    def __init__(
        self, directory: Path, outputs: Iterable[Output], lend: Callable[[Any], Lender | None], sample: int = 0
    ) -> None:
        """`lend` finds the encoder of a file with just these settings. `sample`: the first that comes."""
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
        self._wanted = os.fspath(directory / "wanted")
        self._lend = lend
        self._looked = -_LOOK_EVERY
        self._rest = 0
        self._samples = sample
        self._weave: _Weave | None = None
        self._desk: OutputContainer | None = None
        self._own_pictures: PictureEncoder | None = None
        self._own_sound: SoundEncoder | None = None
        self._taken: list[tuple[list[Tap], Tap]] = []

    def write_picture(self, frame: av.VideoFrame, index: int) -> None:
        """A picture of the film, before the files have it."""
        self.look(index)
        if self._own_pictures is not None and self._weave is not None:
            with self._harmless():
                for packet in self._own_pictures.encode(frame, index):
                    self._weave.put_picture(packet, to_lengths(bytes(packet)))

    def look_at(self, film_ns: int) -> None:
        """A picture comes that somebody else encoded, and that may be shown for long."""
        if self._video is not None:
            self.look(film_ns * self._video.fps // _S)

    def look(self, index: int) -> None:
        """Picture `index` comes, whoever encoded it: now and then, whether the stream is wanted is looked up."""
        if not 0 <= index - self._looked < _LOOK_EVERY:
            self._looked = index
            self._look(index)

    def write_sound(self, samples: NDArray[np.float32]) -> None:
        """Sound of the film, (2, n)."""
        if self._video is None:
            self._look(0)
        self._samples += samples.shape[1]
        if self._own_sound is not None and self._weave is not None:
            with self._harmless():
                for packet in self._own_sound.encode(samples):
                    self._weave.put_sound(packet, bytes(packet))

    def finish(self) -> None:
        """The film has ended, and its encoders are flushed."""
        with self._harmless():
            if self._weave is not None:
                for picture in self._own_pictures.flush() if self._own_pictures is not None else ():
                    self._weave.put_picture(picture, to_lengths(bytes(picture)))
                for sound in self._own_sound.flush() if self._own_sound is not None else ():
                    self._weave.put_sound(sound, bytes(sound))
                self._weave.finish()
        self._stop()

    def abort(self) -> None:
        """Give up, without an end that anybody would take for the film's."""
        self._stop()

    def _look(self, index: int) -> None:
        if self._weave is not None:
            self._weave.spool.muted = not self.is_current
        wanted = os.path.exists(self._wanted)
        if self._rest:
            self._rest -= 1
        elif wanted and self._weave is None and self.is_current:
            with self._harmless():
                self._start(index)
        elif not wanted and self._weave is not None:
            self._stop()

    def _start(self, index: int) -> None:
        spool = SpoolWriter(self._directory, has_video=self._video is not None)
        weave = self._weave = _Weave(spool, self._video, self._audio)
        if self._video is not None:
            lent = self._lend(self._video)
            if lent is None:
                own = self._own_pictures = PictureEncoder(self._own_desk(), self._video, 1, first=index)
                weave.pictures = own.template
            else:
                weave.pictures = lent.template
                self._take(lent, weave.put_picture)
        lent = self._lend(self._audio)
        if lent is None:
            own_sound = self._own_sound = SoundEncoder(self._own_desk(), self._audio, first=self._samples)
            weave.sound = own_sound.template
        else:
            weave.sound = lent.template
            self._take(lent, weave.put_sound)

    def _own_desk(self) -> OutputContainer:
        """What encoders are made for; nothing is ever written to it."""
        if self._desk is None:
            self._desk = av.open(io.BytesIO(), "w", "flv")
        return self._desk

    def _take(self, lent: Lender, put: Tap) -> None:
        def tap(packet: av.Packet[Any], media: bytes) -> None:
            try:
                put(packet, media)
            except Exception as exc:
                self._give_up(exc)

        lent.taps.append(tap)
        self._taken.append((lent.taps, tap))

    @contextlib.contextmanager
    def _harmless(self) -> Iterator[None]:
        """What goes wrong ends the stream, never the film."""
        try:
            yield
        except Exception as exc:
            self._give_up(exc)

    def _give_up(self, exc: Exception) -> None:
        log.warning("the live stream of a film was interrupted: %s", type(exc).__name__)
        self._rest = _REST
        self._stop()

    def _stop(self) -> None:
        for taps, tap in self._taken:
            taps.remove(tap)
        self._taken.clear()
        self._own_pictures = self._own_sound = None
        if self._weave is not None:
            self._weave.spool.close()
            self._weave = None
        desk, self._desk = self._desk, None
        if desk is not None:
            with contextlib.suppress(Exception):
                desk.close()


class _Weave:
    """Packets of two encoders to tags, in the order in which they are decoded. Cheap: called for each."""

    def __init__(self, spool: SpoolWriter, video: VideoOutput | None, audio: AudioOutput) -> None:
        self.spool = spool
        self.pictures: Stream | None = None
        self.sound: Stream | None = None
        self._video, self._audio = video, audio
        self._waiting: tuple[deque[_Piece], deque[_Piece]] = (deque(), deque())
        self._rates: list[tuple[int, int]] = []
        "Of pictures and sound: what makes ms of ticks, as a fraction."
        self._lead_ms = 0
        "What makes the first picture's time no less than zero: it may be decoded before the film begins."
        self._begun = False

    def put_picture(self, packet: av.Packet[Any], media: bytes) -> None:
        """The next packet of H264."""
        pts, dts = packet.pts, packet.dts
        if pts is None or dts is None:
            return
        is_key = packet.is_keyframe
        if not self._begun:
            if not is_key:
                return
            self._rates = [_rate_of(packet.time_base), _rate(self.sound)]
            self._lead_ms = max(0, -_ms(dts, self._rates[0]))
            self.spool.head = self._head()
            self._begun = True
        rate = self._rates[0]
        time_ms = max(0, _ms(dts, rate) + self._lead_ms)
        delay_ms = max(0, _ms(pts, rate) + self._lead_ms - time_ms)
        self._put(0, (time_ms, picture_tag(media, time_ms, delay_ms, is_key=is_key), is_key))

    def put_sound(self, packet: av.Packet[Any], media: bytes) -> None:
        """The next packet of AAC."""
        pts = packet.pts
        if pts is None or pts < 0:
            return  # the encoder's priming
        if not self._begun:
            if self._video is not None:
                return
            self._rates = [(0, 1), _rate(self.sound)]
            self.spool.head = self._head()
            self._begun = True
        time_ms = _ms(pts, self._rates[1]) + self._lead_ms
        self._put(1, (time_ms, sound_tag(media, time_ms), self._video is None))

    def finish(self) -> None:
        """Nothing more comes."""
        for time_ms, tag, is_start in sorted((*self._waiting[0], *self._waiting[1]), key=lambda piece: piece[0]):
            self.spool.write(tag, time_ms, is_start=is_start)
        self.spool.end()

    def _put(self, lane: int, piece: _Piece) -> None:
        waiting = self._waiting[lane]
        other = self._waiting[1 - lane]
        waiting.append(piece)
        if self._video is not None and not other:
            if len(waiting) > _MOST_WAITING:
                raise MediaError("An encoder of the live stream makes nothing.")
            return
        pictures, sounds = self._waiting
        write = self.spool.write
        while pictures and sounds:
            time_ms, tag, is_start = (pictures if pictures[0][0] <= sounds[0][0] else sounds).popleft()
            write(tag, time_ms, is_start=is_start)
        if self._video is None:
            write(sounds[0][1], sounds[0][0], is_start=True)
            sounds.clear()

    def _head(self) -> bytes:
        """The tags that describe the stream, by what the encoders say of it."""
        audio = self._audio
        about: dict[str, float | str | bool] = {}
        setups = b""
        if self._video is not None:
            about = {"width": float(self._video.width), "height": float(self._video.height)}
            about |= {"framerate": float(self._video.fps), "videocodecid": 7.0}
            setups += setup_tag(VIDEO, _picture_config(_extradata(self.pictures)))
        about |= {"audiocodecid": 10.0, "audiosamplerate": float(audio.sample_rate), "audiosamplesize": 16.0}
        about |= {"stereo": audio.channels == 2, "encoder": f"Tapedeck {__version__}"}
        return metadata_tag(**about) + setups + setup_tag(AUDIO, _extradata(self.sound))


_Piece = tuple[int, bytes, bool]
"""When it is decoded (ms), the tag, and whether a decoder can begin with it."""


def _rate(stream: Stream | None) -> tuple[int, int]:
    return _rate_of(None if stream is None else stream.codec_context.time_base)


def _rate_of(base: Fraction | None) -> tuple[int, int]:
    if base is None:
        raise MediaError("An encoder of the live stream has no time base.")
    return 1000 * base.numerator, base.denominator


def _ms(ticks: int, rate: tuple[int, int]) -> int:
    times, parts = rate
    return (ticks * times + parts // 2) // parts


def _extradata(stream: Stream | None) -> bytes:
    context = None if stream is None else stream.codec_context
    return b"" if context is None else bytes(context.extradata or b"")


def _picture_config(extradata: bytes) -> bytes:
    """AVCDecoderConfigurationRecord. MediaError when the encoder does not say what it needs."""
    sets = parameter_sets(extradata)
    if sets is None:
        raise MediaError("The encoder of the film tells no parameter sets.")
    return decoder_config(*sets)


def copy_packet(packet: av.Packet[Any]) -> av.Packet[Any]:
    """A packet that another container may have."""
    copy = av.Packet(bytes(packet))
    copy.time_base = packet.time_base
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.is_keyframe = packet.is_keyframe
    for side in packet.iter_sidedata():
        copy.set_sidedata(side)
    return copy
