"""A live stream as MPEG-TS: tags of FLV in, packets of 188 bytes out. Pure.

Owns which tables and parameter sets come before which picture, so that whoever tunes in can begin at any key frame.
Packets themselves are `core/mpegts.py`'s.
"""

from __future__ import annotations

from tapedeck.core.avc import config_sets, from_lengths
from tapedeck.core.errors import MediaError
from tapedeck.core.flv import AUDIO, SCRIPT, VIDEO, Tag
from tapedeck.core.mpegts import CLOCK, TransportStream, adts

__all__ = ["TransportFeed"]

_ZERO = CLOCK
"""Time of the first frame: nothing comes before zero, and a decoder's buffer has half a second of room."""
_SOUND_FRAMES = 4
"""In one PES packet: 85 ms of sound."""
_TABLES_MS = 1000
"""Between two tables of a stream that has no key frames."""
_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350)


class TransportFeed:
    """One attempt to send. Tags come in the order of `media/spool.py`: what describes the stream first."""

    def __init__(self) -> None:
        self._first_ms: int | None = None
        self._last_ms: dict[int, int] = {}
        "By kind: a film that was begun again after a crash may repeat an instant."
        self._parameters = b""
        self._sound: tuple[int, int] | None = None
        "Sample rate and channels."
        self._held: list[bytes] = []
        self._held_ms = 0
        self._tables_ms: int | None = None
        self._stream: TransportStream | None = None

    @property
    def has_begun(self) -> bool:
        """Whether anything was made that can be seen or heard."""
        return self._first_ms is not None

    def send(self, tag: Tag) -> bytes:
        """A tag as packets; what it held of sound may come with a later one. MediaError: it makes no sense."""
        try:
            if tag.kind == SCRIPT:
                return b""
            if tag.is_setup:
                self._set_up(tag)
                return b""
            return self._media(tag)
        except (ValueError, IndexError) as exc:
            raise MediaError("The stream of the film is damaged.") from exc

    def finish(self) -> bytes:
        """What was held back. Nothing more comes."""
        return b"" if self._stream is None else self._flushed(self._stream)

    def _set_up(self, tag: Tag) -> None:
        if tag.kind == VIDEO:
            self._parameters = config_sets(tag.body[5:])
            return
        config = int.from_bytes(tag.body[2:4], "big")
        self._sound = _RATES[config >> 7 & 15], config >> 3 & 15

    def _media(self, tag: Tag) -> bytes:
        if self._stream is None:
            self._stream = TransportStream(has_picture=bool(self._parameters), has_metadata=False)
        if self._first_ms is None:
            self._first_ms = tag.time_ms
        time_ms = self._last_ms[tag.kind] = max(self._last_ms.get(tag.kind, 0), tag.time_ms - self._first_ms)
        if tag.kind == AUDIO:
            return self._on_sound(self._stream, tag.body[2:], time_ms)
        delay_ms = int.from_bytes(tag.body[2:5], "big")
        frame, out = from_lengths(tag.body[5:]), b""
        if tag.is_key:
            out, frame = self._flushed(self._stream) + self._stream.tables(), self._parameters + frame
        return out + self._stream.picture(frame, _ticks(time_ms + delay_ms), _ticks(time_ms), is_key=tag.is_key)

    def _on_sound(self, stream: TransportStream, frame: bytes, time_ms: int) -> bytes:
        out = b""
        if not self._parameters and (self._tables_ms is None or time_ms - self._tables_ms >= _TABLES_MS):
            out, self._tables_ms = self._flushed(stream) + stream.tables(), time_ms
        if self._sound is None:
            return out
        if not self._held:
            self._held_ms = time_ms
        self._held.append(adts(frame, *self._sound))
        return out + self._flushed(stream) if len(self._held) >= _SOUND_FRAMES else out

    def _flushed(self, stream: TransportStream) -> bytes:
        held, self._held = self._held, []
        return stream.sound(held, _ticks(self._held_ms)) if held else b""


def _ticks(time_ms: int) -> int:
    return _ZERO + time_ms * (CLOCK // 1000)
