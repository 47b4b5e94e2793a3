"""Builds the HTTP application out of services. Owns the addresses of the faces; refuses to make a service itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI

from tapedeck.api import errors, files, health, hls, rtc
from tapedeck.api.auth import Gate
from tapedeck.api.edge import Edge
from tapedeck.api.health import Check
from tapedeck.api.realtimekit import apps, livestreams, meetings, participants, presets, recordings, sessions, webhooks
from tapedeck.api.rooms import archive as archive_routes
from tapedeck.api.rooms import bulk as bulk_routes
from tapedeck.api.rooms import hooks as hook_routes
from tapedeck.api.rooms import recordings as library_routes
from tapedeck.api.rooms import rooms as room_routes
from tapedeck.api.route import PlainRoute
from tapedeck.api.v1 import configs, deliveries, events, targets, timed
from tapedeck.api.v1 import playback as v1_playback
from tapedeck.api.v1 import recordings as v1_recordings
from tapedeck.core.quota import Limiter
from tapedeck.ports.clock import Clock
from tapedeck.ports.signer import Signer
from tapedeck.ports.storage import ObjectStore
from tapedeck.ports.whip import WhipServer
from tapedeck.service.access import AccessService
from tapedeck.service.analytics import AnalyticsService
from tapedeck.service.archive import ArchiveService
from tapedeck.service.attendance import AttendanceService
from tapedeck.service.configs import ConfigService
from tapedeck.service.deliveries import DeliveryService
from tapedeck.service.events import EventFeed
from tapedeck.service.hosting import HostService
from tapedeck.service.library import LibraryService
from tapedeck.service.livestreams import LivestreamService
from tapedeck.service.meetings import MeetingService
from tapedeck.service.playback import PlaybackService
from tapedeck.service.presets import PresetService
from tapedeck.service.recordings import RecordingService
from tapedeck.service.remote import RemoteService
from tapedeck.service.renders import RenderService
from tapedeck.service.retention import RetentionService
from tapedeck.service.rooms import RoomService
from tapedeck.service.targets import TargetService
from tapedeck.service.timed import TimedService
from tapedeck.service.webhooks import WebhookService

__all__ = ["create_app"]

_ACCOUNT = "/client/v4/accounts/{account_id}/realtime/kit"
_OURS = "/v1/accounts/{account_id}"
_ROOMS = "/api/v1"
_APP = f"{_ACCOUNT}/{{app_id}}"

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(
    *,
    access: AccessService,
    meetings_service: MeetingService,
    configs_service: ConfigService,
    presets_service: PresetService,
    attendance_service: AttendanceService,
    hosting_service: HostService,
    recordings_service: RecordingService,
    renders_service: RenderService,
    targets_service: TargetService,
    timed_service: TimedService,
    playback_service: PlaybackService,
    livestreams_service: LivestreamService,
    analytics_service: AnalyticsService,
    library_service: LibraryService,
    rooms_service: RoomService,
    archive_service: ArchiveService,
    retention_service: RetentionService,
    remote_service: RemoteService,
    webhooks_service: WebhookService,
    deliveries_service: DeliveryService,
    feed: EventFeed,
    signer: Signer,
    whip: WhipServer,
    store: ObjectStore,
    link_key: bytes,
    clock: Clock,
    public_url: str = "",
    ice_servers: Sequence[str] = (),
    limiter: Limiter | None = None,
    track_video: bool = True,
    checks: Mapping[str, Check] | None = None,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """The application of one server.

    `public_url` is where people reach it; `link_key` is the key `store` signs its links with; `checks` are what
    `/health/ready` asks; `track_video` lets recordings of tracks have pictures; without a `limiter` nobody asks too
    often.
    """
    app = FastAPI(
        title="Tapedeck",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=lifespan,
    )
    app.add_middleware(Edge)
    errors.install(app)
    gate = Gate(access, limiter)

    routes = app.router
    routes.route_class = PlainRoute
    apps.add_app_routes(routes, _ACCOUNT, gate, access)
    presets.add_routes(routes, _APP, gate, presets_service)
    meetings.add_routes(routes, _APP, gate, meetings_service)
    participants.add_routes(routes, _APP, gate, access, meetings_service)
    sessions.add_routes(routes, _APP, gate, attendance_service)
    sessions.add_active_routes(routes, _APP, gate, attendance_service, hosting_service)
    recordings.add_routes(routes, _APP, gate, recordings_service, track_video=track_video)
    livestreams.add_livestream_routes(routes, _APP, gate, livestreams_service)
    livestreams.add_analytics_routes(routes, _APP, gate, analytics_service, livestreams_service)
    webhooks.add_routes(routes, _APP, gate, webhooks_service)
    webhooks.add_key_route(routes, signer)
    configs.add_routes(routes, _OURS, gate, configs_service)
    deliveries.add_routes(routes, _OURS, gate, deliveries_service)
    v1_recordings.add_routes(routes, "/v1", gate, renders_service, targets_service)
    targets.add_routes(routes, "/v1", gate, renders_service, targets_service)
    timed.add_routes(routes, "/v1", gate, renders_service, timed_service)
    v1_playback.add_routes(routes, "/v1", gate, renders_service, playback_service)
    events.add_routes(routes, _OURS, gate, feed)
    recordings.add_browser_routes(routes, "/v2", gate, recordings_service)
    archive_routes.add_routes(routes, _ROOMS, gate, archive_service, retention_service)
    room_routes.add_routes(routes, _ROOMS, gate, access, rooms_service, library_service, public_url)
    bulk_routes.add_routes(routes, _ROOMS, gate, library_service)
    library_routes.add_routes(routes, _ROOMS, gate, library_service, playback_service)
    hook_routes.add_routes(routes, remote_service)
    rtc.add_routes(routes, gate, meetings_service, whip, ice_servers)
    files.add_routes(routes, store, link_key, clock)
    hls.add_routes(routes, playback_service)
    health.add_routes(routes, checks or {})
    health.add_description(routes)
    return app
