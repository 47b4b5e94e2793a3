"""Films of synthetic people in each layout: who is seen where, and large, and when that changes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from tests.render.meetings import DELAY_NS, S
from tests.render.troupe import Troupe

from tapedeck.core.focus import HOLD_NS
from tapedeck.core.geometry import Size
from tapedeck.core.layouts import Layout, arrange
from tapedeck.sources.synthetic import CAST, SCREENS, Look
from tapedeck.testing.check import check
from tapedeck.testing.expect import Bars, Expectation
from tapedeck.testing.watch import Box, Film

ADA, GRACE, LINUS = CAST[:3]
SCREEN = SCREENS[0]
WIDE, UPRIGHT = Size(640, 360), Size(360, 640)
SLIDE_S = 0.25


def judge(troupe: Troupe, film: Film, looks: list[Look], *, in_place: bool = False) -> None:
    """Tiles of an upright film are narrower than cameras: a third of the time the disc that dates a picture is beyond
    their edges."""
    people = tuple(troupe.attendance(look) for look in looks)
    bars = Bars(presence=0.6 if film.facts.height > film.facts.width else 0.99)
    report = check(film, Expectation(people, troupe.recorded, bars, in_order=False, in_place=in_place))
    assert report.ok, f"\n{report}"


def boxes_at(film: Film, at_s: float) -> dict[str, Box]:
    """Who is where at a second of the clock."""
    index = round((at_s - 1 + DELAY_NS / S) * 30)
    return {name: box for name, sight in film.sights.items() if (box := sight.boxes[index]) is not None}


def largest(film: Film, at_s: float) -> str:
    boxes = boxes_at(film, at_s)
    return max(boxes, key=lambda name: boxes[name].width * boxes[name].height)


def turns(film: Film) -> list[tuple[float, str]]:
    """When who became the largest one."""
    moments = [index / 30 + 1 - DELAY_NS / S for index in range(len(film.starts_ns))]
    leads = [(at_s, largest(film, at_s)) for at_s in moments if boxes_at(film, at_s)]
    return [leads[0], *(new for old, new in pairwise(leads) if old[1] != new[1])]


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Troupe, Path]:
    """Three people; Grace and Linus speak in turns, at last both for a moment each."""
    troupe = Troupe(9.5)
    for look in (ADA, GRACE, LINUS):
        troupe.there(look, 0, 11)
    troupe.talk(GRACE, 2.8, 4.6)
    troupe.talk(LINUS, 5.4, 6.3)
    troupe.talk(GRACE, 6.4, 9)
    return troupe, tmp_path_factory.mktemp("talk")


@pytest.mark.parametrize("size", [WIDE, UPRIGHT])
def test_whoever_speaks_is_large_and_everybody_is_seen_all_the_time(talk: tuple[Troupe, Path], size: Size) -> None:
    troupe, root = talk
    looks = [ADA, GRACE, LINUS]
    video = {"width": size.width, "height": size.height}
    film = troupe.film(root, f"{size.width}.mp4", looks, layout="speaker", video=video)
    judge(troupe, film, looks)
    changes = turns(film)
    assert [name for _, name in changes] == ["Ada", "Grace", "Linus", "Grace"]
    for (at_s, _), due_s in zip(changes[1:], (3.0, 5.6, 7.1), strict=True):
        assert due_s - 0.1 <= at_s <= due_s + SLIDE_S + 0.1
    assert all((b - a) * S >= HOLD_NS - 0.1 * S for (a, _), (b, _) in pairwise(changes))
    assert all(all(sight.boxes) for sight in film.sights.values())
    expected = arrange(Layout.SPEAKER, 3, size)
    boxes = boxes_at(film, 4.5)
    for name, rect in zip(("Grace", "Ada", "Linus"), expected, strict=True):
        box = boxes[name]
        assert max(abs(box.x0 - rect.x), abs(box.y0 - rect.y), abs(box.x1 - rect.right)) <= 6, name


def test_one_alone_is_seen_in_a_single_layout_and_all_are_heard(talk: tuple[Troupe, Path]) -> None:
    troupe, root = talk
    film = troupe.film(root, "single.mp4", [ADA, GRACE, LINUS], layout="single")
    assert [name for _, name in turns(film)] == ["Ada", "Grace", "Linus", "Grace"]
    for at_s in (2, 4, 6, 8.5):
        assert len(boxes_at(film, at_s)) == 1 and boxes_at(film, at_s)[largest(film, at_s)].width > 620
    assert all(len(film.beeps[look.name]) == 9 for look in (ADA, GRACE, LINUS))


def test_the_focus_of_the_caller_alone(talk: tuple[Troupe, Path]) -> None:
    troupe, root = talk
    film = troupe.film(root, "linus.mp4", [ADA, GRACE, LINUS], layout="single", focus="Linus")
    assert {name for name, sight in film.sights.items() if any(sight.boxes)} == {"Linus"}
    assert all(film.sights["Linus"].boxes)


@pytest.fixture(scope="module")
def comings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Troupe, Path]:
    """Linus comes late, Ada's camera goes off and on, Grace shares her screen, Linus leaves and comes back."""
    troupe = Troupe(13.5)
    troupe.join(ADA, 0, 15)
    troupe.camera(ADA, 0, 3.4)
    troupe.camera(ADA, 4.6, 15)
    troupe.there(GRACE, 0, 15)
    troupe.there(LINUS, 2.4, 9.4)
    troupe.there(LINUS, 11.5, 15, take=2)
    troupe.share(GRACE, SCREEN, 5.5, 8.4)
    return troupe, tmp_path_factory.mktemp("comings")


@pytest.mark.parametrize("size", [WIDE, UPRIGHT])
def test_a_shared_screen_is_large_while_it_is_shared(comings: tuple[Troupe, Path], size: Size) -> None:
    troupe, root = comings
    looks = [ADA, GRACE, LINUS, SCREEN]
    video = {"width": size.width, "height": size.height}
    film = troupe.film(root, f"{size.width}.mp4", looks, video=video)
    judge(troupe, film, looks)
    assert [len(boxes_at(film, at_s)) for at_s in (2, 3, 5, 7, 9, 10.5, 12.5)] == [2, 3, 3, 4, 3, 2, 3]
    large, *small = arrange(Layout.SIDEBAR, 4, size)
    boxes = boxes_at(film, 7)
    assert largest(film, 7) == SCREEN.name and boxes[SCREEN.name].width > 0.9 * large.width
    for name, rect in zip(("Ada", "Grace", "Linus"), small, strict=True):
        assert abs(boxes[name].x0 - rect.x) <= 6 and abs(boxes[name].y0 - rect.y) <= 6
    for before_s, after_s in ((5, 9), (5, 12.5)):
        first, again = boxes_at(film, before_s), boxes_at(film, after_s)
        assert all(abs(first[name].x0 - again[name].x0) <= 6 for name in ("Ada", "Grace", "Linus"))


@pytest.mark.parametrize("fps", [25, 48])
def test_another_frame_rate(tmp_path: Path, fps: int) -> None:
    """As an app may have it: people, sound against picture, and pictures at the rate that was asked for."""
    troupe = Troupe(5)
    for look in (ADA, GRACE):
        troupe.there(look, 0, 7)
    film = troupe.film(tmp_path, "a.mp4", [ADA, GRACE], video={"width": 320, "height": 180, "fps": fps})
    judge(troupe, film, [ADA, GRACE], in_place=True)
    assert film.facts.fps == fps and len(film.starts_ns) == 4 * fps


def test_sixteen_people(tmp_path: Path) -> None:
    troupe = Troupe(3.1)
    looks = list(CAST[:16])
    for look in looks:
        troupe.there(look, 0, 6)
    film = troupe.film(tmp_path, "a.mp4", looks, layout="grid", video={"width": 960, "height": 540})
    judge(troupe, film, looks, in_place=True)
    boxes = boxes_at(film, 2.5)
    for look, rect in zip(looks, arrange(Layout.GRID, 16, Size(960, 540)), strict=True):
        assert abs(boxes[look.name].x0 - rect.x) <= 6 and abs(boxes[look.name].y0 - rect.y) <= 6
