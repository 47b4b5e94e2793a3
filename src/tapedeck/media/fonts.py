"""Finding fonts that can write a given character, without fontconfig.

Looks through the usual directories once, prefers a list of good families, and reads each font's character map (OpenType
`cmap`, formats 4 and 12) to know what it can write. With no font at all, Pillow's built-in one is used: Latin only.
Refuses to draw (`media/text.py`).
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["FontFile", "Fonts", "usual_directories"]

_PREFERRED = (
    "Inter-Medium",
    "NotoSans-Medium",
    "NotoSans-Regular",
    "DejaVuSans",
    "LiberationSans-Regular",
    "Roboto-Regular",
    "Arial",
    "HelveticaNeue",
    "segoeui",
    "NotoSansCJK-Medium",
    "NotoSansCJK-Regular",
    "NotoSansCJKsc-Regular",
    "SourceHanSans-Regular",
    "wqy-microhei",
    "wqy-zenhei",
    "PingFang",
    "msyh",
    "NotoColorEmoji",
    "AppleColorEmoji",
    "Apple Color Emoji",
    "seguiemj",
    "Symbola",
    "unifont",
)
_AVOIDED = ("bold", "italic", "oblique", "condensed", "mono", "serif", "light", "thin", "black", "display", "-ui")
_PICTURES = 0x1F000
"""From this character on they are mostly emoji."""
_MOST_FILES = 6000
_MOST_OPENED = 60
"""Fonts whose character maps are read for one character before it is given up."""
_MOST_REMEMBERED = 4096


def usual_directories() -> tuple[Path, ...]:
    """Where fonts live on Linux, macOS and Windows."""
    home = Path.home()
    roots = [
        Path("/usr/local/share/fonts"),
        Path("/usr/share/fonts"),
        home / ".local/share/fonts",
        home / ".fonts",
        Path("/Library/Fonts"),
        Path("/System/Library/Fonts"),
    ]
    if sys.platform == "win32":
        roots.append(Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts")
    return tuple(roots)


class FontFile:
    """One face of a font file and the characters it can write."""

    def __init__(self, path: Path, index: int = 0) -> None:
        """Reads the character map; ValueError or OSError when the file is not a font that can be used."""
        self.path = path
        self.index = index
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            self._starts, self._ends, self.has_colour_bitmaps = _character_map(data, index)

    def writes(self, ch: str) -> bool:
        """Whether it has a glyph for the character."""
        at = bisect_right(self._starts, ord(ch)) - 1
        return at >= 0 and ord(ch) <= self._ends[at]


class Fonts:
    """The fonts of this machine, in order of preference."""

    def __init__(self, directories: Iterable[Path] | None = None) -> None:
        self._candidates = _ordered(_listing(usual_directories() if directories is None else directories))
        self._opened: dict[Path, FontFile | None] = {}
        self._found: dict[str, FontFile | None] = {}

    def for_character(self, ch: str, before: FontFile | None = None) -> FontFile | None:
        """The font for one character, `before` if that can write it too; None when nothing can."""
        if before is not None and before.writes(ch):
            return before
        return self._search(ch)

    @property
    def any(self) -> FontFile | None:
        """The preferred font for text that none can write (it draws its box for missing characters)."""
        return next((font for path in self._candidates if (font := self._open(path))), None)

    def runs(self, text: Sequence[str]) -> list[tuple[FontFile | None, str]]:
        """`text` (in clusters) as stretches of one font each, in reading order."""
        runs: list[tuple[FontFile | None, str]] = []
        for cluster in text:
            before = runs[-1][0] if runs else None
            if before is not None and (before.has_colour_bitmaps or ord(cluster[0]) >= _PICTURES):
                before = (
                    None  # it has letters and a space too, but much too wide; a font of letters draws emoji plainly
                )
            font = self.for_character(cluster[0], before)
            if len(cluster) > 1:
                font = self._for_sequence(cluster) or font
            if runs and font is runs[-1][0]:
                runs[-1] = (font, runs[-1][1] + cluster)
            else:
                runs.append((font, cluster))
        return runs

    def _for_sequence(self, cluster: str) -> FontFile | None:
        """A colour font for an emoji sequence: one for text would draw its parts side by side."""
        if not any(ord(ch) >= _PICTURES or ch in "\u200d\ufe0f\u20e3" for ch in cluster):
            return None
        font = self._search("\U0001f600")
        return font if font is not None and font.has_colour_bitmaps and font.writes(cluster[0]) else None

    def _search(self, ch: str) -> FontFile | None:
        if ch not in self._found:
            if len(self._found) >= _MOST_REMEMBERED:
                self._found.clear()
            self._found[ch] = self._look_through(ch)
        return self._found[ch]

    def _look_through(self, ch: str) -> FontFile | None:
        script = unicodedata.name(ch, "").partition(" ")[0].lower()
        named = [path for path in self._candidates if len(script) >= 3 and script in path.name.lower()]
        emoji = [path for path in self._candidates if ord(ch) >= _PICTURES and "emoji" in path.name.lower()]
        good = self._candidates[: len(_PREFERRED)]
        opened = 0
        for path in (*emoji, *good, *named, *self._candidates):
            if opened >= _MOST_OPENED:
                break
            opened += path not in self._opened
            font = self._open(path)
            if font is not None and font.writes(ch):
                return font
        return None

    def _open(self, path: Path) -> FontFile | None:
        if path not in self._opened:
            try:
                self._opened[path] = FontFile(path)
            except (OSError, ValueError, struct.error, IndexError):
                self._opened[path] = None
        return self._opened[path]


def _listing(directories: Iterable[Path]) -> list[Path]:
    found: dict[str, Path] = {}
    for root in directories:
        for folder, _, names in os.walk(root):
            for name in names:
                if name.lower().endswith((".ttf", ".otf", ".ttc")):
                    found.setdefault(name, Path(folder, name))
            if len(found) > _MOST_FILES:
                return list(found.values())
    return list(found.values())


def _ordered(paths: list[Path]) -> list[Path]:
    ranks = {name.lower(): rank for rank, name in enumerate(_PREFERRED)}

    def key(path: Path) -> tuple[int, int, str]:
        stem = path.stem.lower()
        return ranks.get(stem, len(ranks)), sum(word in stem for word in _AVOIDED) - ("regular" in stem), path.name

    return sorted(paths, key=key)


def _character_map(data: mmap.mmap, index: int) -> tuple[list[int], list[int], bool]:
    """First and last characters of the ranges a font can write, and whether its glyphs are colour bitmaps only."""
    offset = 0
    if data[:4] == b"ttcf":
        offset = struct.unpack_from(">I", data, 12 + 4 * index)[0]
    tables = {}
    for number in range(struct.unpack_from(">H", data, offset + 4)[0]):
        tag, _, at, _ = struct.unpack_from(">4sIII", data, offset + 12 + 16 * number)
        tables[tag] = at
    if b"cmap" not in tables:
        raise ValueError("no character map")
    base = tables[b"cmap"]
    best: tuple[int, int] = (-1, 0)
    for number in range(struct.unpack_from(">H", data, base + 2)[0]):
        platform, encoding, at = struct.unpack_from(">HHI", data, base + 4 + 8 * number)
        form = struct.unpack_from(">H", data, base + at)[0]
        if form in (4, 12) and (platform == 0 or (platform == 3 and encoding in (1, 10))):
            best = max(best, (form, base + at))
    form, at = best
    if form == 12:
        count = struct.unpack_from(">I", data, at + 12)[0]
        groups = list(struct.iter_unpack(">III", data[at + 16 : at + 16 + 12 * count]))
        return [g[0] for g in groups], [g[1] for g in groups], b"CBDT" in tables
    if form == 4:
        size = struct.unpack_from(">H", data, at + 6)[0]
        ends = struct.unpack_from(f">{size // 2}H", data, at + 14)
        starts = struct.unpack_from(f">{size // 2}H", data, at + 16 + size)
        return list(starts), list(ends), b"CBDT" in tables
    raise ValueError("no Unicode character map")
