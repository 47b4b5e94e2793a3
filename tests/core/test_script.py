"""Names as they are seen, without a shaping library."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.look import clusters
from tapedeck.core.script import stretches, visual


def seen(text: str) -> str:
    return "".join(visual(clusters(text)))


@pytest.mark.parametrize(
    ("text", "from_left"),
    [
        ("Ada Lovelace", "Ada Lovelace"),
        ("", ""),
        ("שלום", "םולש"),
        ("שלום עולם", "םלוע םולש"),
        ("שלום 12", "12 םולש"),
        ("שלום (עולם)", "(םלוע) םולש"),
        ("Ada שלום Bob", "Ada םולש Bob"),
        ("Ada שלום 12", "Ada 12 םולש"),
        ("שלום Ada B", "Ada B םולש"),
        ("Team 7 (x)", "Team 7 (x)"),
        ("שָׁלוֹם", "םוֹלשָׁ"),
        ("Ada (שלום) 12", "Ada (םולש) 12"),
        ("Ada [שלום 7] B", "Ada [7 םולש] B"),
        ("שלום (Ada) 12", "12 (Ada) םולש"),
        ("שלום (12) Ada", "Ada (12) םולש"),
        ("Ada (שלום] 12", "Ada (12 [םולש"),
    ],
)
def test_order(text: str, from_left: str) -> None:
    assert seen(text) == from_left


@pytest.mark.parametrize(
    ("text", "from_left"),
    [
        ("محمد", "\ufeaa\ufee4\ufea4\ufee3"),
        ("علي", "\ufef2\ufee0\ufecb"),
        ("سلام", "\ufee1\ufefc\ufeb3"),
        ("لا", "\ufefb"),
        ("دار", "\ufead\ufe8d\ufea9"),
        ("پري", "\ufef1\ufeae\ufb58"),
    ],
)
def test_arabic_letters_are_joined(text: str, from_left: str) -> None:
    assert seen(text) == from_left


@given(st.text(alphabet=st.sampled_from("aB7 (ש)םمحلاد\u0651\u0640é😀"), max_size=30))
def test_nothing_is_lost_or_added(text: str) -> None:
    pieces = unicodedata.normalize("NFKC", seen(text)).translate(str.maketrans(")", "("))
    assert sorted(pieces) == sorted(unicodedata.normalize("NFKC", text).translate(str.maketrans(")", "(")))


def test_stretches_of_one_direction() -> None:
    name = clusters("Ada (שלום) 12")
    assert [(right, "".join(part)) for right, part in stretches(name)] == [
        (False, "Ada ("),
        (True, "שלום"),
        (False, ") 12"),
    ]
    assert stretches([]) == []


@given(st.text(alphabet=st.sampled_from("aB7 ([)]םמحلا\u0651é😀"), max_size=30))
def test_stretches_lose_nothing_and_are_in_the_order_of_the_letters(text: str) -> None:
    found = stretches(clusters(text))
    assert sorted(c for _, part in found for c in part) == sorted(clusters(text))
    plain = [c for right, part in found for c in (part[::-1] if right else part)]
    assert [c[0] for c in plain if c[0] in "aBםמé"] == [c[0] for c in visual(clusters(text)) if c[0] in "aBםמé"]


@given(st.text(max_size=40))
def test_any_text(text: str) -> None:
    assert len("".join(visual(clusters(text)))) <= len(text)
