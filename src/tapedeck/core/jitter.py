"""The recorder's jitter buffer: packets and `now` in; whole frames, NACK lists and key-frame requests out.

A recorder is not in a hurry: it waits up to two seconds for a packet it can ask for again, hands frames on in order and
never hands on a damaged one. Owns sequence numbers, losses and frame boundaries of one track; knows neither network nor
sink, and reads no clock. Memory is bounded whatever the sender does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tapedeck.core.depayload import Depayloader, depayloader_for
from tapedeck.core.frames import CLOCK_RATE, Codec, EncodedFrame, FrameFlags, Kind
from tapedeck.core.losses import REORDER_NS, Losses
from tapedeck.core.mediaclock import MediaClock

__all__ = ["JitterBuffer", "JitterStats"]

_MS = 1_000_000
PATIENCE_NS = 2_000 * _MS
"How long a packet is waited for when it can be asked for again."
PATIENCE_WITHOUT_NACK_NS = 250 * _MS
"The same when it cannot: packets come out of order, but not later than this."
KEYFRAME_AFTER_NS = 400 * _MS
"A video packet missing for this long (and four round trips) will probably never come: ask for a key frame already."
KEYFRAME_INTERVAL_NS = 500 * _MS
"Key frames are not asked for more often than this."

_OPENING = 100
"Packets looked for in front of the first to arrive, when that is not the first of a frame."
_OPENING_NS = 500 * _MS
"For this long: they may have been overtaken, or lost, or never have been sent."

_MAX_DROPOUT = 3000
"A sequence number further away than this is a restart of the sender, once a second packet confirms it (RFC 3550 A.1)."
_MAX_MISSING = 1000
"More packets missing at once than this are given up: no sender keeps that many, and the answer would be a flood."
_MAX_WAITING_BYTES = 8 << 20
_MAX_WAITING = 8000
_MAX_FRAME_BYTES = 4 << 20
_MAX_FRAME_PACKETS = 4000

_NOTHING: tuple[EncodedFrame, ...] = ()

Packet = tuple[int, bool, Codec, bytes, int]
"Timestamp, marker, codec, payload, arrival."


@dataclass(slots=True)
class JitterStats:
    """Counters since the track opened."""

    frames: int = 0
    frames_dropped: int = 0
    "Damaged or malformed."
    packets_lost: int = 0
    "Given up."
    packets_recovered: int = 0
    "Missing first, then there."
    packets_asked: int = 0
    "Sequence numbers put into NACKs."
    packets_refused: int = 0
    "Duplicates, packets too late, sequence numbers out of any window."
    resets: int = 0
    "Of sequence numbers, SSRC or timestamps."


class JitterBuffer:
    """Order, completeness and time of one track. All times are ns on the caller's monotonic clock."""

    def __init__(self, kind: Kind, codec: Codec, *, nack: bool = True, parameter_sets: Sequence[bytes] = ()) -> None:
        """`nack`: the sender answers NACK. `parameter_sets`: H264 NAL units known from the SDP."""
        self.clock = MediaClock(CLOCK_RATE[codec])
        self.stats = JitterStats()
        self._video = kind is Kind.VIDEO
        self._nack = nack
        self._patience = PATIENCE_NS if nack else PATIENCE_WITHOUT_NACK_NS
        self._parameter_sets = tuple(parameter_sets)
        self._depayloaders: dict[Codec, Depayloader] = {}
        self.missing = Losses()
        "Packets waited for; the same object for ever, to be read only."
        # _top: highest extended sequence number seen; _head: the next to hand on, kept up while something is missing
        self._head = -1
        self._top = -1
        self._waiting: dict[int, Packet] = {}
        self._waiting_bytes = 0
        self._suspect: tuple[int, Packet, int] | None = None
        # the frame being put together
        self._parts: list[bytes] = []
        self._size = 0
        self._timestamp = -1
        self._codec = codec
        self._arrival = 0
        self._resync = False
        self._fresh = False
        self._skipped = -1
        self._dropped = -1
        # what is wanted of the sender, what is to be said of the next frame
        self._flags = FrameFlags.NONE
        self._keyframe_wanted = False
        self._keyframe_asked = -KEYFRAME_INTERVAL_NS

    # in

    def push(
        self, sequence: int, timestamp: int, marker: bool, codec: Codec, payload: bytes, now: int
    ) -> Sequence[EncodedFrame]:
        """Take a packet that arrived at `now`; returns the frames it completed. An empty payload is padding."""
        top = self._top
        if (sequence - top) & 0xFFFF == 1 and top >= 0:
            self._top = top = top + 1
            if self.missing:
                self._hold(top, (timestamp, marker, codec, payload, now))
                return self._bound()
            if not marker and timestamp == self._timestamp and self._parts and codec is self._codec and payload:
                # the middle of a frame: most packets of a video track end here
                self._parts.append(payload)
                self._size += len(payload)
                self._arrival = now
                if self._size <= _MAX_FRAME_BYTES and len(self._parts) <= _MAX_FRAME_PACKETS:
                    return _NOTHING
                self._damage()
                return _NOTHING
            return self._consume(timestamp, marker, codec, payload, now)
        return self._push_unordered(sequence, (timestamp, marker, codec, payload, now), now)

    def _push_unordered(self, sequence: int, packet: Packet, now: int) -> Sequence[EncodedFrame]:
        if self._top < 0:
            return self._push_first(sequence, packet, now)
        ahead = (sequence - self._top) & 0xFFFF
        behind = 0x10000 - ahead
        if ahead > _MAX_DROPOUT and behind > _MAX_DROPOUT:
            return self._push_suspect(sequence, packet, now)
        self._suspect = None
        if ahead < 0x8000 and ahead:
            number = self._top + ahead
            if ahead > _MAX_MISSING:
                frames = list(self.flush())
                self.stats.packets_lost += ahead - 1
                self._top = number
                self._damage()
                frames += self._consume(*packet)
                return frames
            if not self.missing:
                self._head = self._top + 1
            self.missing.notice(self._top + 1, number, now, now + self._patience)
            self._top = number
            self._hold(number, packet)
            return self._bound()
        number = self._top - behind if ahead else self._top
        if not self.missing.recover(number, now):
            self.stats.packets_refused += 1
            return _NOTHING
        self.stats.packets_recovered += 1
        self._hold(number, packet)
        if self._fresh:
            self.missing.confirm(number, now + self._patience)
        if self._fresh and packet[3] and self._depayloader(packet[2]).starts_frame(packet[3]):
            while self._head < number:
                self.missing.pop(self._head, None)
                self._drop_held(self._head)
                self._head += 1
        return self._drain()

    def _push_first(self, sequence: int, packet: Packet, now: int) -> Sequence[EncodedFrame]:
        """The first packet to arrive is not always the first that was sent."""
        self._top = first = sequence + 0x10000
        self._fresh = self._resync = self._video
        if not self._video or not packet[3] or self._depayloader(packet[2]).starts_frame(packet[3]):
            return self._consume(*packet)
        self._head = first - _OPENING
        self.missing.notice(self._head, first, now, now + _OPENING_NS, guessed=True)
        self._hold(first, packet)
        return _NOTHING

    def _push_suspect(self, sequence: int, packet: Packet, now: int) -> Sequence[EncodedFrame]:
        """A sequence number out of any window: the second such packet in a row proves that the sender restarted."""
        before, self._suspect = self._suspect, (sequence, packet, self._top)
        if before is None or (sequence - before[0]) & 0xFFFF != 1 or before[2] != self._top:
            self.stats.packets_refused += 1
            return _NOTHING
        frames = list(self.restart(now))
        frames += self._push_unordered(before[0], before[1], now)
        frames += self.push(sequence, *packet)
        return frames

    def restart(self, now: int, *, new_clock: bool = False) -> Sequence[EncodedFrame]:
        """The sender began anew (sequence numbers, SSRC; `new_clock`: timestamps too). Returns what could be saved."""
        frames = self.flush()
        self._top = -1
        self._suspect = None
        self.stats.resets += 1
        if new_clock:
            self.clock.replace()
        self._depayloaders.clear()
        self._damage()
        return frames

    def flush(self) -> Sequence[EncodedFrame]:
        """Wait for nothing any more: give up what is missing and hand on every whole frame."""
        frames: list[EncodedFrame] = []
        while self.missing:
            frames += self._give_up_first()
        if self._parts:
            self._drop_frame()
        return frames

    # time

    def poll(self, now: int) -> Sequence[EncodedFrame]:
        """Give up what has been missing for too long; returns the frames that waited for it."""
        frames: list[EncodedFrame] = []
        while self.missing and next(iter(self.missing.values())).until <= now:
            frames += self._give_up_first()
        return frames

    def nacks(self, now: int) -> list[int]:
        """Sequence numbers (16 bits, in order) to ask for now."""
        if not self._nack or not self.missing:
            return []
        asked = self.missing.due(now)
        self.stats.packets_asked += len(asked)
        return asked

    def observe_rtt(self, rtt: int) -> None:
        """A measured round trip in ns; re-requests follow it."""
        self.missing.observe_rtt(rtt)

    def take_keyframe_request(self, now: int) -> bool:
        """A key frame should be asked for now. Says so once per interval until one comes."""
        since = self.missing.since
        if since is not None and self._video:
            hope = max(KEYFRAME_AFTER_NS, 4 * self.missing.rtt) if self._nack else REORDER_NS
            if now - since >= hope:
                self._keyframe_wanted = True
        if not self._keyframe_wanted or now - self._keyframe_asked < KEYFRAME_INTERVAL_NS:
            return False
        self._keyframe_asked = now
        return True

    def want_keyframe(self) -> None:
        """Someone needs a key frame: ask until one comes."""
        self._keyframe_wanted = self._video

    @property
    def keyframe_wanted(self) -> bool:
        return self._keyframe_wanted

    @property
    def held_since(self) -> int | None:
        """When the first packet arrived that is held back for a missing one; None when nothing is."""
        return self.missing.since

    # order

    def _hold(self, number: int, packet: Packet) -> None:
        self._waiting[number] = packet
        self._waiting_bytes += len(packet[3])

    def _drop_held(self, number: int) -> None:
        packet = self._waiting.pop(number, None)
        if packet is not None:
            self._waiting_bytes -= len(packet[3])

    def _bound(self) -> Sequence[EncodedFrame]:
        """Give up the oldest losses while more is missing or held than we are ready to keep."""
        frames: list[EncodedFrame] = []
        while self.missing and (
            len(self.missing) > _MAX_MISSING
            or self._waiting_bytes > _MAX_WAITING_BYTES
            or len(self._waiting) > _MAX_WAITING
        ):
            frames += self._give_up_first()
        return frames

    def _drain(self) -> Sequence[EncodedFrame]:
        """Hand on what is in order now."""
        frames: list[EncodedFrame] = []
        waiting = self._waiting
        while (packet := waiting.pop(self._head, None)) is not None:
            self._head += 1
            self._waiting_bytes -= len(packet[3])
            frames += self._consume(*packet)
        return frames

    def _give_up_first(self) -> Sequence[EncodedFrame]:
        """Give up the first run of missing packets."""
        number = next(iter(self.missing))
        known = 0
        while (loss := self.missing.pop(number, None)) is not None:
            known += not loss.guessed
            number += 1
        self._head = number
        if known:
            self.stats.packets_lost += known
            self._damage()
        return self._drain()

    def _damage(self) -> None:
        """Packets are missing for good in front of the next one."""
        if self._parts:
            self._drop_frame()
        self._flags |= FrameFlags.DISCONTINUITY
        if self._video:
            self._resync = True
            self._skipped = -1
            self._keyframe_wanted = True

    # frames

    def _consume(
        self, timestamp: int, marker: bool, codec: Codec, payload: bytes, arrival: int
    ) -> Sequence[EncodedFrame]:
        """The next packet in order."""
        if not payload:
            return _NOTHING
        ended: EncodedFrame | None = None
        if self._parts:
            if timestamp != self._timestamp or codec is not self._codec:
                ended = self._finish()
                self._arrival = arrival
            elif arrival > self._arrival:
                self._arrival = arrival
        else:
            if self._resync and self._skip(timestamp, marker, codec, payload):
                return _NOTHING
            self._arrival = arrival
        self._timestamp = timestamp
        self._codec = codec
        self._parts.append(payload)
        self._size += len(payload)
        if marker or not self._video:
            frame = self._finish()
            if ended is None:
                return _NOTHING if frame is None else (frame,)
            return (ended,) if frame is None else (ended, frame)
        return _NOTHING if ended is None else (ended,)

    def _skip(self, timestamp: int, marker: bool, codec: Codec, payload: bytes) -> bool:
        """After a loss: is this packet part of a frame whose beginning we do not have?"""
        depayloader = self._depayloader(codec)
        begins = depayloader.may_start(payload) if self._fresh else depayloader.starts_frame(payload)
        self._fresh = False
        if not begins and self._skipped in (-1, timestamp):
            if timestamp != self._dropped:
                self._dropped = timestamp
                self.stats.frames_dropped += 1
            self._skipped = timestamp
            self._resync = not marker
            return True
        self._resync = False
        return False

    def _finish(self) -> EncodedFrame | None:
        """The frame in `_parts`, which is complete."""
        made = self._depayloader(self._codec).assemble(self._parts)
        self._parts = []
        self._size = 0
        if made is None:
            self.stats.frames_dropped += 1
            self._flags |= FrameFlags.DISCONTINUITY
            self._keyframe_wanted = self._video
            return None
        payload, key = made
        if not payload:
            return None
        media_time, reset = self.clock.map(self._timestamp, self._arrival)
        flags = self._flags
        if reset:
            self.stats.resets += 1
            flags |= FrameFlags.NEW_CLOCK
        if key:
            flags |= FrameFlags.KEY
            self._keyframe_wanted = False
        elif not self.stats.frames:
            flags |= FrameFlags.DISCONTINUITY
            self._keyframe_wanted = True
        self._flags = FrameFlags.NONE
        self.stats.frames += 1
        return EncodedFrame(media_time, self._arrival, payload, self._codec, flags)

    def _drop_frame(self) -> None:
        self._dropped = self._timestamp
        self._parts = []
        self._size = 0
        self.stats.frames_dropped += 1

    def _depayloader(self, codec: Codec) -> Depayloader:
        found = self._depayloaders.get(codec)
        if found is None:
            found = self._depayloaders[codec] = depayloader_for(codec, self._parameter_sets)
        return found
