"""The part of the composition root that knows how films are played: over HLS, while they are made and afterwards."""

from __future__ import annotations

from tapedeck.config import Settings
from tapedeck.core.signing import derive_key
from tapedeck.db.engine import Database
from tapedeck.ports.clock import Clock
from tapedeck.ports.storage import ObjectStore
from tapedeck.service.ledger import Ledger
from tapedeck.service.livestreams import LivestreamService
from tapedeck.service.playback import PlaybackService
from tapedeck.service.recordings import RecordingService
from tapedeck.service.sessions import SessionService
from tapedeck.workers.playback import LocalFilms, PlaybackKeeper

__all__ = ["Playing"]


class Playing:
    """Services and workers of playing."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        clock: Clock,
        ledger: Ledger,
        store: ObjectStore,
        recordings: RecordingService,
        sessions: SessionService,
        secret: str,
        public_url: str,
    ) -> None:
        films = LocalFilms(settings.hls_dir)
        is_live = settings.render_mode == "live"
        key = derive_key(secret, "playback")
        self.service = PlaybackService(db, clock, store, films, key, public_url, is_live=is_live)
        self.livestreams = LivestreamService(db, clock, ledger, recordings, self.service)
        sessions.show = self.livestreams.start_in
        self.keeper = PlaybackKeeper(self.service, films, ledger, self.livestreams.flush)
