"""What an object is made of: its tag, its text, and whether another store takes the same parts."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.assembly import Assembly, is_md5, parts_tag
from tapedeck.core.parts import PartRule

MIB = 1 << 20
S3 = PartRule(5 * MIB, 512 * MIB, 10_000, equal=False)
R2 = PartRule(5 * MIB, 512 * MIB, 10_000, equal=True)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_the_tag_is_the_one_of_s3() -> None:
    one, two = md5(b"one"), md5(b"two")
    wanted = f"{md5(bytes.fromhex(one) + bytes.fromhex(two))}-2"
    assert parts_tag([one, two]) == wanted and parts_tag([f'"{one}"', f'"{two}"']) == wanted
    assert parts_tag([two, one]) != wanted
    assert parts_tag([]) is None and parts_tag([one, "another"]) is None and not is_md5(f"{one}-1")
    assert Assembly.of([(3, one), (3, "block-7")]) is None


@given(st.lists(st.integers(1, 1 << 40), min_size=1, max_size=50))
def test_text_and_back(sizes: list[int]) -> None:
    made = Assembly.of([(size, md5(b"x")) for size in sizes])
    assert made is not None and Assembly.parse(str(made)) == made


def test_a_long_film_is_noted_in_a_line() -> None:
    made = Assembly("f" * 32 + "-10000", (7_000_001, 7_000_002, *[8 * MIB] * 998, *[16 * MIB] * 8999, 17))
    assert len(str(made)) < 120 and Assembly.parse(str(made)) == made


def test_the_same_parts_for_another_store() -> None:
    sizes = (6 * MIB, 5 * MIB, 9)
    plan = Assembly("t", sizes).plan(S3, sum(sizes))
    assert plan is not None
    assert [(part.number, part.start, part.size) for part in plan] == [
        (1, 0, 6 * MIB),
        (2, 6 * MIB, 5 * MIB),
        (3, 11 * MIB, 9),
    ]


def test_a_store_that_does_not_take_these_parts() -> None:
    def takes(rule: PartRule, *sizes: int, of: int | None = None) -> bool:
        return Assembly("t", sizes).plan(rule, sum(sizes) if of is None else of) is not None

    assert takes(S3, 9) and takes(R2, 9)
    assert not takes(S3, 9, of=10), "it is not made of them"
    assert not takes(S3, 4 * MIB, 5 * MIB) and not takes(S3, 5 * MIB, 513 * MIB) and not takes(S3, 513 * MIB, 1)
    assert not takes(S3, 5 * MIB, 0)
    assert takes(R2, 5 * MIB, 5 * MIB, 3) and not takes(R2, 5 * MIB, 6 * MIB) and not takes(R2, 6 * MIB, 5 * MIB, 3)
    assert not takes(PartRule(5 * MIB, 512 * MIB, 2, equal=False), 5 * MIB, 5 * MIB, 1)
    assert not takes(PartRule(1, 512 * MIB, 100, equal=False, by_offset=True), 5 * MIB)
