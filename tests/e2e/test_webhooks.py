"""A server that dies on the way from a change of state to whoever asked for it: every change is told, in order.

Killed with SIGKILL in turn while an endpoint has a message and has not answered, right after its answer, and right
after the call that made the change.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.kit import House, open_house
from tests.notify.receiver import Arrival, Receiver, receiver
from tests.pace import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(300)]

WAY = ["INVOKED", "ERRORED"]
"""Of a recording that is stopped before anybody came."""


def told(endpoint: Receiver, recording_id: str) -> list[tuple[str, str]]:
    """Id and status of each message about a recording, as they arrived."""
    found = []
    for arrival in endpoint.arrivals:
        body: dict[str, Any] = json.loads(arrival.body)
        if body["recording"]["id"] == recording_id:
            found.append((arrival.uuid, str(body["recording"]["status"])))
    return found


async def record(house: House) -> str:
    kit = house.sdk.realtime_kit
    room = await house.room([])
    started = await kit.recordings.start_recordings(
        house.server.app_id, account_id=house.server.account_id, meeting_id=room.id
    )
    assert started.data is not None
    return started.data.id


async def stop(house: House, recording_id: str) -> None:
    await house.sdk.realtime_kit.recordings.pause_resume_stop_recording(recording_id, action="stop", **house.ids)


async def test_every_change_is_told_in_order_whenever_the_server_dies(tmp_path: Path) -> None:
    env = {"TAPEDECK_ALLOW_PRIVATE_URLS": "true", "TAPEDECK_WEBHOOK_TIMEOUT_S": "20"}
    async with receiver() as endpoint, open_house(tmp_path, env) as house:
        await house.sdk.realtime_kit.webhooks.create_webhook(
            house.server.app_id,
            account_id=house.server.account_id,
            name="all",
            url=endpoint.url,
            events=["recording.statusUpdate"],
        )
        kills = 0

        async def die(_: Arrival) -> int:
            nonlocal kills
            endpoint.answer = lambda _: 200
            await house.server.kill()
            kills += 1
            return 200

        async def knows(recording_id: str, count: int) -> None:
            async def holds() -> bool:
                return len(dict.fromkeys(told(endpoint, recording_id))) >= count

            await eventually(holds, 60)

        async def restart(number: int) -> None:
            async def is_dead() -> bool:
                return kills == number

            await eventually(is_dead, 60)
            await house.server.start()

        endpoint.answer = die
        first = await record(house)
        await restart(1)  # it had the message, and no answer came
        await knows(first, 1)
        await house.server.kill()  # the answer was given a moment ago
        kills += 1
        await restart(2)
        await stop(house, first)
        await house.server.kill()  # nothing may have been sent yet
        kills += 1
        await restart(3)
        await knows(first, len(WAY))
        second = await record(house)
        await stop(house, second)
        await knows(second, len(WAY))
        for recording_id in (first, second):
            messages = list(dict.fromkeys(told(endpoint, recording_id)))
            assert [status for _, status in messages] == WAY, "each change once, in order"
            assert len({uuid for uuid, _ in messages}) == len(WAY), "what is sent again has its old id"
        assert len(told(endpoint, first)) > len(WAY), "what was not answered was sent again"
        assert len(told(endpoint, second)) == len(WAY)
