"""Timed metadata, from what a person and a backend say in a meeting to the tags in the tar that is downloaded.

The process that makes the film dies once. What is in the tar is held against what was said, against the media log, and
against the tar that `tapedeck replay` makes of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cloudflare import ConflictError
from tests.e2e.kit import SMALL, Recording, S, Take, Viewed, clock_of, judge, open_house, read_events
from tests.e2e.test_crash import film_process
from tests.media.filming import ffprobe
from tests.media.hls import Archive, read_archive

from tapedeck.core.timeline import TimedText, recording_spans
from tapedeck.sources.synthetic import CAST
from tapedeck.testing.expect import Attendance, Recorded
from tapedeck.testing.people import Act, Cue, Person

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

FPS = 30
ADA = CAST[0]


def message(payload: Any, kind: str = "ID3Data") -> str:
    return json.dumps({"type": kind, "payload": payload})


CUES = (
    Cue(0.2, Act.JOIN),
    Cue(1.0, Act.SAY, text=message("before the recording")),
    Cue(4.0, Act.SAY, text=message({"quiz": 1, "name": "Grüße 👋"})),
    Cue(4.5, Act.SAY, text="nonsense"),
    Cue(4.6, Act.SAY, text=message("not metadata", "chat")),
    Cue(5.0, Act.SAY, text=message("x" * 16_384, "ID3")),
    Cue(5.1, Act.SAY, text=message("y" * 16_385)),
    Cue(8.0, Act.SAY, text=message("in the pause")),
    Cue(11.0, Act.SAY, text=message("after the pause")),
    Cue(15.0, Act.SAY, text=message("CLOSE_TRANSPORT")),
    Cue(15.5, Act.SAY, text=message("too late")),
    Cue(18.0, Act.LEAVE),
)


@dataclass(frozen=True)
class Run:
    recording: Recording
    archive: Archive
    folder: Path
    log_dir: Path
    people: tuple[Attendance, ...]
    recorded: tuple[Recorded, ...]
    said: list[tuple[int, str]]
    "Capture times."
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


async def play(folder: Path) -> Run:
    async with open_house(folder) as house:
        room = await house.room([Person(ADA, CUES, size=(320, 180), fps=20)])
        playing = asyncio.create_task(room.play())
        await room.at(1.45)
        take = await room.start(**SMALL, interactive_config={"type": "ID3"})
        assert take.first.output_file_name.endswith(".tar")
        await take.until("RECORDING")
        await room.at(6.3)
        await say(take, ["from the backend"])
        await room.at(7.0)
        await take.act("pause")
        refused = [await refusal(take, "also in the pause")]
        first = film_process(house.server.pid)
        os.kill(first, signal.SIGKILL)
        await room.at(10.0)
        await take.act("resume")
        await room.at(12.0)
        await say(take, "once more")
        await room.at(16.0)
        refused.append(await refusal(take, "after the end"))
        await room.at(17.0)
        second = film_process(house.server.pid)
        await take.act("stop")
        people = await playing
        recording = await take.until("UPLOADED", limit_s=100)
        refused.append(await refusal(take, "after the stop"))
        assert recording.download_url is not None
        data = await house.fetch(recording.download_url)
        assert len(data) == recording.file_size
        log_dir = await take.log_dir()
        to_clock = clock_of(log_dir, room.clock)
        said = [(at_ns - to_clock(0), text) for at_ns, text in room.performers[0].said]
        recorded = await take.recorded()
        return Run(recording, read_archive(data), folder, log_dir, people, recorded, said, refused, (first, second))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return asyncio.run(play(tmp_path_factory.mktemp("interactive")))


SAID = [
    '{"quiz":1,"name":"Grüße 👋"}',
    "x" * 16_384,
    '["from the backend"]',
    "after the pause",
    "once more",
]


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
    sent_ns = next(at_ns for at_ns, text in run.said if "after the pause" in text)
    events = {event.text: event.at_ns for event in read_events(run.log_dir) if isinstance(event, TimedText)}
    assert 0 <= events["after the pause"] - sent_ns < 5 * S


def test_it_is_delivered_as_a_tar_of_segments_that_play(run: Run, tmp_path: Path) -> None:
    name = run.recording.output_file_name
    assert run.recording.download_url is not None and run.recording.download_url.partition("?")[0].endswith(name)
    seconds = sum((span.end.latest_ns - span.start.earliest_ns) / S for span in run.recorded)
    assert sum(run.archive.durations) == pytest.approx(seconds, abs=0.1)
    assert len(run.archive.segments) == 2 and 10 <= run.archive.durations[0] <= 12.1
    playlist = run.archive.unpack(tmp_path)
    found = ffprobe(playlist, "-show_streams", "-show_format")
    assert {stream["codec_name"] for stream in found["streams"]} == {"h264", "aac", "timed_id3"}
    assert float(found["format"]["duration"]) == pytest.approx(seconds, abs=0.1)


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
