"""Meetings and the people invited to them."""

from __future__ import annotations

import pytest
from tests.service.world import World

from tapedeck.core.errors import ConflictError, InvalidError, NotFoundError
from tapedeck.core.meeting import Meeting, MeetingStatus
from tapedeck.core.paging import Page
from tapedeck.service.meetings import MeetingFilter, MeetingValues


async def test_a_meeting_is_kept_as_it_was_given(world: World) -> None:
    values: MeetingValues = {
        "title": "Übung",
        "status": MeetingStatus.INACTIVE,
        "record_on_start": True,
        "keep_alive_s": 90.5,
        "recording_config": {"max_seconds": 60},
        "ai_config": {"summarization": {"word_limit": 150}},
    }
    made = await world.meetings.create(world.app, values)
    now = world.clock.now()
    assert made == Meeting(made.id, "campus", now, now, **values)
    assert await world.meetings.get(world.app, made.id) == made
    plain = await world.meetings.create(world.app, {})
    assert plain == Meeting(plain.id, "campus", now, now)
    assert await world.meetings.get(world.app, plain.id) == plain


async def test_an_update_changes_what_is_given_and_a_replacement_everything_but_the_status(world: World) -> None:
    made = await world.meeting(record_on_start=True, status=MeetingStatus.INACTIVE, ai_config={"x": 1})
    world.clock.move(1)
    updated = await world.meetings.update(world.app, made.id, {"title": None, "ai_config": None})
    assert updated.title is None and updated.ai_config is None
    assert updated.record_on_start and updated.status is MeetingStatus.INACTIVE
    assert (updated.created_at, updated.updated_at) == (made.created_at, world.clock.now())
    assert await world.meetings.get(world.app, made.id) == updated
    replaced = await world.meetings.replace(world.app, made.id, {"title": "New"})
    assert replaced == Meeting(
        made.id, "campus", made.created_at, world.clock.now(), title="New", status=MeetingStatus.INACTIVE
    )
    assert await world.meetings.get(world.app, made.id) == replaced


async def test_meetings_are_listed_newest_first_by_title_status_and_age(world: World) -> None:
    made = []
    for title in ("Physics", "Chemistry", "Physical education"):
        made.append(await world.meeting(title=title))
        world.clock.move(1)
    await world.meetings.update(world.app, made[1].id, {"status": MeetingStatus.INACTIVE})

    async def titles(wanted: MeetingFilter) -> list[str | None]:
        return [m.title for m in (await world.meetings.list(world.app, wanted, Page())).items]

    assert await titles(MeetingFilter()) == ["Physical education", "Chemistry", "Physics"]
    assert await titles(MeetingFilter(search="phys")) == ["Physical education", "Physics"]
    assert await titles(MeetingFilter(search=made[0].id)) == ["Physics"]
    assert await titles(MeetingFilter(status=MeetingStatus.INACTIVE)) == ["Chemistry"]
    between = MeetingFilter(start=made[1].created_at, end=made[1].created_at)
    assert await titles(between) == ["Chemistry"]
    page = await world.meetings.list(world.app, MeetingFilter(), Page(2, 2))
    assert (page.total_count, page.start_offset, page.end_offset) == (3, 3, 3)


async def test_only_an_active_meeting_admits(world: World) -> None:
    meeting = await world.meeting()
    assert await world.meetings.admit(meeting.id) == meeting
    await world.meetings.update(world.app, meeting.id, {"status": MeetingStatus.INACTIVE})
    with pytest.raises(ConflictError, match="INACTIVE"):
        await world.meetings.admit(meeting.id)
    with pytest.raises(NotFoundError):
        await world.meetings.admit("nothing")


async def test_people_are_invited_edited_listed_and_removed(world: World) -> None:
    meeting = await world.meeting()
    ada = await world.person(meeting)
    world.clock.move(1)
    eve = await world.person(meeting, "group_call_participant", "Eve")
    people = await world.meetings.list_participants(world.app, meeting.id, Page())
    assert people.items == [ada, eve]
    edited = await world.meetings.edit_participant(
        world.app, meeting.id, ada.id, {"name": None, "preset_name": "group_call_participant"}
    )
    assert (edited.name, edited.display_name, edited.picture) == (None, "custom-Ada", None)
    assert (edited.preset_id, edited.token_version) == (eve.preset_id, 2)
    assert await world.meetings.get_participant(world.app, meeting.id, ada.id) == edited
    removed = await world.meetings.delete_participant(world.app, meeting.id, ada.id)
    assert removed == edited
    assert world.capture.calls == [
        ("rename", meeting.id, f"{ada.id} custom-Ada"),
        ("disconnect", meeting.id, ada.id),
    ]
    with pytest.raises(NotFoundError):
        await world.meetings.get_participant(world.app, meeting.id, ada.id)


async def test_an_unknown_preset_is_a_wrong_field_and_nobody_is_invited(world: World) -> None:
    meeting = await world.meeting()
    with pytest.raises(InvalidError) as caught:
        await world.person(meeting, "nobody")
    assert caught.value.problems[0].pointer == "/preset_name"
    assert (await world.meetings.list_participants(world.app, meeting.id, Page())).total_count == 0


async def test_everything_is_seen_from_its_own_app_and_meeting_alone(world: World) -> None:
    meeting, other = await world.meeting(), await world.meeting()
    person = await world.person(meeting)
    app = await world.access.create_app("acme", "Other")
    for question in (
        world.meetings.get(app, meeting.id),
        world.meetings.update(app, meeting.id, {"title": "x"}),
        world.meetings.replace(app, meeting.id, {}),
        world.meetings.list_participants(app, meeting.id, Page()),
        world.meetings.get_participant(app, meeting.id, person.id),
        world.meetings.add_participant(app, meeting.id, "c", {"preset_name": "group_call_host"}),
        world.meetings.get_participant(world.app, other.id, person.id),
        world.meetings.edit_participant(world.app, other.id, person.id, {}),
        world.meetings.delete_participant(world.app, other.id, person.id),
    ):
        with pytest.raises(NotFoundError):
            await question
    assert (await world.meetings.list(app, MeetingFilter(), Page())).total_count == 0
