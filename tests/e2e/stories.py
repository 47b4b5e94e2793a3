"""Meetings that more than one module looks at: each is played once per run of the suite."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock
from urllib.parse import urlsplit, urlunsplit

from tests.e2e.kit import MS, SMALL, Action, House, LoggedFrame, Viewed, open_house, read_frames
from yarl import URL

from tapedeck.core.frames import Codec
from tapedeck.sources.outgoing import OutgoingTrack
from tapedeck.sources.synthetic import CAST
from tapedeck.testing.expect import Attendance, Edge, Recorded
from tapedeck.testing.link import HookedLink, Impairment
from tapedeck.testing.people import Act, Cue, Person

__all__ = ["BAD_NETWORK", "Answer", "Story", "play_lossy", "play_three"]

ADA, GRACE, LINUS = CAST[:3]


@dataclass(frozen=True)
class Answer:
    """What the server answered to a request for the film."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Story:
    """What was sent, recorded and delivered."""

    viewed: Viewed
    people: tuple[Attendance, ...]
    recorded: tuple[Recorded, ...]
    "Exactly, by the media log."
    told: tuple[Recorded, ...]
    "As an application knows it: between request and answer."
    log_dir: Path
    log: list[LoggedFrame]
    answers: dict[str, Answer] = field(default_factory=dict)
    sent: dict[str, dict[int, bytes]] = field(default_factory=dict)
    "Payload by codec and media time, of what was given to the network."
    lost: int = 0


THREE = (
    Person(ADA, (Cue(0.2, Act.JOIN), Cue(11.3, Act.CAMERA_OFF), Cue(13.4, Act.CAMERA_ON), Cue(15.6, Act.LEAVE))),
    Person(LINUS, (Cue(0.4, Act.JOIN), Cue(10.6, Act.LEAVE)), dtx=True),
    Person(GRACE, (Cue(3.3, Act.JOIN), Cue(4.7, Act.MUTE), Cue(10.3, Act.UNMUTE), Cue(15.6, Act.LEAVE))),
)


async def play_three(folder: Path) -> Story:
    """Ada turns her camera off for a while, Linus, whose silence is not sent (DTX), leaves early, Grace comes late and
    mutes herself; with a pause."""
    async with open_house(folder) as house:
        room = await house.room(THREE, "Three people")
        playing = asyncio.create_task(room.play())
        await room.at(1.55)
        take = await room.start(file_name_prefix="three")
        await take.until("RECORDING")
        action: Action
        for at_s, action in ((6.4, "pause"), (9.7, "resume"), (15.2, "stop")):
            await room.at(at_s)
            await take.act(action)
        people = await playing
        viewed = await take.film([person.look for person in THREE])
        start, pause, resume, stop = take.edges
        assert viewed.recording.download_url
        return Story(
            viewed,
            people,
            await take.recorded(),
            (Recorded(start, pause), Recorded(resume, stop)),
            await take.log_dir(),
            read_frames(await take.log_dir(), room.clock),
            answers=await _ask_for(house, viewed.recording.download_url),
        )


async def _ask_for(house: House, url: str) -> dict[str, Answer]:
    """The film in all the ways in which a player, a proxy or a thief asks for it."""
    parts = urlsplit(url)
    fields = dict(pair.split("=", 1) for pair in parts.query.split("&"))

    def with_query(**changed: str | None) -> str:
        pairs = {**fields, **changed}
        return urlunsplit(parts._replace(query="&".join(f"{k}={v}" for k, v in pairs.items() if v is not None)))

    past = str(int(fields["expires"]) - 30 * 86_400)
    requests: dict[str, tuple[str, str, dict[str, str]]] = {
        "whole": ("GET", url, {}),
        "head": ("HEAD", url, {}),
        "first": ("GET", url, {"Range": "bytes=0-99"}),
        "rest": ("GET", url, {"Range": "bytes=100-"}),
        "last": ("GET", url, {"Range": "bytes=-7"}),
        "beyond": ("GET", url, {"Range": "bytes=999999999-"}),
        "expired": ("GET", with_query(expires=past), {}),
        "longer": ("GET", with_query(expires=str(int(fields["expires"]) + 1)), {}),
        "renamed": ("GET", with_query(filename="other.mp4"), {}),
        "unsigned": ("GET", with_query(signature=None), {}),
        "forged": ("GET", with_query(signature=fields["signature"][::-1]), {}),
        "elsewhere": ("GET", urlunsplit(parts._replace(path=parts.path.replace(".mp4", ".mov"))), {}),
        "climbing": ("GET", urlunsplit(parts._replace(path="/files/..%2F..%2Ftapedeck.db")), {}),
    }
    answers = {}
    for name, (method, address, headers) in requests.items():
        async with house.http.request(method, URL(address, encoded=True), headers=headers) as response:
            answers[name] = Answer(response.status, dict(response.headers), await response.read())
    return answers


BAD_NETWORK = Impairment(loss=0.05, delay_ms=80, jitter_ms=10, reorder=0.03, reorder_ms=30, duplicate=0.01)


async def play_lossy(folder: Path) -> Story:
    """Two people over a bad network, one with VP8 and one with H264."""
    links: list[HookedLink] = []
    sent: dict[str, dict[int, bytes]] = defaultdict(dict)

    def link() -> HookedLink:
        links.append(HookedLink(BAD_NETWORK, seed=20 + len(links)))
        return links[-1]

    send = OutgoingTrack.send

    def noted(track: OutgoingTrack, payload: bytes, media_time: int, *, level: int | None = None) -> None:
        if track.codec is not Codec.OPUS:
            sent[track.codec.name][media_time] = payload
        send(track, payload, media_time, level=level)

    leave = Cue(15.4, Act.LEAVE)
    people = (
        Person(ADA, (Cue(0.2, Act.JOIN), leave), codec=Codec.VP8, link=link),
        Person(GRACE, (Cue(1.2, Act.JOIN), leave), codec=Codec.H264, link=link),
    )
    async with open_house(folder) as house:
        room = await house.room(people, "A bad network")
        with mock.patch.object(OutgoingTrack, "send", noted):
            playing = asyncio.create_task(room.play())
            await room.at(2.55)
            take = await room.start(**SMALL)
            await room.at(14.6)
            await take.act("stop")
            attendances = await playing
        for one in links:
            one.close()
        viewed = await take.film([person.look for person in people])
        return Story(
            viewed,
            attendances,
            tuple(_delayed(span) for span in await take.recorded()),
            (Recorded(*take.edges),),
            await take.log_dir(),
            read_frames(await take.log_dir(), room.clock),
            sent=dict(sent),
            lost=sum(one.lost for one in links),
        )


def _delayed(span: Recorded) -> Recorded:
    """A span as seen at the source: what is recorded at an instant was captured before the least delay of the way."""

    def source(edge: Edge) -> Edge:
        return Edge(edge.earliest_ns - 90 * MS, edge.latest_ns - 80 * MS)

    return Recorded(source(span.start), source(span.end))
