"""Where recorders of tenants tell what happened. Only a signature of theirs opens it; the body is a hint, no more."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tapedeck.api.chapters import TENANTS
from tapedeck.api.describe import Who, describe
from tapedeck.api.http import JSON_LIMIT, Reply, read_body
from tapedeck.service.remote import HOOKS, RemoteService
from tapedeck.shapes import library as answers

__all__ = ["add_routes"]


def add_routes(routes: APIRouter, remote: RemoteService) -> None:
    """The route that is registered at the recorders."""

    @routes.post(f"{HOOKS}/{{app_id}}")
    @describe(
        TENANTS,
        "Hear from a tenant's own recorder",
        Who.NOBODY,
        data=answers.Heard,
        fails={401: "The recorder did not sign it.", 404: "The tenant has no recorder of its own."},
        about="For the recorder alone, which signs what it sends (`rtk-signature`). It is asked for whatever it tells.",
    )
    async def heard(app_id: str, request: Request) -> Response:
        body = await read_body(request, JSON_LIMIT)
        await remote.heard(app_id, request.headers, body)
        return Reply({"data": {"heard": True}})
