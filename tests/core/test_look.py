"""Names, initials and colours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.geometry import Size
from tapedeck.core.look import AVATAR_INK, PALETTE, Colour, clean, clusters, colour_of, initials, label_px, mix


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("Ada Lovelace", "AL"),
        ("ada", "A"),
        ("Ñandú de la Fuente", "ÑF"),
        ("李小龙", "李"),
        ("محمد علي", "م"),
        ("👩‍👩‍👧 Family", "F"),
        ("👩‍👩‍👧", "👩‍👩‍👧"),
        ("O'Neil (guest)", "OG"),
        ("ßtrasse x", "ßX"),
        ("e\u0301a b", "É B".replace(" ", "").replace("É", "E\u0301")),
        ("", ""),
        (" \t ", ""),
        ("...", "."),
    ],
)
def test_initials(name: str, letters: str) -> None:
    assert initials(name) == letters


def test_emoji_flags_and_marks_are_not_cut() -> None:
    assert clusters("a👩‍👩‍👧b") == ["a", "👩‍👩‍👧", "b"]
    assert clusters("🇩🇪🇫🇷") == ["🇩🇪", "🇫🇷"]
    assert clusters("e\u0301o") == ["e\u0301", "o"]
    assert clusters("👍🏽!") == ["👍🏽", "!"]


@given(st.text(max_size=60))
def test_clusters_lose_nothing(text: str) -> None:
    assert "".join(clusters(text)) == text


@given(st.text(max_size=300))
def test_a_clean_name_is_one_short_line_without_controls(name: str) -> None:
    cleaned = clean(name)
    assert "\n" not in cleaned and "\u202e" not in cleaned and "\x00" not in cleaned
    assert cleaned == cleaned.strip() and "  " not in cleaned
    assert len(clusters(cleaned)) <= 120
    assert len(initials(name)) <= len(name) * 3


@pytest.mark.parametrize(
    "name", ["\u200b", "\u200d\u200d", " \u3164 ", "\u2800", "\u0301", "\u2060\u00ad", "\ufe0f", "\u115f"]
)
def test_a_name_of_which_nothing_is_seen_is_none(name: str) -> None:
    assert clean(name) == initials(name) == ""


def test_what_steers_writing_is_kept_only_where_letters_need_it() -> None:
    assert clean("So\u00adfie\u200b \u2060B\ufeff") == "Sofie B"
    for name in ("می\u200cخواهم", "👩\u200d👧", "\U0001f3f4\U000e0067\U000e0062\U000e007f", "क\u094d\u200dष"):
        assert clean(name) == name


def test_direction_overrides_cannot_disguise_a_name() -> None:
    assert clean("Eve\u202eadA\u2066 x\n\ty") == "EveadA x y"


def test_a_person_keeps_their_colour_and_people_differ() -> None:
    assert colour_of("p1") == colour_of("p1")
    assert len({colour_of(f"person-{n}") for n in range(60)}) > len(PALETTE) // 2


def luminance(colour: Colour) -> float:
    def linear(value: int) -> float:
        share = value / 255
        return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = colour
    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)


def test_initials_are_legible_on_every_colour() -> None:
    """WCAG 2.2, 1.4.3: large text needs a contrast of 3 to 1."""
    for colour in PALETTE:
        assert (luminance(AVATAR_INK) + 0.05) / (luminance(colour) + 0.05) >= 3


def test_mix() -> None:
    assert mix((0, 0, 0), (200, 100, 50), 0.5) == (100, 50, 25)


def test_labels_grow_with_their_tile_and_vanish_on_tiny_ones() -> None:
    sizes = [label_px(Size(16 * n, 9 * n)) for n in (2, 8, 15, 25, 40, 120)]
    assert sizes[0] == 0 and sizes == sorted(sizes) and sizes[-1] <= 26
