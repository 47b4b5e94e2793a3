"""Names as images: any text, any size, bounded memory."""

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageFont, features

from tapedeck.core.geometry import Size
from tapedeck.core.look import PALETTE, colour_of
from tapedeck.media.fonts import FontFile, Fonts, usual_directories
from tapedeck.media.text import TextPainter

TILE = Size(624, 352)
DEJAVU = Path("/usr/share/fonts/truetype/dejavu")
PAINTER = TextPainter()
BARE = TextPainter(Fonts([]))


@pytest.fixture
def font_dir(tmp_path: Path) -> Path:
    """A directory with one font: Pillow's own, which writes Latin letters only."""
    font = ImageFont.load_default(20)
    assert isinstance(font, ImageFont.FreeTypeFont) and isinstance(font.path, BytesIO)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "Own-Regular.ttf").write_bytes(font.path.getvalue())
    return tmp_path


def ink(image: Image.Image) -> int:
    """How many pixels are nearly white: letters."""
    return sum(image.convert("L").point([0] * 200 + [1] * 56).tobytes())


@pytest.mark.parametrize("painter", [PAINTER, BARE])
def test_a_label_is_as_wide_as_its_name_and_never_wider_than_its_tile(painter: TextPainter) -> None:
    short, long = painter.label("Ada", TILE), painter.label("Ada Lovelace", TILE)
    endless = painter.label("Bartholomew " * 40, TILE)
    assert short is not None and long is not None and endless is not None
    assert short.width < long.width < endless.width < TILE.width
    assert short.height == long.height == endless.height
    assert endless.width > TILE.width * 0.8
    assert short.getchannel("A").getpixel((0, 0)) == 0


def test_letters_are_drawn_on_a_dark_pill() -> None:
    label = PAINTER.label("MMMM", TILE)
    assert label is not None and ink(label) > 20
    middle = label.getpixel((3, label.height // 2))
    assert isinstance(middle, tuple) and max(middle[:3]) < 40 and 120 < middle[3] < 200


def test_there_is_no_label_without_a_name_or_room() -> None:
    assert PAINTER.label("", TILE) is None
    assert PAINTER.label(" \n", TILE) is None
    assert PAINTER.label("Ada", Size(40, 22)) is None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=80), st.integers(1, 400), st.integers(1, 400))
def test_any_text_on_any_tile(text: str, half_width: int, half_height: int) -> None:
    tile = Size(2 * half_width, 2 * half_height)
    label = PAINTER.label(text, tile)
    assert label is None or (label.width <= tile.width and label.height <= tile.height)
    assert PAINTER.avatar(text, text, tile).size == (tile.width, tile.height)
    assert PAINTER.note(text, tile).size == (tile.width, tile.height)


@pytest.mark.parametrize("name", ["李小龙", "محمد علي", "Zoë 😀", "👩‍👩‍👧 🇩🇪", "नरेंद्र मोदी", "שלום", "\U0010ffff\ufffd"])
@pytest.mark.parametrize("painter", [PAINTER, BARE])
def test_names_that_no_font_can_write_do_not_fail(painter: TextPainter, name: str) -> None:
    painter.label(name, TILE)
    painter.avatar(name, "id", TILE)


def test_the_avatar_has_the_colour_of_the_person_and_their_initials() -> None:
    avatar = PAINTER.avatar("Ada Lovelace", "p1", TILE)
    colours = avatar.getcolors(1 << 20)
    assert colours is not None
    common = [colour for _, colour in sorted(colours, reverse=True, key=lambda item: item[0])[:2]]
    assert colour_of("p1") in common and colour_of("p1") in PALETTE
    assert ink(avatar) > 200
    other = PAINTER.avatar("Bob", "p1", TILE)
    assert other.tobytes() != avatar.tobytes()


def test_somebody_without_a_name_has_a_silhouette() -> None:
    assert PAINTER.avatar("", "p1", TILE).tobytes() != PAINTER.avatar("A", "p1", TILE).tobytes()


def test_a_note_stands_in_the_middle() -> None:
    note = PAINTER.note("+7", TILE).convert("L")
    box = note.point([0] * 150 + [255] * 106).getbbox()
    assert box is not None
    assert abs((box[0] + box[2]) / 2 - TILE.width / 2) < 4 and abs((box[1] + box[3]) / 2 - TILE.height / 2) < 4
    assert PAINTER.note("", TILE).getextrema() == tuple((v, v) for v in (36, 40, 49))


def test_labels_are_drawn_once_and_few_are_kept() -> None:
    painter = TextPainter(Fonts([]))
    first = painter.label("Ada", TILE)
    assert painter.label("Ada", TILE) is first
    for number in range(200):
        painter.label(f"n{number}", TILE)
    assert len(painter._labels) <= 128
    assert painter.label("Ada", TILE) is not first


def test_a_font_is_found_in_a_directory_and_knows_what_it_can_write(font_dir: Path) -> None:
    fonts = Fonts([font_dir, font_dir / "missing"])
    found = fonts.for_character("A")
    assert found is not None and found.path.name == "Own-Regular.ttf"
    assert fonts.for_character("李") is None and fonts.any is found
    assert [part for _, part in fonts.runs(["A", "d", "a", " ", "李", "!"])] == ["Ada ", "李", "!"]
    assert TextPainter(fonts).label("Ada 李", TILE) is not None


def test_files_that_are_no_fonts_are_left_out(font_dir: Path) -> None:
    whole = (font_dir / "deep" / "Own-Regular.ttf").read_bytes()
    (font_dir / "Inter-Medium.ttf").write_bytes(b"not a font")
    (font_dir / "Arial.ttf").write_bytes(b"")
    (font_dir / "Roboto-Regular.ttf").write_bytes(whole[:300])
    found = Fonts([font_dir]).for_character("A")
    assert found is not None and found.path.name == "Own-Regular.ttf"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_font_never_fails_otherwise_than_by_refusal(font_dir: Path, data: st.DataObject) -> None:
    damaged = bytearray((font_dir / "deep" / "Own-Regular.ttf").read_bytes())
    for _ in range(20):
        damaged[data.draw(st.integers(0, 400))] = data.draw(st.integers(0, 255))
    path = font_dir / "Damaged.ttf"
    path.write_bytes(bytes(damaged))
    try:
        FontFile(path).writes("A")
    except (ValueError, OSError, struct.error, IndexError, MemoryError):
        pass
    Fonts([font_dir]).for_character("A")


def test_a_font_that_cannot_be_drawn_with_is_replaced(font_dir: Path) -> None:
    path = font_dir / "deep" / "Own-Regular.ttf"
    fonts = Fonts([font_dir])
    assert fonts.for_character("A") is not None
    path.write_bytes(path.read_bytes()[:200])
    assert TextPainter(fonts).label("Ada", TILE) is not None


def test_the_usual_directories_are_absolute() -> None:
    assert all(path.is_absolute() for path in usual_directories())


def test_who_cannot_be_heard_has_a_mark_before_their_name_and_without_one_too() -> None:
    plain, marked = PAINTER.label("Ada", TILE), PAINTER.label("Ada", TILE, is_muted=True)
    alone = PAINTER.label("", TILE, is_muted=True)
    assert plain is not None and marked is not None and alone is not None
    assert alone.width < plain.width < marked.width and plain.height == marked.height == alone.height
    left = marked.crop((0, 0, marked.width - plain.width, marked.height))
    reddish = [p for p in left.get_flattened_data() if isinstance(p, tuple) and p[0] > p[2] + 60]
    assert len(reddish) > 20 and ink(left) == 0 and ink(marked) >= ink(plain) * 0.9
    assert PAINTER.label("Ada", Size(40, 22), is_muted=True) is None


def test_a_name_does_not_lie_over_the_initials() -> None:
    for tile in (Size(96, 54), Size(128, 72), Size(240, 134), Size(720, 1280)):
        label, avatar = PAINTER.label("Ada Lovelace", tile), PAINTER.avatar("Ada Lovelace", "p1", tile)
        disc = [y for y in range(tile.height) if avatar.getpixel((tile.width // 2, y)) != avatar.getpixel((0, 0))]
        assert label is not None and max(disc) < tile.height - label.height


def test_initials_of_many_letters_stay_on_their_disc() -> None:
    """A cluster of Bengali is four boxes where no font has it."""
    avatar = TextPainter(Fonts([DEJAVU])).avatar("বাংলা নাম", "p1", TILE)
    across = round(TILE.height * 0.46)
    box = avatar.convert("L").point([0] * 220 + [255] * 36).getbbox()
    assert box is not None and box[2] - box[0] <= 0.85 * across
    assert abs((box[0] + box[2]) / 2 - TILE.width / 2) < 4


@pytest.mark.skipif(not features.check("raqm"), reason="FriBidi is not here: `core.script` orders everything")
@pytest.mark.parametrize("name", ["Ada (محمد) {}", "Ada שלום B {}", "{} Ada (محمد) 7"])
def test_a_name_of_two_scripts_and_two_fonts_keeps_its_order(font_dir: Path, name: str) -> None:
    """Where the name says 12 or 77 the pictures differ: at the end that it stands at, and nowhere else."""
    (font_dir / "deep" / "Own-Regular.ttf").rename(font_dir / "deep" / "Inter-Medium.ttf")
    fonts = Fonts([font_dir, DEJAVU])
    assert len({file for file, _ in fonts.runs(list(name))}) == 2
    one, two = (TextPainter(fonts).label(name.format(number), TILE) for number in ("11", "77"))
    assert one is not None and two is not None and one.width == two.width
    changed = ImageChops.difference(one.convert("RGB"), two.convert("RGB")).getbbox()
    assert changed is not None and changed[2] - changed[0] < one.width * 0.25
    middle = (changed[0] + changed[2]) / 2 / one.width
    assert middle > 0.8 if name.endswith("{}") else middle < 0.2


SCRIPTS = {
    "Devanagari": "नरेन्द्र मोदी",
    "Chinese": "李小龍",
    "Japanese": "山田 たろう",
    "Korean": "김철수",
    "Arabic": "محمد علي",
    "Hebrew": "שלום עולם",
    "Greek": "Ελένη Γλύκατζη",
    "Cyrillic": "Лев Толстой",
    "emoji": "Zoë 😀🎉",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_has_letters_and_no_boxes(script: str) -> None:
    """Fonts of Debian: fonts-dejavu-core, fonts-lohit-deva, fonts-wqy-microhei, fonts-noto-color-emoji."""
    fonts, name = Fonts(), SCRIPTS[script]
    for ch in name.replace(" ", ""):
        font = fonts.for_character(ch)
        assert font is not None and font.writes(ch), ch
    label = PAINTER.label(name, TILE)
    boxes = BARE.label(name, TILE)
    assert label is not None and boxes is not None and ink(label) > 40
    assert label.tobytes() != boxes.tobytes()


@pytest.mark.skipif(not features.check("raqm"), reason="FriBidi is not here")
def test_letters_of_devanagari_are_joined() -> None:
    """न्द्र is one sign of four letters."""
    fonts = Fonts()
    joined, apart = (TextPainter(fonts, is_shaping=shaping).label("नरेन्द्र", TILE) for shaping in (True, False))
    assert joined is not None and apart is not None and joined.width < apart.width * 0.95


@pytest.mark.parametrize("name", ["😀", "Zoë 😀", "שלום 😀", "👍🏽 Ada"])
def test_emoji_have_their_colours_wherever_they_stand(name: str) -> None:
    label = PAINTER.label(name, TILE)
    assert label is not None
    bright = [p for p in label.get_flattened_data() if isinstance(p, tuple) and p[0] > 150 and p[0] > p[2] + 60]
    assert len(bright) > 60


@pytest.mark.skipif(not features.check("raqm"), reason="FriBidi is not here: nothing to compare with")
@pytest.mark.parametrize("name", ["שלום עולם", "Ada שלום 12", "محمد علي", "سلام (12)", "Αλέξανδρος", "Ada Lovelace"])
def test_names_look_alike_with_and_without_a_shaping_library(name: str) -> None:
    fonts = Fonts([DEJAVU])
    with_it, without = (TextPainter(fonts, is_shaping=shaping).label(name, TILE) for shaping in (True, False))
    assert with_it is not None and without is not None and abs(with_it.width - without.width) <= 3
    size = (with_it.width // 4, with_it.height // 4)
    one, two = (
        np.asarray(image.convert("L").resize(size, Image.Resampling.BOX), float) for image in (with_it, without)
    )
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.9
