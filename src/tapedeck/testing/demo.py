"""`make demo`: three synthetic people meet over real WebRTC, are recorded through the RealtimeKit API, and the film is
checked.

Owns the story and what is told of it while it happens. Everything in it is real: a server process, WHIP, the official
`cloudflare` SDK, the film as a customer downloads it. Exit code 1 when the film is not what it has to be.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import aiohttp
from cloudflare import CloudflareError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from tapedeck.core.errors import TapedeckError
from tapedeck.sources.synthetic import CAST
from tapedeck.testing.check import check
from tapedeck.testing.clock import SharedClock
from tapedeck.testing.door import WhipDoor
from tapedeck.testing.expect import Expectation, Recorded
from tapedeck.testing.people import Act, Cue, Performer, Person, perform
from tapedeck.testing.recorder import Download, Recorder, make_sdk, save
from tapedeck.testing.serve import running_server
from tapedeck.testing.watch import watch

__all__ = ["main"]

_S = 1_000_000_000
_SIZE = (1280, 720)
ADA, GRACE, LINUS = CAST[:3]

START_S, PAUSE_S, RESUME_S, STOP_S, END_S = 2.7, 19.4, 23.8, 37.4, 38.2
"""When the API is called, in seconds of the shared clock. The pause is no multiple of a loop: the cut can be seen."""

PEOPLE = (
    Person(
        ADA,
        (Cue(0.5, Act.JOIN), Cue(26.4, Act.CAMERA_OFF), Cue(29.7, Act.CAMERA_ON), Cue(END_S, Act.LEAVE)),
        size=_SIZE,
    ),
    Person(
        GRACE,
        (Cue(0.9, Act.JOIN), Cue(12.5, Act.MUTE), Cue(16.3, Act.UNMUTE), Cue(32.6, Act.LEAVE)),
        size=_SIZE,
    ),
    Person(LINUS, (Cue(8.2, Act.JOIN), Cue(END_S, Act.LEAVE)), size=_SIZE),
)

WORDS = {
    Act.JOIN: "joins",
    Act.LEAVE: "leaves",
    Act.MUTE: "mutes the microphone",
    Act.UNMUTE: "unmutes",
    Act.CAMERA_OFF: "turns the camera off",
    Act.CAMERA_ON: "turns the camera on",
}


class Story:
    """Tells what happens, when it happens."""

    def __init__(self, clock: SharedClock, progress: Progress) -> None:
        self._clock, self._progress = clock, progress

    def tell(self, text: str) -> None:
        """One line, with the time."""
        self._progress.console.print(f"[dim]{self._clock.now_ns() / _S:5.1f} s[/]  {text}", highlight=False)

    async def narrate(self) -> None:
        """Say each cue as it comes."""
        cues = sorted(((cue, person) for person in PEOPLE for cue in person.cues), key=lambda pair: pair[0].at_s)
        for cue, person in cues:
            await self._clock.until(round(cue.at_s * _S))
            red, green, blue = person.look.rgb
            self.tell(f"[rgb({red},{green},{blue})]██[/] {person.look.name} {WORDS[cue.act]}")

    async def advance(self) -> None:
        """Move the bar, until cancelled."""
        task = self._progress.add_task("meeting", total=END_S)
        try:
            while True:
                self._progress.update(task, completed=self._clock.now_ns() / _S)
                await asyncio.sleep(0.25)
        finally:
            self._progress.remove_task(task)


async def record(
    recorder: Recorder, meeting_id: str, clock: SharedClock, story: Story
) -> tuple[tuple[Recorded, ...], Download]:
    """Press the buttons at their times; returns what is recorded and where the film is."""
    await clock.until(round(START_S * _S))
    started = await recorder.start(meeting_id)
    story.tell("[bold red]●[/] recording")
    await clock.until(round(PAUSE_S * _S))
    paused = await recorder.act("pause")
    story.tell("[bold]‖[/] paused")
    await clock.until(round(RESUME_S * _S))
    resumed = await recorder.act("resume")
    story.tell("[bold red]●[/] recording again")
    await clock.until(round(STOP_S * _S))
    stopped = await recorder.act("stop")
    story.tell("[bold]■[/] stopped")
    download = await recorder.film()
    story.tell(f"uploaded, {download.waited_s:.1f} s after stop")
    return (Recorded(started, paused), Recorded(resumed, stopped)), download


async def demo(folder: Path, console: Console) -> bool:
    """Run it all and return the verdict. TapedeckError or CloudflareError when something is not as it should be."""
    console.print("Starting the server", style="dim")
    async with running_server(folder) as server, make_sdk(server) as sdk, aiohttp.ClientSession() as http:
        console.print(f"Tapedeck is at {server.base_url}", highlight=False)
        clock = SharedClock()
        recorder = Recorder(sdk, server, clock)
        meeting_id, tokens = await recorder.meeting([person.look.name for person in PEOPLE], "Tapedeck demo")
        doors = [WhipDoor(http, server.base_url, meeting_id, token) for token in tokens]
        performers = [Performer(person, clock, door) for person, door in zip(PEOPLE, doors, strict=True)]
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
        with Progress(*columns, console=console, transient=True) as progress:
            await asyncio.to_thread(draw, performers, progress)
            clock.begin()
            story = Story(clock, progress)
            async with asyncio.TaskGroup() as group:
                telling = (group.create_task(story.narrate()), group.create_task(story.advance()))
                playing = group.create_task(perform(performers))
                recorded, download = await record(recorder, meeting_id, clock, story)
                await playing
                for task in telling:
                    task.cancel()
            path = folder / "meeting.mp4"
            await save(http, download, path)
            progress.add_task("watching the film", total=None)
            film = await asyncio.to_thread(watch, path, [one.look for one in playing.result()])
    report = check(film, Expectation(playing.result(), recorded))
    console.print()
    console.print(report)
    console.print(f"\nfilm  {path}", highlight=False, soft_wrap=True)
    console.print(f"link  {download.url}", highlight=False, soft_wrap=True)
    again = f"tapedeck serve --port {server.port} --data-dir {server.data_dir}"
    console.print(f"      (answers while the server runs: {again})", style="dim", highlight=False, soft_wrap=True)
    return report.ok


def draw(performers: Sequence[Performer], progress: Progress) -> None:
    """Encode everybody's pictures before the meeting: two cores have enough to do while it runs."""
    for performer in performers:
        name = performer.person.look.name
        task = progress.add_task(f"drawing {name}", total=performer.pictures)
        for made in performer.prepare():
            progress.update(task, completed=made)
        progress.remove_task(task)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tapedeck.testing.demo", description="Record a synthetic meeting.")
    parser.add_argument("--dir", type=Path, default=Path(".dev/demo"), help="where runs are kept")
    folder: Path = parser.parse_args().dir.absolute() / f"{datetime.now():%Y%m%d-%H%M%S}"
    console = Console()
    try:
        return 0 if asyncio.run(demo(folder, console)) else 1
    except KeyboardInterrupt:
        console.print("interrupted", style="dim")
        return 130
    except (TapedeckError, CloudflareError, aiohttp.ClientError, OSError, ExceptionGroup) as exc:
        cause: BaseException = exc
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if not isinstance(cause, TapedeckError | CloudflareError | aiohttp.ClientError | OSError):
            raise
        console.print(f"[bold red]The demo failed:[/] {cause}", highlight=False, soft_wrap=True)
        console.print(f"The server's log is {folder / 'server.log'}", highlight=False, soft_wrap=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
