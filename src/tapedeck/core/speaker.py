"""Who is speaking, out of audio levels (RFC 6464), calm enough to look at.

Owns the hysteresis: a voice has to be loud for a moment before it counts, and quiet for longer before it does not.
Times are those given; nothing here depends on how often it is asked. Refuses to draw or to choose layouts.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SpeakerDetector"]

_LOUD_DBOV = 45
"""Speech is between 15 and 40 dB below the loudest; room noise is quieter than this."""
_QUIET_DBOV = 52
"""Who speaks already goes on with as little as this."""
_ATTACK_NS = 150_000_000
_GAP_NS = 300_000_000
"""Longer without a level (DTX), and what was loud before does not count."""
_RELEASE_NS = 900_000_000


@dataclass(slots=True)
class _Voice:
    speaking: bool = False
    loud_since_ns: int | None = None
    loud_at_ns: int = 0
    "When it was last loud enough to go on speaking."


class SpeakerDetector:
    """Feed levels in order of time, then `advance`; ask who is speaking."""

    def __init__(self) -> None:
        self._voices: dict[str, _Voice] = {}

    def level(self, participant_id: str, at_ns: int, dbov: int) -> bool:
        """A level (0 is loudest, 127 is silence); whether somebody began or ceased to speak."""
        voice = self._voices.setdefault(participant_id, _Voice())
        before = voice.speaking
        self._release(voice, at_ns)
        if voice.speaking:
            if dbov <= _QUIET_DBOV:
                voice.loud_at_ns = at_ns
        elif dbov > _LOUD_DBOV:
            voice.loud_since_ns = None
        else:
            if voice.loud_since_ns is None or at_ns - voice.loud_at_ns > _GAP_NS:
                voice.loud_since_ns = at_ns
            voice.loud_at_ns = at_ns
            voice.speaking = at_ns - voice.loud_since_ns >= _ATTACK_NS
        return voice.speaking != before

    def advance(self, t_ns: int) -> bool:
        """Time has passed; whether somebody ceased to speak."""
        changed = False
        for voice in self._voices.values():
            changed |= self._release(voice, t_ns)
        return changed

    def is_speaking(self, participant_id: str) -> bool:
        """Whether a participant speaks at the time given last."""
        voice = self._voices.get(participant_id)
        return voice is not None and voice.speaking

    @staticmethod
    def _release(voice: _Voice, t_ns: int) -> bool:
        """End speech that was followed by quiet, or by nothing (mute, leave), for long enough."""
        if not voice.speaking or t_ns - voice.loud_at_ns <= _RELEASE_NS:
            return False
        voice.speaking, voice.loud_since_ns = False, None
        return True
