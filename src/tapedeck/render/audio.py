"""The sound of a film: packets of all tracks in, the mix out, sample by sample on the film's clock."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["AudioMixer"]


class AudioMixer:
    """Mixes Opus tracks into 48 kHz stereo. The result depends on what is fed, never on the sizes of the calls."""

    LOOKAHEAD_NS = 20_000_000
    "What happens up to this long after the end of the next `mix` must have been fed or cut before that call."

    @property
    def position_ns(self) -> int:
        """Film time of the next sample that `mix` returns."""
        raise NotImplementedError

    def feed(self, track_id: str, film_ns: int, payload: bytes) -> None:
        """Place one Opus packet whose capture time maps to `film_ns`; per track in order of time.

        `film_ns` may lie before the current span (even below zero): what is outside the span is trimmed to the sample.
        """
        raise NotImplementedError

    def cut(self, film_ns: int) -> None:
        """The film is cut here (pause, outage, end): what was fed so far ends here, what is fed later starts here."""
        raise NotImplementedError

    def close(self, track_id: str) -> None:
        """No further packet of the track will come; what was fed is still played."""
        raise NotImplementedError

    def mix(self, n_samples: int) -> NDArray[np.float32]:
        """The next samples of the film, shape (2, n_samples), contiguous, |x| <= 0.892 (-1 dBFS)."""
        raise NotImplementedError
