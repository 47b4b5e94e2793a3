"""The composition root: what a node is made of. Only this file, and those it is cut into, name adapters."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import sys
from collections.abc import AsyncIterator
from datetime import timedelta

import structlog

from tapedeck import config, logs
from tapedeck.adapters.clock import SystemClock
from tapedeck.adapters.fetcher import HttpFetcher
from tapedeck.adapters.poster import HttpPoster
from tapedeck.adapters.provider.cloudflare import CloudflareProviders
from tapedeck.adapters.sealer import AesSealer
from tapedeck.adapters.signer import RsaSigner, is_signed
from tapedeck.adapters.srt import has_srt
from tapedeck.api.app import create_app
from tapedeck.browsing import Browsing, tell_browser
from tapedeck.config import Settings, load_settings
from tapedeck.core.deadlines import Limits
from tapedeck.core.delivery import Patience
from tapedeck.core.errors import TapedeckError, UnavailableError
from tapedeck.core.quota import Limiter
from tapedeck.core.signing import derive_key
from tapedeck.datadir import DiskCheck, make_data_dir, owned_data_dir, secret_of
from tapedeck.db.engine import Database
from tapedeck.media.codecs import missing_codecs
from tapedeck.node import Node
from tapedeck.notify.deliver import Deliverer
from tapedeck.notify.outbox import Composer, sample
from tapedeck.outlets import Outlets, probe_storage
from tapedeck.playing import Playing
from tapedeck.service.access import AccessService
from tapedeck.service.analytics import AnalyticsService
from tapedeck.service.archive import ArchiveService
from tapedeck.service.attendance import AttendanceService
from tapedeck.service.configs import ConfigService
from tapedeck.service.deliveries import DeliveryService
from tapedeck.service.events import EventFeed
from tapedeck.service.expiry import ExpiryService
from tapedeck.service.hosting import HostService
from tapedeck.service.ledger import Ledger
from tapedeck.service.library import LibraryService
from tapedeck.service.lifecycle import LifecycleService
from tapedeck.service.meetings import MeetingService
from tapedeck.service.presets import PresetService
from tapedeck.service.recordings import RecordingService
from tapedeck.service.remote import RemoteService
from tapedeck.service.renders import RenderService
from tapedeck.service.retention import RetentionService
from tapedeck.service.rooms import RoomService
from tapedeck.service.sessions import SessionService
from tapedeck.service.targets import TargetService
from tapedeck.service.timed import TimedService
from tapedeck.service.uploads import UploadService
from tapedeck.service.vault import Vault
from tapedeck.service.webhooks import WebhookService
from tapedeck.sources.network import NetworkSettings
from tapedeck.sources.webrtc import PeerSettings
from tapedeck.sources.whip import WhipServer
from tapedeck.workers.archive import LibraryKeeper, LocalFiles
from tapedeck.workers.capture import CaptureHost
from tapedeck.workers.deliver import DeliveryWorker
from tapedeck.workers.expire import FileKeeper
from tapedeck.workers.films import FilmWorker
from tapedeck.workers.marks import MarkKeeper
from tapedeck.workers.remote import RemoteWorker
from tapedeck.workers.rerender import RerenderWorker
from tapedeck.workers.streams import StreamWorker
from tapedeck.workers.sweep import LogKeeper
from tapedeck.workers.upload import UploadWorker

__all__ = [
    "Node",
    "Settings",
    "build",
    "configure_logs",
    "load_settings",
    "migrate_apart",
    "open_access",
    "open_remote",
    "owned_data_dir",
    "probe_storage",
    "tell_browser",
]

log = structlog.get_logger(__name__)


def configure_logs(settings: Settings) -> None:
    """Set up logging, and name misspelt settings."""
    logs.configure_logs(settings.log_format, settings.log_level)
    for name in config.unknown_names(os.environ):
        log.warning("settings.unknown", name=name, text="no setting has this name; it changes nothing")


def migrate_apart(settings: Settings) -> None:
    """Bring the database to what this version needs, in a child of a process that has no threads yet.

    What a migration loads would stay with a server that never needs it again: 11 MB. Not everywhere can a process be
    forked safely (macOS), and the child says nothing of what goes wrong: `build` looks again, does it and says it.
    """
    if sys.platform != "linux":
        return
    child = multiprocessing.get_context("fork").Process(target=_migrate, args=(settings,), name="migrate")
    child.start()
    child.join()


def _migrate(settings: Settings) -> None:
    logging.disable()

    async def migrate() -> None:
        db = Database(settings.effective_database_url)
        try:
            await db.migrate()
        finally:
            await db.aclose()

    with contextlib.suppress(TapedeckError):
        asyncio.run(migrate())


@contextlib.asynccontextmanager
async def open_access(settings: Settings) -> AsyncIterator[AccessService]:
    """Accounts, apps and tokens of a data directory. Works beside a running server."""
    os.umask(0o077)
    make_data_dir(settings.data_dir)
    db = Database(settings.effective_database_url)
    try:
        await db.migrate()
        yield AccessService(db, SystemClock(), secret_of(settings))
    finally:
        await db.aclose()


@contextlib.asynccontextmanager
async def open_remote(settings: Settings) -> AsyncIterator[tuple[AccessService, RemoteService]]:
    """Tenants of a data directory and their recorders. Works beside a running server."""
    async with open_access(settings) as access:
        clock, db = SystemClock(), Database(settings.effective_database_url)
        vault = Vault(db, AesSealer([secret_of(settings), *settings.former_secrets]), settings.r2_endpoint)
        providers = CloudflareProviders(allow_private=settings.allow_private_urls)
        try:
            yield access, RemoteService(db, clock, Ledger(db, clock), vault, providers, is_signed, settings.public_url)
        finally:
            await providers.aclose()
            await db.aclose()


async def build(settings: Settings, port: int) -> Node:
    """A node that is not running yet. UnavailableError or InvalidError with one sentence when it cannot be."""
    if missing := missing_codecs():
        raise UnavailableError(f"PyAV lacks {', '.join(missing)}: install its wheel from PyPI, which has them")
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    public_url = settings.public_url or f"http://{host}:{port}"
    if not settings.public_url and settings.host in ("0.0.0.0", "::"):
        log.warning(
            "settings.public_url_missing",
            text="links would begin with an address that nobody can open: set TAPEDECK_PUBLIC_URL",
        )
    secret = secret_of(settings)
    clock = SystemClock()
    db = Database(settings.effective_database_url)
    try:
        return await _assemble(settings, public_url, secret, clock, db)
    except BaseException:
        await db.aclose()
        raise


async def _assemble(settings: Settings, public_url: str, secret: str, clock: SystemClock, db: Database) -> Node:
    await db.migrate()
    access = AccessService(db, clock, secret, timedelta(seconds=settings.participant_token_ttl_s))
    token = settings.api_token.get_secret_value() if settings.api_token else None
    bootstrap = await access.bootstrap(settings.account_id or None, settings.app_id or None, token)

    link_key = derive_key(secret, "links")
    outlets = Outlets(settings, public_url, link_key)
    store = outlets.bucket
    former = settings.former_secrets
    is_live = settings.render_mode == "live"
    browsing, keys = Browsing(settings), AesSealer([secret, *former])
    opens = browsing.page_problem
    vault = Vault(db, keys, settings.r2_endpoint, streams=is_live, srt=has_srt(), page_problem=opens)
    if former:
        await vault.renew()
    ledger = Ledger(db, clock)
    capture = CaptureHost(settings.captures_dir, clock)
    recordings = RecordingService(db, clock, ledger, capture, store, vault, settings.recording_config)
    sessions = SessionService(db, ledger, recordings)
    playing = Playing(settings, db, clock, ledger, store, recordings, sessions, secret, public_url)
    hosting = HostService(db, clock, capture, sessions)
    meetings = MeetingService(db, clock, capture, hosting, vault)
    signer = await asyncio.to_thread(RsaSigner.keep, settings.data_dir / "webhook.pem")
    poster = HttpPoster(allow_private=settings.allow_private_urls, timeout_s=settings.webhook_timeout_s)
    feed = EventFeed(db, ledger, Composer(store, playing.livestreams.address))
    compose = Composer(store, playing.livestreams.address, settings.webhook_recording_statuses)
    deliveries = DeliveryService(db, clock, ledger, compose, sample)
    webhooks = DeliveryWorker(deliveries, Deliverer(poster, signer, clock), ledger, clock)
    limits = Limits(empty_timeout_s=settings.empty_meeting_timeout_s)
    lifecycle = LifecycleService(db, clock, ledger, recordings, limits)
    loopback = settings.host in ("127.0.0.1", "::1", "localhost")
    network = NetworkSettings(
        hosts=settings.rtc_hosts or ((settings.host,) if loopback else ()),
        ports=settings.rtc_port_range,
        ice_servers=settings.ice_servers,
    )
    whip = WhipServer(capture, PeerSettings(network=network))
    capture.bind(events=sessions, meetings=meetings, publishers=whip)

    pages = browsing.worker(db, clock, access, ledger, lifecycle, whip, capture)
    patience = Patience(unreachable_s=settings.upload_patience_s, refused_s=settings.upload_refused_s)
    uploads = UploadWorker(
        service=UploadService(db, clock, ledger, lifecycle),
        open_bucket=lambda destination: outlets.open(destination, vault),
        has_fallback=outlets.fallback is not None,
        films_dir=settings.films_dir,
        clock=clock,
        patience=patience,
    )
    fetcher = HttpFetcher(allow_private=settings.allow_private_urls)
    marks = MarkKeeper(lifecycle=lifecycle, ledger=ledger, fetcher=fetcher, captures_dir=settings.captures_dir)
    films = FilmWorker(
        lifecycle=lifecycle,
        ledger=ledger,
        uploads=uploads,
        captures_dir=settings.captures_dir,
        films_dir=settings.films_dir,
        streams_dir=settings.streams_dir,
        hls_dir=settings.hls_dir,
        concurrency=settings.render_concurrency,
        live=is_live,
        prepare=marks.ready,
    )
    targets = TargetService(db, clock, vault, live=is_live)
    streams = StreamWorker(
        targets=targets,
        ledger=ledger,
        streams_dir=settings.streams_dir,
        allow_private=settings.allow_private_urls,
    )
    renders = RenderService(db, clock, store, lambda session_id: (settings.captures_dir / session_id).is_dir())
    again = RerenderWorker(
        service=renders,
        store=store,
        clock=clock,
        captures_dir=settings.captures_dir,
        renders_dir=settings.renders_dir,
    )
    archives = ArchiveService(db, clock, store, outlets.archive)
    free_local = LocalFiles(settings.captures_dir, settings.films_dir, settings.hls_dir, settings.streams_dir)
    retention = RetentionService(db, clock, store, store, archives, free_local, outlets.fallback)
    keeper = LogKeeper(
        lifecycle=lifecycle,
        clock=clock,
        captures_dir=settings.captures_dir,
        keep_days=settings.keep_logs_days,
        in_use=capture.session_ids,
    )
    providers = CloudflareProviders(allow_private=settings.allow_private_urls)
    remote = RemoteService(db, clock, ledger, vault, providers, is_signed, public_url)
    far_films = RemoteWorker(remote, settings.films_dir, clock, uploads=uploads)
    films.elsewhere = far_films.again
    library = LibraryService(db, clock, recordings, store, remote=remote, store_name=settings.bucket_provider)
    library.archives = archives
    library.on_recover = films.again
    app = create_app(
        access=access,
        meetings_service=meetings,
        configs_service=ConfigService(db, vault),
        presets_service=PresetService(db, clock),
        attendance_service=AttendanceService(db, clock),
        hosting_service=hosting,
        analytics_service=AnalyticsService(db, clock),
        recordings_service=recordings,
        renders_service=renders,
        library_service=library,
        archive_service=archives,
        retention_service=retention,
        rooms_service=RoomService(db, clock, access, meetings, remote),
        remote_service=remote,
        public_url=public_url,
        targets_service=targets,
        timed_service=TimedService(db, clock, capture),
        playback_service=playing.service,
        livestreams_service=playing.livestreams,
        webhooks_service=WebhookService(db, clock, settings.allow_private_urls),
        deliveries_service=deliveries,
        feed=feed,
        signer=signer,
        whip=whip,
        store=store,
        link_key=link_key,
        clock=clock,
        ice_servers=settings.ice_servers,
        limiter=Limiter() if settings.rate_limits else None,
        track_video=settings.track_video == "on",
        checks={"database": db.ping, "disk": DiskCheck(settings.data_dir)},
    )
    return Node(
        app,
        public_url,
        bootstrap,
        db,
        lifecycle,
        sessions,
        capture,
        whip,
        films,
        streams,
        playing,
        pages,
        uploads,
        keeper,
        FileKeeper(ExpiryService(db), store, clock),
        clock,
        webhooks,
        poster,
        feed,
        (playing.keeper.run, again.run, LibraryKeeper(archives, retention, clock).run, far_films.run),
        (
            recordings.aclose,
            marks.aclose,
            fetcher.aclose,
            again.aclose,
            archives.aclose,
            outlets.aclose,
            providers.aclose,
        ),
    )
