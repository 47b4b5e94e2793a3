"""Timed metadata, from what a person and a backend say in a meeting to the tags in the tar that is downloaded.

The process that makes the film dies once. What is in the tar is held against what was said, against the media log, and
against the tar that `tapedeck replay` makes of it.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cloudflare import ConflictError
from tests.e2e.kit import SMALL, House, Recording, Room, S, Take, Viewed, clock_of, judge, open_house, read_events
from tests.e2e.test_crash import film_processes
from tests.media.filming import ffprobe
from tests.media.hls import Archive, read_archive
from tests.media.player import play_hls
from tests.pace import eventually

from tapedeck.core.timeline import TimedText, recording_spans
from tapedeck.sources.synthetic import CAST
from tapedeck.testing.expect import Attendance, Recorded
from tapedeck.testing.people import Act, Cue, Person

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

FPS = 30
ADA = CAST[0]
TINY: dict[str, Any] = {"size": (320, 180), "fps": 20}


def message(payload: Any, kind: str = "ID3Data") -> str:
    return json.dumps({"type": kind, "payload": payload})


SAID = ['{"quiz":1,"name":"Grüße 👋"}', "x" * 16_384, '["from the backend"]', "after the pause", "once more"]


@dataclass(frozen=True)
class Run:
    recording: Recording
    archive: Archive
    log_dir: Path
    people: tuple[Attendance, ...]
    recorded: tuple[Recorded, ...]
    sent_ns: int
    "When Ada said something after the pause (capture time)."
    refused: list[int]
    "Statuses of what our route did not take."
    film_pids: tuple[int, int]


async def say(take: Take, data: Any) -> None:
    """By our route, with the official SDK's own connection."""
    house = take.room.house
    url = f"{house.server.base_url}/v1/recordings/{take.id}/id3"
    await house.sdk.post(url, body={"data": data}, cast_to=object)


async def refusal(take: Take, data: Any) -> int:
    with pytest.raises(ConflictError) as refused:
        await say(take, data)
    return refused.value.status_code


async def other_process(house: House, first: int) -> int:
    """The process that makes the film now, when that is another one than `first`."""
    found: list[int] = []

    async def is_there() -> bool:
        found[:] = [pid for pid in film_processes(house.server.pid) if pid != first]
        return bool(found)

    await eventually(is_there, 60)
    return found[0]


async def play(folder: Path) -> Run:
    """Everything is said when what was before it is known to have happened."""
    async with open_house(folder) as house:
        room = await house.room([Person(ADA, (Cue(0.2, Act.JOIN), Cue(600, Act.LEAVE)), messages=True, **TINY)])
        (ada,) = room.performers
        playing = asyncio.create_task(room.play())
        await ada.say(message("before the recording"))
        await room.at(1.45)
        take = await room.start(**SMALL, interactive_config={"type": "ID3"})
        assert take.first.output_file_name.endswith(".tar")
        await take.until("RECORDING")
        for text in (message({"quiz": 1, "name": "Grüße 👋"}), "nonsense", b"\xff", message("no metadata", "chat")):
            await ada.say(text)
        await ada.say(message("x" * 16_384, "ID3"))
        await ada.say(message("y" * 16_385))
        await say(take, ["from the backend"])
        first = await other_process(house, 0)
        await at_half(room, 6)
        await take.act("pause")
        refused = [await refusal(take, "also in the pause")]
        await ada.say(message("in the pause"))
        os.kill(first, signal.SIGKILL)
        await at_half(room, 9)
        await take.act("resume")
        sent_ns = await ada.say(message("after the pause"))
        await say(take, "once more")
        await ada.say(message("CLOSE_TRANSPORT"))
        await ada.say(message("too late"))
        refused.append(await refusal(take, "after the end"))
        second = await other_process(house, first)
        await at_half(room, room.clock.now_ns() / S + 7)
        await take.act("stop")
        recording = await take.until("UPLOADED", limit_s=100)
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        refused.append(await refusal(take, "after the stop"))
        assert recording.download_url is not None
        data = await house.fetch(recording.download_url)
        assert len(data) == recording.file_size
        log_dir, recorded = await take.log_dir(), await take.recorded()
        sent_ns -= clock_of(log_dir, room.clock)(0)
        return Run(recording, read_archive(data), log_dir, ada.attendance, recorded, sent_ns, refused, (first, second))


async def at_half(room: Room, at_least_s: float) -> None:
    """Wait for a moment between two beeps."""
    await room.at(math.ceil(max(at_least_s, room.clock.now_ns() / S)) + 0.45)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return asyncio.run(play(tmp_path_factory.mktemp("interactive")))


def in_film(run: Run) -> list[tuple[float, str]]:
    """What the log says should be in the film, in seconds of it."""
    events = read_events(run.log_dir)
    texts = [event for event in events if isinstance(event, TimedText) and event.text in SAID]
    found: list[tuple[float, str]] = []
    before_ns = 0
    for span in recording_spans(events, run.recording.id):
        assert span.end_ns is not None
        found += [((before_ns + one.at_ns - span.start_ns) / S, one.text) for one in texts if one.at_ns in span]
        before_ns += span.end_ns - span.start_ns
    return found


def test_the_tar_has_what_was_said_and_nothing_else(run: Run) -> None:
    assert [text for _, text in run.archive.cue_times()] == SAID
    assert run.refused == [409, 409, 409]
    assert run.film_pids[0] != run.film_pids[1], "the process of the film died, and another made it"


def test_each_tag_is_within_one_frame_of_its_moment(run: Run) -> None:
    expected = in_film(run)
    assert [text for _, text in expected] == SAID
    for (at_s, text), (due_s, _) in zip(run.archive.cue_times(), expected, strict=True):
        assert abs(at_s - due_s) < 1 / FPS, text[:40]
    events = {event.text: event.at_ns for event in read_events(run.log_dir) if isinstance(event, TimedText)}
    assert 0 <= events["after the pause"] - run.sent_ns < 5 * S


def test_it_is_delivered_as_a_tar_of_segments_that_play(run: Run, tmp_path: Path) -> None:
    name = run.recording.output_file_name
    assert run.recording.download_url is not None and run.recording.download_url.partition("?")[0].endswith(name)
    seconds = sum((span.end.latest_ns - span.start.earliest_ns) / S for span in run.recorded)
    assert sum(run.archive.durations) == pytest.approx(seconds, abs=0.1)
    assert len(run.archive.segments) >= 2 and 10 <= run.archive.durations[0] <= 12.1
    playlist = run.archive.unpack(tmp_path)
    found = ffprobe(playlist, "-show_streams", "-show_format")
    assert {stream["codec_name"] for stream in found["streams"]} == {"h264", "aac", "timed_id3"}
    assert float(found["format"]["duration"]) == pytest.approx(seconds, abs=0.1)


@pytest.mark.browser
def test_a_page_that_plays_it_is_told_at_each_moment(run: Run, tmp_path: Path) -> None:
    """In hls.js, whose clock begins with the sound before the first picture (1024 samples)."""
    run.archive.unpack(tmp_path)
    played = asyncio.run(play_hls(tmp_path))
    assert (played.width, played.errors) == (640, [])
    assert [(cue.key, cue.info, cue.data) for cue in played.cues] == [("TXXX", "ID3Data", text) for text in SAID]
    for cue, (at_s, _) in zip(played.cues, run.archive.cue_times(), strict=True):
        assert abs(cue.at_s - 1024 / 48_000 - at_s) < 1 / FPS


def test_the_film_in_it_shows_and_sounds_as_every_other(run: Run, tmp_path: Path) -> None:
    playlist, film = run.archive.unpack(tmp_path), tmp_path / "film.mp4"
    # The first picture has the time 10 s; an MP4 can say that the sound before it is not to be heard.
    command = ["ffmpeg", "-v", "error", "-copyts", "-i", str(playlist), "-map", "0:v", "-map", "0:a", "-c", "copy"]
    command += ["-output_ts_offset", "-10", "-avoid_negative_ts", "disabled", "-movflags", "+faststart", str(film)]
    subprocess.run(command, check=True, timeout=60)
    report = judge(Viewed(film, run.recording, (ADA,)), run.people, run.recorded)
    assert report.ok, f"\n{report}"


def test_replay_makes_the_same_tar(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "again.tar"
    command = [sys.executable, "-m", "tapedeck", "replay", str(run.log_dir), "--recording", run.recording.id]
    subprocess.run([*command, "-o", str(out), "--size", "640x360"], check=True, timeout=120, capture_output=True)
    again = read_archive(out.read_bytes())
    assert [(cue.pts, cue.text) for cue in again.cues] == [(cue.pts, cue.text) for cue in run.archive.cues]
    assert sum(again.durations) == pytest.approx(sum(run.archive.durations), abs=1e-3)
    shown, first = ({pts for segment in one.pictures for pts in segment} for one in (again, run.archive))
    assert shown == first
