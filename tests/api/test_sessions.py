"""Sessions and the people in them, through the official SDK with strict parsing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import cloudflare
import pytest
from cloudflare import AsyncCloudflare
from tests.api.kit import Site
from tests.service.world import START, World

from tapedeck.core.meeting import Meeting, Participant


async def session(world: World, meeting: Meeting, people: Sequence[tuple[Participant, str]]) -> str:
    """A live session with these connections in it."""
    session_id = str(uuid4())
    await world.sessions.on_session_started(meeting.id, session_id, world.clock.now())
    for person, peer_id in people:
        await world.sessions.on_joined(session_id, person.id, peer_id, person.display_name, world.clock.now())
    return session_id


def where(world: World) -> dict[str, Any]:
    return {"account_id": world.account_id, "app_id": world.app.id}


async def test_a_session_counts_people_and_their_minutes(client: AsyncCloudflare, live_site: Site) -> None:
    world, kit = live_site.world, client.realtime_kit
    meeting = await world.meeting()
    ada, eve = await world.person(meeting, name="Ada"), await world.person(meeting, name="Eve")
    ghost = await world.person(meeting, "recorder_preset_v2", "Ghost")
    peers = [str(uuid4()) for _ in range(4)]
    session_id = await session(world, meeting, [(ada, peers[0]), (ghost, peers[3])])
    world.clock.move(30)
    await world.sessions.on_joined(session_id, ada.id, peers[1], "Ada", world.clock.now())  # her screen
    world.clock.move(30)
    await world.sessions.on_joined(session_id, eve.id, peers[2], "Eve", world.clock.now())
    await world.sessions.on_left(session_id, peers[0], world.clock.move(60))

    live = await kit.active_session.get_active_session(meeting.id, **where(world))
    assert live.data is not None
    assert (live.data.id, live.data.status, live.data.ended_at) == (session_id, "LIVE", None)
    assert (live.data.live_participants, live.data.max_concurrent_participants) == (2, 2)
    assert live.data.minutes_consumed == 3  # two of Ada, one of Eve
    assert (live.data.associated_id, live.data.meeting_display_name) == (meeting.id, "Physics")
    assert (live.data.organization_id, live.data.type) == (world.app.id, "meeting")

    await world.sessions.on_left(session_id, peers[1], world.clock.move(0.5))
    await world.sessions.on_left(session_id, peers[2], world.clock.move(1.25))
    await world.sessions.on_left(session_id, peers[3], world.clock.move(500))
    await world.sessions.on_session_ended(meeting.id, session_id, world.clock.move(60))
    one = await kit.sessions.get_session_details(session_id, **where(world), include_breakout_rooms=True)
    assert one.data is not None and one.data.breakout_rooms == []
    assert (one.data.status, one.data.live_participants, one.data.max_concurrent_participants) == ("ENDED", 0, 2)
    assert one.data.minutes_consumed == round((120.5 + 61.75) / 60, 5)
    assert one.data.started_at == "2026-03-02T09:15:04.120Z" and one.data.ended_at is not None
    with pytest.raises(cloudflare.NotFoundError, match=f"No active session found for meeting_id {meeting.id}"):
        await kit.active_session.get_active_session(meeting.id, **where(world))

    ask = kit.sessions.get_session_participants
    raw = await ask(session_id, **where(world))
    assert raw.data is not None and raw.data.participants is not None
    assert [(p.id, p.user_id, p.duration) for p in raw.data.participants] == [
        (peers[0], ada.id, 2),
        (peers[1], ada.id, round(90.5 / 60, 5)),
        (peers[2], eve.id, round(61.75 / 60, 5)),
    ]
    people = await ask(session_id, **where(world), view="consolidated", sort_by="duration", sort_order="DESC")
    assert people.data is not None and people.data.participants is not None
    assert [(p.id, p.user_id, p.duration) for p in people.data.participants] == [
        (peers[0], ada.id, round(120.5 / 60, 5)),
        (peers[2], eve.id, round(61.75 / 60, 5)),
    ]
    first = people.data.participants[0]
    assert (first.custom_participant_id, first.display_name, first.preset_name) == (
        "custom-Ada",
        "Ada",
        "group_call_host",
    )
    assert first.peer_events is None and first.joined_at == "2026-03-02T09:15:04.120Z"


async def test_people_are_searched_sorted_paged_and_told_with_their_events(
    client: AsyncCloudflare, live_site: Site
) -> None:
    world, kit = live_site.world, client.realtime_kit
    meeting = await world.meeting()
    people = [await world.person(meeting, name=name) for name in ("Ada", "Ünal", "Eve")]
    session_id = await session(world, meeting, [])
    for person in people:
        await world.sessions.on_joined(session_id, person.id, str(uuid4()), person.display_name, world.clock.move(60))
    world.clock.move(60)

    async def names(**query: Any) -> list[str | None]:
        found = await kit.sessions.get_session_participants(session_id, **where(world), **query)
        assert found.data is not None and found.data.participants is not None
        return [person.display_name for person in found.data.participants]

    for view in ("raw", "consolidated"):
        assert await names(view=view) == ["Ada", "Ünal", "Eve"]
        assert await names(view=view, sort_order="DESC") == ["Eve", "Ünal", "Ada"]
        assert await names(view=view, sort_by="duration") == ["Eve", "Ünal", "Ada"]
        assert await names(view=view, search="üNAL") == ["Ünal"]
        assert await names(view=view, search="custom-e") == ["Eve"]
        assert await names(view=view, search=people[0].id) == ["Ada"]
        assert await names(view=view, search="%") == []
        assert await names(view=view, per_page=2, page_no=2) == ["Eve"]
    await world.meetings.delete_participant(world.app, meeting.id, people[0].id)
    assert await names(search="custom-ada") == ["Ada"]

    raw = await kit.sessions.get_session_participants(session_id, **where(world), include_peer_events=True)
    assert raw.data is not None and raw.data.participants is not None
    peer_id = raw.data.participants[2].id
    assert peer_id is not None
    await world.sessions.on_left(session_id, peer_id, world.clock.now())
    one = await kit.sessions.get_session_participant_details(
        people[2].id, session_id=session_id, **where(world), include_peer_events=True
    )
    assert one.data is not None and one.data.participant is not None and one.data.participant.peer_events is not None
    events = [(e.event_name, e.minutes_consumed, e.preset_view_type) for e in one.data.participant.peer_events]
    assert events == [("PEER_JOINING", 0, "GROUP_CALL"), ("PEER_LEAVING", 1, "GROUP_CALL")]
    by_peer = await kit.sessions.get_session_participant_details(peer_id, session_id=session_id, **where(world))
    assert by_peer.data is not None and by_peer.data.participant is not None
    assert (by_peer.data.participant.user_id, by_peer.data.participant.peer_events) == (people[2].id, None)
    report = await kit.sessions.get_participant_data_from_peer_id(peer_id, **where(world), include_peer_events=True)
    assert report.data is not None and report.data.participant is not None
    assert (report.data.participant.session_id, report.data.participant.duration) == (session_id, 1)
    with pytest.raises(cloudflare.NotFoundError, match="keeps no reports"):
        await kit.sessions.get_participant_data_from_peer_id(peer_id, **where(world), filters="quality_stats")
    other = await session(world, await world.meeting(), [])
    for wrong in (peer_id, people[2].id, str(uuid4())):
        with pytest.raises(cloudflare.NotFoundError):
            await kit.sessions.get_session_participant_details(wrong, session_id=other, **where(world))


async def test_sessions_are_filtered_sorted_and_paged(client: AsyncCloudflare, live_site: Site) -> None:
    world, kit = live_site.world, client.realtime_kit
    physics, music = await world.meeting(), await world.meeting(title="Music")
    made: list[str] = []
    for number, meeting in enumerate((physics, music, physics)):
        people = [(await world.person(meeting, name=f"P{n}"), str(uuid4())) for n in range((2, 0, 1)[number])]
        made.append(await session(world, meeting, people))
        world.clock.move(600 if number == 2 else 60)
        if number != 1:
            await world.sessions.on_session_ended(meeting.id, made[-1], world.clock.now())
    first, second, third = made

    async def ids(**query: Any) -> list[str]:
        found = await kit.sessions.get_sessions(world.app.id, account_id=world.account_id, **query)
        assert found.data is not None and found.data.sessions is not None and found.paging is not None
        assert found.paging.total_count is not None and found.paging.total_count >= len(found.data.sessions)
        return [item.id for item in found.data.sessions]

    assert await ids() == [third, second, first]
    assert await ids(sort_by="createdAt", sort_order="ASC") == made
    assert await ids(sort_by="minutesConsumed") == [third, first, second]
    assert await ids(sort_by="minutesConsumed", sort_order="ASC") == [second, first, third]
    assert await ids(associated_id=physics.id) == [third, first]
    assert await ids(associated_id=physics.id.upper()) == [third, first]
    assert await ids(status="LIVE") == [second]
    assert await ids(status="ENDED") == [third, first]
    assert await ids(search="mus") == [second]
    assert await ids(search=physics.id) == [third, first]
    assert await ids(search=third) == [third]
    assert await ids(participants="1:10") == [third, first]
    assert await ids(participants="2:") == [first]
    assert await ids(participants=":1") == [third, second]
    assert await ids(start_time=START, end_time=START) == [first]
    assert await ids(per_page=1, page_no=2) == [second]
    other = await world.access.create_app(world.account_id, "Other")
    elsewhere = await kit.sessions.get_sessions(other.id, account_id=world.account_id)
    assert elsewhere.data is not None and elsewhere.data.sessions == []
    with pytest.raises(cloudflare.NotFoundError):
        await kit.sessions.get_session_details(first, account_id=world.account_id, app_id=other.id)
    with pytest.raises(cloudflare.NotFoundError):
        await kit.sessions.get_session_participants(first, account_id=world.account_id, app_id=other.id)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("sessions?participants=many", ["/participants"]),
        ("sessions?participants=3:1", ["/participants"]),
        ("sessions?status=OVER&sort_by=x&sort_order=UP&start_time=y", ["/status", "/sort_by", "/start_time"]),
        ("sessions/{id}/participants?view=all&sort_by=name", ["/sort_by", "/view"]),
        ("sessions/{id}/participants?include_peer_events=1", ["/include_peer_events"]),
        ("sessions/{id}/transcript?format=PDF", ["/format"]),
        ("sessions/peer-report/{id}?filters=all", ["/filters"]),
    ],
)
async def test_wrong_questions_are_400_and_name_the_parameter(site: Site, path: str, names: list[str]) -> None:
    answer = await site.ask("GET", path.format(id=uuid4()))
    assert answer.status_code == 400
    pointers = [error["source"]["pointer"] for error in answer.json()["errors"]]
    assert set(names) <= set(pointers)
    assert answer.json()["error"]["message"].startswith("BAD_REQUEST: ")


async def test_what_this_server_does_not_make_is_not_found(client: AsyncCloudflare, live_site: Site) -> None:
    """OC-87"""
    world, kit = live_site.world, client.realtime_kit.sessions
    session_id = await session(world, await world.meeting(), [])
    for ask, word in (
        (kit.get_session_chat, "chat"),
        (kit.get_session_transcripts, "transcript"),
        (kit.get_session_summary, "summary"),
        (kit.generate_summary_of_transcripts, "transcript to summarize"),
    ):
        with pytest.raises(cloudflare.NotFoundError, match=f"No {word} of session {session_id}"):
            await ask(session_id, **where(world))
        with pytest.raises(cloudflare.NotFoundError, match="Session not found"):
            await ask(str(uuid4()), **where(world))


async def test_kicks_say_who_was_there(client: AsyncCloudflare, live_site: Site) -> None:
    world, kit = live_site.world, client.realtime_kit.active_session
    meeting = await world.meeting()
    ada, eve, away = [await world.person(meeting, name=name) for name in ("Ada", "Eve", "Away")]
    with pytest.raises(cloudflare.NotFoundError, match="No active session"):
        await kit.kick_participants(meeting.id, **where(world), participant_ids=[ada.id])
    with pytest.raises(cloudflare.NotFoundError, match="No active session"):
        await kit.kick_all_participants(meeting.id, **where(world))
    session_id = await session(world, meeting, [(person, str(uuid4())) for person in (ada, ada, eve)])
    kicked = await kit.kick_participants(
        meeting.id,
        **where(world),
        participant_ids=[ada.id.upper(), away.id, str(uuid4())],
        custom_participant_ids=["custom-Ada", "nobody"],
    )
    assert kicked.data is not None and kicked.data.participants is not None
    assert [(p.id, p.name) for p in kicked.data.participants] == [(ada.id, "Ada")]
    assert ("disconnect", meeting.id, ada.id) in world.capture.calls
    assert ("disconnect", meeting.id, eve.id) not in world.capture.calls
    nobody: list[dict[str, Any]] = [{}, {"participant_ids": []}]
    for wrong in nobody:
        with pytest.raises(cloudflare.BadRequestError, match="must name somebody"):
            await kit.kick_participants(meeting.id, **where(world), **wrong)
    everybody = await kit.kick_all_participants(meeting.id, **where(world))
    assert everybody.data is not None and everybody.data.kicked_participants_count == 2
    assert ("end", meeting.id, None) in world.capture.calls
    over = await client.realtime_kit.sessions.get_session_details(session_id, **where(world))
    assert over.data is not None and (over.data.status, over.data.live_participants) == ("ENDED", 0)
    raw = await client.realtime_kit.sessions.get_session_participants(session_id, **where(world))
    assert raw.data is not None and raw.data.participants is not None
    assert {p.left_at for p in raw.data.participants} == {"2026-03-02T09:15:04.120Z"}
