"""The painter: what is repainted when, and what it looks like."""

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.media.cameras import flat

from tapedeck.core.choose import Tile, TileKind
from tapedeck.core.geometry import Rect, Size
from tapedeck.core.layouts import Layout, arrange, grid
from tapedeck.core.look import BACKGROUND, PLAIN_TILE, SPEAKING, colour_of, mix
from tapedeck.core.scene import Scene
from tapedeck.media.decode import Picture
from tapedeck.media.fonts import Fonts
from tapedeck.media.mark import MarkedCanvas
from tapedeck.media.picture import planes_of, to_yuv
from tapedeck.media.text import TextPainter
from tapedeck.render.video import Painter

CANVAS = Size(640, 360)


def picture(luma: int, width: int = 320, height: int = 180) -> Picture:
    frame = av.VideoFrame(width, height, "yuv420p")
    for view, source in zip(planes_of(frame), flat(width, height, luma), strict=True):
        view[:] = source
    return Picture(frame, luma)


def person(who: str, *, speaking: bool = False, label: str = "") -> Tile:
    return Tile(TileKind.PERSON, f"person:{who}", label, who, f"{who}-cam", speaking)


def scene(*tiles: Tile) -> Scene:
    return Scene(tiles)


def painter(size: Size = CANVAS) -> Painter:
    return Painter(size, TextPainter(Fonts([])))


def luma_at(it: Painter, x: int, y: int) -> int:
    return int(it.canvas.planes[0][y, x])


def centre(it: Painter, index: int, count: int) -> int:
    rect = grid(count, it.canvas.size)[index]
    return luma_at(it, rect.x + rect.width // 2, rect.y + rect.height // 2)


def test_everybody_is_in_their_tile() -> None:
    it = painter()
    it.paint(scene(*(person(f"p{n}") for n in range(5))), [picture(60 + 30 * n) for n in range(5)])
    assert [centre(it, n, 5) for n in range(5)] == [60, 90, 120, 150, 180]
    assert luma_at(it, 1, 1) == to_yuv(BACKGROUND)[0]


def test_a_picture_that_stays_is_not_scaled_again() -> None:
    it, still, moving = painter(), picture(80), picture(120)
    both = scene(person("ada"), person("bob"))
    assert it.paint(both, [still, moving])
    assert not it.paint(both, [still, moving])
    assert it.paint(both, [still, picture(200)])
    assert it.scaled == 3
    assert (centre(it, 0, 2), centre(it, 1, 2)) == (80, 200)


def test_the_same_tiles_in_a_new_scene_change_nothing() -> None:
    it, one = painter(), picture(80)
    it.paint(scene(person("ada")), [one])
    assert not it.paint(scene(person("ada")), [one])


def test_a_new_layout_keeps_what_has_the_same_size() -> None:
    it, pictures = painter(), [picture(60 + 40 * n) for n in range(4)]
    it.paint(scene(*(person(f"p{n}") for n in range(3))), pictures[:3])
    it.paint(scene(*(person(f"p{n}") for n in range(4))), pictures)
    assert it.scaled == 4
    assert [centre(it, n, 4) for n in range(4)] == [60, 100, 140, 180]


def test_a_leaving_person_leaves_no_trace() -> None:
    it = painter()
    it.paint(scene(person("ada"), person("bob"), person("cy")), [picture(200)] * 3)
    it.paint(scene(person("ada"), person("bob")), [picture(90)] * 2)
    fresh = painter()
    fresh.paint(scene(person("ada"), person("bob")), [picture(90)] * 2)
    assert all(np.array_equal(a, b) for a, b in zip(it.canvas.planes, fresh.canvas.planes, strict=True))


def test_repainting_gives_the_same_pixels_however_often() -> None:
    it = painter()
    both = scene(person("ada", label="Ada", speaking=True), person("bob", label="Bob"))
    it.paint(both, [picture(90), picture(90)])
    before = [plane.copy() for plane in it.canvas.planes]
    for luma in (30, 200, 90):
        it.paint(both, [picture(luma), picture(luma)])
    assert all(np.array_equal(a, b) for a, b in zip(before, it.canvas.planes, strict=True))


def test_a_ring_is_around_whoever_speaks_and_goes_again() -> None:
    it = painter(Size(1280, 720))
    rect = grid(2, it.canvas.size)[0]
    quiet, pictures = scene(person("ada"), person("bob")), [picture(90), picture(90)]
    loud = scene(person("ada", speaking=True), person("bob"))
    beside = (rect.x - 2, rect.y + rect.height // 2)
    it.paint(quiet, pictures)
    before = [plane.copy() for plane in it.canvas.planes]
    assert luma_at(it, *beside) == to_yuv(BACKGROUND)[0]
    it.paint(loud, pictures)
    assert abs(luma_at(it, *beside) - to_yuv(SPEAKING)[0]) <= 2
    assert it.scaled == 2
    it.paint(quiet, pictures)
    assert all(np.array_equal(a, b) for a, b in zip(before, it.canvas.planes, strict=True))


def test_a_camera_that_is_off_is_an_avatar_and_comes_back() -> None:
    it, both = painter(), scene(person("ada"), person("bob"))
    it.paint(both, [picture(90), None])
    rect = grid(2, CANVAS)[1]
    background = to_yuv(mix(PLAIN_TILE, colour_of("bob"), 0.16))[0]
    assert abs(luma_at(it, rect.x + 30, rect.y + 30) - background) <= 1
    it.paint(both, [picture(90), picture(150)])
    assert centre(it, 1, 2) == 150
    it.paint(both, [picture(90), None])
    assert abs(luma_at(it, rect.x + 30, rect.y + 30) - background) <= 1


def test_a_new_name_is_drawn() -> None:
    it, one = painter(), picture(200)
    it.paint(scene(person("ada", label="Ada"), person("bob")), [one, None])
    before = it.canvas.planes[0].copy()
    assert it.paint(scene(person("ada", label="Countess"), person("bob")), [one, None])
    assert not np.array_equal(before, it.canvas.planes[0])
    changed = np.argwhere(before != it.canvas.planes[0])
    rect = grid(2, CANVAS)[0]
    assert changed[:, 0].min() > rect.y + rect.height * 0.75 and changed[:, 1].max() < rect.x + rect.width * 0.6


def test_initials_follow_the_name_while_the_camera_is_off() -> None:
    it = painter()
    it.paint(scene(person("ada", label="Ada"), person("bob")), [None, None])
    before = centre_patch(it)
    it.paint(scene(person("ada", label="Zoe"), person("bob")), [None, None])
    assert not np.array_equal(before, centre_patch(it))


def centre_patch(it: Painter) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    rect = grid(2, CANVAS)[0]
    x, y = rect.x + rect.width // 2, rect.y + rect.height // 2
    return it.canvas.planes[0][y - 20 : y + 20, x - 20 : x + 20].copy()


def test_a_screen_is_shown_whole_and_a_camera_fills_its_tile() -> None:
    it = painter()
    screen = Tile(TileKind.SCREEN, "screen:s", "", "ada", "s")
    it.paint(scene(screen, person("bob")), [picture(200, 200, 200), picture(200, 240, 180)])
    first, second = grid(2, CANVAS)
    bar = to_yuv(PLAIN_TILE)[0]
    assert luma_at(it, first.x + 8, first.y + first.height // 2) == bar and centre(it, 0, 2) == 200
    assert luma_at(it, second.x + 8, second.y + second.height // 2) == 200


def test_a_screen_without_a_picture_yet_and_the_rest_of_a_crowd_are_plain_tiles() -> None:
    it = painter()
    tiles = scene(Tile(TileKind.SCREEN, "screen:s", "Ada's screen", "ada", "s"), Tile(TileKind.MORE, "more", "+7"))
    it.paint(tiles, [None, None])
    assert centre(it, 0, 2) == to_yuv(PLAIN_TILE)[0]
    rect = grid(2, CANVAS)[1]
    middle = it.canvas.planes[0][rect.y + 60 : rect.bottom - 60, rect.x + 60 : rect.right - 60]
    assert middle.max() > 150


def test_a_picture_that_cannot_be_scaled_is_counted_and_the_last_one_stays() -> None:
    it, one = painter(), scene(person("ada"))
    it.paint(one, [picture(90)])
    broken = Picture(av.VideoFrame(0, 0, "yuv420p"), 0)
    it.paint(one, [broken])
    it.paint(one, [broken])
    assert it.faults == 1 and centre(it, 0, 1) == 90
    it.paint(one, [picture(120)])
    assert centre(it, 0, 1) == 120


def test_a_first_picture_that_cannot_be_scaled_is_an_avatar() -> None:
    it = painter()
    it.paint(scene(person("ada")), [Picture(av.VideoFrame(0, 0, "yuv420p"), 0)])
    assert it.faults == 1 and abs(luma_at(it, 5, 5) - to_yuv(mix(PLAIN_TILE, colour_of("ada"), 0.16))[0]) <= 1


@pytest.mark.parametrize(
    "size", [Size(2, 2), Size(4, 2), Size(16, 16), Size(722, 402), Size(360, 640), Size(1920, 1080)]
)
@pytest.mark.parametrize("count", [0, 1, 2, 5, 25])
def test_any_canvas_takes_any_number_of_people(size: Size, count: int) -> None:
    it = painter(size)
    people = scene(*(person(f"p{n}", label="Some Body", speaking=n % 2 == 0) for n in range(count)))
    it.paint(people, [picture(100, 99, 77) if n % 3 else None for n in range(count)])
    shown = [picture(100, 99, 78) for _ in range(count)]
    for number, each in enumerate(shown):
        it.prepare(number, each)
    it.paint(people, shown)
    it.paint(people, [None] * count)


def test_caches_are_bounded() -> None:
    it = painter()
    for number in range(120):
        it.paint(scene(person("ada", label=f"name {number}", speaking=True), person("bob")), [None, None])
    assert len(it._props.overlays) <= 96 and len(it._props.rings) <= 96


STEPS = 6
"""Pictures that a slide takes at 30 per second."""
ONE, TWO = scene(person("ada")), scene(person("ada"), person("bob"))


def seen(it: Painter) -> list[NDArray[np.uint8]]:
    return [plane.copy() for plane in it.seen.planes]


def is_same(one: list[NDArray[np.uint8]], two: list[NDArray[np.uint8]]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def columns_of(it: Painter, luma: int) -> tuple[int, int]:
    """First and last column in the middle row that has a brightness."""
    at = np.flatnonzero(np.abs(it.seen.planes[0][180].astype(int) - luma) <= 1)
    return (int(at[0]), int(at[-1])) if len(at) else (-1, -1)


def test_tiles_slide_to_their_new_places_and_who_comes_fades_in() -> None:
    it, ada, bob = painter(), picture(120), picture(200)
    it.paint(ONE, [ada])
    rights, lumas = [], []
    for _ in range(STEPS + 2):
        it.paint(TWO, [ada, bob])
        rights.append(columns_of(it, 120)[1])
        lumas.append(int(seen(it)[0][180, 600]))
    end = grid(2, CANVAS)[0].right - 1
    assert 600 < rights[0] < 639 and rights == sorted(rights, reverse=True) and rights[STEPS:] == [end] * 2
    assert len(set(rights[:STEPS])) == STEPS
    assert lumas[STEPS:] == [200] * 2 and 150 < lumas[STEPS - 1] < 200
    assert it.seen is it.canvas


def test_who_leaves_is_gone_at_once() -> None:
    it, ada = painter(), picture(120)
    it.paint(TWO, [ada, picture(235)])
    it.paint(ONE, [ada])
    assert int(seen(it)[0].max()) < 200


def test_who_takes_the_place_of_another_dissolves_into_it() -> None:
    it, bob = painter(), scene(person("bob"))
    it.paint(ONE, [picture(60)])
    shown = []
    for _ in range(STEPS + 1):
        it.paint(bob, [picture(200)])
        shown.append(int(seen(it)[0][180, 320]))
    assert 60 < shown[0] < 80 and shown == sorted(shown) and shown[STEPS] == 200


def test_people_go_on_moving_while_they_slide() -> None:
    it = painter()
    it.paint(ONE, [picture(60)])
    for luma in (60, 100, 140, 180, 220, 230):
        it.paint(TWO, [picture(luma), picture(20)])
        assert abs(int(seen(it)[0][180, 100]) - luma) <= 1


def test_nothing_slides_when_only_names_pictures_and_rings_change() -> None:
    it = painter()
    it.paint(scene(person("ada", label="Ada"), person("bob")), [picture(60), picture(60)])
    for tiles in ((person("ada", label="Zoe"), person("bob")), (person("ada", speaking=True), person("bob"))):
        it.paint(scene(*tiles), [picture(90), None])
        assert it.seen is it.canvas


def test_when_nothing_changes_nothing_is_done() -> None:
    it, pictures = painter(), [picture(60), picture(90)]
    it.paint(ONE, pictures[:1])
    for _ in range(STEPS):
        assert it.paint(TWO, pictures)
    scaled = it.scaled
    for _ in range(5):
        assert not it.paint(TWO, pictures)
        assert it.seen is it.canvas
    assert it.scaled == scaled


def test_a_cut_is_hard_and_ends_a_slide() -> None:
    it, fresh = painter(), painter()
    it.paint(ONE, [picture(230)])
    it.paint(TWO, [picture(60), picture(60)], is_cut=True)
    fresh.paint(TWO, [picture(60), picture(60)])
    assert is_same(seen(it), seen(fresh))
    it.paint(ONE, [picture(230)])
    it.paint(ONE, [picture(40)], is_cut=True)
    fresh = painter()
    fresh.paint(ONE, [picture(40)])
    assert is_same(seen(it), seen(fresh))


def test_a_camera_that_goes_off_in_a_slide_is_off_at_once() -> None:
    it = painter()
    it.paint(ONE, [picture(235)])
    it.paint(TWO, [None, None])
    assert max(int(seen(it)[0][20, 20]), int(seen(it)[0][180, 100])) < 90


@pytest.mark.parametrize("size", [CANVAS, Size(720, 1280), Size(2, 2), Size(50, 34)])
def test_layouts_that_change_faster_than_tiles_slide_end_where_they_should(size: Size) -> None:
    it, fresh = painter(size), painter(size)
    changes = [(n, layout) for n in (1, 2, 5, 3, 0, 4, 12, 6) for layout in Layout if layout is not Layout.AUTO]
    for number, (count, layout) in enumerate(changes):
        count = min(count, 1 if layout is Layout.SINGLE else 25)
        tiles = tuple(person(f"p{(n + number) % 12}", speaking=n == 1) for n in range(count))
        for _ in range(number % 4):
            it.paint(Scene(tiles, layout), [picture(60 + 10 * n) for n in range(count)])
    for _ in range(STEPS + 1):
        it.paint(Scene(tiles, layout), [picture(60 + 10 * n) for n in range(count)])
    fresh.paint(Scene(tiles, layout), [picture(60 + 10 * n) for n in range(count)])
    assert it.seen is it.canvas and is_same(seen(it), seen(fresh))


def test_the_ring_goes_with_its_tile() -> None:
    it = painter(Size(1280, 720))
    loud = scene(person("ada", speaking=True), person("bob"))
    it.paint(loud, [picture(60), picture(60)])
    it.paint(scene(*loud.tiles, person("cy")), [picture(60)] * 3)
    green = np.abs(it.seen.planes[0].astype(int) - to_yuv(SPEAKING)[0]) <= 3
    assert green.sum() > 500


@pytest.mark.parametrize("layout", [Layout.SPEAKER, Layout.SIDEBAR, Layout.SINGLE])
def test_the_tiles_of_a_scene_are_where_its_layout_says(layout: Layout) -> None:
    it = painter()
    tiles = tuple(person(f"p{n}") for n in range(1 if layout is Layout.SINGLE else 4))
    it.paint(Scene(tiles, layout), [picture(60 + 30 * n) for n in range(len(tiles))])
    for n, rect in enumerate(arrange(layout, len(tiles), CANVAS)):
        assert luma_at(it, rect.x + rect.width // 2, rect.y + rect.height // 2) == 60 + 30 * n


def test_a_watermark_stays_where_it_is_while_tiles_slide_beneath_it() -> None:
    mark, at = Image.new("RGBA", (40, 20), (255, 255, 255, 255)), Rect(300, 40, 40, 20)
    it = Painter(CANVAS, TextPainter(Fonts([])), new_canvas=lambda size: MarkedCanvas(size, mark, at))
    it.paint(TWO, [picture(60), picture(60)])
    crowd = scene(*(person(f"p{n}") for n in range(4)), *TWO.tiles)
    for tiles in (crowd, TWO, ONE, crowd):
        for _ in range(STEPS + 2):
            it.paint(tiles, [picture(60)] * len(tiles.tiles))
            white = it.seen.planes[0] > 200
            assert white[40:60, 300:340].all() and white.sum() == 800
