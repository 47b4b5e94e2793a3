"""Presets of the RealtimeKit face."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Gate
from tapedeck.api.chapters import PRESETS
from tapedeck.api.describe import PAGE, SEARCH, describe
from tapedeck.api.http import Reply, read_json
from tapedeck.api.realtimekit.meetings import PREFIX
from tapedeck.api.realtimekit.queries import Query
from tapedeck.core.ids import parse_uuid
from tapedeck.service.presets import PresetService, PresetValues
from tapedeck.shapes import answers
from tapedeck.shapes.bodies import parse
from tapedeck.shapes.presets import EditPresetBody, PresetBody
from tapedeck.shapes.realtimekit import listing, preset_body, preset_item, single

__all__ = ["add_routes"]

_TAKEN = {409: "The name is taken."}


def add_routes(routes: APIRouter, prefix: str, gate: Gate, presets: PresetService) -> None:
    """Routes below an app, for backends."""

    @routes.post(f"{prefix}/presets")
    @describe(PRESETS, "Make a preset", data=answers.PresetDetail, body=PresetBody, status=201, fails=_TAKEN)
    async def create(account_id: str, app_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        body = parse(PresetBody, await read_json(request), PREFIX)
        made = await presets.create(entry.app, body.name, cast(PresetValues, body.values()))
        return Reply(single(preset_body(made)), 201)

    @routes.get(f"{prefix}/presets")
    @describe(PRESETS, "List presets", items=answers.Preset, query=(*PAGE, SEARCH))
    async def list_presets(account_id: str, app_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        query = Query(request.query_params, PREFIX)
        search = query.search()
        page = query.page()
        query.done()
        found = await presets.list(entry.app, page, search)
        return Reply(listing([preset_item(preset) for preset in found.items], found))

    @routes.get(f"{prefix}/presets/{{preset_id}}")
    @describe(PRESETS, "Get a preset", data=answers.PresetDetail)
    async def get(account_id: str, app_id: str, preset_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        return Reply(single(preset_body(await presets.get(entry.app, parse_uuid(preset_id, "preset_id")))))

    @routes.patch(f"{prefix}/presets/{{preset_id}}")
    @describe(
        PRESETS,
        "Change what is given of a preset",
        data=answers.PresetDetail,
        body=EditPresetBody,
        fails=_TAKEN,
    )
    async def edit(account_id: str, app_id: str, preset_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        preset_id = parse_uuid(preset_id, "preset_id")
        body = parse(EditPresetBody, await read_json(request), PREFIX)
        changed = await presets.update(entry.app, preset_id, cast(PresetValues, body.values()))
        return Reply(single(preset_body(changed)))

    @routes.put(f"{prefix}/presets/{{preset_id}}")
    @describe(PRESETS, "Replace a preset", data=answers.PresetDetail, body=PresetBody, fails=_TAKEN)
    async def replace(account_id: str, app_id: str, preset_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        preset_id = parse_uuid(preset_id, "preset_id")
        body = parse(PresetBody, await read_json(request), PREFIX)
        changed = await presets.replace(entry.app, preset_id, body.name, cast(PresetValues, body.values()))
        return Reply(single(preset_body(changed)))

    @routes.delete(f"{prefix}/presets/{{preset_id}}")
    @describe(PRESETS, "Delete a preset", data=answers.PresetDetail, fails={409: "Participants have it."})
    async def delete(account_id: str, app_id: str, preset_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        return Reply(single(preset_body(await presets.delete(entry.app, parse_uuid(preset_id, "preset_id")))))
