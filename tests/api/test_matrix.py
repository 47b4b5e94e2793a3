"""Every route of the application times every kind of token, from the table of routes: a new one cannot escape.

`test_access.py` shows that the right token gets through with everything in place; here is who is refused, and that the
right one is not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from fastapi.routing import APIRoute
from httpx import Response
from tests.api.described import empty_app
from tests.api.kit import Site
from tests.service.world import START

from tapedeck.api.describe import Who, operation_of
from tapedeck.core.access import TokenScope

OPEN = {
    "/api/v1/hooks/cloudflare/{app_id}",  # opened by the signature of a tenant's recorder
    "/.well-known/webhooks.json",
    "/files/{key:path}",
    "/health/live",
    "/health/ready",
    "/hls/player.css",
    "/hls/player.js",
    "/hls/{link}/index.m3u8",  # all below a link are opened by its signature
    "/hls/{link}/init-{run}.mp4",
    "/hls/{link}/media.m3u8",
    "/hls/{link}/watch",
    "/hls/{link}/{number}.m4s",
    "/openapi.json",
}
"""Routes that take no token. Adding one here is a decision."""


_TENANTS = (Who.TENANT, Who.TENANT_ADMIN)


def table() -> list[tuple[str, str, Who]]:
    found = []
    for route in empty_app().routes:
        if isinstance(route, APIRoute):
            operation = operation_of(route.endpoint)
            assert operation is not None, route.path
            found += [(method, route.path, operation.who) for method in sorted(route.methods or ())]
    return found


@dataclass(frozen=True)
class Tokens:
    """One of each kind."""

    good: str
    small: str
    elsewhere: str
    foreign: str
    void: tuple[str, ...]
    host: str
    guest: str
    stranger: str
    tenant: str
    tenant_jwt: str
    foreign_tenant: str
    void_keys: tuple[str, ...]
    tenant_admin: str
    ids: dict[str, str]

    def name(self, token: str | None) -> str:
        """Which of them it is."""
        return next((name for name, value in vars(self).items() if value == token), "a void token")


async def tokens(site: Site) -> Tokens:
    world = site.world
    other = await world.access.create_app("acme", "Other")
    await world.access.create_account("foreign")
    revoked, token = await world.access.issue_token("acme")
    await world.access.revoke_token(token.id)
    expired, _ = await world.access.issue_token("acme", expires_at=START)
    meeting, another = await world.meeting(), await world.meeting()
    recording = await world.start(meeting)
    person = await world.person(meeting)
    host = site.token_of(person)
    gone = await world.person(meeting, name="Gone")
    late = site.token_of(gone)
    await world.meetings.delete_participant(world.app, meeting.id, gone.id)
    tenant, key = await world.access.issue_token("acme", "campus", scope=TokenScope.ROOMS)
    void_key, void = await world.access.issue_token("acme", "campus", scope=TokenScope.ROOMS_ADMIN)
    void_jwt, _ = world.access.tenant_token(void, 600)
    await world.access.revoke_token(void.id)
    late_jwt, _ = world.access.tenant_token(key, -1)
    return Tokens(
        tenant=tenant,
        tenant_jwt=world.access.tenant_token(key, 600)[0],
        foreign_tenant=(await world.access.issue_token("acme", other.id, scope=TokenScope.ROOMS_ADMIN))[0],
        tenant_admin=(await world.access.issue_token("acme", "campus", scope=TokenScope.ROOMS_ADMIN))[0],
        void_keys=(void_key, void_jwt, late_jwt, tenant[:-1], host),
        good=world.token,
        small=(await world.access.issue_token("acme", scope=TokenScope.REALTIME))[0],
        elsewhere=(await world.access.issue_token("acme", other.id))[0],
        foreign=(await world.access.issue_token("foreign"))[0],
        void=(revoked, expired, late, "nonsense", "a.b.c", world.token[:-1], host[:-2]),
        host=host,
        guest=site.token_of(await world.person(meeting, "group_call_participant")),
        stranger=site.token_of(await world.person(another)),
        ids={"account_id": "acme", "app_id": "campus", "meeting_id": meeting.id, "recording_id": recording.id}
        | {
            "room_id": meeting.id,
            "rec_id": recording.id,
            "participant_id": (await world.person(meeting, name="Removed")).id,
        },
    )


async def ask(site: Site, method: str, path: str, token: str | None, ids: dict[str, str]) -> int:
    """The status, with an empty body but for the meeting: who may not come is refused before it is read."""
    url = re.sub(r"\{(\w+)(?::\w+)?\}", lambda part: ids.get(part[1], str(uuid4())), path)
    headers = {} if token is None else site.bearer(token)
    if token is not None and path.startswith("/api/v1/") and token.count(".") != 2:
        headers = {"x-api-key": token}
    body = {"meeting_id": ids["meeting_id"], "action": "stop"}
    answer = await site.http.request(method, url, headers=headers, json=None if method == "GET" else body)
    if answer.status_code in (401, 403):
        if path.startswith("/api/v1/"):
            assert answer.json()["code"] == {401: "UNAUTHORIZED", 403: "FORBIDDEN"}[answer.status_code]
        else:
            assert answer.json()["errors"][0]["code"] == 10000
    return answer.status_code


def test_only_these_routes_take_no_token() -> None:
    assert {path for _, path, who in table() if who is Who.NOBODY} == OPEN


async def test_every_route_refuses_who_may_not(site: Site) -> None:
    some = await tokens(site)
    let_in = []
    for method, path, who in table():
        if who is Who.NOBODY:
            continue
        void = some.void if who not in _TENANTS else (*some.void, *some.void_keys)
        wanted = dict.fromkeys((None, *void), 401) | dict.fromkeys(_refused(some, path, who), 403)
        if path.startswith("/v1/recordings/"):  # found by its id alone: nobody learns that there is such a recording
            wanted |= dict.fromkeys((some.foreign, some.elsewhere), 404)
        for token, status in wanted.items():
            seen = await ask(site, method, path, token, some.ids)
            if seen != status:
                let_in.append(f"{method} {path}: {seen} instead of {status} for {some.name(token)}")
    assert not let_in, "\n".join(let_in)


def _refused(some: Tokens, path: str, who: Who) -> list[str]:
    """Tokens that are good, but not for this."""
    if who in _TENANTS:
        plain = [some.tenant, some.tenant_jwt] if who is Who.TENANT_ADMIN else []
        return [some.good, some.small, some.elsewhere, some.foreign, *plain]
    if who is Who.PERSON:
        if path.startswith("/v2/"):
            return [some.good, some.tenant, some.guest, some.stranger]  # may not record; is in another meeting
        return [some.good, some.tenant, some.stranger]
    refused = [some.foreign, some.tenant, some.foreign_tenant, some.guest, some.stranger]
    if "{app_id}" in path:
        refused.append(some.elsewhere)
    if who is not Who.ANYONE:
        refused.append(some.host)
    return [*refused, some.small] if who is Who.ADMIN else refused


async def test_every_route_lets_in_who_may(site: Site) -> None:
    """Whatever else is wrong with the request: it is not the token."""
    some = await tokens(site)
    allowed = {
        Who.ADMIN: (some.good,),
        Who.BACKEND: (some.good, some.small),
        Who.ANYONE: (some.good, some.small, some.host),
        Who.PERSON: (some.host,),
        Who.TENANT: (some.tenant, some.tenant_jwt, some.tenant_admin),
        Who.TENANT_ADMIN: (some.tenant_admin,),
        Who.NOBODY: (),
    }
    kept_out = []
    for method, path, who in table():
        for token in () if path.endswith("/events") else allowed[who]:  # a stream ends only when its reader goes
            seen = await ask(site, method, path, token, some.ids)
            if seen in (401, 403):
                kept_out.append(f"{method} {path}: {seen} for {some.name(token)}")
    assert not kept_out, "\n".join(kept_out)


async def test_what_is_another_tenants_is_not_there(site: Site) -> None:
    """On every route of the rooms API that names something: 404, whatever the method and the body."""
    some = await tokens(site)
    seen = []
    for method, path, who in table():
        if who in _TENANTS and "{" in path:
            status = await ask(site, method, path, some.foreign_tenant, some.ids)
            seen.append((method, path, status))
    assert seen and all(status == 404 for *_, status in seen), seen
    own = [(path, await ask(site, method, path, some.tenant, some.ids)) for method, path, _ in seen if method == "GET"]
    assert own and all(status == 200 for _, status in own), own


async def test_no_route_tells_or_changes_what_is_another_tenants(site: Site) -> None:
    """Every route of the rooms API, with the other's ids wherever one can be: path, query and body."""
    some = await tokens(site)
    room = await site.world.meeting(title="Their room")
    person, recording = await site.world.person(room, name="Their person"), (await site.world.start(room)).id
    ids = {"room_id": room.id, "rec_id": recording, "participant_id": person.id}
    routes = [(method, path) for method, path, who in table() if who in _TENANTS]
    seen = [path for method, path in routes if method == "GET"]

    async def theirs() -> list[str]:
        answers = [await look(site, "GET", path, some.tenant_admin, ids) for path in seen]
        return [answer.text for answer in answers]

    before = await theirs()
    assert sum("Their room" in text for text in before) >= 3 and any("Their person" in text for text in before)
    body = {"ids": [recording], "room_id": room.id, "recording_id": recording, "meeting_id": room.id, "hold": True}
    body |= {"name": "Mine", "tier": "bulk", "days": 1, "delete_after_days": 0, "ttl_seconds": 60, "role": "host"}
    query = {"room_id": f"room_{room.id}", "recording_id": f"rec_{recording}", "search": "Their", "limit": "100"}
    for method, path in routes:
        for asked in ({}, query):
            answer = await look(site, method, path, some.foreign_tenant, ids, params=asked, json=body)
            assert "Their" not in answer.text, (method, path, answer.text)
            assert answer.status_code < 500, (method, path, answer.text)
    assert await theirs() == before


async def look(site: Site, method: str, path: str, key: str, ids: dict[str, str], **more: Any) -> Response:
    """One request of a tenant."""
    url = re.sub(r"\{(\w+)\}", lambda part: ids[part[1]], path)
    return await site.http.request(method, url, headers={"x-api-key": key}, **more)
