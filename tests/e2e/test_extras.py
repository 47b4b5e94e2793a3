"""What comes with a film: a watermark over it (or a warning), stills beside it, other films made of the same log."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from aiohttp import web
from numpy.typing import NDArray
from PIL import Image
from tests.e2e.kit import SMALL, House, Recording, Take, Viewed, open_house
from tests.media.marks import image_bytes
from tests.notify.receiver import receiver
from tests.pace import eventually

from tapedeck.sources.synthetic import CAST
from tapedeck.testing.people import Act, Cue, Person

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

GREEN = (0, 255, 0, 255)
PEOPLE = tuple(
    Person(look, (Cue(0.2, Act.JOIN), Cue(8.4, Act.LEAVE)), size=(320, 180), fps=20) for look in (CAST[0], CAST[2])
)


@dataclass(frozen=True)
class Run:
    viewed: Viewed
    plain: Recording
    "Of the same meeting; its watermark could not be had."
    detail: dict[str, Any]
    stills: dict[str, bytes]
    board: str
    render: dict[str, Any]
    again: Path


async def play(folder: Path) -> Run:
    async with receiver() as images, open_house(folder, {"TAPEDECK_ALLOW_PRIVATE_URLS": "true"}) as house:
        images.answer = lambda a: 404 if "none" in a.path else web.Response(body=image_bytes(colour=GREEN))
        base = images.url.rpartition("/")[0]
        room = await house.room(PEOPLE, "With a mark")
        playing = asyncio.create_task(room.play())
        await room.at(1.5)
        mark = {"url": f"{base}/logo.png", "position": "right bottom", "size": {"width": 64}}
        take = await room.start(video_config=SMALL["video_config"] | {"watermark": mark})
        bare = SMALL["video_config"] | {"watermark": {"url": f"{base}/none.png"}}
        other = await room.start(video_config=bare, extra_body={"allow_multiple_recordings": True})
        await room.at(7.6)
        await asyncio.gather(take.act("stop"), other.act("stop"))
        await playing
        viewed = await take.film([person.look for person in PEOPLE])
        plain = await other.until("UPLOADED")
        return await look_at(house, take, viewed, plain)


async def look_at(house: House, take: Take, viewed: Viewed, plain: Recording) -> Run:
    """Everything there is of a recording, and another film of it."""
    place = f"/v1/recordings/{take.id}"
    detail = await ask(house, "GET", place)
    stills = {file["kind"]: await house.fetch(file["url"]) for file in detail["files"]}
    async with house.http.get(f"{house.server.base_url}{place}/storyboard.vtt", headers=bearer(house)) as answer:
        board = await answer.text()
    wish = {"layout": "single", "width": 180, "height": 320, "only": [CAST[2].name.lower()], "from": 2, "to": 4.5}
    render = await ask(house, "POST", f"{place}/renders", wish)

    async def is_over() -> bool:
        nonlocal render
        render = await ask(house, "GET", f"{place}/renders/{render['id']}")
        return bool(render["status"] != "WAITING")

    await eventually(is_over, 60)
    assert render["status"] == "DONE", render
    again = house.folder / "again.mp4"
    again.write_bytes(await house.fetch(render["files"][0]["url"]))
    return Run(viewed, plain, detail, stills, board, render, again)


def bearer(house: House) -> dict[str, str]:
    return {"authorization": f"Bearer {house.server.token}"}


async def ask(house: House, method: str, path: str, body: object = None) -> Any:
    url = f"{house.server.base_url}{path}"
    async with house.http.request(method, url, json=body, headers=bearer(house)) as answer:
        assert answer.status in (200, 201), await answer.text()
        return (await answer.json())["data"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return asyncio.run(play(tmp_path_factory.mktemp("extras")))


def pictures(path: Path) -> list[NDArray[np.int16]]:
    with av.open(str(path)) as film:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.int16) for frame in film.decode(video=0)]


def green(picture: NDArray[np.int16]) -> float:
    """Share of the watermark's place that is as green as the watermark."""
    part = picture[320:352, 568:632] if picture.shape[1] > 600 else picture[-100:, -100:]
    return float(((part[..., 1] > 170) & (part[..., 0] < 90) & (part[..., 2] < 90)).mean())


def test_the_watermark_is_over_every_picture(run: Run) -> None:
    shown = pictures(run.viewed.path)
    assert len(shown) > 150 and shown[0].shape == (360, 640, 3)
    assert min(green(picture) for picture in shown) > 0.9
    assert run.detail["warnings"] == []


def test_without_the_image_the_film_is_delivered_and_says_so(run: Run) -> None:
    (warning,) = run.plain.model_extra["warnings"] if run.plain.model_extra else []
    assert warning["code"] == "watermark" and "status 404" in warning["message"]
    assert run.plain.download_url and run.plain.file_size


def test_stills_show_the_film_with_its_watermark(run: Run) -> None:
    assert set(run.stills) == {"video", "poster", "sprite", "storyboard"}
    assert run.viewed.recording.file_size == len(run.stills["video"]), "stills do not count"
    poster = np.asarray(Image.open(io.BytesIO(run.stills["poster"])).convert("RGB"), np.int16)
    assert poster.shape == (360, 640, 3) and green(poster) > 0.9
    sprite = Image.open(io.BytesIO(run.stills["sprite"]))
    cues = [line for line in run.board.splitlines() if "#xywh=" in line]
    assert sprite.size == (160 * len(cues), 90) and len(cues) in (3, 4)
    assert all(line.startswith("http://127.0.0.1:") and "signature=" in line for line in cues)


def test_another_film_shows_and_lets_hear_one_person_in_a_part_of_the_time(run: Run) -> None:
    assert run.render["made"] == 2.5
    shown = pictures(run.again)
    assert len(shown) == 75 and shown[0].shape == (320, 180, 3)
    middle = np.mean([picture[150:170, 60:120].mean(axis=(0, 1)) for picture in shown], axis=0)
    apart = [float(np.abs(middle - np.array(look.rgb)).sum()) for look in (CAST[0], CAST[2])]
    assert apart[1] < apart[0], "the one who was asked for"
    with av.open(str(run.again)) as film:
        sound = np.concatenate([np.asarray(f.to_ndarray()[0], np.float64) for f in film.decode(audio=0)])
    spectrum = np.abs(np.fft.rfft(sound))
    tones = [float(spectrum[_bin(look.pitch_hz, sound.size)].max()) for look in (CAST[0], CAST[2])]
    assert tones[1] > 20 * tones[0]


def _bin(hertz: float, size: int) -> slice:
    at = round(hertz * size / 48_000)
    return slice(at - 8, at + 9)
