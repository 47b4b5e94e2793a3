"""One picture encoder for several films of one meeting that are made in step, in one process.

Owns what makes sharing safe: a film says of each picture what it shows, and only films whose next pictures show the
same (the very same decoded pictures in the same scene) are encoded as one (`media/lines.py`). A film without a fellow
is encoded as if none of this were here. Refuses to know films, logs and files.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Hashable

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from tapedeck.core.output import VideoOutput
from tapedeck.media.encode import PictureEncoder
from tapedeck.media.lines import Line, Packets, Room, Shows, Waiting

__all__ = ["Encoders", "Seat", "SharedPictures", "Shows"]

_PYRAMID = 2
"""Pictures by which x264 decodes ahead where it makes B-frames that others need."""


class Encoders:
    """The picture encoders of all films that are made in a process."""

    def __init__(self) -> None:
        self._rooms: dict[Hashable, Room] = {}

    def seat(self, alike: Hashable) -> Seat:
        """The place of a film. `alike`: films whose pictures have nothing in common differ in it."""
        return Seat(self._rooms, alike)


class Seat:
    """One film among others. To be closed."""

    def __init__(self, rooms: dict[Hashable, Room], alike: Hashable) -> None:
        self._rooms = rooms
        self._alike = alike
        self._said: tuple[int, Shows] | None = None
        self._encoders: list[SharedPictures] = []

    def say(self, index: int, shows: Shows | None) -> None:
        """What picture `index`, the next, shows; None: it is encoded beside painting, for this film alone."""
        self._said = None if shows is None else (index, shows)

    def said(self, index: int) -> Shows | None:
        """What was said of a picture."""
        said = self._said
        return said[1] if said is not None and said[0] == index else None

    def rest(self) -> None:
        """No picture will come for a while: nobody is to wait for one."""
        for encoder in self._encoders:
            encoder.leave()

    def encoder(
        self, container: OutputContainer, output: VideoOutput, threads: int, first: int = 0
    ) -> PictureEncoder | SharedPictures:
        """An encoder for a file of the film, shared where that is possible; `first` as of `PictureEncoder`."""
        if threads != 1 or output.encoder != "x264":
            return PictureEncoder(container, output, threads, first)
        room = self._rooms.setdefault((self._alike, output), Room(output))
        self._encoders.append(SharedPictures(container, output, self, room, first))
        return self._encoders[-1]

    def close(self) -> None:
        """The film is made or given up. Again is no error."""
        for encoder in self._encoders:
            encoder.close()
        self._encoders.clear()


class SharedPictures:
    """As `PictureEncoder`, for one film."""

    def __init__(self, container: OutputContainer, output: VideoOutput, seat: Seat, room: Room, first: int = 0) -> None:
        own = PictureEncoder(container, output, 1, first)
        self.template: VideoStream = own.template
        "What another container makes its stream from."
        self.count = first
        "Pictures taken so far."
        self.offset = 0
        "What makes an index of this film of one of its line."
        self.waiting: deque[Waiting] = deque()
        self.ready: Packets = []
        self.fault: Exception | None = None
        self.line = Line(room, [self], own)
        self._seat = seat
        self._room = room
        self.has_parted = False
        "Whether its pictures are no longer of one encoder."
        self._delay = _PYRAMID if own.template.codec_context.has_b_frames else 0
        "Pictures by which decoding is ahead of showing."
        self._given = first
        "Packets, those that were there before among them."
        self._is_apart = False
        "Whether its pictures are encoded in another thread."
        room.enter(self)

    def encode(self, frame: av.VideoFrame, index: int) -> Packets:
        """Packets that are ready after picture `index`, this one's or earlier ones. Errors as of `PictureEncoder`."""
        if index != self.count:
            raise ValueError(f"picture {index} came where {self.count} was due")
        shows = self._seat.said(index)
        if shows is None:
            if not self._is_apart:
                self.leave()
                self._is_apart = True
        else:
            self._is_apart = False
            if not self._room.is_lonely:
                with self._room.lock:
                    if self._room.waits_for(self, index, shows):
                        self.waiting.append(Waiting(index, shows, self._room.copy(frame)))
                        self.count += 1
                        self._room.pump()
                        return self._stamped(self._taken())
            self.line.last = (shows.t_ns, index - self.offset)
        self.count += 1
        return self._stamped([*self._taken(), *self.line.encode_alone(frame, index)])

    def flush(self) -> Packets:
        """The last packets."""
        self.leave()
        with self._room.lock:
            self.line.end()
        return self._stamped(self._taken())

    def leave(self) -> None:
        """Encode what waits, for this film alone, and have all packets of what it shares with others."""
        with self._room.lock:
            self._room.leave(self)

    def close(self) -> None:
        """Nothing more comes."""
        with contextlib.suppress(Exception):  # it is given up, or was raised already
            self.leave()
        with self._room.lock:
            self._room.part_with(self)

    def _stamped(self, packets: Packets) -> Packets:
        """Packets in the order in which the film's are decoded: a stretch of one or two pictures is not delayed."""
        if self.has_parted:
            for number, packet in enumerate(packets, self._given - self._delay):
                packet.dts = number if packet.dts is None else min(packet.dts, number)
        self._given += len(packets)
        return packets

    def _taken(self) -> Packets:
        if self.fault is not None:
            raise self.fault
        packets, self.ready = self.ready, []
        return packets
