"""Recordings of web pages through the official SDK: the film is what the page shows, and nothing of the people beside
it; a page that fails, a browser that is killed, a server that is killed. Nothing of a browser is left by any of them.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest
from cloudflare import UnprocessableEntityError
from tests.e2e.kit import (
    MS,
    SMALL,
    House,
    LoggedFrame,
    Recording,
    S,
    Take,
    Viewed,
    open_house,
    read_events,
    read_frames,
    together,
    told,
)
from tests.pace import eventually
from tests.pages.site import Site, open_site

from tapedeck.core.avc import to_lengths
from tapedeck.core.frames import Kind
from tapedeck.core.page import page_participant
from tapedeck.sources.synthetic import CAST, Look
from tapedeck.testing.people import Act, Cue, Person

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(300)]

ADA, GRACE = CAST[:2]
ENV = {"TAPEDECK_BROWSER_SANDBOX": "off", "TAPEDECK_ALLOW_PRIVATE_URLS": "true"}
LIMIT_S = 120.0


def browsers_of(server_pid: int) -> dict[int, str]:
    """The browsers of a server that run: process id and command."""
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if int(fields[1]) == server_pid and "--headless" in command and fields[0] not in "ZX":
                found[int(path.name)] = command
    return found


def group_of(leader: int) -> list[int]:
    """The processes of a browser that run."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader and fields[0] not in "ZX":
                found.append(int(path.name))
    return found


async def gone(leaders: Sequence[int]) -> None:
    async def none_left() -> bool:
        return not any([await asyncio.to_thread(group_of, leader) for leader in leaders])

    await eventually(none_left, LIMIT_S)


def is_picture(one: LoggedFrame, recording_id: str) -> bool:
    return one.track.kind is Kind.VIDEO and one.track.participant_id == page_participant(recording_id)


async def files_of(house: House, take: Take) -> list[dict[str, Any]]:
    """The files of a recording as our own face tells of them."""
    headers = {"authorization": f"Bearer {house.server.token}"}
    async with house.http.get(f"{house.server.base_url}/v1/recordings/{take.id}", headers=headers) as response:
        files: list[dict[str, Any]] = (await response.json())["data"]["files"]
        return files


async def filmed(take: Take, length_s: float) -> None:
    """Return when so much of it is captured."""
    await take.until("RECORDING", limit_s=LIMIT_S)
    await take.room.clock.until(take.room.clock.now_ns() + round(length_s * S))


@dataclass(frozen=True)
class Shown:
    """What became of one recording."""

    recording: Recording
    viewed: Viewed | None = None
    other: Viewed | None = None
    seen: Any = None


async def beside_people(house: House, site: Site) -> Shown:
    """A page and a person in one meeting, each with a recording; the page's is paused, and the page ends it."""
    room = await house.room(
        [Person(GRACE, (Cue(0.0, Act.JOIN), Cue(60.0, Act.LEAVE)), size=(320, 180), fps=20)], "Both"
    )
    playing = asyncio.create_task(room.play())
    try:
        people = await room.start(**SMALL)
        page = await room.start(**SMALL, url=site.show(ADA, listens="both") + "#at", allow_multiple_recordings=True)
        await people.until("RECORDING", limit_s=LIMIT_S)
        await filmed(page, 3)
        listed = await house.sdk.realtime_kit.sessions.get_sessions(
            house.server.app_id, account_id=house.ids["account_id"]
        )
        await page.act("pause")
        paused = await page.until("PAUSED")
        await room.clock.until(room.clock.now_ns() + 2 * S)
        await page.act("resume")
        await room.clock.until(room.clock.now_ns() + 3 * S)
        site.words["both"] = "stop"
        viewed = await page.film([ADA, GRACE], limit_s=LIMIT_S)
        await people.act("stop")
        other = await people.film([ADA, GRACE], limit_s=LIMIT_S)
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
    logged = [one.frame.payload for one in read_frames(await page.log_dir(), room.clock) if is_picture(one, page.id)]
    left = await house.sdk.realtime_kit.meetings.get_meeting_participants(room.id, **house.ids)
    asked = next(request for request in site.asked if request.query.get("config") and "both" in request.query["plan"])
    return Shown(
        viewed.recording,
        viewed,
        other,
        {
            "query": dict(asked.query),
            "participants": [one.custom_participant_id for one in left.data],
            "sessions": listed.data,
            "paused": paused,
            "spans": await page.recorded(),
            "sent": logged,
            "files": await files_of(house, page),
        },
    )


async def browser_killed(house: House, site: Site, page: str) -> Shown:
    room = await house.room([], "Killed")
    known = set(browsers_of(house.server.pid))
    take = await room.start(**SMALL, url=page)
    await filmed(take, 3)
    (leader,) = set(browsers_of(house.server.pid)) - known
    os.kill(leader, signal.SIGKILL)
    viewed = await take.film([ADA], limit_s=LIMIT_S)
    await gone([leader])
    return Shown(viewed.recording, viewed)


async def fails(house: House, address: str) -> Shown:
    room = await house.room([], "Fails")
    take = await room.start(**SMALL, url=address)
    return Shown(await take.until("ERRORED", limit_s=LIMIT_S))


async def stopped_early(house: House, site: Site) -> Shown:
    """A page that never starts is stopped by whoever started it."""
    room = await house.room([], "Early")
    take = await room.start(**SMALL, url=site.show(ADA, silent=True))

    async def there() -> bool:
        return bool(browsers_of(house.server.pid))

    await eventually(there, LIMIT_S)
    await take.act("stop")
    return Shown(await take.until("ERRORED", limit_s=LIMIT_S))


async def by_the_sdk(house: House, site: Site) -> Shown:
    """An app made with the recording SDK; its only participant leaves."""
    room = await house.room([], "SDK")
    take = await room.start(**SMALL, url=site.show(ADA, "/sdk", never=True, listens="sdk"))
    await filmed(take, 4)
    site.words["sdk"] = "leave"
    viewed = await take.film([ADA], limit_s=LIMIT_S)
    return Shown(viewed.recording, viewed)


async def play(folder: Path) -> dict[str, Any]:
    async with open_site() as site, open_house(folder, ENV) as house:
        seen = {"both": await beside_people(house, site)}
        seen["killed"] = await browser_killed(house, site, site.show(ADA))
        seen |= await together(
            missing=fails(house, f"{site.root}/gone?status=404"),
            early=stopped_early(house, site),
            sdk=by_the_sdk(house, site),
        )
        left = list(browsers_of(house.server.pid))
        await gone(left)
        return seen


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return asyncio.run(play(tmp_path_factory.mktemp("pages")))


def assert_shows(viewed: Viewed, look: Look, other: Look | None = None) -> None:
    """The film is the page, all of it, in step, and nobody else."""
    film = viewed.film
    whole = [
        box is not None and box.width >= 0.98 * 640 and box.height >= 0.98 * 360 for box in film.sights[look.name].boxes
    ]
    assert sum(whole) >= 0.95 * len(whole)
    assert whole[0] or whole[int(0.5 * film.facts.fps)]
    if other is not None:
        assert not any(film.sights[other.name].boxes)
        assert not film.beeps[other.name]
    beeps, flashes = film.beeps[look.name], film.flashes[look.name]
    assert len(beeps) >= 0.8 * (film.end_ns // S) - 1
    assert len(flashes) >= len(beeps) // 2, "a busy browser leaves pictures out, and so perhaps a bar of 50 ms"
    apart = sorted(min(abs(flash.middle_ns - beep.middle_ns) for beep in beeps) for flash in flashes)
    assert apart[len(apart) // 2] <= 100 * MS, "picture and sound of a page are in step as far as its browser is"


def test_the_film_is_what_the_page_shows_and_nothing_of_the_people(played: dict[str, Any]) -> None:
    shown = told(played, "both", Shown)
    assert shown.viewed is not None
    assert_shows(shown.viewed, ADA, GRACE)


def test_the_pictures_of_the_page_are_in_the_film_as_its_browser_sent_them(played: dict[str, Any]) -> None:
    """Byte for byte and in order; what a pause leaves without its key frame is not."""
    shown = told(played, "both", Shown)
    assert shown.viewed is not None
    assert [one.get("passed_through", False) for one in shown.seen["files"]] == [True, False, False, False]
    with av.open(str(shown.viewed.path)) as film:
        pictures = [bytes(packet) for packet in film.demux(video=0) if packet.size]
    sent = [to_lengths(payload) for payload in shown.seen["sent"]]
    assert len(pictures) >= 0.8 * len(sent)
    following = iter(sent)
    assert all(picture in following for picture in pictures)


def test_the_people_are_filmed_without_the_page(played: dict[str, Any]) -> None:
    other = told(played, "both", Shown).other
    assert other is not None
    film = other.film
    assert sum(box is not None for box in film.sights["Grace"].boxes) >= 0.97 * len(film.starts_ns)
    assert not any(film.sights["Ada"].boxes)
    assert not film.beeps["Ada"]


def test_a_page_that_takes_back_its_trigger_ends_its_recording(played: dict[str, Any]) -> None:
    recording = told(played, "both", Shown).recording
    assert recording.status == "UPLOADED"
    assert recording.stop_reason is not None
    assert recording.stop_reason.reason == "ALL_PEERS_LEFT"


def test_what_was_paused_is_not_in_the_film(played: dict[str, Any]) -> None:
    """By the clock of its log: when a busy server noted that something began is another matter."""
    shown = told(played, "both", Shown)
    assert shown.viewed is not None
    first, second = shown.seen["spans"]
    assert second.start.earliest_ns - first.end.latest_ns >= 2 * S
    wanted_ns = sum(span.end.latest_ns - span.start.earliest_ns for span in (first, second))
    assert abs(shown.viewed.film.end_ns - wanted_ns) < S // 10


def test_a_page_is_given_a_token_and_the_configuration_and_is_no_participant(played: dict[str, Any]) -> None:
    seen = told(played, "both", Shown).seen
    config = json.loads(base64.urlsafe_b64decode(seen["query"]["config"] + "=="))
    assert config["video_config"]["width"] == 640
    assert seen["query"]["authToken"].count(".") == 2
    assert seen["participants"] == ["grace"]
    (session,) = [one for one in seen["sessions"].sessions if one.meeting_display_name == "Both"]
    assert session.live_participants == 1


def test_an_app_of_the_recording_sdk_is_recorded_until_everybody_has_left(played: dict[str, Any]) -> None:
    shown = told(played, "sdk", Shown)
    assert shown.viewed is not None
    assert shown.recording.stop_reason is not None
    assert shown.recording.stop_reason.reason == "ALL_PEERS_LEFT"
    assert shown.viewed.film.end_ns >= 3 * S
    assert_shows(shown.viewed, ADA)


def test_a_browser_that_is_killed_ends_the_film_and_loses_nothing_before(played: dict[str, Any]) -> None:
    shown = told(played, "killed", Shown)
    assert shown.viewed is not None
    assert shown.recording.stop_reason is not None
    assert shown.recording.stop_reason.reason == "INTERNAL_ERROR"
    assert shown.viewed.film.end_ns >= 2 * S
    assert_shows(shown.viewed, ADA)


def test_a_page_that_is_not_there_is_an_error(played: dict[str, Any]) -> None:
    assert told(played, "missing", Shown).recording.status == "ERRORED"


def test_a_recording_stopped_before_its_page_began_is_an_error(played: dict[str, Any]) -> None:
    assert told(played, "early", Shown).recording.status == "ERRORED"


async def test_after_a_crash_of_the_server_the_page_is_opened_again_and_the_film_goes_on(tmp_path: Path) -> None:
    async with open_site() as site, open_house(tmp_path, ENV) as house:
        room = await house.room([], "Crash")
        take = await room.start(**SMALL, url=site.show(ADA))
        await filmed(take, 3)
        leaders = list(browsers_of(house.server.pid))
        assert leaders
        await house.server.kill()
        await gone(leaders)
        opened = len(site.asked)
        await house.server.start()

        async def again() -> bool:
            return len([r for r in site.asked[opened:] if r.path == "/show"]) > 0

        await eventually(again, LIMIT_S)
        log = await take.log_dir()

        async def goes_on() -> bool:
            return any(type(event).__name__ == "Outage" for event in await asyncio.to_thread(read_events, log))

        await eventually(goes_on, LIMIT_S)
        await room.clock.until(room.clock.now_ns() + 3 * S)
        leaders = list(browsers_of(house.server.pid))
        await take.act("stop")
        viewed = await take.film([ADA], limit_s=LIMIT_S)
        await gone(leaders)
    assert viewed.recording.stop_reason is not None
    assert viewed.recording.stop_reason.reason == "API_CALL"
    assert viewed.film.end_ns >= 5 * S
    assert sum(box is not None for box in viewed.film.sights["Ada"].boxes) >= 0.9 * len(viewed.film.starts_ns)


async def test_a_server_that_may_not_open_private_addresses_takes_none(tmp_path: Path) -> None:
    async with open_house(tmp_path, {"TAPEDECK_BROWSER_SANDBOX": "off"}) as house:
        room = await house.room([], "Private")
        for address in ("http://127.0.0.1:1/show", "http://localhost/show", "http://169.254.169.254/"):
            with pytest.raises(UnprocessableEntityError, match="private address"):
                await room.start(url=address)
