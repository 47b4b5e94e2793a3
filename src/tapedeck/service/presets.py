"""Presets of an app: what participants may do, by name. The seeded ones are presets like all others.

A change holds for whoever has the preset from their next request or join on; it ends no publication.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypedDict
from uuid import uuid4

from tapedeck.core.errors import ConflictError, FieldProblem, InvalidError, NotFoundError
from tapedeck.core.meeting import App, Preset
from tapedeck.core.paging import Listing, Page
from tapedeck.core.presets import DEFAULT_PARTS, complete, merge
from tapedeck.core.times import whole_ms
from tapedeck.db import rooms
from tapedeck.db.engine import Database, DbSession
from tapedeck.ports.clock import Clock

__all__ = ["LARGEST_PRESET", "MOST_PRESETS", "PresetService", "PresetValues"]

LARGEST_PRESET = 65_536
"""Bytes of a preset's parts as JSON: every request of a participant reads them."""
MOST_PRESETS = 1000
"""Presets of one app."""


class PresetValues(TypedDict, total=False):
    """What a caller may set of a preset; the parts as the API shows them, already validated."""

    name: str
    config: Mapping[str, Any]
    permissions: Mapping[str, Any]
    ui: Mapping[str, Any]


class PresetService:
    """Create, read, change and delete presets."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def create(self, app: App, name: str, values: PresetValues) -> Preset:
        """A new preset; what its parts leave out is that of a plain participant.

        ConflictError when the name is taken or the app has too many; InvalidError when it is too large.
        """
        now = whole_ms(self._clock.now())
        preset = _whole(Preset(str(uuid4()), app.id, name, now, now, {}, {}, {}), values)
        async with self._db.write() as session:
            await _free_name(session, preset)
            if (await rooms.list_presets(session, app.id, Page(), None)).total_count >= MOST_PRESETS:
                raise ConflictError(f"App {app.id} has {MOST_PRESETS} presets, which is the most there may be")
            await rooms.add_preset(session, preset)
        return preset

    async def get(self, app: App, preset_id: str) -> Preset:
        """One preset of an app; NotFoundError."""
        async with self._db.read() as session:
            return await _find(session, app, preset_id)

    async def list(self, app: App, page: Page, search: str | None) -> Listing[Preset]:
        """The presets of an app, oldest first."""
        async with self._db.snapshot() as session:
            return await rooms.list_presets(session, app.id, page, search)

    async def update(self, app: App, preset_id: str, values: PresetValues) -> Preset:
        """Change what is given, however deep in a part, and keep the rest. NotFoundError, and as `create`."""
        async with self._db.write() as session:
            old = await _find(session, app, preset_id)
            parts: PresetValues = {
                "config": merge(old.config, values.get("config", {})),
                "permissions": merge(old.permissions, values.get("permissions", {})),
                "ui": merge(old.ui, values.get("ui", {})),
            }
            return await self._save(session, old, values.get("name", old.name), parts)

    async def replace(self, app: App, preset_id: str, name: str, values: PresetValues) -> Preset:
        """Set everything, as if it were new. NotFoundError, and as `create`."""
        async with self._db.write() as session:
            return await self._save(session, await _find(session, app, preset_id), name, values)

    async def delete(self, app: App, preset_id: str) -> Preset:
        """Forget a preset. NotFoundError; ConflictError while somebody has it."""
        async with self._db.write() as session:
            preset = await _find(session, app, preset_id)
            people = await rooms.people_with_preset(session, preset_id)
            if people:
                raise ConflictError(
                    f"Preset {preset.name} is the preset of {people} participant{'s' if people > 1 else ''}:"
                    " give them another one or delete them first"
                )
            await rooms.delete_preset(session, preset_id)
        return preset

    async def _save(self, session: DbSession, old: Preset, name: str, parts: PresetValues) -> Preset:
        changed = _whole(replace(old, name=name, updated_at=whole_ms(self._clock.now())), parts)
        await _free_name(session, changed)
        await rooms.save_preset(session, changed)
        return changed


def _whole(preset: Preset, values: PresetValues) -> Preset:
    """The preset with these parts, each made whole. InvalidError when it is too large."""
    made = replace(
        preset,
        config=complete(values.get("config", {}), DEFAULT_PARTS["config"]),
        permissions=complete(values.get("permissions", {}), DEFAULT_PARTS["permissions"]),
        ui=complete(values.get("ui", {}), DEFAULT_PARTS["ui"]),
    )
    size = len(json.dumps([made.config, made.permissions, made.ui]))
    if size > LARGEST_PRESET:
        reason = f"BAD_REQUEST: a preset takes at most {LARGEST_PRESET} bytes as JSON; this one takes {size}"
        raise InvalidError(reason, (FieldProblem("", reason),))
    return made


async def _find(session: DbSession, app: App, preset_id: str) -> Preset:
    preset = await rooms.find_preset(session, app.id, preset_id)
    if preset is None:
        raise NotFoundError(f"Preset not found: {preset_id}")
    return preset


async def _free_name(session: DbSession, preset: Preset) -> None:
    other = await rooms.find_preset_named(session, preset.app_id, preset.name)
    if other is not None and other.id != preset.id:
        raise ConflictError(f"The app has a preset named {preset.name} already")
