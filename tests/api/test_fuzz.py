"""Anything at all, thrown at every route: an answer below 500 in the shape of the API, and nothing half made."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.kit import Site, make_site
from tests.api.test_access import ROUTES

SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)

TEXT = st.text(max_size=40) | st.sampled_from(
    ["", "UPLOADED", "true", "1:2", "minutesConsumed", "nan", "1e400", "\x00", "😀", "../..", "a" * 5000]
)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.just(10**400)
NAMES = st.sampled_from(
    [
        "action",
        "ai_config",
        "allow_multiple_recordings",
        "audio_config",
        "codec",
        "custom_participant_id",
        "custom_participant_ids",
        "participant_ids",
        "dyte_bucket_config",
        "enabled",
        "events",
        "export_file",
        "file_name_prefix",
        "height",
        "keywords",
        "max_seconds",
        "meeting_id",
        "name",
        "persist_chat",
        "picture",
        "preset_name",
        "realtimekit_bucket_config",
        "record_on_start",
        "recording_config",
        "session_keep_alive_time_in_secs",
        "status",
        "storage_config",
        "summarization",
        "title",
        "transcription",
        "video_config",
        "watermark",
        "url",
        "width",
        "word_limit",
    ]
)
VALUE: st.SearchStrategy[Any] = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | TEXT, inner, max_size=6),
    max_leaves=20,
)
LEAF = SCALAR | st.integers(-1, 2000) | st.sampled_from(["H264", "VP8", "stop", "ACTIVE", "group_call_host", "h_1"])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        **{name: LEAF for name in ("max_seconds", "file_name_prefix", "title", "status", "action", "name", "picture")},
        **{name: LEAF for name in ("record_on_start", "persist_chat", "session_keep_alive_time_in_secs")},
        **{name: LEAF for name in ("custom_participant_id", "preset_name", "allow_multiple_recordings")},
        "url": LEAF | st.sampled_from(["http://10.0.0.1", "https://e.org/x"]),
        "events": LEAF | st.lists(LEAF | st.just("meeting.ended"), max_size=3),
        "enabled": LEAF,
        "permissions": LEAF | st.fixed_dictionaries({}, optional={"can_record": LEAF, "media": VALUE, "x": VALUE}),
        "config": LEAF | st.fixed_dictionaries({}, optional={"view_type": LEAF, "media": VALUE}),
        "ui": LEAF | VALUE,
        "participant_ids": LEAF | st.lists(LEAF, max_size=3),
        "video_config": LEAF | st.fixed_dictionaries({}, optional={"width": LEAF, "height": LEAF, "codec": LEAF}),
        "recording_config": LEAF | st.fixed_dictionaries({}, optional={"max_seconds": LEAF, "video_config": VALUE}),
        "ai_config": LEAF | st.fixed_dictionaries({}, optional={"summarization": VALUE, "transcription": VALUE}),
    },
)
"""Bodies that are nearly right: one field wrong at a time goes deeper than noise does."""
BODY = st.dictionaries(NAMES, VALUE, max_size=10).map(lambda b: json.dumps(b).encode()) | st.binary(max_size=200)
QUERY_NAMES = st.sampled_from(
    [
        "end_time",
        "expired",
        "expires",
        "filename",
        "associated_id",
        "filters",
        "include_peer_events",
        "meeting_id",
        "name",
        "page_no",
        "participants",
        "per_page",
        "search",
        "signature",
        "sort_by",
        "sort_order",
        "source",
        "start_time",
        "status",
        "status[]",
        "view",
    ]
)
QUERY = st.lists(st.tuples(QUERY_NAMES, TEXT | st.integers().map(str) | st.datetimes().map(str)), max_size=5)
PARTS = [
    "{session}",
    "{peer}",
    "{meeting}",
    "{person}",
    "{preset}",
    "{recording}",
    "{webhook}",
    "{delivery}",
    "{cancelled}",
]


class Target:
    """A site on a loop of its own, since Hypothesis drives plain functions."""

    def __init__(self, root: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._made = make_site(root)
        self.site: Site = self._loop.run_until_complete(self._made.__aenter__())
        self.ids = self._loop.run_until_complete(self._fill())

    async def _fill(self) -> dict[str, str]:
        world = self.site.world
        meeting = await world.meeting()
        person = await world.person(meeting)
        recording = await world.start(meeting)
        session_id, peer_id = str(uuid4()), str(uuid4())
        await world.sessions.on_session_started(meeting.id, session_id, world.clock.now())
        await world.sessions.on_joined(session_id, person.id, peer_id, "P", world.clock.now())
        webhook = await world.webhooks.create(world.app, "n", "https://example.org/", ("meeting.ended",), True)
        delivery = await world.deliveries.send_test(world.app, webhook.id, "meeting.ended")
        return {
            "meeting": meeting.id,
            "person": person.id,
            "recording": recording.id,
            "webhook": webhook.id,
            "delivery": delivery.id,
            "cancelled": delivery.id,
            "session": session_id,
            "peer": peer_id,
            "preset": person.preset_id,
            "token": self.site.token_of(person),
        }

    def ask(self, method: str, path: str, **more: Any) -> None:
        answer = self._loop.run_until_complete(self.site.ask(method, path, **more))
        assert answer.status_code < 500, answer.text
        if answer.headers["content-type"].startswith("application/json"):
            body = answer.json()
            assert body["success"] is (answer.status_code < 300)
            if answer.status_code >= 400:
                assert body["error"]["code"] == answer.status_code
                assert body["errors"] and all(isinstance(e["code"], int) for e in body["errors"])
                assert answer.headers["x-should-retry"] == "false"

    def close(self) -> None:
        self._loop.run_until_complete(self._made.__aexit__(None, None, None))
        self._loop.close()


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with tempfile.TemporaryDirectory() as root:
        made = Target(Path(root))
        yield made
        made.close()


@SETTINGS
@given(st.sampled_from(ROUTES), BODY, QUERY)
def test_any_body_and_query(target: Target, route: tuple[str, str], body: bytes, query: list[tuple[str, str]]) -> None:
    method, path = route
    target.ask(method, path.format(**target.ids), content=body, params=query)


@SETTINGS
@given(st.sampled_from([route for route in ROUTES if route[0] in ("POST", "PUT", "PATCH")]), FIELDS)
def test_any_field(target: Target, route: tuple[str, str], fields: dict[str, Any]) -> None:
    method, path = route
    body = {"meeting_id": target.ids["meeting"], "allow_multiple_recordings": True} | fields
    target.ask(method, path.format(**target.ids), content=json.dumps(body).encode())


@SETTINGS
@given(st.sampled_from(ROUTES), TEXT)
def test_any_id(target: Target, route: tuple[str, str], text: str) -> None:
    method, path = route
    for part in PARTS:
        path = path.replace(part, quote(text, safe="", errors="replace"))
    target.ask(method, path, content=b"{}")


@SETTINGS
@given(st.sampled_from(["POST", "PATCH", "DELETE"]), TEXT, st.binary(max_size=300), QUERY)
def test_any_publication(
    target: Target, method: str, session_id: str, sdp: bytes, query: list[tuple[str, str]]
) -> None:
    path = f"/rtc/{target.ids['meeting']}/whip"
    if method != "POST":
        path += "/" + quote(session_id, safe="", errors="replace")
    media_type = "application/sdp" if method == "POST" else "application/trickle-ice-sdpfrag"
    headers = {"content-type": media_type, "if-match": '"x"'}
    target.ask(method, path, token=target.ids["token"], content=sdp, params=query, headers=headers)


@SETTINGS
@given(TEXT, QUERY, st.text(alphabet="bytes=-0123456789,", max_size=30))
def test_any_download(target: Target, key: str, query: list[tuple[str, str]], wanted: str) -> None:
    path = "/files/" + quote(key, errors="replace")
    target.ask("GET", path, params=query, headers={"range": wanted})


@SETTINGS
@given(st.binary(max_size=80))
def test_any_token(target: Target, token: bytes) -> None:
    clean = bytes(b for b in token if b not in b"\r\n\x00")
    headers = [(b"authorization", b"Bearer " + clean)]
    answer = target._loop.run_until_complete(target.site.http.get(f"{target.site.base}/meetings", headers=headers))
    assert answer.status_code == 401
