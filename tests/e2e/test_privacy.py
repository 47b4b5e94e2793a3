"""What must not be kept: media outside of a recording, and secrets and addresses in log lines at any level.

Pictures are marked with what was going on when they were captured (an SEI message in each frame), and every file that
the server wrote is searched for the marks.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import aiohttp
import pytest
from tests.e2e.kit import SMALL, House, Room, open_house

from tapedeck.core.frames import Codec
from tapedeck.sources.publish import OutgoingTrack, Publisher
from tapedeck.sources.synthetic import CAST, SyntheticCamera, SyntheticMicrophone
from tapedeck.testing.clock import SharedClock

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

T = TypeVar("T")
CAMERA_ADDRESS, HTTP_ADDRESS = "127.0.0.2", "127.0.0.3"
_MARK_ID = bytes(range(1, 17))


def marked(payload: bytes, phase: str) -> bytes:
    """A frame in Annex B with a message of user data (H.264 D.1.7) in front."""
    text = _MARK_ID + f"phase-{phase}.".encode()
    return b"\0\0\0\1" + bytes((6, 5, len(text))) + text + b"\x80" + payload


class MarkedPerson:
    """Somebody in the meeting whose every picture says in which phase it was captured."""

    def __init__(self, clock: SharedClock) -> None:
        self.phase = "before"
        self.sent: dict[str, int] = {}
        self._clock = clock
        self._camera = SyntheticCamera(CAST[0], width=320, height=180, fps=20)
        self._microphone = SyntheticMicrophone(CAST[0])
        self._publisher = Publisher(hosts=(CAMERA_ADDRESS,), wallclock_ns=clock.wallclock_ns)
        self._video = self._publisher.add_video(
            Codec.H264, origin_ns=clock.origin_ns, on_keyframe_request=self._camera.request_keyframe
        )
        self._audio = self._publisher.add_audio(channels=1, origin_ns=clock.origin_ns)
        self._playing: list[asyncio.Task[None]] = []
        self.secrets: list[str] = []
        "What ICE and WHIP keep between themselves."

    async def enter(self, house: House, room: Room, token: str) -> None:
        """Publish from an address of one's own."""
        url = f"{house.server.base_url}/rtc/{room.id}/whip"
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
        offer = await self._publisher.offer()
        connector = aiohttp.TCPConnector(local_addr=(HTTP_ADDRESS, 0))
        async with aiohttp.ClientSession(connector=connector) as http:
            async with http.post(url, data=offer, headers=headers) as response:
                assert response.status == 201
                answer = await response.text()
                session = response.headers["Location"].rpartition("/")[2]
        self.secrets = [session, token]
        for text in (offer, answer):
            lines = [line for line in text.splitlines() if line.startswith(("a=ice-pwd:", "a=ice-ufrag:"))]
            self.secrets += {line.partition(":")[2] for line in lines}
        await self._publisher.accept(answer)
        self._playing = [
            asyncio.create_task(self._play(self._camera, self._video)),
            asyncio.create_task(self._play(self._microphone, self._audio)),
        ]

    async def _play(self, source: SyntheticCamera | SyntheticMicrophone, track: OutgoingTrack) -> None:
        index = source.index_from(self._clock.now_ns())
        while True:
            await self._clock.until(source.at_ns(index))
            if isinstance(source, SyntheticCamera):
                frame = source.frame(index)
                track.send(marked(frame.payload, self.phase), frame.ticks)
                self.sent[self.phase] = self.sent.get(self.phase, 0) + 1
            elif packet := source.packet(index):
                track.send(packet.payload, packet.at_ns * 48 // 1_000_000, level=packet.dbov)
            index += 1

    async def sent_in(self, phase: str, count: int) -> None:
        """Return when that many pictures of a phase were sent."""
        while self.sent.get(phase, 0) < count:
            await self._clock.until(self._clock.now_ns() + 20_000_000)

    async def through(self, call: Awaitable[T], phase: str) -> T:
        """Make a call; pictures captured while it is under way may belong to either side."""
        self.phase = "either"
        result = await call
        self.phase = phase
        return result

    async def leave(self) -> None:
        for task in self._playing:
            task.cancel()
        await asyncio.gather(*self._playing, return_exceptions=True)
        await self._publisher.close()


@dataclass(frozen=True)
class Run:
    folder: Path
    sent: dict[str, int]
    files_before: list[str]
    never_recorded: str
    said: str
    secrets: list[str]


async def play(folder: Path) -> Run:
    async with open_house(folder, {"TAPEDECK_LOG_LEVEL": "debug", "TAPEDECK_LOG_FORMAT": "json"}) as house:
        room, other = await house.room([], "Marked"), await house.room([], "Never recorded")
        tokens = [await house.participant(one.id, "Ada") for one in (room, other)]
        person, bystander = MarkedPerson(room.clock), MarkedPerson(other.clock)
        bystander.phase = "never"
        await person.enter(house, room, tokens[0])
        await bystander.enter(house, other, tokens[1])
        await person.sent_in("before", 25)
        files_before = sorted(str(path) for path in (house.server.data_dir / "captures").rglob("*") if path.is_file())
        take = await person.through(room.start(**SMALL), "first")
        await person.sent_in("first", 25)
        await person.through(take.act("pause"), "paused")
        await person.sent_in("paused", 40)
        await person.through(take.act("resume"), "second")
        await person.sent_in("second", 25)
        await person.through(take.act("stop"), "after")
        await person.sent_in("after", 25)
        recording = await take.until("UPLOADED")
        assert recording.download_url
        await provoke(house, room, tokens[0], recording.download_url)
        await person.leave()
        await bystander.leave()
        secrets = [
            house.server.token,
            (house.server.data_dir / "secret.key").read_text().strip(),
            recording.download_url.partition("?")[2],
            recording.download_url.partition("signature=")[2],
            *person.secrets,
            *bystander.secrets,
        ]
        sent = {**person.sent, **bystander.sent}
    return Run(folder, sent, files_before, other.id, house.server.log_path.read_text("utf-8"), secrets)


async def provoke(house: House, room: Room, token: str, link: str) -> None:
    """Requests that go wrong: refusals are what servers like to explain in their logs."""
    whip, bearer = f"{house.server.base_url}/rtc/{room.id}/whip", {"Authorization": f"Bearer {token}"}
    recordings = (
        f"{house.server.base_url}/client/v4/accounts/{house.server.account_id}/realtime/kit/{house.server.app_id}"
        "/recordings"
    )
    admin = {"Authorization": f"Bearer {house.server.token}"}
    for method, url, headers, body in (
        ("POST", whip, {**bearer, "Content-Type": "application/sdp"}, "v=0\r\nnonsense"),
        ("POST", whip, {**bearer, "Content-Type": "application/sdp"}, "\0" * 100),
        ("PATCH", f"{whip}/unknown", bearer, ""),
        ("DELETE", f"{whip}/unknown", bearer, ""),
        ("POST", whip, {"Authorization": f"Bearer {token}x"}, ""),
        ("GET", link.replace("signature=", "signature=0"), {}, ""),
        ("GET", link, {}, ""),
        ("POST", recordings, admin, "{"),
        ("POST", recordings, admin, '{"meeting_id": 7}'),
        ("GET", f"{recordings}?token={token}", {"Authorization": "Bearer wrong"}, ""),
    ):
        async with house.http.request(method, url, headers=headers, data=body) as response:
            assert response.status < 500
            await response.read()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return asyncio.run(play(tmp_path_factory.mktemp("privacy")))


def found_in(folder: Path, mark: bytes) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*") if path.is_file() and mark in path.read_bytes())


def test_nothing_is_written_before_somebody_presses_record(run: Run) -> None:
    assert run.sent["before"] >= 25
    assert run.files_before == []
    assert found_in(run.folder, b"phase-before.") == []


@pytest.mark.parametrize("phase", ["paused", "after", "never"])
def test_no_file_has_a_picture_from_outside_of_the_recording(run: Run, phase: str) -> None:
    assert run.sent[phase] >= 25
    assert found_in(run.folder, f"phase-{phase}.".encode()) == []


@pytest.mark.parametrize("phase", ["first", "second"])
def test_every_picture_of_the_recording_is_in_the_log(run: Run, phase: str) -> None:
    """Which also shows that the search finds what is there."""
    (path,) = found_in(run.folder, f"phase-{phase}.".encode())
    assert "captures" in path
    assert Path(path).read_bytes().count(f"phase-{phase}.".encode()) == run.sent[phase]


def test_a_meeting_that_was_never_recorded_leaves_no_log(run: Run) -> None:
    logs = list((run.folder / "data" / "captures").iterdir())
    assert len(logs) == 1
    assert run.never_recorded not in (logs[0] / "meta.json").read_text()


def test_log_lines_carry_no_secret_and_no_address_of_a_participant(run: Run) -> None:
    lines = [json.loads(line) for line in run.said.splitlines()]
    assert {"peer_connected", "recording_changed", "render.started", "peer_ended"} <= {line["action"] for line in lines}
    for secret in run.secrets:
        assert secret not in run.said
    for address in (CAMERA_ADDRESS, HTTP_ADDRESS):
        assert address not in run.said
    assert all("action" in line for line in lines)
