"""Names as they are seen, without a shaping library."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.look import clusters
from tapedeck.core.script import visual


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


@given(st.text(max_size=40))
def test_any_text(text: str) -> None:
    assert len("".join(visual(clusters(text)))) <= len(text)
