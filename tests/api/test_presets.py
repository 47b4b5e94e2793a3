"""Presets through the official SDK, parsed strictly: what is given comes back whole, what it says is enforced."""

from __future__ import annotations

from typing import Any, cast
from uuid import uuid4

import cloudflare
import pytest
from cloudflare import AsyncCloudflare
from tests.api.kit import Site

from tapedeck.core.presets import DEFAULT_PRESETS
from tapedeck.service.presets import LARGEST_PRESET

HOST: dict[str, Any] = cast(dict[str, Any], DEFAULT_PRESETS["group_call_host"])
UNKNOWN: dict[str, Any] = {"from_the_future": {"a": [1, None, {"b": "ü"}]}}


def where(site: Site) -> dict[str, Any]:
    return {"account_id": site.world.account_id, "app_id": site.world.app.id}


async def test_the_life_of_a_preset(client: AsyncCloudflare, live_site: Site) -> None:
    kit, world = client.realtime_kit.presets, live_site.world
    made = await kit.create(world.app.id, account_id=world.account_id, name="teacher", **HOST)
    assert made.data.name == "teacher" and made.data.permissions.can_record is True
    preset_id = made.data.id
    world.clock.move(1)
    edited = await kit.update(
        preset_id,
        **where(live_site),
        permissions={"can_record": False, "polls": {"can_create": False}},
        config={"media": {"video": {"frame_rate": 15}}},
    )
    assert edited.data.permissions.can_record is False
    polls = edited.data.permissions.polls
    assert (polls.can_create, polls.can_vote) == (False, True)  # what was not given stayed
    media = edited.data.config.media
    assert (media.video.frame_rate, media.video.quality, media.screenshare.frame_rate) == (15, "hd", 15)
    assert edited.data.updated_at > edited.data.created_at
    replaced = await kit.replace_preset_by_id(preset_id, **where(live_site), name="lecturer", **HOST)
    assert replaced.data.name == "lecturer" and replaced.data.permissions.polls.can_create is True
    got = await kit.get_preset_by_id(preset_id, **where(live_site))
    assert got.data.name == "lecturer" and got.data.config.media.video.frame_rate == 30
    found = await kit.get(world.app.id, account_id=world.account_id, search="LECT")
    assert [preset.id for preset in found.data] == [preset_id]
    gone = await kit.delete(preset_id, **where(live_site))
    assert gone.data.id == preset_id
    for again in (kit.delete, kit.get_preset_by_id):
        with pytest.raises(cloudflare.NotFoundError):
            await again(preset_id, **where(live_site))


async def test_names_are_found_in_any_case_of_any_script(site: Site) -> None:
    for name in ("Школа", "École", "Straße", "a%b"):
        made = (
            await site.ask("POST", "presets", json={"name": name, "config": {}, "permissions": {}, "ui": {}})
        ).json()
        app = await site.world.access.create_app("acme", name)
        for search in (name, name.upper(), name.lower(), name[1:].upper()):
            found = (await site.ask("GET", "presets", params={"search": search})).json()
            assert [preset["id"] for preset in found["data"]] == [made["data"]["id"]], search
            path = f"/client/v4/accounts/{site.world.account_id}/realtime/kit/apps"
            apps = (await site.ask("GET", path, params={"search": search, "per_page": 1})).json()
            assert [item["id"] for item in apps["data"]] == [app.id] and apps["paging"]["total_count"] == 1, search


async def test_what_nobody_knows_is_kept_and_given_back_exactly(site: Site) -> None:
    parts = {
        "config": {"view_type": "WEBINAR", "livestream_viewer_qualities": None} | UNKNOWN,
        "permissions": {"can_record": True, "media": {"audio": {"can_produce": "CAN_REQUEST", "x": 1}}} | UNKNOWN,
        "ui": {"design_tokens": {"logo": "l"}} | UNKNOWN,
    }
    made = (await site.ask("POST", "presets", json={"name": "odd", "more": 1} | parts)).json()["data"]
    for part in parts:
        assert made[part]["from_the_future"] == UNKNOWN["from_the_future"]
    assert made["config"]["livestream_viewer_qualities"] is None and "more" not in made
    assert made["permissions"]["media"]["audio"] == {"can_produce": "CAN_REQUEST", "x": 1}
    # What is left out is that of somebody who takes part.
    assert made["permissions"]["media"]["video"] == {"can_produce": "ALLOWED"}
    assert made["permissions"]["can_livestream"] is False
    assert made["ui"]["design_tokens"]["theme"] == "dark" and made["ui"]["design_tokens"]["logo"] == "l"
    patch = {"permissions": {"from_the_future": {"c": 2}}, "ui": None}
    edited = (await site.ask("PATCH", f"presets/{made['id']}", json=patch)).json()["data"]
    assert edited["permissions"]["from_the_future"] == {"a": [1, None, {"b": "ü"}], "c": 2}
    assert edited["ui"] == made["ui"] and edited["config"] == made["config"]
    got = (await site.ask("GET", f"presets/{made['id']}")).json()["data"]
    assert got == edited


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "x" * 257}, "/name"),
        ({"permissions": {"can_record": "yes"}}, "/permissions/can_record"),
        ({"permissions": {"can_record": None}}, "/permissions/can_record"),
        ({"permissions": {"hidden_participant": 1}}, "/permissions/hidden_participant"),
        ({"permissions": {"recorder_type": "CAMERA"}}, "/permissions/recorder_type"),
        ({"permissions": {"media": {"audio": {"can_produce": True}}}}, "/permissions/media/audio/can_produce"),
        ({"permissions": {"media": "all"}}, "/permissions/media"),
        ({"config": {"view_type": "PARTY"}}, "/config/view_type"),
        ({"config": []}, "/config"),
        ({"ui": "blue"}, "/ui"),
        ({"ui": {"logo": "x" * LARGEST_PRESET}}, ""),
    ],
)
async def test_wrong_parts_are_400_and_named(site: Site, body: dict[str, Any], pointer: str) -> None:
    made = (await site.ask("POST", "presets", json={"name": "p", "config": {}, "permissions": {}, "ui": {}})).json()
    whole = {"name": "q", "config": {}, "permissions": {}, "ui": {}} | body
    for method, path, sent in (
        ("POST", "presets", whole),
        ("PUT", f"presets/{made['data']['id']}", whole),
        ("PATCH", f"presets/{made['data']['id']}", body),
    ):
        answer = await site.ask(method, path, json=sent)
        assert answer.status_code == 400, (method, answer.text)
        assert answer.json()["errors"][0]["source"]["pointer"] == pointer
        assert answer.json()["error"]["message"].startswith("BAD_REQUEST: ")
    for missing in ("name", "config", "permissions", "ui"):
        answer = await site.ask("POST", "presets", json={k: v for k, v in whole.items() if k != missing} | body)
        assert answer.status_code == 400
    kept = (await site.ask("GET", f"presets/{made['data']['id']}")).json()
    assert kept == made


async def test_a_name_is_given_once_in_an_app(site: Site) -> None:
    body = {"name": "group_call_host", "config": {}, "permissions": {}, "ui": {}}
    assert (await site.ask("POST", "presets", json=body)).status_code == 409
    made = (await site.ask("POST", "presets", json=body | {"name": "other"})).json()["data"]
    place = f"presets/{made['id']}"
    assert (await site.ask("PATCH", place, json={"name": "group_call_host"})).status_code == 409
    assert (await site.ask("PUT", place, json=body)).status_code == 409
    assert (await site.ask("PATCH", place, json={"name": "other"})).status_code == 200
    elsewhere = await site.world.access.create_app("acme", "Other")
    theirs = f"/client/v4/accounts/acme/realtime/kit/{elsewhere.id}/presets"
    assert (await site.ask("POST", theirs, json=body | {"name": "other"})).status_code == 201
    for method in ("GET", "PATCH", "DELETE"):
        assert (await site.ask(method, f"{theirs}/{made['id']}", json={})).status_code == 404


async def test_a_preset_somebody_has_is_not_deleted_seeded_or_not(site: Site) -> None:
    world = site.world
    meeting = await world.meeting()
    ada = await world.person(meeting, "group_call_host")
    answer = await site.ask("DELETE", f"presets/{ada.preset_id}")
    assert answer.status_code == 409 and "1 participant:" in answer.json()["error"]["message"]
    await world.meetings.edit_participant(world.app, meeting.id, ada.id, {"preset_name": "group_call_participant"})
    assert (await site.ask("DELETE", f"presets/{ada.preset_id}")).status_code == 200
    listed = (await site.ask("GET", "presets")).json()["data"]
    assert "group_call_host" not in [preset["name"] for preset in listed]
    body = {"custom_participant_id": "x", "preset_name": "group_call_host"}
    refused = await site.ask("POST", f"meetings/{meeting.id}/participants", json=body)
    assert refused.status_code == 400


@pytest.mark.parametrize("face", ["v4", "v2"])
async def test_who_may_record_is_what_the_preset_says_now(site: Site, face: str) -> None:
    """[54] On all four kinds of requests, at both faces; a change holds from the next one on."""
    world = site.world
    meeting = await world.meeting()
    recording = await world.capturing(meeting, await world.live(meeting))
    preset = await world.presets.create(world.app, "p", {"permissions": {"can_record": False}})
    person = await world.person(meeting, "p", "Eve")
    token, base = site.token_of(person), site.base if face == "v4" else "/v2"

    async def statuses() -> list[int]:
        start = {"meeting_id": meeting.id, "allow_multiple_recordings": True}
        place = f"{base}/recordings/{recording.id}"
        return [
            (await site.ask("POST", f"{base}/recordings", token, json=start)).status_code,
            (await site.ask("GET", f"{base}/recordings/active-recording/{meeting.id}", token)).status_code,
            (await site.ask("PUT", place, token, json={"action": "pause"})).status_code,
            (await site.ask("PUT", place, token, json={"action": "resume"})).status_code,
            (await site.ask("PUT", place, token, json={"action": "stop"})).status_code,
        ]

    assert await statuses() == [403] * 5
    assert (await world.now_of(recording)).state.value == "capturing"
    await world.presets.update(world.app, preset.id, {"permissions": {"can_record": True}})
    assert await statuses() == [200] * 5
    await world.presets.update(world.app, preset.id, {"permissions": {"can_record": False}})
    assert await statuses() == [403] * 5
    assert (await site.ask("PUT", f"{base}/recordings/{uuid4()}", token, json={"action": "stop"})).status_code == 404
