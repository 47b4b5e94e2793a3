"""Builds the HTTP application out of services. Owns the addresses of the faces; refuses to make a service itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter, FastAPI

from tapedeck.api import errors, files, health, rtc
from tapedeck.api.auth import Gate
from tapedeck.api.edge import Edge
from tapedeck.api.health import Check
from tapedeck.api.realtimekit import apps, meetings, participants, recordings
from tapedeck.ports.clock import Clock
from tapedeck.ports.storage import ObjectStore
from tapedeck.ports.whip import WhipServer
from tapedeck.service.access import AccessService
from tapedeck.service.meetings import MeetingService
from tapedeck.service.recordings import RecordingService

__all__ = ["create_app"]

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(
    *,
    access: AccessService,
    meetings_service: MeetingService,
    recordings_service: RecordingService,
    whip: WhipServer,
    store: ObjectStore,
    link_key: bytes,
    clock: Clock,
    ice_servers: Sequence[str] = (),
    checks: Mapping[str, Check] | None = None,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """The application of one server.

    `link_key` is the key `store` signs its links with; `checks` are what `/health/ready` asks.
    """
    app = FastAPI(
        title="Tapedeck",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.add_middleware(Edge)
    errors.install(app)
    gate = Gate(access)

    account = APIRouter(prefix="/client/v4/accounts/{account_id}/realtime/kit")
    account.include_router(apps.apps_router(gate, access))
    of_app = APIRouter(prefix="/{app_id}")
    of_app.include_router(meetings.router(gate, meetings_service))
    of_app.include_router(participants.router(gate, access, meetings_service))
    of_app.include_router(apps.presets_router(gate, access))
    of_app.include_router(recordings.router(gate, recordings_service))
    account.include_router(of_app)
    app.include_router(account)
    app.include_router(recordings.browser_router(gate, recordings_service), prefix="/v2")
    app.include_router(rtc.router(gate, meetings_service, whip, ice_servers))
    app.include_router(files.router(store, link_key, clock))
    app.include_router(health.router(checks or {}))
    return app
