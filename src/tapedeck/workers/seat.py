"""A peer's place in a live session. Owns nothing but who is told when it is left."""

from __future__ import annotations

from collections.abc import Callable

from tapedeck.core.frames import TrackInfo
from tapedeck.ports.sources import FrameSink, TrackControl, TrackSink

__all__ = ["Seat"]


class Seat:
    """A peer's sink (`ports.sources.FrameSink`), which tells once when it is closed."""

    def __init__(self, sink: FrameSink, on_close: Callable[[int], None]) -> None:
        self._sink = sink
        self._on_close: Callable[[int], None] | None = on_close

    def open_track(self, info: TrackInfo, control: TrackControl, at_ns: int) -> TrackSink:
        """As `FrameSink`."""
        return self._sink.open_track(info, control, at_ns)

    def rename(self, name: str, at_ns: int) -> None:
        """As `FrameSink`."""
        self._sink.rename(name, at_ns)

    def message(self, data: str | bytes, at_ns: int) -> None:
        """As `FrameSink`."""
        self._sink.message(data, at_ns)

    def close(self, at_ns: int) -> None:
        """As `FrameSink`."""
        self._sink.close(at_ns)
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close(at_ns)
