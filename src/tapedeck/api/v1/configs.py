"""Our own routes about an app's configuration: the defaults of its recordings."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Gate
from tapedeck.api.chapters import OURS
from tapedeck.api.describe import Who, describe
from tapedeck.api.http import Reply, read_json
from tapedeck.api.realtimekit.meetings import PREFIX
from tapedeck.service.configs import AppValues, ConfigService
from tapedeck.shapes.bodies import parse
from tapedeck.shapes.configs import AppConfig, AppConfigBody, app_config_body
from tapedeck.shapes.realtimekit import single

__all__ = ["add_routes"]

_ABOUT = "Of each key of `recording_config` the start request wins, then the meeting, then the app, then the settings."


def add_routes(routes: APIRouter, prefix: str, gate: Gate, configs: ConfigService) -> None:
    """Routes below `/v1/accounts/{account_id}`."""
    place = f"{prefix}/apps/{{app_id}}/config"

    @routes.get(place)
    @describe(OURS, "Get the defaults of an app's recordings", about=_ABOUT, data=AppConfig)
    async def get(account_id: str, app_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        return Reply(single(app_config_body(entry.app)))

    @routes.patch(place)
    @describe(
        OURS,
        "Change what is given of the defaults of an app's recordings",
        Who.ADMIN,
        about="`recording_config` is replaced as a whole; `null` clears.",
        data=AppConfig,
        body=AppConfigBody,
    )
    async def edit(account_id: str, app_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        values = cast(AppValues, parse(AppConfigBody, await read_json(request), PREFIX).values())
        return Reply(single(app_config_body(await configs.change(entry.app, values))))

    @routes.put(place)
    @describe(OURS, "Replace the defaults of an app's recordings", Who.ADMIN, data=AppConfig, body=AppConfigBody)
    async def replace(account_id: str, app_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        values = cast(AppValues, parse(AppConfigBody, await read_json(request), PREFIX).values())
        nothing: AppValues = {"recording_config": None, "empty_timeout_s": None}
        return Reply(single(app_config_body(await configs.change(entry.app, nothing | values))))
