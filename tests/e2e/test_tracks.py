"""Recordings of tracks as an application makes them, with real people, and one whose server dies in the middle.

One meeting has a list of people: Ada, who is there, and Linus, who comes late, loses his connection and comes back;
Grace is not on it. It is paused once. The other one has everybody, and its server is killed. Every file is fetched by
its link and played. Numbers in brackets are those of the wire contract's own list of tests.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest
from cloudflare import AsyncCloudflare
from playwright.async_api import async_playwright
from tests.e2e.kit import MS, House, Room, S, clock_of, open_house, read_events

from tapedeck.core.film import FilmClock
from tapedeck.core.frames import Codec
from tapedeck.core.timeline import ParticipantJoined, TrackOpened
from tapedeck.media.playback import play_sound
from tapedeck.medialog.reader import LogReader
from tapedeck.sources.synthetic import CAST, SCREENS, Look
from tapedeck.testing.browser import chromium_path
from tapedeck.testing.people import Act, Cue, Person
from tapedeck.testing.watch import find_beeps, watch

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

NAME = re.compile(
    r"([A-Za-z0-9]+(?:-video)?)_(.+)_([0-9a-f-]{36})_(peer|screenshare)_(audio|video)_(\d{13})\.(webm|mkv)"
)
ADA, GRACE, LINUS, HEDY, ALAN = CAST[:5]
NEAR_NS = 40 * MS
"""Sound to picture, of pictures that are 50 ms long."""
FAR_MS = 400
"""How late a test machine with too much to do may send; where frames are placed is tested in `tests/render`."""
FEW = 2
"""Beats that such a machine may spoil."""
BEEP_NS, BAR_NS = 40 * MS, 50 * MS
EMPTY_S = 30


@dataclass(frozen=True)
class File:
    """A file that was fetched."""

    layer: str
    path: Path
    url: str

    @property
    def words(self) -> tuple[str, ...]:
        """Prefix, user, peer, stream kind, media kind, time, extension."""
        found = NAME.fullmatch(self.path.name)
        assert found, self.path.name
        return found.groups()

    @property
    def user(self) -> str:
        return self.words[1]

    @property
    def kind(self) -> str:
        return f"{self.words[3]} {self.words[4]}"

    @property
    def zero_ns(self) -> int:
        """Where it begins on the recording's clock."""
        with av.open(self.path) as container:
            return int(container.metadata["RECORDING_OFFSET_MS"]) * MS

    @property
    def duration_ns(self) -> int:
        with av.open(self.path) as container:
            assert container.duration is not None
            return container.duration * 1000


@dataclass(frozen=True)
class Taken:
    """A recording that is delivered."""

    started: dict[str, Any]
    recording: dict[str, Any]
    files: tuple[File, ...]
    film: FilmClock
    to_clock: Callable[[int], int]
    uploaded_after_s: float
    log_dir: Path
    seen: dict[str, Any]

    def of_participant(self, name: str) -> str:
        """The id of somebody in the log."""
        joined = [e for e in read_events(self.log_dir) if isinstance(e, ParticipantJoined) and e.name == name]
        return joined[0].participant_id

    def of(self, user: str, kind: str) -> list[File]:
        """Files of somebody, in order of their beginning."""
        return sorted((f for f in self.files if (f.user, f.kind) == (user, kind)), key=lambda f: f.words[5])

    def on_clock(self, film_ns: int) -> int:
        """An instant of the recording on the clock of the people."""
        cut = self.film.cut_at_film(film_ns) or self.film.cuts[-1]
        return self.to_clock(cut.to_capture(film_ns))

    def seconds(self, file: File, at_ns: list[int]) -> list[int]:
        """Which whole seconds of the people's clock these instants of a file are: beats are sent on them."""
        on_clock = [self.on_clock(file.zero_ns + beat_ns) for beat_ns in at_ns]
        off = [((ns + S // 2) % S - S // 2) // MS for ns in on_clock]
        assert all(abs(ms) <= FAR_MS for ms in off), (file.path.name, off)
        return [round(ns / S) for ns in on_clock]

    def assert_heard(self, file: File, look: Look, seconds: list[int], cast: tuple[Look, ...]) -> None:
        """Beeps on these seconds, nearly all of them, and nobody else's."""
        sound = play_sound(file.path)
        assert all(not find_beeps(sound, other) for other in cast if other is not look), file.path.name
        heard = self.seconds(file, beats_heard(file, look))
        assert set(heard) <= set(seconds) and len(heard) >= len(seconds) - FEW, (file.path.name, heard)

    def assert_seen_with(self, file: File, sound: File, look: Look, cast: tuple[Look, ...]) -> None:
        """Bars when there are beeps, both files lying one upon the other; and nobody else's."""
        film = watch(file.path, cast)
        assert all(not flashes for name, flashes in film.flashes.items() if name != look.name)
        heard = beats_heard(sound, look)
        bars = [flash.middle_ns - BAR_NS // 2 for flash in film.flashes[look.name]]
        pairs = [(bar, beep) for bar in bars for beep in heard if abs(bar - beep) < S // 2]
        assert len(pairs) >= len(heard) - FEW and pairs, (bars, heard)
        assert all(abs(bar - beep) <= NEAR_NS for bar, beep in pairs), pairs


def beats_heard(file: File, look: Look) -> list[int]:
    """Where somebody's beeps begin in a file."""
    return [beep.middle_ns - BEEP_NS // 2 for beep in find_beeps(play_sound(file.path), look)]


def stay(look: Look, *cues: Cue, codec: Codec = Codec.H264, screen: Look | None = None) -> Person:
    return Person(look, cues, screen=screen, codec=codec, size=(320, 180), fps=20)


async def start(house: House, room: Room, **options: Any) -> dict[str, Any]:
    """By the official SDK, in strict mode."""
    raw = await house.sdk.realtime_kit.recordings.with_raw_response.start_track_recording(
        house.server.app_id, account_id=house.server.account_id, meeting_id=room.id, **options
    )
    parsed = await raw.parse()
    body: Any = await raw.json()
    assert parsed.data is not None and parsed.data.recording.id == body["data"]["id"]  # [38]
    return dict(body["data"])


async def taken(house: House, sdk: AsyncCloudflare, room: Room, started: dict[str, Any], **seen: Any) -> Taken:
    """Stop, and fetch every file."""
    kit, recording_id = sdk.realtime_kit.recordings, started["id"]
    stopped = await kit.pause_resume_stop_recording(recording_id, action="stop", **house.ids)
    assert stopped.data is not None and stopped.data.status == "UPLOADING"
    begin = time.monotonic()
    while True:
        got = await kit.with_raw_response.get_one_recording(recording_id, **house.ids)
        whole: Any = await got.json()
        body = whole["data"]
        if body["status"] != "UPLOADING":
            break
        await room.clock.until(room.clock.now_ns() + 50 * MS)
    took = time.monotonic() - begin
    assert body["status"] == "UPLOADED", body
    listed = await kit.with_raw_response.get_recordings(house.server.app_id, account_id=house.server.account_id)
    page: Any = await listed.json()
    assert body["download_url"] in [one["download_url"] for one in page["data"]]
    folder = house.folder / recording_id
    folder.mkdir()
    files = []
    for layer in body["download_url"]:
        for name, link in layer["download_urls"].items():
            (folder / name).write_bytes(await house.fetch(link["download_url"]))
            files.append(File(layer["layer_name"], folder / name, link["download_url"]))
    assert body["file_size"] == sum(file.path.stat().st_size for file in files)
    log_dir = house.server.data_dir / "captures" / started["session_id"]
    film = FilmClock(recording_id)
    film.feed(read_events(log_dir))
    return Taken(started, body, tuple(files), film, clock_of(log_dir, room.clock), took, log_dir, seen)


async def chosen(house: House, sdk: AsyncCloudflare, room: Room) -> Taken:
    """A list of people, and a pause."""
    playing = asyncio.create_task(room.play())
    await room.at(2.25)
    layers = {"default": {"file_name_prefix": "speaker", "media_kind": "audio"}, "default-video": {}}
    started = await start(house, room, user_ids=["ada", "linus"], layers=layers)
    kit = sdk.realtime_kit.recordings
    statuses: list[str] = []

    async def act(at_s: float, action: Any) -> None:
        await room.at(at_s)
        done = await kit.pause_resume_stop_recording(started["id"], action=action, **house.ids)
        assert done.data is not None
        statuses.append(done.data.status)

    await act(6.25, "pause")
    active = await kit.get_active_recordings(room.id, **house.ids)
    await act(8.25, "resume")
    await room.at(14.25)
    assert active.data is not None
    done = await taken(house, sdk, room, started, statuses=statuses, active=active.data.id)
    await playing
    return done


async def killed(house: House, sdk: AsyncCloudflare, room: Room, free: asyncio.Event) -> Taken:
    """Everybody, and a server that dies when it is free of the other meeting."""
    playing = asyncio.create_task(room.play())
    await room.at(1.25)
    started = await start(house, room)
    await free.wait()
    await room.at(16.3)
    died_ns = room.clock.now_ns()
    await house.server.kill()
    await house.server.start()
    await room.at(24.25)
    done = await taken(house, sdk, room, started, died_ns=died_ns)
    await playing
    return done


@dataclass(frozen=True)
class Stories:
    chosen: Taken
    killed: Taken
    played: dict[str, Any]


async def play_all(folder: Path) -> Stories:
    async with open_house(folder, {"TAPEDECK_EMPTY_MEETING_TIMEOUT_S": str(EMPTY_S)}) as house:
        # The ordinary client: a strict one refuses a list where the published types have one text. [43]
        base = f"{house.server.base_url}/client/v4"
        async with AsyncCloudflare(base_url=base, api_token=house.server.token) as sdk:
            first = await house.room(
                [
                    stay(
                        ADA,
                        Cue(0.5, Act.JOIN),
                        Cue(3, Act.SHARE),
                        Cue(5, Act.UNSHARE),
                        Cue(9.5, Act.MUTE),
                        Cue(11.5, Act.UNMUTE),
                        Cue(15.5, Act.LEAVE),
                        codec=Codec.VP8,
                        screen=SCREENS[0],
                    ),
                    stay(GRACE, Cue(0.5, Act.JOIN), Cue(15.5, Act.LEAVE)),
                    stay(LINUS, Cue(4.5, Act.JOIN), Cue(10.5, Act.REJOIN), Cue(15.5, Act.LEAVE)),
                ]
            )
            second = await house.room(
                [
                    stay(HEDY, Cue(0.5, Act.JOIN), Cue(17.5, Act.REJOIN), Cue(25, Act.LEAVE)),
                    stay(ALAN, Cue(0.5, Act.JOIN), Cue(10, Act.LEAVE), codec=Codec.VP8),
                ]
            )
            free = asyncio.Event()
            later = asyncio.create_task(killed(house, sdk, second, free))
            try:
                one = await chosen(house, sdk, first)
            finally:
                free.set()
            other = await later
            played = {f.path.name: await play_in_chromium(f.url) for f in one.files if f.words[6] == "webm"}
            return Stories(one, other, played)


async def play_in_chromium(url: str) -> dict[str, Any]:
    """Play a file to its end, eight times as fast."""
    async with async_playwright() as playwright:
        arguments = ["--autoplay-policy=no-user-gesture-required"]
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=arguments)
        try:
            page = await browser.new_page()
            await page.set_content("<video muted></video>")
            script = """url => new Promise((done, fail) => {
                const video = document.querySelector("video");
                video.onerror = () => fail(new Error(video.error.message));
                video.onended = () => done({duration: video.duration, end: video.currentTime, width: video.videoWidth,
                                            pictures: video.getVideoPlaybackQuality().totalVideoFrames});
                video.src = url;
                video.playbackRate = 8;
                video.play().catch(fail);
            })"""
            found: dict[str, Any] = await page.evaluate(script, url)
            return found
        finally:
            await browser.close()


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Stories:
    return asyncio.run(play_all(tmp_path_factory.mktemp("tracks")))


FIRST_CAST = (ADA, GRACE, LINUS)


def test_start_pause_resume_and_stop_are_answered(stories: Stories) -> None:
    """[38, 40]"""
    take = stories.chosen
    assert take.started["status"] == "INVOKED" and take.started["type"] == "TRACK"
    assert take.started["output_file_name"].startswith("{{file_name_prefix}}_{{user_id}}_")
    assert take.seen["statuses"] == ["PAUSED", "RECORDING"] and take.seen["active"] == take.started["id"]
    assert take.film.duration_ns is not None and take.recording["audio_download_url"] is None
    assert take.recording["recording_duration"] == pytest.approx(take.film.duration_ns / S, abs=0.7)
    assert take.uploaded_after_s < 3


def test_only_the_chosen_have_files_one_for_each_connection_and_kind(stories: Stories) -> None:
    """[41, 42]"""
    found = sorted((f.layer, f.words[0], f.user, f.kind, f.words[6]) for f in stories.chosen.files)
    assert found == [
        ("default", "speaker", "ada", "peer audio", "webm"),
        ("default", "speaker", "linus", "peer audio", "webm"),
        ("default", "speaker", "linus", "peer audio", "webm"),
        ("default-video", "default-video", "ada", "peer video", "webm"),
        ("default-video", "default-video", "ada", "screenshare video", "webm"),
        ("default-video", "default-video", "linus", "peer video", "mkv"),
        ("default-video", "default-video", "linus", "peer video", "mkv"),
    ]


def test_nothing_of_who_is_not_chosen_was_written(stories: Stories) -> None:
    folder = stories.chosen.log_dir
    assert b"Ada" in (folder / "timeline.log").read_bytes()
    assert all(b"Grace" not in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    opened = [event.track for event in read_events(folder) if isinstance(event, TrackOpened)]
    assert len({track.participant_id for track in opened}) == 2


def test_each_is_heard_in_their_own_file_when_they_spoke(stories: Stories) -> None:
    take = stories.chosen
    (ada,) = take.of("ada", "peer audio")
    take.assert_heard(ada, ADA, [3, 4, 5, 6, 9, 12, 13, 14], FIRST_CAST)
    assert ada.duration_ns == pytest.approx(take.film.duration_ns, abs=0.1 * S)
    early, late = take.of("linus", "peer audio")
    take.assert_heard(early, LINUS, [5, 6, 9, 10], FIRST_CAST)
    take.assert_heard(late, LINUS, [*range(11, 15)], FIRST_CAST)
    assert int(early.words[5]) < int(late.words[5]) and early.words[2] != late.words[2]


def test_pictures_line_up_with_sound(stories: Stories) -> None:
    take = stories.chosen
    for user, look in (("ada", ADA), ("linus", LINUS)):
        for voice, camera in zip(take.of(user, "peer audio"), take.of(user, "peer video"), strict=True):
            assert voice.zero_ns == camera.zero_ns and voice.words[5] == camera.words[5]
            take.assert_seen_with(camera, voice, look, FIRST_CAST)
    assert take.of("ada", "peer audio")[0].zero_ns == 0
    (screen,) = take.of("ada", "screenshare video")
    film = watch(screen.path, (*FIRST_CAST, SCREENS[0]))
    assert [name for name, flashes in film.flashes.items() if flashes] == [SCREENS[0].name]


def test_frames_in_the_files_are_those_in_the_log(stories: Stories) -> None:
    take = stories.chosen
    log = LogReader(take.log_dir)
    logged = {}
    for event in read_events(take.log_dir):
        if isinstance(event, TrackOpened):
            with log.track(event.track.track_id) as reader:
                key = (event.track.peer_id, str(event.track.kind))
                logged[key] = {frame.payload for frame in iter_frames(reader)}
    for file in take.files:
        if file.words[6] == "webm":
            with av.open(file.path) as container:
                packets = [bytes(packet) for packet in container.demux() if packet.size]
            assert len(packets) > 10 and set(packets) <= logged[(file.words[2], file.words[4])]


def iter_frames(reader: Any) -> Any:
    while batch := reader.poll():
        yield from batch


def test_chromium_plays_the_webm_files_to_their_end(stories: Stories) -> None:
    assert len(stories.played) == 5
    for file in stories.chosen.files:
        if file.words[6] != "webm":
            continue
        played = stories.played[file.path.name]
        assert played["duration"] == pytest.approx(file.duration_ns / S, abs=0.05)
        assert played["end"] == pytest.approx(played["duration"], abs=0.1)
        assert (played["width"] > 0) == (file.words[4] == "video")


def test_a_server_that_dies_costs_a_cut_and_who_comes_back_has_new_files(stories: Stories) -> None:
    take = stories.killed
    assert take.recording["status"] == "UPLOADED" and take.recording["stop_reason"]["reason"] == "API_CALL"
    cast = (HEDY, ALAN)
    before, after = take.of(take.of_participant("Hedy"), "peer audio")
    take.assert_heard(before, HEDY, [*range(2, 17)], cast)
    seconds = [n for n in range(18, 25) if take.to_clock(take.film.cuts[1].start_ns) < n * S]
    take.assert_heard(after, HEDY, seconds, cast)
    (alan,) = take.of(take.of_participant("Alan"), "peer audio")
    take.assert_heard(alan, ALAN, [*range(2, 11)], cast)
    assert len(take.film.cuts) == 2 and after.zero_ns == pytest.approx(15 * S, abs=1.2 * S)
    assert all(file.words[0] == "default" for file in take.files)
