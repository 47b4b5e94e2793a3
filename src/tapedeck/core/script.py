"""Text in the order and with the letter forms in which it is seen, for where no shaping library is there.

A small part of the Unicode bidirectional algorithm (UAX 9: one line, no explicit embeddings, which `core.look.clean`
takes out) and of Arabic joining: enough for names. Scripts that need more (Devanagari, Thai marks) stay as they are.
Where HarfBuzz and FriBidi are, which know it all, only the order of stretches is asked for: they see one font at a
time, and a name of two scripts may need two. Refuses to draw (`media/text.py`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import TypeVar

__all__ = ["stretches", "visual"]

_LAM = "\u0644"
_TATWEEL = "\u0640"
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_FORMS = ("isolated", "final", "initial", "medial")


def visual(text: Sequence[str]) -> list[str]:
    """Clusters in reading order to clusters from left to right, Arabic letters in their joined forms."""
    shaped = _joined(text)
    levels = _levels([_direction(cluster) for cluster in shaped], shaped)
    seen = [_mirrored(cluster) if level % 2 else cluster for cluster, level in zip(shaped, levels, strict=True)]
    _reorder(seen, levels)
    return seen


def stretches(text: Sequence[str]) -> list[tuple[bool, list[str]]]:
    """Clusters in reading order as stretches of one direction, from left to right: whether a stretch is read from the
    right, and its clusters, still in reading order."""
    levels = _levels([_direction(cluster) for cluster in text], text)
    found: list[tuple[int, list[str]]] = []
    for level, cluster in zip(levels, text, strict=True):
        if not found or found[-1][0] != level:
            found.append((level, []))
        found[-1][1].append(cluster)
    _reorder(found, [level for level, _ in found])
    return [(bool(level % 2), part) for level, part in found]


T = TypeVar("T")


def _reorder(items: list[T], levels: list[int]) -> None:
    """Reading order to the order from left to right, in place (UAX 9, L2)."""
    for level in range(max(levels, default=0), 0, -1):
        start = 0
        while start < len(items):
            end = start
            while end < len(items) and levels[end] >= level:
                end += 1
            items[start:end] = items[start:end][::-1]
            levels[start:end] = levels[start:end][::-1]
            start = end + 1


def _direction(cluster: str) -> str:
    """L, R, N (a number) or an empty string for what goes with its neighbours."""
    kind = unicodedata.bidirectional(cluster[0])
    return {"L": "L", "R": "R", "AL": "R", "EN": "N", "AN": "N"}.get(kind, "")


def _levels(directions: list[str], text: Sequence[str]) -> list[int]:
    """How deep each cluster is embedded: even from left to right, odd from right to left."""
    base = next((d for d in directions if d in ("L", "R")), "L")
    _pair_brackets(directions, text, base)
    resolved: list[str] = []
    before = base
    for index, direction in enumerate(directions):
        if not direction:
            after = next((d for d in directions[index:] if d), base)
            sides = [
                "R" if side == "N" and "R" in (base, before) else side.replace("N", "L") for side in (before, after)
            ]
            direction = sides[0] if sides[0] == sides[1] else base
            resolved.append(direction)
            continue
        if direction != "N":
            before = direction
        resolved.append("L" if direction == "N" and before == "L" else direction)
    plain = 0 if base == "L" else 1
    return [{"L": 2 * plain, "R": 1, "N": 2}[direction] for direction in resolved]


def _pair_brackets(directions: list[str], text: Sequence[str], base: str) -> None:
    """Give the brackets of a pair one direction, in place (UAX 9, N0)."""
    opened: list[int] = []
    pairs: list[tuple[int, int]] = []
    for index, cluster in enumerate(text):
        if cluster[0] in _BRACKETS:
            opened.append(index)
        while opened and cluster[0] in _BRACKETS.values():
            start = opened.pop()
            if _BRACKETS[text[start][0]] == cluster[0]:
                pairs.append((start, index))
                break
    for start, end in sorted(pairs):
        inside = {_strong(direction) for direction in directions[start + 1 : end]} - {""}
        before = next((_strong(d) for d in reversed(directions[:start]) if d), base)
        if base in inside:
            directions[start] = directions[end] = base
        elif inside:
            directions[start] = directions[end] = before


def _strong(direction: str) -> str:
    """What a number counts as: as what is read from the right."""
    return "R" if direction == "N" else direction


def _mirrored(cluster: str) -> str:
    return cluster.translate(_MIRRORS)


_MIRRORS = str.maketrans("()[]{}<>«»‹›", ")(][}{><»«›‹")


@cache
def _forms() -> dict[str, dict[str, str]]:
    """Base letters (or lam and an alef) to their forms, from the compatibility characters U+FE80 to U+FEFC."""
    found: dict[str, dict[str, str]] = {}
    for code in (*range(0xFB50, 0xFBB2), *range(0xFBD3, 0xFBEA), *range(0xFBFC, 0xFC00), *range(0xFE80, 0xFEFD)):
        kind, *parts = unicodedata.decomposition(chr(code)).split()
        form = kind.strip("<>")
        if form in _FORMS:
            found.setdefault("".join(chr(int(part, 16)) for part in parts), {}).setdefault(form, chr(code))
    return found


def _joined(text: Sequence[str]) -> list[str]:
    """Arabic letters in the form that their neighbours ask for; lam and alef as one letter."""
    forms, letters = _forms(), list(text)
    index = 0
    while index + 1 < len(letters):
        pair = letters[index][0] + letters[index + 1][0]
        if pair[0] == _LAM and pair in forms:
            letters[index : index + 2] = [pair + letters[index][1:] + letters[index + 1][1:]]
        index += 1
    shaped = []
    for index, letter in enumerate(letters):
        own = _key(letter)
        after = index + 1 < len(letters) and _joins_before(letters[index + 1])
        before = index > 0 and _joins_after(letters[index - 1])
        table = forms.get(own)
        if table is None:
            shaped.append(letter)
            continue
        wanted = _FORMS[before + 2 * (after and "initial" in table)]
        shaped.append(table.get(wanted, own) + letter[len(own) :])
    return shaped


def _key(letter: str) -> str:
    return letter[:2] if letter[:2] in _forms() and len(letter) > 1 else letter[0]


def _joins_after(letter: str) -> bool:
    """Whether the next letter may be joined to it."""
    return letter[0] == _TATWEEL or "initial" in _forms().get(_key(letter), {})


def _joins_before(letter: str) -> bool:
    """Whether it may be joined to the letter before."""
    return letter[0] == _TATWEEL or "final" in _forms().get(_key(letter), {})
