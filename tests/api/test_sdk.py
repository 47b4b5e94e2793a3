"""The official `cloudflare` SDK against a served Tapedeck, with strict parsing: only base URL and token are ours.

Numbers in brackets are those of the wire contract's own list of tests.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import cloudflare
import httpx
import pytest
from cloudflare import AsyncCloudflare, Cloudflare
from tests.api.kit import Site, sdk, serve
from tests.service.world import START

from tapedeck.core.caution import Caution
from tapedeck.core.meeting import Meeting
from tapedeck.core.recording import Recording

REQUIRED = {
    "id",
    "status",
    "output_file_name",
    "invoked_time",
    "started_time",
    "stopped_time",
    "session_id",
    "download_url",
    "audio_download_url",
    "download_url_expiry",
    "file_size",
}


async def start(client: AsyncCloudflare, site: Site, meeting_id: str, **options: object) -> httpx.Response:
    """The raw answer to a start."""
    raw = await client.realtime_kit.recordings.with_raw_response.start_recordings(
        site.world.app.id,
        account_id=site.world.account_id,
        meeting_id=meeting_id,
        **options,  # type: ignore[arg-type]
    )
    return raw.http_response


async def started_id(client: AsyncCloudflare, site: Site, meeting_id: str, **options: object) -> str:
    return str((await start(client, site, meeting_id, **options)).json()["data"]["id"])


async def act(client: AsyncCloudflare, site: Site, recording_id: str, action: str) -> httpx.Response:
    raw = await client.realtime_kit.recordings.with_raw_response.pause_resume_stop_recording(
        recording_id,
        account_id=site.world.account_id,
        app_id=site.world.app.id,
        action=action,  # type: ignore[arg-type]
    )
    await raw.parse()
    return raw.http_response


async def running(site: Site) -> tuple[Meeting, Recording]:
    """A meeting with one person and a recording that has media."""
    meeting = await site.world.meeting()
    recording = await site.world.capturing(meeting, await site.world.live(meeting))
    return meeting, recording


async def test_warnings_are_one_key_more_and_strict_types_read_the_rest(
    client: AsyncCloudflare, live_site: Site
) -> None:
    """OC-59: a watermark that cannot be had is a warning, not an error."""
    world = live_site.world
    ids = {"account_id": world.account_id, "app_id": world.app.id}
    mark = {"url": "https://images.example/logo.png", "position": "right bottom", "size": {"width": 120}}
    meeting = await world.meeting()
    recording_id = await started_id(client, live_site, meeting.id, video_config={"watermark": mark})
    recordings = client.realtime_kit.recordings.with_raw_response
    before = await recordings.get_one_recording(recording_id, **ids)  # type: ignore[arg-type]
    assert "warnings" not in before.http_response.json()["data"]
    await world.lifecycle.caution(recording_id, Caution("watermark", "The film has no watermark: it is a test"))
    one = await recordings.get_one_recording(recording_id, **ids)  # type: ignore[arg-type]
    said = [{"code": "watermark", "message": "The film has no watermark: it is a test"}]
    assert one.http_response.json()["data"]["warnings"] == said
    assert (await one.parse()).data is not None
    found = await recordings.get_recordings(world.app.id, account_id=world.account_id)
    assert found.http_response.json()["data"][0]["warnings"] == said
    assert (await found.parse()).data


async def test_a_whole_life_through_strict_types(client: AsyncCloudflare, live_site: Site) -> None:
    """[2, 16, 23] Create, invite, start, pause, resume, stop, list, get, download."""
    world, kit = live_site.world, client.realtime_kit
    account, app = world.account_id, world.app.id
    created = await kit.meetings.create(app, account_id=account, title="Physics", recording_config={"max_seconds": 90})
    assert created.success and created.data is not None
    assert created.data.recording_config is not None and created.data.recording_config.max_seconds == 90
    meeting_id = created.data.id
    person = await kit.meetings.add_participant(
        meeting_id, account_id=account, app_id=app, custom_participant_id="ada", preset_name="group_call_host"
    )
    assert person.data is not None and person.data.token.count(".") == 2

    started = await kit.recordings.start_recordings(app, account_id=account, meeting_id=meeting_id)
    assert started.data is not None and started.data.status == "INVOKED"
    recording_id = started.data.id
    session_id = str(uuid4())
    now = world.clock.move(2)
    await world.sessions.on_session_started(meeting_id, session_id, now)
    await world.sessions.on_joined(session_id, person.data.id, "peer", "Ada", now)
    await world.sessions.on_capturing(recording_id, session_id, now)

    active = await kit.recordings.get_active_recordings(meeting_id, account_id=account, app_id=app)
    assert active.data.id == recording_id and active.data.session_id == session_id
    world.clock.move(10)
    for action, status in (("pause", "PAUSED"), ("resume", "RECORDING"), ("stop", "UPLOADING")):
        answer = await kit.recordings.pause_resume_stop_recording(
            recording_id,
            account_id=account,
            app_id=app,
            action=action,  # type: ignore[arg-type]
        )
        assert answer.data is not None and answer.data.status == status
        world.clock.move(5)
    await world.recordings.settle()
    await world.finish(await world.now_of_id(recording_id), b"a film" * 1000)

    found = await kit.recordings.get_one_recording(recording_id, account_id=account, app_id=app)
    assert found.data is not None and found.data.status == "UPLOADED"
    assert found.data.audio_download_url is None
    assert found.data.file_size == 6000
    assert found.data.recording_duration == 4  # the film's own length, once there is one
    assert found.data.download_url is not None and found.data.download_url_expiry is not None
    assert found.data.stop_reason is not None and found.data.stop_reason.caller is not None
    assert found.data.stop_reason.caller.user_id == app
    async with httpx.AsyncClient(timeout=300) as anybody:
        film = await anybody.get(found.data.download_url)
    assert film.content == b"a film" * 1000

    page = await kit.recordings.get_recordings(app, account_id=account, meeting_id=meeting_id, status=["UPLOADED"])
    assert [item.id for item in page.data] == [recording_id]
    assert page.data[0].meeting is not None and page.data[0].meeting.title == "Physics"
    assert page.paging.total_count == 1


async def test_start_answers_with_every_required_key(client: AsyncCloudflare, live_site: Site) -> None:
    """[1]"""
    meeting = await live_site.world.meeting()
    data = (await start(client, live_site, meeting.id)).json()["data"]
    assert data["status"] == "INVOKED"
    assert data.keys() >= REQUIRED
    assert [data[key] for key in ("started_time", "session_id", "download_url", "file_size")] == [None] * 4
    assert data["meeting_id"] == meeting.id and data["type"] == "COMPOSITE"
    assert data["invoked_time"] == "2026-03-02T09:15:04.120Z"
    assert data["output_file_name"] == f"{meeting.id}_1772442904120.mp4"
    caller = {"type": "ORGANIZATION", "user_Id": live_site.world.app.id, "name": live_site.world.app.name}
    assert data["start_reason"] == {"reason": "API_CALL", "caller": caller}
    assert "stop_reason" not in data and "recording_duration" not in data


async def test_a_second_start_is_a_conflict_that_costs_one_request(client: AsyncCloudflare, live_site: Site) -> None:
    """[3]"""
    meeting = await live_site.world.meeting()
    await start(client, live_site, meeting.id)
    live_site.requests.clear()
    with pytest.raises(cloudflare.ConflictError) as caught:
        await start(client, live_site, meeting.id)
    assert len(live_site.requests) == 1
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.errors[0].code == 409


async def test_allow_multiple_recordings_makes_two(client: AsyncCloudflare, live_site: Site) -> None:
    """[4]"""
    meeting = await live_site.world.meeting()
    one = await started_id(client, live_site, meeting.id)
    two = await started_id(client, live_site, meeting.id, allow_multiple_recordings=True)
    assert one != two


async def test_an_uploading_recording_blocks_no_start(client: AsyncCloudflare, live_site: Site) -> None:
    """[5]"""
    meeting, recording = await running(live_site)
    assert (await act(client, live_site, recording.id, "stop")).json()["data"]["status"] == "UPLOADING"
    assert await started_id(client, live_site, meeting.id) != recording.id


@pytest.mark.parametrize("meeting_id", ["0a1b2c3d-0000-4000-8000-000000000000", "nothing"])
async def test_an_unknown_meeting_is_not_found(client: AsyncCloudflare, live_site: Site, meeting_id: str) -> None:
    """[6]"""
    with pytest.raises(cloudflare.NotFoundError) as caught:
        await start(client, live_site, meeting_id)
    assert caught.value.errors[0].code == 404
    body = caught.value.body
    assert isinstance(body, dict) and body["error"]["code"] == 404
    assert meeting_id in body["error"]["message"]


@pytest.mark.parametrize(("seconds", "accepted"), [(59, False), (86401, False), (60, True), (86400, True)])
async def test_max_seconds_has_limits(client: AsyncCloudflare, live_site: Site, seconds: int, accepted: bool) -> None:
    """[7]"""
    meeting = await live_site.world.meeting()
    if accepted:
        await start(client, live_site, meeting.id, max_seconds=seconds)
        return
    with pytest.raises(cloudflare.UnprocessableEntityError) as caught:
        await start(client, live_site, meeting.id, max_seconds=seconds)
    body = caught.value.body
    assert isinstance(body, dict) and body["errors"][0]["source"]["pointer"] == "/max_seconds"


@pytest.mark.parametrize(("width", "stored"), [(0, None), (1921, None), (1, 2), (641, 642), (1920, 1920)])
async def test_sides_have_limits_and_become_even(
    client: AsyncCloudflare, live_site: Site, width: int, stored: int | None
) -> None:
    """[8]"""
    meeting = await live_site.world.meeting()
    if stored is None:
        with pytest.raises(cloudflare.UnprocessableEntityError):
            await start(client, live_site, meeting.id, video_config={"width": width})
        return
    recording_id = await started_id(client, live_site, meeting.id, video_config={"width": width})
    assert (await live_site.world.now_of_id(recording_id)).options.width == stored


async def test_file_name_prefix_is_checked_and_used(client: AsyncCloudflare, live_site: Site) -> None:
    """[13]"""
    meeting = await live_site.world.meeting()
    with pytest.raises(cloudflare.UnprocessableEntityError):
        await start(client, live_site, meeting.id, file_name_prefix="a b")
    data = (await start(client, live_site, meeting.id, file_name_prefix="Physics_9am")).json()["data"]
    assert data["output_file_name"] == f"Physics_9am_{meeting.id}_1772442904120.mp4"


async def test_record_on_start_records_the_first_join_without_a_caller(
    client: AsyncCloudflare, live_site: Site
) -> None:
    """[22]"""
    world = live_site.world
    meeting = await world.meeting(record_on_start=True)
    await world.live(meeting, people=2)
    await world.sessions.settle()
    page = await client.realtime_kit.recordings.get_recordings(world.app.id, account_id=world.account_id)
    assert len(page.data) == 1
    one = await client.realtime_kit.recordings.get_one_recording(
        page.data[0].id, account_id=world.account_id, app_id=world.app.id
    )
    assert one.data is not None and one.data.start_reason is not None
    assert one.data.start_reason.reason == "RECORD_ON_START" and one.data.start_reason.caller is None
    assert world.capture.words(page.data[0].id) == ["start"]


async def test_stop_says_who_and_how_long(client: AsyncCloudflare, live_site: Site) -> None:
    """[23]"""
    _, recording = await running(live_site)
    live_site.world.clock.move(30)
    raw = await act(client, live_site, recording.id, "stop")
    data = raw.json()["data"]
    assert data["status"] == "UPLOADING" and data["recording_duration"] == 30
    assert data["stop_reason"]["reason"] == "API_CALL"
    assert data["stop_reason"]["caller"]["type"] == "ORGANIZATION"
    assert '"user_Id":' in raw.text
    assert data["meeting"]["id"] == recording.meeting_id


async def test_stops_at_once_are_one_event(client: AsyncCloudflare, live_site: Site) -> None:
    """[24]"""
    _, recording = await running(live_site)
    answers = await asyncio.gather(*(act(client, live_site, recording.id, "stop") for _ in range(5)))
    assert [a.status_code for a in answers] == [200] * 5
    assert {a.json()["data"]["status"] for a in answers} == {"UPLOADING"}
    await live_site.world.recordings.settle()
    assert (await live_site.world.events(recording)).count("UPLOADING") == 1


async def test_pause_needs_media_and_resume_goes_on(client: AsyncCloudflare, live_site: Site) -> None:
    """[25]"""
    world = live_site.world
    early = await started_id(client, live_site, (await world.meeting()).id)
    with pytest.raises(cloudflare.ConflictError, match="Cannot pause a recording in state INVOKED"):
        await act(client, live_site, early, "pause")
    _, recording = await running(live_site)
    assert (await act(client, live_site, recording.id, "pause")).json()["data"]["status"] == "PAUSED"
    assert (await act(client, live_site, recording.id, "resume")).json()["data"]["status"] == "RECORDING"


async def test_an_unknown_action_is_unprocessable(client: AsyncCloudflare, live_site: Site) -> None:
    """[26]"""
    _, recording = await running(live_site)
    with pytest.raises(cloudflare.UnprocessableEntityError) as caught:
        await act(client, live_site, recording.id, "restart")
    assert '"action" must be one of' in str(caught.value.body)


async def test_an_empty_room_stops_after_a_minute(client: AsyncCloudflare, live_site: Site) -> None:
    """[27]"""
    world = live_site.world
    _, recording = await running(live_site)
    assert recording.session_id is not None
    ghost = await world.person(await world.meeting(), "recorder_preset_v2", "Ghost")
    await world.sessions.on_joined(recording.session_id, ghost.id, "ghost", "Ghost", world.clock.now())
    await world.sessions.on_left(recording.session_id, f"{recording.session_id}/0", world.clock.now())
    await world.lifecycle.run_due(world.clock.move(59.9))
    assert (await world.events(recording))[-1] == "RECORDING"
    await world.lifecycle.run_due(world.clock.move(0.2))
    one = await client.realtime_kit.recordings.get_one_recording(
        recording.id, account_id=world.account_id, app_id=world.app.id
    )
    assert one.data is not None and one.data.status == "UPLOADING"
    assert one.data.stop_reason is not None
    assert one.data.stop_reason.reason == "ALL_PEERS_LEFT" and one.data.stop_reason.caller is None


async def test_max_seconds_ends_a_recording_to_the_millisecond(client: AsyncCloudflare, live_site: Site) -> None:
    """[28]"""
    world = live_site.world
    meeting = await world.meeting()
    session_id = await world.live(meeting)
    recording_id = await started_id(client, live_site, meeting.id, max_seconds=60)
    await world.sessions.on_capturing(recording_id, session_id, world.clock.move(1))
    await world.lifecycle.run_due(world.clock.move(60.25))
    raw = await client.realtime_kit.recordings.with_raw_response.get_one_recording(
        recording_id, account_id=world.account_id, app_id=world.app.id
    )
    data = (await raw.json())["data"]  # type: ignore[index]
    assert data["stop_reason"] == {"detail": "MAX_SECONDS"}
    stopped, began = (datetime.fromisoformat(data[key]) for key in ("stopped_time", "started_time"))
    assert stopped - began == timedelta(seconds=60)
    assert data["recording_duration"] == 60
    assert (await raw.parse()).data is not None


async def test_nobody_ever_joining_is_an_error(client: AsyncCloudflare, live_site: Site) -> None:
    """[29]"""
    world = live_site.world
    meeting = await world.meeting()
    recording_id = await started_id(client, live_site, meeting.id)
    await world.lifecycle.run_due(world.clock.move(60))
    one = await client.realtime_kit.recordings.get_one_recording(
        recording_id, account_id=world.account_id, app_id=world.app.id
    )
    assert one.data is not None and one.data.status == "ERRORED"
    assert one.data.stop_reason is not None and one.data.stop_reason.reason == "ALL_PEERS_LEFT"


async def test_active_of_an_idle_meeting_is_not_found_and_of_a_paused_one_is(
    client: AsyncCloudflare, live_site: Site
) -> None:
    """[30]"""
    world = live_site.world
    idle = await world.meeting()
    ask = client.realtime_kit.recordings.get_active_recordings
    with pytest.raises(cloudflare.NotFoundError) as caught:
        await ask(idle.id, account_id=world.account_id, app_id=world.app.id)
    body = caught.value.body
    assert isinstance(body, dict)
    assert body["success"] is False
    assert body["error"] == {"code": 404, "message": f"No active recording found for meeting_id {idle.id}"}
    meeting, recording = await running(live_site)
    await act(client, live_site, recording.id, "pause")
    assert (await ask(meeting.id, account_id=world.account_id, app_id=world.app.id)).data.status == "PAUSED"


async def test_a_token_of_another_account_is_denied_and_none_is_unauthenticated(
    served: tuple[Site, str],
) -> None:
    """[52]"""
    site, url = served
    world = site.world
    async with world.db.write() as session:
        from tapedeck.db import access

        await access.add_account(session, "other", START)
    foreign, _ = await world.access.issue_token("other")
    async with sdk(site, url, foreign) as client:
        with pytest.raises(cloudflare.PermissionDeniedError) as denied:
            await client.realtime_kit.recordings.get_recordings(world.app.id, account_id=world.account_id)
    assert denied.value.errors[0].code == 10000
    async with httpx.AsyncClient(timeout=300) as nobody:
        answer = await nobody.get(url + site.base + "/recordings")
    assert answer.status_code == 401 and answer.json()["errors"][0]["code"] == 10000
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_legacy_email_header_is_unauthenticated(
    served: tuple[Site, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """[53] The SDK drops the token when it finds an e-mail address in its environment."""
    site, url = served
    monkeypatch.setenv("CLOUDFLARE_EMAIL", "ada@example.org")
    async with sdk(site, url) as client:
        with pytest.raises(cloudflare.AuthenticationError):
            await client.realtime_kit.recordings.get_recordings(site.world.app.id, account_id=site.world.account_id)
    assert "x-auth-email" in site.requests[-1].headers and "authorization" not in site.requests[-1].headers


async def test_apps_participants_and_presets_fit_strict_types(client: AsyncCloudflare, live_site: Site) -> None:
    world, kit = live_site.world, client.realtime_kit
    account = world.account_id
    made = await kit.apps.post(account_id=account, name="Second")
    assert made.data is not None and made.data.app is not None and made.data.app.id is not None
    app = made.data.app.id
    apps = await kit.apps.get(account_id=account)
    assert apps.data is not None and {item.name for item in apps.data} == {"Tapedeck", "Second"}

    presets = await kit.presets.get(app, account_id=account)
    assert [preset.name for preset in presets.data] == [
        "group_call_host",
        "group_call_participant",
        "recorder_preset_v2",
    ]
    rights = []
    for preset in presets.data:
        assert preset.id is not None
        whole = await kit.presets.get_preset_by_id(preset.id, account_id=account, app_id=app)
        rights.append((whole.data.permissions.can_record, whole.data.permissions.hidden_participant))
    assert rights == [(True, False), (False, False), (False, True)]

    meeting = await kit.meetings.create(app, account_id=account)
    assert meeting.data is not None
    where: dict[str, Any] = {"account_id": account, "app_id": app}
    updated = await kit.meetings.update_meeting_by_id(meeting.data.id, **where, title="New", status="INACTIVE")
    assert updated.data is not None and (updated.data.title, updated.data.status) == ("New", "INACTIVE")
    listed = await kit.meetings.get(app, account_id=account, status="INACTIVE", search="ew")
    assert [item.id for item in listed.data] == [meeting.data.id]
    replaced = await kit.meetings.replace_meeting_by_id(meeting.data.id, **where, record_on_start=True)
    assert replaced.data is not None and replaced.data.title is None and replaced.data.record_on_start is True
    again = await kit.meetings.get_meeting_by_id(meeting.data.id, **where)
    assert again.data is not None and again.data.record_on_start is True

    place: dict[str, Any] = {"meeting_id": meeting.data.id, **where}
    person = await kit.meetings.add_participant(
        **place, custom_participant_id="ada", preset_name="group_call_participant", name="Ada"
    )
    assert person.data is not None
    edited = await kit.meetings.edit_participant(person.data.id, **place, preset_name="group_call_host")
    assert edited.data is not None and edited.data.preset_name == "group_call_host" and edited.data.name == "Ada"
    token = await kit.meetings.refresh_participant_token(person.data.id, **place)
    assert token.data.token.count(".") == 2
    people = await kit.meetings.get_meeting_participants(**place)
    assert [item.custom_participant_id for item in people.data] == ["ada"]
    one = await kit.meetings.get_meeting_participant(person.data.id, **place)
    assert one.data.name == "Ada"
    removed = await kit.meetings.delete_meeting_participant(person.data.id, **place)
    assert removed.data is not None and removed.data.custom_participant_id == "ada"
    with pytest.raises(cloudflare.NotFoundError):
        await kit.meetings.get_meeting_participant(person.data.id, **place)
    assert ("disconnect", meeting.data.id, person.data.id) in world.capture.calls


async def test_the_blocking_client_works_too(tmp_path: Path) -> None:
    """The other half of the SDK, from a thread, with nothing but its own options."""
    async with serve(tmp_path) as (site, url):
        meeting = await site.world.meeting()

        def use() -> tuple[str, float]:
            with Cloudflare(api_token=site.world.token, base_url=f"{url}/client/v4/") as client:
                recordings = client.realtime_kit.recordings
                app, account = site.world.app.id, site.world.account_id
                made = recordings.start_recordings(app, account_id=account, meeting_id=meeting.id)
                assert made.data is not None
                page = recordings.get_recordings(
                    app, account_id=account, start_time=START.astimezone(UTC), expired=False, page_no=1.0
                )
                return made.data.status, page.paging.total_count

        assert await asyncio.to_thread(use) == ("INVOKED", 1)


async def test_unknown_keys_are_ignored(client: AsyncCloudflare, live_site: Site) -> None:
    meeting = await live_site.world.meeting()
    raw = await start(client, live_site, meeting.id, extra_body={"from_the_future": {"a": [1, None]}})
    assert json.loads(raw.request.content)["from_the_future"] == {"a": [1, None]}
    assert raw.status_code == 200
