"""Credentials of customers' storages: sealed when they come in, opened for a delivery, renewed when the key changes.

A level of wishes (`core.options`) that was sealed has its storage without secrets, and one sealed text in it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from tapedeck.core.destination import (
    SEALED,
    SEALED_KEYS,
    Destination,
    DestinationKind,
    resolve_storage,
    split_storage,
)
from tapedeck.core.errors import FieldProblem, InvalidError, UnavailableError
from tapedeck.core.page import NO_PAGES
from tapedeck.core.recording import ACTIVE, Recording
from tapedeck.core.target import NO_SRT, NO_STREAMS, STREAMED, Target, TargetState, is_srt, shown_address
from tapedeck.db import destinations as table
from tapedeck.db import recordings, remote, rooms
from tapedeck.db import targets as targets_table
from tapedeck.db.engine import Database, DbSession
from tapedeck.db.models import AppRow, MeetingRow
from tapedeck.ports.sealer import Sealer

__all__ = ["Renewed", "Vault"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Renewed:
    """What a change of keys did."""

    renewed: int
    lost: int
    "Sealed with a key that nobody named."


class Vault:
    """Seals and opens. `r2_endpoint`: where R2 buckets are that come without an account. `streams`: films are made
    while they are recorded; else there is nothing to stream, and no address is taken. `srt`: so can addresses be.
    `page_problem`: why the web page of an address cannot be recorded here, the end of a sentence; None if it may be."""

    def __init__(
        self,
        db: Database,
        sealer: Sealer,
        r2_endpoint: str | None = None,
        *,
        streams: bool = True,
        srt: bool = True,
        page_problem: Callable[[str], str | None] = lambda _: NO_PAGES,
    ) -> None:
        self._db = db
        self._streams = streams
        self._srt = srt
        self._page_problem = page_problem
        self._sealer = sealer
        self._r2_endpoint = r2_endpoint

    def seal(self, level: Mapping[str, Any], pointer: str = "") -> dict[str, Any]:
        """A level of wishes as it may be stored; `pointer` is its place in the body it came in.

        InvalidError for an R2 bucket that nobody knows the place of, for a stream on a server that has none, and for a
        web page that it cannot record.
        """
        sealed = dict(level)
        page = level.get("url")
        if page is not None and (problem := self._page_problem(page)) is not None:
            text = f'"url" cannot be recorded: {problem}'
            raise InvalidError(text, (FieldProblem(f"{pointer}/url", text),))
        if level.get("storage_config") is not None:
            sealed["storage_config"] = self.seal_storage(level["storage_config"], f"{pointer}/storage_config")
        stream = level.get("live_streaming_config")
        if stream is not None and SEALED not in stream:
            field = f"{pointer}/live_streaming_config" if pointer else "/rtmp_out_config"
            self.check_streams(field)
            url = stream["rtmp_url"]
            address = self.seal_address(url, f"{field}/rtmp_url")
            sealed["live_streaming_config"] = {"rtmp_url": shown_address(url), SEALED: address}
        return sealed

    def check_streams(self, field: str) -> None:
        """Pass if films are made while they are recorded. InvalidError naming the field that asks for it."""
        if not self._streams:
            text = f'"{field[1:].replace("/", ".")}" cannot be met: {NO_STREAMS}'
            raise InvalidError(text, (FieldProblem(field, text),))

    def seal_address(self, url: str, pointer: str = "/url") -> str:
        """An address to stream to, as it may be stored. InvalidError for SRT on a server that has none."""
        if is_srt(url) and not self._srt:
            text = f'"{pointer[1:].replace("/", ".")}" cannot be SRT: {NO_SRT}'
            raise InvalidError(text, (FieldProblem(pointer, text),))
        return self._sealer.seal({"rtmp_url": url})

    def unseal_address(self, sealed: str) -> str:
        """The address again: only for who connects. UnavailableError."""
        return self._sealer.unseal(sealed)["rtmp_url"]

    async def is_streamed(self, session: DbSession, recording: Recording, to: Target) -> bool:
        """Whether the recording, or another one that runs of its meeting, is streamed to a place: servers drop one of
        two streams of a key."""
        return any(target.state in STREAMED for target in await self.targets_at(session, recording, to))

    async def targets_at(self, session: DbSession, recording: Recording, to: Target) -> list[Target]:
        """The targets of the recording, and of others that run of its meeting, that are the same place."""
        try:
            url = self.unseal_address(to.sealed)
        except UnavailableError:  # by a key that is gone: whoever is to connect says so
            return []
        found: list[Target] = []
        for other in await recordings.of_meeting(session, recording.app_id, recording.meeting_id, ACTIVE):
            for target in await targets_table.targets_of(session, other.id):
                with suppress(UnavailableError):
                    if target.state is not TargetState.ENDED and self.unseal_address(target.sealed) == url:
                        found.append(target)
        return found

    def targets(self, recording: Recording, *levels: Mapping[str, Any] | None) -> list[Target]:
        """Where a new recording is streamed to, as the strongest level says that speaks of it. Levels are sealed."""
        said = [level["live_streaming_config"] for level in levels if level and "live_streaming_config" in level]
        if not said or said[0] is None:
            return []
        found = said[0]
        target = Target(str(uuid4()), recording.id, recording.invoked_at, found["rtmp_url"], found[SEALED])
        if not self._streams:  # wanted of a meeting or app when the server still streamed
            return [replace(target, state=TargetState.ENDED, reason=f"{NO_STREAMS[0].upper()}{NO_STREAMS[1:]}")]
        return [target]

    def seal_storage(self, storage: Mapping[str, Any], pointer: str = "/storage_config") -> dict[str, Any]:
        """A storage as it may be stored. InvalidError as of `seal`."""
        if SEALED in storage:
            return dict(storage)
        shown, secrets = split_storage(storage)
        if shown["type"] == "cloudflare" and not (shown.get("account_id") or shown.get("endpoint")):
            if self._r2_endpoint is None:
                field = f"{pointer}/account_id"
                text = f'"{field[1:].replace("/", ".")}" is required: this server has no R2 account of its own'
                raise InvalidError(text, (FieldProblem(field, text),))
            shown["endpoint"] = self._r2_endpoint
        return shown | {SEALED: self._sealer.seal(secrets)}

    def unseal_storage(self, destination: Destination) -> dict[str, Any]:
        """The storage with its secrets: only for the adapter that connects. UnavailableError."""
        secrets = {} if destination.sealed is None else self._sealer.unseal(destination.sealed)
        return dict(destination.storage) | secrets

    def seal_token(self, token: str) -> str:
        """What proves that we may ask a tenant's recorder, as it may be stored."""
        return self._sealer.seal({"token": token})

    def open_token(self, sealed: str) -> str:
        """The token again: only for the adapter that connects. UnavailableError."""
        return self._sealer.unseal(sealed)["token"]

    def places(
        self,
        recording: Recording,
        *levels: Mapping[str, Any] | None,
        layers: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> list[Destination]:
        """Where the files of a new recording go. Levels and layers are sealed.

        `layers` has the storages of single layers of a track recording. InvalidError when the files would go nowhere.
        """
        found: list[Destination] = []
        if recording.options.bucket:
            found.append(Destination(str(uuid4()), recording.id, DestinationKind.BUCKET, recording.invoked_at))
        storage = resolve_storage(*levels)
        if storage is not None:
            found.append(_external(recording, storage, None))
        found += [_external(recording, storage, layer) for layer, storage in (layers or {}).items()]
        if not found:
            text = '"realtimekit_bucket_config.enabled" must be true, as there is no other storage to keep the files in'
            raise InvalidError(text, (FieldProblem("/realtimekit_bucket_config/enabled", text),))
        return found

    async def renew(self) -> Renewed:
        """Seal again with the newest key whatever an older one sealed."""
        renewed = lost = 0
        async with self._db.write() as session:
            for destination_id, sealed in await table.sealed_rows(session):
                fresh = self._renew(sealed)
                if fresh is None:
                    lost += 1
                elif fresh != sealed:
                    await table.save_sealed(session, destination_id, fresh)
                    renewed += 1
            for target in await targets_table.all_open(session):
                fresh = self._renew(target.sealed)
                if fresh is None:
                    lost += 1
                elif fresh != target.sealed:
                    await targets_table.save_target(session, replace(target, sealed=fresh))
                    renewed += 1
            for app_id, sealed in await remote.sealed_tokens(session):
                fresh = self._renew(sealed)
                if fresh is None:
                    lost += 1
                elif fresh != sealed:
                    await remote.save_sealed(session, app_id, fresh)
                    renewed += 1
            for of in (MeetingRow, AppRow):
                for id_, config in await rooms.sealed_configs(session, of):
                    changed = dict(config)
                    for key in SEALED_KEYS:
                        part = config.get(key) or {}
                        fresh = self._renew(part[SEALED]) if SEALED in part else ""
                        if fresh is None:
                            lost += 1
                        elif fresh and fresh != part[SEALED]:
                            changed[key] = {**part, SEALED: fresh}
                            renewed += 1
                    if changed != config:
                        await rooms.save_config(session, of, id_, changed)
        if renewed or lost:
            extra = {"action": "credentials_renewed", "renewed": renewed, "lost": lost}
            _log.log(logging.WARNING if lost else logging.INFO, "stored credentials were sealed again", extra=extra)
        return Renewed(renewed, lost)

    def _renew(self, sealed: str) -> str | None:
        if self._sealer.is_current(sealed):
            return sealed
        try:
            return self._sealer.seal(self._sealer.unseal(sealed))
        except UnavailableError:
            return None


def _external(recording: Recording, storage: Mapping[str, Any], layer: str | None) -> Destination:
    shown = {key: value for key, value in storage.items() if key != SEALED}
    return Destination(
        str(uuid4()),
        recording.id,
        DestinationKind.EXTERNAL,
        recording.invoked_at,
        shown,
        storage.get(SEALED),
        layer,
    )
