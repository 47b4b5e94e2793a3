"""What an object of several parts is made of, and the entity tag that says so: equal tags are equal bytes.

S3 and what is like it call such an object by the MD5 of its parts' MD5s and how many they are. So a copy in parts of
the same sizes has the same tag if, and only if, the store has read the same bytes for it. Owns that arithmetic; where a
store encrypts with keys of its own its tags are something else, and equal ones do not come about.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

from tapedeck.core.parts import PartRule, PlannedPart

__all__ = ["Assembly", "is_md5", "parts_tag"]

_MD5 = re.compile(r"[0-9a-f]{32}")


def is_md5(tag: str) -> bool:
    """Whether a tag, with quotes or without, has the form of an MD5."""
    return _MD5.fullmatch(tag.strip('"')) is not None


def parts_tag(tags: Sequence[str]) -> str | None:
    """The tag, without quotes, of an object of these parts in order; None where the parts' own are no MD5s."""
    if not tags or not all(map(is_md5, tags)):
        return None
    joined = b"".join(bytes.fromhex(tag.strip('"')) for tag in tags)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(tags)}"


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts of an object in order, and its tag. As text: the tag, then sizes, `8388608*12` being twelve of them."""

    tag: str
    sizes: tuple[int, ...]
    "In bytes."

    @classmethod
    def of(cls, parts: Sequence[tuple[int, str]]) -> Assembly | None:
        """By size and tag of each part; None where the tags are no MD5s."""
        tag = parts_tag([tag for _, tag in parts])
        return None if tag is None else cls(tag, tuple(size for size, _ in parts))

    @classmethod
    def parse(cls, text: str) -> Assembly:
        """What `str` made."""
        tag, *runs = text.split()
        sizes = []
        for run in runs:
            size, _, times = run.partition("*")
            sizes += [int(size)] * int(times or 1)
        return cls(tag, tuple(sizes))

    def __str__(self) -> str:
        runs = [(size, len(list(same))) for size, same in groupby(self.sizes)]
        return " ".join([self.tag, *(str(size) if times == 1 else f"{size}*{times}" for size, times in runs)])

    def plan(self, rule: PartRule, size_bytes: int) -> Sequence[PlannedPart] | None:
        """The same parts for another store; None if it does not take them, or they are not so many bytes."""
        *front, last = self.sizes
        fits = all(rule.least_bytes <= size <= rule.most_bytes for size in front) and 0 < last <= rule.most_bytes
        if rule.equal and front:
            fits = fits and len(set(front)) == 1 and last <= front[0]
        if not fits or rule.by_offset or len(self.sizes) > rule.most_parts or sum(self.sizes) != size_bytes:
            return None
        ends = accumulate(self.sizes)
        return [PlannedPart(i + 1, end - self.sizes[i], self.sizes[i]) for i, end in enumerate(ends)]
