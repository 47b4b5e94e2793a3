"""People sent away over real WebRTC: by kick, by deletion, by kick-all. The film shows each of them until then."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cloudflare import APIStatusError
from tests.e2e.kit import SMALL, House, Recording, S, Viewed, clock_of, judge, open_house, read_events

from tapedeck.core.timeline import ParticipantLeft, RecordingStopped
from tapedeck.sources.synthetic import CAST
from tapedeck.testing.expect import Attendance, Bars, Interval, Recorded
from tapedeck.testing.people import Act, Cue, Person

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

STAY = Cue(30.0, Act.LEAVE)
PEOPLE = tuple(Person(look, (Cue(0.2 * place, Act.JOIN), STAY)) for place, look in enumerate(CAST[:3], 1))


@dataclass(frozen=True)
class Run:
    viewed: Viewed
    people: tuple[Attendance, ...]
    recorded: tuple[Recorded, ...]
    ended: Recording
    session: Any
    attendances: list[Any]
    left: list[str]
    expected: list[str]
    statuses: dict[str, int]
    active: int


async def status_of(house: House, method: str, url: str, token: str) -> int:
    async with house.http.request(method, url, headers={"authorization": f"Bearer {token}"}) as response:
        return response.status


def until(sent: Attendance, end_ns: int) -> Attendance:
    """What was sent before the server hung up; it took the sender less than a second to find out."""

    def cut(spans: tuple[Interval, ...]) -> tuple[Interval, ...]:
        assert all(span.end_ns < end_ns + S for span in spans)
        return tuple(Interval(span.start_ns, min(span.end_ns, end_ns)) for span in spans)

    return Attendance(sent.look, cut(sent.camera), cut(sent.microphone))


async def play(folder: Path) -> Run:
    async with open_house(folder) as house:
        room = await house.room(PEOPLE, "Sent away")
        kit, ids = house.sdk.realtime_kit, house.ids
        listed = await kit.meetings.get_meeting_participants(room.id, **ids)
        people = {person.custom_participant_id: person.id for person in listed.data}
        names = [person.look.name.lower() for person in PEOPLE]
        playing = asyncio.create_task(room.play())
        await room.at(2.05)
        take = await room.start(**SMALL)
        await take.until("RECORDING")

        await room.at(3.35)
        token = await kit.meetings.refresh_participant_token(people[names[1]], meeting_id=room.id, **ids)
        place = next(p._session for p in room.performers[1]._open.values())
        kicked = await kit.active_session.kick_participants(room.id, custom_participant_ids=[names[1]], **ids)
        assert kicked.data is not None and [p.id for p in kicked.data.participants or []] == [people[names[1]]]
        assert place is not None
        statuses = {"resource of the kicked": await status_of(house, "DELETE", place, token.data.token)}

        await room.at(4.65)
        doomed = await kit.meetings.refresh_participant_token(people[names[2]], meeting_id=room.id, **ids)
        await kit.meetings.delete_meeting_participant(people[names[2]], meeting_id=room.id, **ids)
        door = f"{house.server.base_url}/rtc/{room.id}/whip"
        statuses["token of the deleted"] = await status_of(house, "POST", door, doomed.data.token)
        live = await kit.active_session.get_active_session(room.id, **ids)
        assert live.data is not None and live.data.live_participants == 1

        await room.at(6.25)
        everybody = await kit.active_session.kick_all_participants(room.id, **ids)
        assert everybody.data is not None and everybody.data.kicked_participants_count == 1
        ended = await take.get()
        with pytest.raises(APIStatusError) as none:
            await kit.active_session.get_active_session(room.id, **ids)
        await room.at(7.0)  # their senders find out
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)

        viewed = await take.film([person.look for person in PEOPLE])
        over = await kit.sessions.get_session_details(live.data.id, **ids)
        who = await kit.sessions.get_session_participants(live.data.id, view="consolidated", **ids)
        assert who.data is not None and who.data.participants is not None
        events = read_events(await take.log_dir())
        last = max(i for i, event in enumerate(events) if isinstance(event, RecordingStopped))
        gone = [event for event in events[:last] if isinstance(event, ParticipantLeft)]
        left = [event.participant_id for event in gone]
        to_clock = clock_of(await take.log_dir(), room.clock)
        ends_ns = {event.participant_id: to_clock(event.at_ns) for event in gone}
        sent = [one for performer in room.performers for one in performer.attendance]
        attended = tuple(until(one, ends_ns[people[one.look.name.lower()]]) for one in sent)
        return Run(
            viewed,
            attended,
            await take.recorded(),
            ended,
            over.data,
            who.data.participants,
            left,
            [people[name] for name in (names[1], names[2], names[0])],
            statuses,
            none.value.status_code,
        )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return asyncio.run(play(tmp_path_factory.mktemp("kick")))


def test_the_film_shows_each_until_they_were_sent_away(run: Run) -> None:
    # Nobody has a tile of their own while one layout dissolves into the next, and of two seconds that is a tenth.
    report = judge(run.viewed, run.people, run.recorded, Bars(presence=0.9))
    assert report.ok, f"\n{report}"


def test_the_recording_ended_as_if_all_had_left(run: Run) -> None:
    assert run.ended.status in ("UPLOADING", "UPLOADED")
    assert run.ended.stop_reason is not None and run.ended.stop_reason.reason == "ALL_PEERS_LEFT"
    assert run.ended.stop_reason.caller is None


def test_publications_were_over_at_once_and_the_log_says_so(run: Run) -> None:
    assert run.left == run.expected
    assert run.statuses == {"resource of the kicked": 404, "token of the deleted": 401}
    assert run.active == 404


def test_the_session_counts_what_happened(run: Run) -> None:
    assert (run.session.status, run.session.live_participants) == ("ENDED", 0)
    assert run.session.max_concurrent_participants == 3
    stays = {person.display_name: person.duration * 60 for person in run.attendances}
    host, kicked, deleted = (stays[person.look.name] for person in PEOPLE)
    assert 2 < kicked < deleted < host
    for person in run.attendances:
        stay = datetime.fromisoformat(person.left_at) - datetime.fromisoformat(person.joined_at)
        assert abs(person.duration * 60 - stay.total_seconds()) < 0.001
    assert abs(run.session.minutes_consumed * 60 - host - kicked - deleted) < 0.002
