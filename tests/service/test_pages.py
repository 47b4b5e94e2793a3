"""What a page is given: an address with a token of a hidden participant, which is void when the page is closed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.service.world import World, make_world

from tapedeck.adapters.sealer import AesSealer
from tapedeck.core.access import ParticipantPrincipal
from tapedeck.core.errors import InvalidError, NotFoundError, UnauthenticatedError
from tapedeck.core.page import PAGE_PRESET, page_participant
from tapedeck.core.paging import Page
from tapedeck.core.recording import Recording
from tapedeck.service.pages import PageService
from tapedeck.service.vault import Vault

URL = "https://apps.example/show?room=1"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with make_world(tmp_path) as made:
        yield made


async def recording_of(world: World) -> Recording:
    recording = await world.start(await world.meeting())
    return replace(recording, options=replace(recording.options, page=URL))


def token_in(address: str) -> str:
    return parse_qs(urlsplit(address).query)["authToken"][0]


async def test_the_token_is_a_hidden_participants_and_void_when_the_page_is_closed(world: World) -> None:
    pages, recording = PageService(world.db, world.clock, world.access), await recording_of(world)
    address = await pages.invite(recording)
    assert address.startswith(f"{URL}&authToken=")
    guest = await world.access.authenticate(token_in(address))
    assert isinstance(guest, ParticipantPrincipal)
    assert guest.preset.name == PAGE_PRESET
    assert guest.preset.is_hidden
    again = await world.access.authenticate(token_in(await pages.invite(recording)))
    assert isinstance(again, ParticipantPrincipal)
    assert again.participant.id == guest.participant.id
    await pages.dismiss(recording.id)
    await pages.dismiss(recording.id)
    with pytest.raises(UnauthenticatedError):
        await world.access.authenticate(token_in(address))


async def test_an_app_without_the_recorders_preset_has_the_built_in_one_again(world: World) -> None:
    pages, recording = PageService(world.db, world.clock, world.access), await recording_of(world)
    (preset,) = [p for p in (await world.presets.list(world.app, Page(), None)).items if p.name == PAGE_PRESET]
    await world.presets.delete(world.app, preset.id)
    guest = await world.access.authenticate(token_in(await pages.invite(recording)))
    assert isinstance(guest, ParticipantPrincipal)
    assert guest.preset.is_hidden
    assert PAGE_PRESET in [p.name for p in (await world.presets.list(world.app, Page(), None)).items]


async def test_only_the_recording_of_a_page_has_an_address(world: World) -> None:
    pages, recording = PageService(world.db, world.clock, world.access), await recording_of(world)
    with pytest.raises(InvalidError):
        await pages.invite(replace(recording, options=replace(recording.options, page=None)))
    with pytest.raises(NotFoundError):
        await pages.invite(replace(recording, meeting_id="gone"))


async def test_a_page_in_a_session_is_nobody(world: World) -> None:
    recording = await recording_of(world)
    at = world.clock.now()
    await world.sessions.on_session_started(recording.meeting_id, "s", at)
    await world.sessions.on_joined("s", page_participant(recording.id), "peer", "", at)
    assert (await world.meetings.list_participants(world.app, recording.meeting_id, Page())).total_count == 0
    (deadline,) = await world.lifecycle.deadlines()
    assert deadline.command.cause == "empty", "for the people's recording the room stays empty"


async def test_a_server_that_cannot_record_a_page_says_why_at_the_start(world: World) -> None:
    def vault(problem: str | None) -> Vault:
        return Vault(world.db, AesSealer(["a secret of the tests"]), page_problem=lambda url: problem)

    assert vault(None).seal({"url": URL}) == {"url": URL}
    with pytest.raises(InvalidError, match="there is no program") as refused:
        vault("there is no program chromium").seal({"url": URL})
    assert [problem.pointer for problem in refused.value.problems] == ["/url"]
    with pytest.raises(InvalidError, match="has no browser"):
        world.vault.seal({"url": URL})
