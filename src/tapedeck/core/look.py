"""The look of a film: colours, the colour of a person, the letters on a tile without camera, sizes of small things.

Owns taste, in numbers, in one place. Refuses to draw (`media/text.py`, `media/picture.py` do).
"""

from __future__ import annotations

import unicodedata
from hashlib import blake2b

from tapedeck.core.geometry import Size

__all__ = [
    "AVATAR_INK",
    "BACKGROUND",
    "LABEL_INK",
    "LABEL_SHADE",
    "MUTED",
    "PALETTE",
    "PLAIN_TILE",
    "SPEAKING",
    "Colour",
    "clean",
    "clusters",
    "colour_of",
    "initials",
    "label_px",
    "mix",
]

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255, sRGB."""

BACKGROUND: Colour = (17, 19, 24)
PLAIN_TILE: Colour = (36, 40, 49)
"""Behind an avatar (tinted with its colour) and around a shared screen."""
SPEAKING: Colour = (124, 214, 170)
LABEL_INK: Colour = (248, 249, 251)
LABEL_SHADE: tuple[int, int, int, int] = (12, 14, 18, 158)
"""Colour and opacity of the pill behind a name: white on it stays legible on a white picture."""
MUTED: Colour = (240, 128, 118)
"""The mark of who cannot be heard, on a label's shade."""
AVATAR_INK: Colour = (250, 250, 252)

PALETTE: tuple[Colour, ...] = (
    (84, 122, 178),
    (78, 146, 132),
    (132, 110, 178),
    (180, 108, 96),
    (102, 146, 84),
    (172, 130, 66),
    (164, 98, 142),
    (72, 142, 164),
    (118, 130, 156),
    (152, 122, 88),
    (104, 116, 190),
    (176, 102, 122),
)
"""Calm, of one lightness, apart from each other; white letters have a contrast of 3:1 or more on each."""


def colour_of(participant_id: str) -> Colour:
    """A person's colour: the same in every film."""
    digest = blake2b(participant_id.encode(), digest_size=4).digest()
    return PALETTE[int.from_bytes(digest, "big") % len(PALETTE)]


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """`share` of the second colour in the first."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def label_px(tile: Size) -> int:
    """Size of the letters of a name on a tile; 0 where a name would only be dirt."""
    px = round((tile.width * tile.height) ** 0.5 * 0.04)
    return min(max(px, 11), 26) if tile.height >= 48 and tile.width >= 64 else 0


def clean(name: str, longest: int = 120) -> str:
    """A name on one line: no control or direction characters, single spaces, at most `longest` clusters.

    Empty when nothing of it would be seen.
    """
    kept = "".join(" " if ch.isspace() else ch for ch in name if ch.isspace() or _printable(ch))
    if not any(unicodedata.category(ch) not in _UNSEEN and ch not in _BLANK for ch in kept):
        return ""
    return "".join(clusters(" ".join(kept.split()))[:longest])


_UNSEEN = ("Zs", "Cf", "Mn", "Me")
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters without ink: fillers of Hangul, and Braille without a dot."""


def _printable(ch: str) -> bool:
    """Of what steers how others are written only joiners, and the tags of flags."""
    category = unicodedata.category(ch)
    if category == "Cf":
        return ch in "\u200c\u200d" or "\U000e0020" <= ch <= "\U000e007f"
    return category not in ("Cc", "Cs", "Co", "Cn")


def clusters(text: str) -> list[str]:
    """`text` in pieces that must not be cut: a letter and its marks, an emoji sequence, a flag (after UAX 29)."""
    pieces: list[str] = []
    flag_open = joined = False
    for ch in text:
        flag = "\U0001f1e6" <= ch <= "\U0001f1ff"
        mark = (
            unicodedata.category(ch) in ("Mn", "Me", "Mc")
            or ch in "\u200c\u200d\ufe0e\ufe0f"
            or "\U000e0020" <= ch <= "\U000e007f"
        )
        tone = "\U0001f3fb" <= ch <= "\U0001f3ff"
        if pieces and (mark or tone or joined or (flag and flag_open)):
            pieces[-1] += ch
            flag_open = False
        else:
            pieces.append(ch)
            flag_open = flag
        joined = ch == "\u200d"
    return pieces


def initials(name: str) -> str:
    """One or two letters for a person: of the first and last word; of one word its first. Empty for no name."""
    words = [word for word in clean(name).split(" ") if any(ch.isalnum() for ch in word)]
    if not words:
        return "".join(clusters(clean(name))[:1])
    firsts = [next(c for c in clusters(word) if any(ch.isalnum() for ch in c)) for word in words]
    wide = unicodedata.east_asian_width(firsts[0][0]) in "WF"
    joining = unicodedata.bidirectional(firsts[0][0]) == "AL"  # two Arabic letters would join to something else
    chosen = firsts[:1] if wide or joining or len(firsts) == 1 else [firsts[0], firsts[-1]]
    return "".join(c.upper() if len(c.upper()) == len(c) else c for c in chosen)
