"""A disk that runs full in the middle of meetings, and has room again later: nothing is lost that could be kept.

The disk is a small tmpfs where one may be mounted. Elsewhere the server's files are forbidden to grow (RLIMIT_FSIZE),
which it cannot tell from a full disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudflare
import pytest
from tests.e2e.kit import SMALL, House, Recording, S, Viewed, judge, open_house

from tapedeck.sources.synthetic import CAST, Look
from tapedeck.testing.expect import Attendance, Bars, Recorded
from tapedeck.testing.people import Act, Cue, Person

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

EMPTY_S = 3
FULL_S, ROOM_S = 4.6, 9.3


class SmallDisk:
    """A disk that can be filled and emptied again."""

    def __init__(self, folder: Path, *, mounted: bool) -> None:
        self.folder = folder
        self.mounted = mounted
        self._limited: int | None = None

    def fill(self, pid: int) -> None:
        """From now on nothing more can be written by this process."""
        if not self.mounted:
            self._limited = pid
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            return
        with contextlib.suppress(OSError), (self.folder / "ballast").open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass

    def free(self) -> None:
        """There is room again."""
        if not self.mounted:
            if self._limited is not None:
                unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
                with contextlib.suppress(ProcessLookupError):
                    resource.prlimit(self._limited, resource.RLIMIT_FSIZE, unlimited)
            return
        (self.folder / "ballast").unlink()


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    mount = ("mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder))
    possible = shutil.which("mount") is not None
    mounted = possible and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield SmallDisk(folder, mounted=mounted)
    finally:
        if mounted:
            subprocess.run(("umount", str(folder)), check=True)


def stay(look: Look, from_s: float, until_s: float) -> Person:
    return Person(look, (Cue(from_s, Act.JOIN), Cue(until_s, Act.LEAVE)), size=(320, 180), fps=20)


@dataclass(frozen=True)
class Kept:
    """What became of a recording whose disk was full."""

    recording: Recording
    viewed: Viewed
    people: tuple[Attendance, ...]
    recorded: tuple[Recorded, ...]
    seen: dict[str, Any]


async def full_for_a_while(house: House, disk: SmallDisk) -> Kept:
    """Full for almost 5 s of a recording, which goes on."""
    room, other = await house.room([stay(CAST[0], 0.3, 13.8)]), await house.room([])
    playing = asyncio.create_task(room.play())
    await room.at(1.45)
    take = await room.start(**SMALL)
    await room.at(FULL_S)
    disk.fill(house.server.pid)
    await room.at(FULL_S + 1)
    error = None
    impatient = house.sdk.with_options(max_retries=0).realtime_kit.recordings
    try:
        await impatient.start_recordings(house.server.app_id, account_id=house.server.account_id, meeting_id=other.id)
    except cloudflare.APIStatusError as exc:
        error = exc
    during = await take.get()
    await room.at(ROOM_S)
    disk.free()
    await room.at(12.95)
    await take.act("stop")
    people = await playing
    viewed = await take.film([CAST[0]], limit_s=90)
    created = await other.recordings()
    log = [line for line in house.log_lines() if "capture." in line]
    seen = {"error": error, "during": during, "created": created, "log": log, "mounted": disk.mounted}
    return Kept(viewed.recording, viewed, people, await take.recorded(), seen)


async def full_and_killed(house: House, disk: SmallDisk) -> Kept:
    """Full, then killed: what was on disk before is a film."""
    cues = (Cue(0.3, Act.JOIN), Cue(7.0, Act.VANISH))
    room = await house.room([Person(CAST[1], cues, size=(320, 180), fps=20)])
    playing = asyncio.create_task(room.play())
    await room.at(1.45)
    take = await room.start(**SMALL)
    await room.at(FULL_S)
    full_ns = room.clock.now_ns()
    disk.fill(house.server.pid)
    await room.at(6.8)
    await house.server.kill()
    disk.free()
    await house.server.start()
    people = await playing
    viewed = await take.film([CAST[1]], limit_s=90)
    return Kept(viewed.recording, viewed, people, await take.recorded(), {"full_ns": full_ns})


async def play(folder: Path) -> dict[str, Kept]:
    settings = {"TAPEDECK_EMPTY_MEETING_TIMEOUT_S": str(EMPTY_S)}
    (folder / "data").mkdir()
    with small_disk(folder / "data") as disk:
        async with open_house(folder, settings) as house:
            return {"while": await full_for_a_while(house, disk), "killed": await full_and_killed(house, disk)}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kept]:
    return asyncio.run(play(tmp_path_factory.mktemp("disk")))


def test_a_recording_goes_on_over_a_full_disk_and_misses_nothing(played: dict[str, Kept]) -> None:
    kept = played["while"]
    assert kept.seen["during"].status == "RECORDING"
    (span,) = kept.recorded
    assert span.start.middle_ns < FULL_S * S
    assert span.end.middle_ns > ROOM_S * S
    assert judge(kept.viewed, kept.people, kept.recorded).ok


def test_a_full_disk_is_one_sentence_in_the_log(played: dict[str, Kept]) -> None:
    """Where only the server's files are limited, its log is one of them, and this line cannot be written."""
    log, mounted = played["while"].seen["log"], played["while"].seen["mounted"]
    assert len([line for line in log if "capture.troubled" in line]) == (1 if mounted else 0)
    assert len([line for line in log if "capture.mended" in line]) == 1


def test_what_cannot_be_stored_is_refused_in_words_and_not_half_done(played: dict[str, Kept]) -> None:
    seen = played["while"].seen
    if seen["error"] is None:  # the database still had room for a row
        assert len(seen["created"]) == 1
    else:
        assert seen["error"].status_code == 503
        assert "disk" in seen["error"].message.lower()
        assert seen["created"] == []


def test_what_was_on_disk_survives_a_kill_on_a_full_disk(played: dict[str, Kept]) -> None:
    kept = played["killed"]
    assert kept.recording.stop_reason is not None
    assert kept.recording.stop_reason.reason == "INTERNAL_ERROR"
    (span,) = kept.recorded
    assert span.end.middle_ns >= kept.seen["full_ns"] - S
    unequal = Bars(
        presence=0.9
    )  # the disk ends each track where it likes, and the film shows the last picture meanwhile
    assert judge(kept.viewed, kept.people, kept.recorded, unequal).ok
