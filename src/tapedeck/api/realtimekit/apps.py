"""Apps and presets of the RealtimeKit face. Presets can be read; writing them has no route yet."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Gate
from tapedeck.api.chapters import APPS, PRESETS
from tapedeck.api.describe import ASCENDING, PAGE, SEARCH, describe
from tapedeck.api.http import Reply, read_json
from tapedeck.api.realtimekit.meetings import PREFIX
from tapedeck.api.realtimekit.queries import Query
from tapedeck.core.access import AppPrincipal
from tapedeck.core.errors import DeniedError
from tapedeck.core.ids import parse_uuid
from tapedeck.service.access import AccessService
from tapedeck.shapes import answers, bodies
from tapedeck.shapes.realtimekit import app_body, listing, preset_body, preset_item, single

__all__ = ["add_app_routes", "add_preset_routes"]


def add_app_routes(routes: APIRouter, prefix: str, gate: Gate, access: AccessService) -> None:
    """Routes below an account."""

    @routes.get(f"{prefix}/apps")
    @describe(APPS, "List the apps of an account", items=answers.App, query=(*PAGE, SEARCH, ASCENDING))
    async def list_apps(account_id: str, request: Request) -> Response:
        principal = await gate.enter_account(request, account_id)
        query = Query(request.query_params, PREFIX)
        search, ascending = query.search(), query.choice("sort_order", ("ASC", "DESC")) == "ASC"
        page = query.page()
        query.done()
        found = await access.list_apps(principal, account_id, page, search, ascending)
        return Reply(listing([app_body(app) for app in found.items], found))

    @routes.post(f"{prefix}/apps")
    @describe(APPS, "Make an app", data=answers.MadeApp, body=bodies.AppBody, status=201)
    async def create(account_id: str, request: Request) -> Response:
        principal = await gate.enter_account(request, account_id)
        if isinstance(principal, AppPrincipal) and principal.token.app_id is not None:
            raise DeniedError("Forbidden: the token is for one app only")
        body = bodies.parse(bodies.AppBody, await read_json(request), PREFIX)
        return Reply(single({"app": app_body(await access.create_app(account_id, body.name))}), 201)


def add_preset_routes(routes: APIRouter, prefix: str, gate: Gate, access: AccessService) -> None:
    """Routes below an app, for backends."""

    @routes.get(f"{prefix}/presets")
    @describe(PRESETS, "List presets", items=answers.Preset, query=(*PAGE, SEARCH))
    async def list_presets(account_id: str, app_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        query = Query(request.query_params, PREFIX)
        search = query.search()
        page = query.page()
        query.done()
        found = await access.list_presets(entry.app, page, search)
        return Reply(listing([preset_item(preset) for preset in found.items], found))

    @routes.get(f"{prefix}/presets/{{preset_id}}")
    @describe(PRESETS, "Get a preset", data=answers.PresetDetail)
    async def get(account_id: str, app_id: str, preset_id: str, request: Request) -> Response:
        entry = await gate.enter(request, account_id, app_id)
        return Reply(single(preset_body(await access.get_preset(entry.app, parse_uuid(preset_id, "preset_id")))))
