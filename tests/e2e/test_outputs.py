"""Four recordings of one meeting at once, each with files of another kind; the process that makes them dies once.

One H264 film with its sound as MP3, one VP8 and one VP9 film, and the sound alone; every file is fetched by its link,
held against what was sent, and played to its end in Chromium.
"""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.kit import Recording, Room, Take, Viewed, judge, open_house
from tests.e2e.test_crash import film_process, film_processes
from tests.e2e.test_tracks import play_in_chromium
from tests.media.filming import ffprobe
from tests.pace import eventually

from tapedeck.media.playback import play_sound
from tapedeck.sources.synthetic import CAST
from tapedeck.testing.expect import Attendance, Recorded
from tapedeck.testing.people import Act, Cue, Person
from tapedeck.testing.watch import find_beeps

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(300)]

S = 1_000_000_000
ADA, GRACE = CAST[:2]
SIZE = {"width": 640, "height": 360}
OPTIONS: dict[str, dict[str, Any]] = {
    "mp4": {"video_config": SIZE, "audio_config": {"codec": "MP3", "channel": "mono"}},
    "vp8": {"video_config": {**SIZE, "codec": "VP8"}, "audio_config": {"codec": "MP3"}},
    "vp9": {"video_config": {**SIZE, "codec": "VP9"}},
    "m4a": {"video_config": {"export_file": False}, "audio_config": {}},
}
FILMS = {"mp4": (".mp4", "h264", "aac"), "vp8": (".webm", "vp8", "vorbis"), "vp9": (".webm", "vp9", "vorbis")}
SOUNDS = {"mp4": (".mp3", "mp3", 1), "vp8": (".ogg", "vorbis", 2), "m4a": (".m4a", "aac", 2)}


@dataclass(frozen=True)
class Made:
    recording: Recording
    recorded: tuple[Recorded, ...]
    film: Viewed | None
    sound: Path | None
    played: dict[str, dict[str, Any]]
    "In Chromium, by `video` and `audio`."


@dataclass(frozen=True)
class Run:
    people: tuple[Attendance, ...]
    made: dict[str, Made]
    killed: int
    "The process that made all films."
    later: list[int]
    "Those that made them again."


async def fetch(room: Room, take: Take) -> Made:
    recording = await take.until("UPLOADED", limit_s=100)
    film = sound = None
    played = {}
    for kind, url in (("video", recording.download_url), ("audio", recording.audio_download_url)):
        if url is None:
            continue
        name = url.partition("?")[0].rpartition("/")[2]
        path = room.house.folder / f"{take.id}{Path(name).suffix}"
        path.write_bytes(await room.house.fetch(url))
        played[kind] = await play_in_chromium(url)
        if kind == "video":
            film = Viewed(path, recording, (ADA, GRACE))
        else:
            sound = path
    return Made(recording, await take.recorded(), film, sound, played)


async def play(folder: Path) -> Run:
    async with open_house(folder) as house:
        people = [
            Person(ADA, (Cue(0.2, Act.JOIN), Cue(10.2, Act.LEAVE)), size=(320, 180), fps=20),
            Person(GRACE, (Cue(0.4, Act.JOIN), Cue(10.2, Act.LEAVE)), size=(320, 180), fps=20),
        ]
        room = await house.room(people)
        playing = asyncio.create_task(room.play())
        await room.at(1.45)
        takes = {}
        for name, options in OPTIONS.items():
            takes[name] = await room.start(allow_multiple_recordings=True, **options)
        for take in takes.values():
            await take.until("RECORDING")
        await room.at(5.0)
        first = film_process(house.server.pid)  # the only one
        os.kill(first, signal.SIGKILL)

        async def is_replaced() -> bool:
            return bool(set(film_processes(house.server.pid)) - {first})

        await eventually(is_replaced)
        await room.at(9.45)
        later = film_processes(house.server.pid)
        for take in takes.values():
            await take.act("stop")
        attendance = await playing
        made = {name: await fetch(room, take) for name, take in takes.items()}
        return Run(attendance, made, first, later)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return asyncio.run(play(tmp_path_factory.mktemp("outputs")))


def test_a_process_that_died_is_replaced(run: Run) -> None:
    assert len(run.later) == 1 and run.killed not in run.later


@pytest.mark.parametrize("name", FILMS)
def test_every_film_has_what_was_sent(name: str, run: Run) -> None:
    """[9, 10, 15]"""
    made = run.made[name]
    assert made.film is not None
    report = judge(made.film, run.people, made.recorded)
    assert report.ok, str(report)
    extension, picture, sound = FILMS[name]
    assert made.recording.output_file_name.endswith(extension)
    streams = {s["codec_type"]: s for s in ffprobe(made.film.path, "-show_streams")["streams"]}
    assert (streams["video"]["codec_name"], streams["audio"]["codec_name"]) == (picture, sound)


@pytest.mark.parametrize("name", SOUNDS)
def test_every_file_of_sound_has_every_beep_of_the_recording(name: str, run: Run) -> None:
    made = run.made[name]
    assert made.sound is not None
    extension, codec, channels = SOUNDS[name]
    assert made.sound.suffix == extension
    (stream,) = ffprobe(made.sound, "-show_streams")["streams"]
    assert (stream["codec_name"], stream["channels"]) == (codec, channels)
    (span,) = made.recorded
    length_ns = span.end.middle_ns - span.start.middle_ns
    sound = play_sound(made.sound)
    assert len(sound.samples) / sound.rate == pytest.approx(length_ns / S, abs=0.06)
    for look in (ADA, GRACE):
        due = (length_ns // S) - 1
        assert len(find_beeps(sound, look)) >= due, look.name


def test_links_names_and_sizes(run: Run) -> None:
    """[16] and E3: which link is given when, one base name, and the size of all files."""
    for name, made in run.made.items():
        recording = made.recording
        assert (recording.download_url is not None) == (name in FILMS)
        assert (recording.audio_download_url is not None) == (name in SOUNDS)
        sizes = [path.stat().st_size for path in (made.film.path if made.film else None, made.sound) if path]
        assert recording.file_size == sum(sizes)
        stem = recording.output_file_name.rpartition(".")[0]
        for url in (recording.download_url, recording.audio_download_url):
            assert url is None or stem in url


def test_every_file_plays_to_its_end_in_chromium(run: Run) -> None:
    for name, made in run.made.items():
        (span,) = made.recorded
        length_s = (span.end.middle_ns - span.start.middle_ns) / S
        assert ("video" in made.played, "audio" in made.played) == (name in FILMS, name in SOUNDS)
        for kind, seen in made.played.items():
            assert seen["duration"] == pytest.approx(length_s, abs=0.12), (name, kind)
            assert seen["end"] == pytest.approx(seen["duration"], abs=0.05), (name, kind)
            assert (seen["width"] == 640) == (kind == "video")
