"""Requests made of the API's own description, links followed: no 5xx, and every answer is one that is described."""

from __future__ import annotations

import asyncio
import copy
import itertools
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.api.described import description
from tests.api.kit import serve

from tapedeck.core.access import TokenScope

CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
QUICK = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)
ENDLESS = "/events$"
"""Streams end only when their reader goes."""


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def as_text(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Bodies of WHIP are text."""
    return str(value).encode("utf-8", "replace")


class House:
    """A served site on a loop of its own, with one of everything."""

    def __init__(self, root: Path) -> None:
        self.ids: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.url = ""
        self._ready = threading.Event()
        self._end: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live(root)))
        self._thread.start()
        assert self._ready.wait(300)

    async def _live(self, root: Path) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with serve(root) as (site, url):
            world = site.world
            meeting = await world.meeting()
            person = await world.person(meeting)
            recording = await world.start(meeting)
            webhook = await world.webhooks.create(world.app, "n", "https://example.org/x", ("meeting.ended",), True)
            delivery = await world.deliveries.send_test(world.app, webhook.id, "meeting.ended")
            session_id, peer_id = str(uuid4()), str(uuid4())
            await world.sessions.on_session_started(meeting.id, session_id, world.clock.now())
            await world.sessions.on_joined(session_id, person.id, peer_id, "P", world.clock.now())
            self.ids = {
                "account_id": world.account_id,
                "app_id": world.app.id,
                "meeting_id": meeting.id,
                "participant_id": person.id,
                "recording_id": recording.id,
                "session_id": session_id,
                "webhook_id": webhook.id,
                "delivery_id": delivery.id,
                "room_id": f"room_{meeting.id}",
                "rec_id": f"rec_{recording.id}",
            }
            key, _ = await world.access.issue_token("acme", world.app.id, scope=TokenScope.ROOMS_ADMIN)
            self.url, self.headers = url, site.bearer() | {"x-api-key": key}
            self._ready.set()
            await self._end.wait()

    def close(self) -> None:
        """End the server and its loop."""
        assert self._loop is not None and self._end is not None
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(300)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def described() -> Any:
    """The description as schemathesis reads it, without what never ends."""
    load_all_checks()
    schema = schemathesis.openapi.from_dict(copy.deepcopy(description()))
    schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
    return schema.exclude(path_regex=ENDLESS)


def ask(house: House, operation: Any, mode: GenerationMode, number: int) -> int:
    """Ask one route so many times, two of three with ids of what is there; how often it was asked."""
    asked = 0

    @settings(QUICK, max_examples=number)
    @given(data=st.data())
    def once(data: st.DataObject) -> None:
        nonlocal asked
        case = data.draw(operation.as_strategy(generation_mode=mode))
        if data.draw(st.sampled_from([True, True, False])):
            parts = case.path_parameters or {}
            case.path_parameters = {**parts, **{name: house.ids[name] for name in parts if name in house.ids}}
        case.call_and_validate(base_url=house.url, headers=house.headers, checks=CHECKS, timeout=300)
        asked += 1

    with suppress(Unsatisfiable):  # a route that takes nothing has no nonsense
        once()
    return asked


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")
def test_every_route_answers_as_described(house: House) -> None:
    asked = 0
    problems = []
    for found in described().get_all_operations():
        for mode, number in ((GenerationMode.POSITIVE, 4), (GenerationMode.NEGATIVE, 2)):
            try:
                asked += ask(house, found.ok(), mode, number)
            except BaseExceptionGroup as failures:
                problems += [f"{found.ok().label} {mode}: {failure}" for failure in failures.exceptions]
    assert not problems, "\n\n".join(problems)
    assert asked > 200


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")
def test_what_is_made_can_be_used_as_the_links_say(house: House) -> None:
    base: Any = described().as_state_machine()
    steps = itertools.count()

    class Walk(base):  # type: ignore[misc]
        def before_call(self, case: Any) -> None:
            parts = case.path_parameters or {}
            mine = {name: house.ids[name] for name in ("account_id", "app_id") if name in parts}
            case.path_parameters = {**parts, **mine}
            next(steps)

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"base_url": house.url, "headers": house.headers, "timeout": 300}

        def validate_response(self, response: Any, case: Any, **more: Any) -> None:
            case.validate_response(response, checks=CHECKS)

    Walk.run(settings=settings(QUICK, max_examples=12, stateful_step_count=12))
    assert next(steps) > 50
