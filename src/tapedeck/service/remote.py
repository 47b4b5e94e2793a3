"""Rooms that another recorder records: start and stop there, `sync`, and what is made of its answers and webhooks.

Whatever is heard of a recording, from a webhook or a poll, is only a reason to ask: what is believed is the answer of
the recorder itself, over a connection that we made, with the tenant's own token. So a webhook that is replayed, late or
of another customer of the same recorder changes nothing. Files are `workers/remote.py`'s.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakValueDictionary

from tapedeck.core.errors import (
    ConflictError,
    FieldProblem,
    InvalidError,
    NotFoundError,
    TapedeckError,
    UnauthenticatedError,
)
from tapedeck.core.library import LibraryStatus, status_of
from tapedeck.core.meeting import App
from tapedeck.core.recording import (
    ACTIVE,
    Caller,
    Fail,
    FilmFile,
    Recording,
    RecordingChanged,
    RecordingState,
    Rendered,
)
from tapedeck.core.remote import CLOUDFLARE, RemoteAccount, RemoteRecording, adopt, follow
from tapedeck.db import recordings, rooms
from tapedeck.db import remote as table
from tapedeck.db.engine import Database, DbSession
from tapedeck.db.remote import Origin
from tapedeck.ports.clock import Clock
from tapedeck.ports.provider import Providers, RecordingProvider
from tapedeck.service.ledger import Ledger
from tapedeck.service.vault import Vault

__all__ = ["HOOKS", "RemoteService", "Verify"]

Verify = Callable[[str, bytes, bytes], bool]
"""Whether a signature is one of a body (RSA, PKCS #1 v1.5, SHA-256), by the PEM of a public key."""
HOOKS = "/api/v1/hooks/cloudflare"
"""Where recorders tell what happens, each tenant's below it."""

_log = logging.getLogger(__name__)
_KEY_AGE = timedelta(hours=24)
_KEY_AGAIN = timedelta(minutes=1)
"""A key that does not fit is asked for again, but not more often than this: anybody can send what does not fit."""
_AT_ONCE = 50
"""Rows of one transaction: others want to write too."""
_RUNNING = (*sorted(ACTIVE), RecordingState.CLOSING, RecordingState.RENDERING)
_GONE = "The recorder of the room has no such recording any more."


class RemoteService:
    """Use cases of tenants with a recorder of their own."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        ledger: Ledger,
        vault: Vault,
        providers: Providers,
        verify: Verify,
        public_url: str,
    ) -> None:
        """`public_url`: where the recorder reaches us with its webhooks."""
        self._db = db
        self._clock = clock
        self._ledger = ledger
        self._vault = vault
        self._providers = providers
        self._verify = verify
        self._public_url = public_url
        self._keys: dict[str, tuple[str, datetime]] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._hints: set[str] = set()
        self.on_news: Callable[[], None] = lambda: None
        "Hears that there is something to ask or to copy; returns at once."

    # Tenants

    async def account(self, app_id: str) -> RemoteAccount | None:
        """Who records for a tenant; None when this server does. UnavailableError when the token cannot be read."""
        async with self._db.read() as session:
            settings, sealed = await table.settings_of(session, app_id)
        if settings.get("provider") != CLOUDFLARE or sealed is None:
            return None
        there: Mapping[str, str] = settings["remote"]
        token = self._vault.open_token(sealed)
        return RemoteAccount(there["base_url"], there["account_id"], there["app_id"], token)

    async def uses(self, app_id: str) -> bool:
        """Whether a tenant has a recorder of its own."""
        async with self._db.read() as session:
            settings, _ = await table.settings_of(session, app_id)
        return settings.get("provider") == CLOUDFLARE

    async def set_account(self, app: App, account: RemoteAccount | None) -> None:
        """Have somebody else record for a tenant, or this server again (None).

        InvalidError for an address that is none; ConflictError while the former one is not done with its recordings.
        """
        changes: dict[str, Any] = {"provider": "local", "remote": None, "webhook": None, "webhook_url": None}
        sealed = None
        if account is not None:
            self._providers.connect(account)
            there = {"base_url": account.base_url, "account_id": account.account_id, "app_id": account.app_id}
            changes |= {"provider": CLOUDFLARE, "remote": there}
            sealed = self._vault.seal_token(account.token)
        async with self._db.write() as session:
            former, _ = await table.settings_of(session, app.id)
            if former.get("remote") != changes["remote"]:
                waiting = [o for o in await table.unfinished(session, _RUNNING) if o.app_id == app.id]
                if waiting:
                    text = f"{len(waiting)} recordings are not copied from the former recorder yet: try again then"
                    raise ConflictError(text)
                await table.forget_rooms(session, app.id)
            await table.save_settings(session, app, changes, sealed, self._clock.now())

    async def bind(self, app: App, meeting_id: str, remote_meeting_id: str) -> None:
        """Let a room be a meeting that is there already. NotFoundError; ConflictError when either has its peer."""
        async with self._db.write() as session:
            if await rooms.find_meeting(session, meeting_id, app.id, lock=True) is None:
                raise NotFoundError("There is no such room")
            if await table.far_room(session, meeting_id) is not None:
                raise ConflictError("The room is a meeting of the recorder already")
            if await table.near_room(session, app.id, remote_meeting_id) is not None:
                raise ConflictError("Another room is that meeting of the recorder already")
            await table.add_room(session, app.id, meeting_id, remote_meeting_id)

    # Rooms

    async def start(
        self, app: App, meeting_id: str, config: Mapping[str, Any], allow_multiple: bool, caller: Caller | None
    ) -> Recording:
        """Record a room there. NotFoundError, ConflictError when it is recorded, and what the recorder says."""
        if not config.get("realtimekit_bucket_config", {}).get("enabled", True):
            text = '"realtimekit_bucket_config.enabled" must be true: the files are copied from there'
            raise InvalidError(text, (FieldProblem("/realtimekit_bucket_config/enabled", text),))
        provider = await self._provider(app.id)
        there = await self._far(app, meeting_id, provider)
        remote = await provider.start(there, config, allow_multiple)
        async with self._db.write() as session:
            await rooms.find_meeting(session, meeting_id, app.id, lock=True)
            known = await table.near_id(session, app.id, remote.id)
            if known is None:
                recording, change = await self._add(session, remote, app.id, meeting_id, caller)
            else:
                found = await recordings.find_recording(session, known)
                assert found is not None
                recording, change = found, None
        if change is not None:
            self._ledger.publish(recording, change)
        self.on_news()  # it is asked for from now on, also if nobody tells
        await self._watch(app, provider)
        return recording

    async def stop(self, recording: Recording) -> Recording:
        """End a recording there. Errors as of `start`."""
        origin = await self._origin(recording.id)
        provider = await self._provider(origin.app_id)
        return await self._take(recording.id, await provider.stop(origin.remote_id))

    async def sync(self, app: App, meeting_id: str) -> Sequence[tuple[str, LibraryStatus]]:
        """Take over what was recorded in a room there and is not known yet; what was is brought up to date.

        NotFoundError; nothing is taken when the recorder cannot be asked.
        """
        provider = await self._provider(app.id)
        there = await self._far(app, meeting_id, provider)
        found = await provider.recordings(there)
        taken: list[tuple[str, LibraryStatus]] = []
        for begin in range(0, len(found), _AT_ONCE):
            taken += await self._import(app, meeting_id, found[begin : begin + _AT_ONCE])
        await self._watch(app, provider)
        self.on_news()
        return taken

    async def _import(
        self, app: App, meeting_id: str, found: Sequence[RemoteRecording]
    ) -> list[tuple[str, LibraryStatus]]:
        published: list[tuple[Recording, RecordingChanged]] = []
        taken: list[tuple[str, LibraryStatus]] = []
        async with self._db.write() as session:
            await rooms.find_meeting(session, meeting_id, app.id, lock=True)
            known = await table.known_ids(session, app.id, [remote.id for remote in found])
            for remote in found:
                if remote.id in known:
                    recording, changes = await self._follow(session, known[remote.id], remote)
                    published += [(recording, change) for change in changes]
                else:
                    recording, change = await self._add(session, remote, app.id, meeting_id, None)
                    published.append((recording, change))
                    taken.append((recording.id, status_of(recording.state)))
        for recording, change in published:
            self._ledger.publish(recording, change)
        return taken

    def recover(self, recording: Recording) -> None:
        """Ask again now, and copy again what is not here; again is harmless."""
        self._hint(recording.id)

    # What happens there

    async def heard(self, app_id: str, headers: Mapping[str, str], body: bytes) -> None:
        """A webhook came. NotFoundError for no such tenant, UnauthenticatedError unless its recorder signed it."""
        account = await self.account(app_id)
        if account is None:
            raise NotFoundError("There is no such tenant, or it has no recorder of its own")
        async with self._db.read() as session:
            settings, _ = await table.settings_of(session, app_id)
        if settings.get("webhook") is None or headers.get("rtk-webhook-id") != settings["webhook"]:
            raise UnauthenticatedError("The webhook is not the one that was registered")
        try:
            signature = base64.b64decode(headers.get("rtk-signature", ""), validate=True)
        except (binascii.Error, ValueError):
            signature = b""
        if not await self._is_signed(account, body, signature):
            raise UnauthenticatedError("The signature is not the recorder's")
        try:
            said = json.loads(body)
            remote_id = str(said["recording"]["id"]) if said["event"] == "recording.statusUpdate" else None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InvalidError("The body is not an event") from None
        if remote_id is not None:
            async with self._db.read() as session:
                known = await table.near_id(session, app_id, remote_id)
            if known is not None:
                self._hint(known)

    def hints(self) -> frozenset[str]:
        """Recordings that something was heard of since the last time this was asked."""
        found = frozenset(self._hints)
        self._hints.clear()
        return found

    async def unfinished(self) -> Sequence[Origin]:
        """What other recorders are not done with, or is not copied yet; oldest first."""
        async with self._db.read() as session:
            return await table.unfinished(session, _RUNNING)

    async def ask(self, recording_id: str) -> tuple[Recording, RemoteRecording | None]:
        """Take over how far a recording is; None in place of the answer when it is gone there, which fails it.

        Errors as of the recorder.
        """
        origin = await self._origin(recording_id)
        provider = await self._provider(origin.app_id)
        try:
            remote = await provider.status(origin.remote_id)
        except NotFoundError:
            return await self.fail(recording_id, _GONE), None
        return await self._take(recording_id, remote), remote

    async def provider_of(self, recording_id: str) -> RecordingProvider:
        """The recorder of a recording."""
        return await self._provider((await self._origin(recording_id)).app_id)

    async def copied(self, recording_id: str, files: Sequence[FilmFile]) -> Recording:
        """All files are on this machine. WrongStateError when it comes too late."""
        return await self._ledger.apply(recording_id, Rendered(tuple(files)))

    async def fail(self, recording_id: str, reason: str) -> Recording:
        """Nothing will come of it. WrongStateError when it is done."""
        return await self._ledger.apply(recording_id, Fail(reason))

    # Inside

    def _hint(self, recording_id: str) -> None:
        self._hints.add(recording_id)
        self.on_news()

    async def _provider(self, app_id: str) -> RecordingProvider:
        account = await self.account(app_id)
        if account is None:
            raise ConflictError("The tenant has no recorder of its own")
        return self._providers.connect(account)

    async def _origin(self, recording_id: str) -> Origin:
        async with self._db.read() as session:
            origin = await table.find_origin(session, recording_id)
        if origin is None:
            raise NotFoundError("There is no such recording of another recorder")
        return origin

    async def _far(self, app: App, meeting_id: str, provider: RecordingProvider) -> str:
        """The meeting that a room is there; made when it is none yet. NotFoundError."""
        async with self._locks.setdefault(meeting_id, asyncio.Lock()):
            async with self._db.read() as session:
                room = await rooms.find_meeting(session, meeting_id, app.id)
                known = await table.far_room(session, meeting_id)
            if room is None:
                raise NotFoundError("There is no such room")
            if known is not None:
                return known
            made = await provider.make_room(room.title)
            async with self._db.write() as session:
                await table.add_room(session, app.id, meeting_id, made)
            return made

    async def _add(
        self, session: DbSession, remote: RemoteRecording, app_id: str, meeting_id: str, caller: Caller | None
    ) -> tuple[Recording, RecordingChanged]:
        recording = replace(adopt(remote, app_id, meeting_id, self._clock.now()), started_by=caller)
        change = RecordingChanged(recording.id, 1, None, recording.state, recording.invoked_at)
        await recordings.add_recording(session, recording, change, imported=True, remote_id=remote.id)
        return recording, change

    async def _take(self, recording_id: str, remote: RemoteRecording) -> Recording:
        async with self._db.write() as session:
            recording, changes = await self._follow(session, recording_id, remote)
        for change in changes:
            self._ledger.publish(recording, change)
        return recording

    async def _follow(
        self, session: DbSession, recording_id: str, remote: RemoteRecording
    ) -> tuple[Recording, tuple[RecordingChanged, ...]]:
        recording = await recordings.find_recording(session, recording_id, lock=True)
        if recording is None:
            raise NotFoundError("There is no such recording")
        changed, changes = follow(recording, remote, self._clock.now())
        if changes:
            await recordings.save_recording(session, changed, changes)
        return changed, changes

    async def _watch(self, app: App, provider: RecordingProvider) -> None:
        """Be told of changes from now on. Without that they are asked for, only later."""
        async with self._db.read() as session:
            settings, _ = await table.settings_of(session, app.id)
        url = f"{self._public_url}{HOOKS}/{app.id}"
        if settings.get("webhook") is not None and settings.get("webhook_url") == url:
            return
        try:
            webhook = await provider.watch(url, settings.get("webhook"))
        except TapedeckError as exc:
            _log.warning("no webhook", extra={"action": "remote_unwatched", "app_id": app.id, "reason": str(exc)})
            return
        async with self._db.write() as session:
            now_set, sealed = await table.settings_of(session, app.id)
            if now_set.get("remote") == settings.get("remote"):
                await table.save_settings(
                    session, app, {"webhook": webhook, "webhook_url": url}, sealed, self._clock.now()
                )

    async def _is_signed(self, account: RemoteAccount, body: bytes, signature: bytes) -> bool:
        now = self._clock.now()
        known = self._keys.get(account.base_url)
        if known is not None and now - known[1] < _KEY_AGE:
            if self._verify(known[0], body, signature):
                return True
            if now - known[1] < _KEY_AGAIN:
                return False
        pem = await self._providers.connect(account).public_key()
        self._keys[account.base_url] = (pem, now)
        return self._verify(pem, body, signature)
