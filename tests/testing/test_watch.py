"""What `watch` measures, against what was put into the film."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from tests.testing.films import FPS, Part, make_film, shown_at

from tapedeck.core.errors import MediaError
from tapedeck.media.playback import Sound
from tapedeck.sources.synthetic import CAST, LOOP_S, beep
from tapedeck.testing.watch import find_beeps, watch


def test_twenty_five_people_are_all_seen_and_heard(tmp_path: Path) -> None:
    tiles = [(8 + 254 * (n % 5), 2 + 144 * (n // 5), 248, 138) for n in range(25)]
    make_film(
        tmp_path / "film.mp4",
        [Part(look, tile) for look, tile in zip(CAST, tiles, strict=True)],
        [(1.7, 3.3)],
        size=(1280, 720),
        level=0.3,
    )
    film = watch(tmp_path / "film.mp4", CAST)
    for look, (x0, y0, w, h) in zip(CAST, tiles, strict=True):
        sight = film.sights[look.name]
        assert None not in sight.boxes
        for box in sight.boxes:
            assert box is not None
            assert max(abs(box.x0 - x0), abs(box.y0 - y0), abs(box.x1 - x0 - w), abs(box.y1 - y0 - h)) <= 2
        assert max(sight.strange) < 0.03
        assert [round(flash.middle_ns / 1e8) for flash in film.flashes[look.name]] == [3, 13]
        assert [round(one.middle_ns / 1e6) for one in film.beeps[look.name]] == pytest.approx([320, 1320], abs=2)
        errors = [
            (turn - shown_at(1.7 + (index + 0.5) / FPS) + LOOP_S / 2) % LOOP_S - LOOP_S / 2
            for index, turn in enumerate(sight.turns_s)
        ]
        assert max(map(abs, errors)) < 0.04


def test_people_who_are_not_there_are_not_seen(tmp_path: Path) -> None:
    make_film(tmp_path / "film.mp4", [Part(CAST[0], (0, 0, 320, 180))], [(0.6, 1.6)], size=(640, 360))
    film = watch(tmp_path / "film.mp4", CAST)
    for look in CAST[1:]:
        assert film.sights[look.name].boxes == [None] * 30
        assert all(math.isnan(turn) for turn in film.sights[look.name].turns_s)
        assert film.beeps[look.name] == []
        assert film.flashes[look.name] == []


@pytest.mark.parametrize("size", [(1280, 720), (320, 180), (720, 1280)])
def test_any_size_of_film_is_read(tmp_path: Path, size: tuple[int, int]) -> None:
    width = size[0] - 16
    height = width * 9 // 16 // 2 * 2
    make_film(tmp_path / "film.mp4", [Part(CAST[3], (8, 4, width, height))], [(4.8, 5.4)], size=size)
    film = watch(tmp_path / "film.mp4", [CAST[3]])
    assert [flash.start_ns for flash in film.flashes["Hedy"]] == [pytest.approx(2e8, abs=1e6)]
    assert not any(math.isnan(turn) for turn in film.sights["Hedy"].turns_s)


@pytest.mark.parametrize("late_s", [0.0, 0.00013, 0.0071])
def test_a_beep_is_placed_to_a_millisecond_among_others(late_s: float) -> None:
    line = np.zeros(3 * 48_000, np.float32)
    for look in CAST[:6]:
        at = 48_000 + (round(late_s * 48_000) if look is CAST[4] else 0)
        line[at : at + 4_800] += beep(look.pitch_hz)[:4_800]
    (found,) = find_beeps(Sound(48_000, line), CAST[4])
    assert found.middle_ns / 1e9 == pytest.approx(1.02 + round(late_s * 48_000) / 48_000, abs=0.001)
    assert found.level == pytest.approx(1, abs=0.2)
    assert find_beeps(Sound(48_000, line), CAST[7]) == []


def test_a_beep_alone_is_placed_to_a_tenth_of_a_millisecond() -> None:
    for late in (0, 1, 7, 333):
        line = np.concatenate([np.zeros(4_800 + late, np.float32), beep(523)[:9_600]])
        (found,) = find_beeps(Sound(48_000, line), CAST[0])
        assert found.middle_ns / 1e9 == pytest.approx(0.12 + late / 48_000, abs=0.0001)
        assert found.level == pytest.approx(1, abs=0.01)


def test_a_pitch_next_door_is_not_taken_for_ones_own() -> None:
    line = np.concatenate([beep(look.pitch_hz) for look in CAST if look is not CAST[4]])
    assert find_beeps(Sound(48_000, line), CAST[4]) == []


def test_a_file_that_is_no_film_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(MediaError):
        watch(tmp_path / "film.mp4", CAST)


def test_a_film_with_damaged_pictures_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    make_film(path, [Part(CAST[0], (0, 0, 320, 180))], [(0.6, 1.6)], size=(320, 180))
    data = bytearray(path.read_bytes())
    at = data.index(b"mdat") + 64
    data[at : at + 2_000] = bytes(2_000)
    path.write_bytes(data)
    with pytest.raises(MediaError):
        watch(path, CAST)
