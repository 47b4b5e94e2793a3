"""Apps of the RealtimeKit face."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.auth import Gate
from tapedeck.api.chapters import APPS
from tapedeck.api.describe import ASCENDING, PAGE, SEARCH, describe
from tapedeck.api.http import Reply, read_json
from tapedeck.api.realtimekit.meetings import PREFIX
from tapedeck.api.realtimekit.queries import Query
from tapedeck.core.access import AppPrincipal
from tapedeck.core.errors import DeniedError
from tapedeck.service.access import AccessService
from tapedeck.shapes import answers, bodies
from tapedeck.shapes.realtimekit import app_body, listing, single

__all__ = ["add_app_routes"]


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
